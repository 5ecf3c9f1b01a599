"""`greenllm measure` with another OpenAI server in our server's place: a stand-in for vLLM, a real process."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from deploying import of_this_test, until_loaded
from tiny_models import CONTEXT, PROMPTS

from greenllm.engines import load_engine

STAND_IN = Path(__file__).parents[1] / "openai_stand_in.py"
ANSWERS = [prompt.split()[-1].upper() for prompt in PROMPTS]
SERVE = "vllm serve {model} --served-model-name {name} --port {port}"

Deploy = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An executable `vllm` on PATH."""
    executable = tmp_path / "bin" / "vllm"
    executable.parent.mkdir()
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    executable.chmod(0o755)
    monkeypatch.setenv("PATH", str(executable.parent), prepend=":")
    return executable


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_another_server_is_started_measured_and_stopped_with_all_its_processes(
    deploy: Deploy,
    int8: Path,
    tmp_path: Path,
    vllm: Path,
) -> None:
    done = deploy(int8, ANSWERS, server=f"{SERVE} --max-model-len {{context}}", concurrency=[2, 4])
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads((tmp_path / "measurement.json").read_text())["servers"]
    assert (measured["engine"], measured["precision"]) == ("vllm", "int8")
    assert measured["agreement"] == {"equal": 60, "compared": 60, "share": 1.0}
    assert [(point["concurrency"], point["answered"]) for point in measured["points"]] == [(2, 30), (4, 30)]
    assert all(point["energy_per_request_J"]["value"] > 0 for point in measured["points"])
    assert measured["memory_bytes"] > 10e6
    assert "stand-in: listens at" in done.stderr  # its log is in ours
    serve = json.loads((tmp_path / "serve/int8.json").read_text())
    assert {one["serve_id"] for point in measured["points"] for one in point["rounds"]} == {serve["id"]}
    started = next(iter((tmp_path / "ledger").glob(f"*/{serve['id']}.jsonl"))).read_text().splitlines()[0]
    command = json.loads(started)["command"]
    assert command[1:4] == ["serve", str(tmp_path / "bundle"), "--served-model-name"]
    assert command[4] == "support-int8-1"
    assert command[-2:] == ["--max-model-len", str(CONTEXT)]
    assert of_this_test(tmp_path) == []  # nor its worker, which outlives its parent


def test_prompts_that_spell_special_tokens_are_sent_to_another_server_as_ids(
    deploy: Deploy,
    int8: Path,
    tmp_path: Path,
    vllm: Path,
) -> None:
    spelled = f"<eos> {PROMPTS[0]}"
    count = load_engine(int8, threads=1, device="cpu").count_tokens(spelled)
    done = deploy(int8, [f"{count} ids", *ANSWERS], prompts=[spelled, *PROMPTS], server=SERVE)
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads((tmp_path / "measurement.json").read_text())["servers"]
    assert measured["agreement"]["share"] == 1


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("vllm serve {modell}", "deploy.server: {modell} is not known; expected {context}, {model}, {name}, {port}"),
        ("no-such-server {model} {port}", "deploy.server: command not found: 'no-such-server'; install it"),
        ("vllm serve '{model}", "deploy.server: vllm serve '{model}: No closing quotation"),
        (SERVE.replace("{model}", "nothing"), "before it was ready: stand-in: no model nothing"),
        (f"{SERVE} --never-ready", "within 2 s"),
    ],
)
def test_a_server_that_does_not_start_is_reported_in_one_line(
    deploy: Deploy,
    int8: Path,
    tmp_path: Path,
    vllm: Path,
    server: str,
    message: str,
) -> None:
    done = deploy(int8, ANSWERS, options=["--ready", "2"], server=server)
    assert message in last_line(done)
    assert not (tmp_path / "measurement.json").exists()
    assert of_this_test(tmp_path) == []


def test_the_other_server_ends_with_a_stage_that_is_killed(
    deploy: Callable[..., Any],
    int8: Path,
    tmp_path: Path,
    vllm: Path,
) -> None:
    with deploy(int8, ANSWERS, start=subprocess.Popen, requests=1_000_000, server=SERVE) as meter:
        until_loaded(tmp_path)
        (stage,) = [p for p in of_this_test(tmp_path) if p.cmdline()[1:4] == ["-m", "greenllm", "measure"]]
        children = stage.children(recursive=True)
        stage.kill()
        assert meter.wait(60) == 137
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
