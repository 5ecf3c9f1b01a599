"""`greenllm probe-threads`: real engines answer with several numbers of threads, under a meter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import PROMPTS

from greenllm.classifier import CLASSES, new_network
from greenllm.engines import CHANGE_THREADS, Prompt, load_engine
from greenllm.errors import UserError
from greenllm.load.processes import greenllm, metered
from greenllm.load.thread_choice import choose
from greenllm.load.thread_probe import PASSES, probe_words, probed_rounds
from greenllm.model_folder.endpoint import Endpoint
from greenllm.model_folder.manifest import Manifest


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    rows: list[dict[str, object]] = [{"id": str(index), "prompt": prompt} for index, prompt in enumerate(PROMPTS)]
    rows.append({"id": "ids", "prompt": "<eos>x", "prompt_ids": [5, 6, 7]})
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_both_engines_are_probed_under_a_meter(
    model: Path, predictions: Path, tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    log = tmp_path / "probe.json"
    meter = metered("probe", {"recipe": "int8"}, log, "--ledger", str(tmp_path / "ledger"))
    command = [*meter, *greenllm(*probe_words(model, predictions, max_tokens=6, device="cpu"))]
    meters: list[int] = []
    rounds = probed_rounds(command, threads=2, together=2, seed=1, at_edge=meters.append)
    assert len(rounds) == 2 * PASSES
    assert len(meters) == 2 * len(rounds)
    assert len(set(meters)) == 1
    ended_s = 0.0
    for round in rounds:
        assert ended_s <= round.window.monotonic_start_s < round.window.monotonic_end_s
        ended_s = round.window.monotonic_end_s
        assert round.answered == round.order.requests
        assert round.cpu_s > 0
        assert round.gpus == 0
    assert choose(rounds, [None] * len(rounds), None).threads in (1, 2)
    written = json.loads(log.read_text())
    assert (written["job"]["rule"], written["status"]) == ("probe", "succeeded")
    assert written["work"]["requests"] > sum(round.answered for round in rounds)  # with those that do not count


def test_answers_are_the_same_with_each_number_of_threads(model: Path) -> None:
    engine = load_engine(model, threads=1, device="cpu")
    prompts = [*PROMPTS, Prompt("x", [5, 6, 7])]
    first = engine.generate(prompts, 12)
    for threads in (2, 3, 1):
        engine.use_threads(threads)
        assert engine.generate(prompts, 12) == first


def test_a_torch_engine_computes_with_the_number_that_was_set(fp32: Path) -> None:
    import torch

    load_engine(fp32, threads=2, device="cpu").use_threads(1)
    assert torch.get_num_threads() == 1


def test_the_classifier_changes_its_threads(tmp_path: Path) -> None:
    new_network("pytorch", seed=1, threads=1).save(tmp_path)
    Manifest(engine="classifier-pytorch", context=65).write(tmp_path)
    engine = load_engine(tmp_path, threads=1, device="cpu")
    image = [" ".join(["7"] * 64)]
    first = engine.generate(image, 1)
    assert 0 <= int(first[0].text) < CLASSES
    engine.use_threads(2)
    assert engine.generate(image, 1) == first


def test_an_engine_with_fixed_threads_says_so(tmp_path: Path) -> None:
    endpoint = Endpoint(url="http://127.0.0.1:9/v1")
    Manifest(engine="openai-endpoint", precision=None, endpoint=endpoint).write(tmp_path)
    assert "openai-endpoint" not in CHANGE_THREADS
    with pytest.raises(UserError, match="cannot be changed"):
        load_engine(tmp_path, threads=1).use_threads(2)


@pytest.mark.parametrize("order", ["x", "[]", '{"threads": 0, "requests": 1}', '{"threads": 1}', '{"tokens": 1}'])
def test_what_is_no_order_is_refused_in_one_line(fp32: Path, predictions: Path, order: str) -> None:
    command = greenllm(*probe_words(fp32, predictions, max_tokens=6, device="cpu"))
    done = subprocess.run(command, input=f"{order}\n", capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "standard input" in done.stderr
    assert done.stdout == ""


def test_a_probe_that_fails_is_one_line(predictions: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(UserError, match="greenllm probe-threads ended with status 3"):
        probed_rounds(command, threads=2, together=1, seed=1)
