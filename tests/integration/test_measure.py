"""`greenllm measure` on one bundle: metered server, metered load, agreement; what fails, and what ends it."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from deploying import GREENLLM, of_this_test, until_loaded
from tiny_models import CONTEXT, PROMPTS

from greenllm.engines import load_engine
from greenllm.engines.decoding_choice import Decoding


def server_of(tmp_path: Path) -> dict[str, Any]:
    """Return the only server of the measurement."""
    (server,) = json.loads((tmp_path / "measurement.json").read_text())["servers"]
    found: dict[str, Any] = server
    return found


def test_it_measures_the_served_model_and_checks_its_answers(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    done = deploy(int8, concurrency=[1, 4])
    assert done.returncode == 0, done.stderr
    assert "greenllm serve: stopped after 64 requests" in done.stderr  # the server's log is in ours
    measured = json.loads((tmp_path / "measurement.json").read_text())
    assert measured["schema"] == "greenllm/measurement/2"
    assert (measured["loaded"], measured["twin"], measured["reserved_threads"]) == ("all", None, 1)
    (server,) = measured["servers"]
    assert (server["name"], server["recipe"], server["threads"]["threads"]) == ("int8", "int8", 1)
    assert (server["engine"], server["precision"]) == ("onnxruntime-genai", "int8")
    assert server["agreement"] == {"equal": 60, "compared": 60, "share": 1.0}
    assert server["model_bytes"] > (int8 / "model.onnx.data").stat().st_size
    assert 20e6 < server["memory_bytes"] < 2e9  # Python and the model
    assert server["memory_reason"] is server["energy_reason"] is None

    serve, load = (json.loads((tmp_path / name / "int8.json").read_text()) for name in ("serve", "load"))
    assert (serve["job"]["rule"], load["job"]["rule"]) == ("serve", "load")
    assert serve["job"]["wildcards"] == {"experiment": "support", "recipe": "int8", "seed": "1"}
    assert serve["parent"] == load["parent"] == measured["measure_id"]
    assert (serve["status"], load["status"]) == ("succeeded", "succeeded")
    assert serve["work"]["requests"] == load["work"]["requests"] == 64  # with the warm-ups

    idle = server["idle"]
    assert idle["duration_s"] == pytest.approx(0.3, abs=0.2)
    assert 0 <= idle["energy_J"]["value"] == pytest.approx(idle["power_W"]["value"] * idle["duration_s"])
    ended_s = idle["window"]["monotonic_end_s"]
    assert [point["concurrency"] for point in server["points"]] == [1, 4]
    for point in server["points"]:
        assert (point["requests"], point["answered"], point["failed"]) == (30, 30, 0)
        assert point["completion_tokens"] == 180
        assert 0 < point["time_to_first_token_s"]["p50"] < point["latency_s"]["p50"] <= point["latency_s"]["p99"]
        assert [round["answered"] for round in point["rounds"]] == [10, 10, 10]
        assert [round["block"] for round in point["rounds"]] == [0, 1, 2]
        for round in point["rounds"]:
            assert round["serve_id"] == serve["id"]
            window = round["window"]
            assert window["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            assert ended_s < window["monotonic_start_s"] < window["monotonic_end_s"]  # none overlaps another
            ended_s = window["monotonic_end_s"]
        energy = point["energy_J"]
        assert energy["value"] == pytest.approx(sum(round["energy_J"]["value"] for round in point["rounds"]))
        assert 0 < energy["value"] < serve["energy_J"]["value"]
        for unit, work in (("request", 30), ("token", 180)):
            per = point[f"energy_per_{unit}_J"]
            assert per["value"] == pytest.approx(energy["value"] / work)
            # The spread between the rounds comes on top of the sensor's own uncertainty.
            assert per["low"] < energy["low"] / work < energy["high"] / work < per["high"]
    assert of_this_test(tmp_path) == []


def test_texts_with_line_separators_of_unicode_are_sent(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    prompts = [prompt.replace(" ", separator, 2) for prompt in PROMPTS for separator in "\u2028\u2029\x85\x0b\x1c"]
    answers = load_engine(int8, threads=1, device="cpu").generate(prompts, 6)
    done = deploy(int8, [answer.text for answer in answers], prompts=prompts)
    assert done.returncode == 0, done.stderr
    assert server_of(tmp_path)["agreement"]["share"] == 1


def test_rounds_have_the_least_duration(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    assert deploy(int8, requests=4, rounds=2, round_s=0.3).returncode == 0
    (point,) = server_of(tmp_path)["points"]
    windows = [round["window"] for round in point["rounds"]]
    assert [window["monotonic_end_s"] - window["monotonic_start_s"] >= 0.3 for window in windows] == [True, True]
    assert point["requests"] > 4  # more than the least number, because those are answered sooner


def test_sampled_answers_are_those_of_the_same_seeds(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    sampling: list[dict[str, Any]] = [{"temperature": 1.0, "top_p": 0.9, "seed": seed} for seed in range(2)]
    engine = load_engine(int8, threads=1)
    rows = [
        {"id": prompt, "prompt": prompt, "completion": "", "prediction": answer.text, "draw": draw, "sampling": how}
        for draw, how in enumerate(sampling)
        for prompt, answer in zip(
            PROMPTS, engine.generate(PROMPTS, 6, decodings=[Decoding(**how)] * len(PROMPTS)), strict=True
        )
    ]
    assert {row["prediction"] for row in rows[:8]} != {row["prediction"] for row in rows[8:]}
    done = deploy(int8, rows=rows, rounds=1, requests=len(rows))
    assert done.returncode == 0, done.stderr
    agreement = server_of(tmp_path)["agreement"]
    assert (agreement["share"], agreement["compared"]) == (1, len(rows))


def test_answers_that_differ_from_evaluates_make_the_server_missing(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    engine = load_engine(int8, threads=1)
    predictions = [answer.text for answer in engine.generate(PROMPTS, 6)]
    predictions[3] = "another answer"
    done = deploy(int8, predictions, rounds=1, requests=len(PROMPTS))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "7 of 8 answers equal evaluate's" in last
    assert "1 differ, the first (id test-3)" in last
    assert not (tmp_path / "measurement.json").exists()
    done = deploy(int8, predictions, rounds=1, requests=len(PROMPTS), agreement=0.8)
    assert done.returncode == 0
    assert server_of(tmp_path)["agreement"]["equal"] == 7


def test_failed_requests_count_as_different_answers(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    prompts = [*PROMPTS, "longer than the model's context " * CONTEXT]
    engine = load_engine(int8, threads=1)
    predictions = [*(answer.text for answer in engine.generate(PROMPTS, 6)), "an answer"]
    done = deploy(int8, predictions, prompts=prompts, requests=len(prompts), rounds=1, warmup=0)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "8 of 9 answers equal evaluate's" in last
    assert "1 failed, the first (id test-8): HTTP 422" in last
    assert not (tmp_path / "measurement.json").exists()


def test_no_more_threads_than_processors(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    usable = len(os.sched_getaffinity(0))
    done = deploy(int8, requests=2, rounds=1, warmup=0, threads=usable + 1)
    assert done.returncode == 0, done.stderr
    assert f"--threads {usable + 1}: uses {usable}, " in done.stderr
    assert json.loads((tmp_path / "measurement.json").read_text())["reserved_threads"] == usable


def test_a_server_that_cannot_start_is_reported_with_the_end_of_its_log(
    deploy: Callable[..., subprocess.CompletedProcess[str]],
    int8: Path,
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    shutil.copytree(int8, model)
    for graph in model.glob("*.onnx"):
        graph.write_bytes(b"no model")
    done = deploy(model, ["x"] * len(PROMPTS))
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("greenllm measure: error: the server ended with status 2 before it was ready")
    assert "cannot be loaded by onnxruntime-genai" in last
    assert "Traceback" not in done.stderr
    assert of_this_test(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_whatever_signal_ends_the_stage(
    deploy: Callable[..., Any],
    int8: Path,
    tmp_path: Path,
    how: signal.Signals,
) -> None:
    with deploy(int8, start=subprocess.Popen, requests=1_000_000) as meter:
        until_loaded(tmp_path)
        (stage,) = of_this_test(tmp_path, *GREENLLM, "measure")
        children = stage.children(recursive=True)
        stage.send_signal(how)
        assert meter.wait(60) == (128 + how if how == signal.SIGKILL else 130)
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not (tmp_path / "measurement.json").exists()


def test_a_server_that_dies_under_load_is_reported_in_one_line(
    deploy: Callable[..., Any],
    int8: Path,
    tmp_path: Path,
) -> None:
    with deploy(int8, start=subprocess.Popen, requests=1_000_000) as meter:
        until_loaded(tmp_path)
        (server,) = of_this_test(tmp_path, *GREENLLM, "serve")
        server.kill()
        _, errors = meter.communicate(timeout=60)
    assert meter.returncode == 2
    assert "the server died with status 137" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert of_this_test(tmp_path) == []
