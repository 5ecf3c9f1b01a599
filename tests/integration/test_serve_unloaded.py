"""`greenllm serve --unload-after` with real models: memory, answers, and what is refused."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
import tiny_models
from serving_fixtures import serving
from tiny_models import PROMPTS

from greenllm.engines import load_engine

GREENLLM = [sys.executable, "-m", "greenllm"]


def until_unloaded(client: httpx.Client) -> None:
    deadline_s = time.monotonic() + 60
    while client.get("/health").json()["loaded"]:
        assert time.monotonic() < deadline_s, "never unloaded"


def complete(client: httpx.Client, prompt: str) -> str:
    answer = client.post("/v1/completions", json={"prompt": prompt, "max_tokens": 8})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def test_a_model_that_is_loaded_again_answers_the_same(model: Path) -> None:
    expected = [answer.text for answer in load_engine(model, threads=1, device="cpu").generate(PROMPTS, 8)]
    with (
        serving(model, "--unload-after", "0.05") as (process, url),
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        client.timeout = httpx.Timeout(60)
        for prompt, text in zip(PROMPTS, expected, strict=True):
            until_unloaded(client)
            assert complete(client, prompt) == text
        until_unloaded(client)
        metrics = client.get("/metrics").text
        process.terminate()
        assert process.wait(30) == 0
        said = process.stderr.read() if process.stderr else ""
    assert f"greenllm_load_duration_seconds_count {len(PROMPTS):.1f}" in metrics
    assert said.count("greenllm serve: loaded again in ") == len(PROMPTS)


def test_the_memory_of_the_model_is_freed_and_taken_again(tmp_path: Path) -> None:
    folder = tiny_models.make_fp32(tmp_path / "model", size="base")
    weights = (folder / "model.safetensors").stat().st_size
    with (
        serving(folder, "--unload-after", "0.5") as (process, url),
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        client.timeout = httpx.Timeout(60)
        memory = psutil.Process(process.pid).memory_info
        complete(client, PROMPTS[0])
        loaded = memory().rss
        until_unloaded(client)
        assert loaded - memory().rss > 0.8 * weights
        before = memory().rss
        complete(client, PROMPTS[0])
        assert memory().rss - before > 0.8 * weights
        until_unloaded(client)
        assert abs(memory().rss - before) < 0.2 * weights


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_refused_in_one_line(int8: Path, seconds: str) -> None:
    command = [*GREENLLM, "serve", str(int8), "--port", "0", f"--unload-after={seconds}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"--unload-after {seconds}: expected seconds, a number above 0" in done.stderr
