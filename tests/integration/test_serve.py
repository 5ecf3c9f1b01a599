"""`greenllm serve` and `greenllm load` as separate processes, with real models and real clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionUserMessageParam
from serving_fixtures import serving
from tiny_models import PROMPTS

from greenllm.engines import load_engine

GREENLLM = [sys.executable, "-m", "greenllm"]


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    with serving(model, "--name", "tiny") as (_, url):
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def expected(model: Path) -> list[str]:
    return [answer.text for answer in load_engine(model, threads=1, device="cpu").generate(PROMPTS, 8)]


def test_the_openai_client_lists_the_model(client: openai.OpenAI) -> None:
    assert [listed.id for listed in client.models.list()] == ["tiny"]


def test_the_openai_client_completes(client: openai.OpenAI, expected: list[str]) -> None:
    for prompt, text in zip(PROMPTS[:3], expected, strict=False):
        answer = client.completions.create(model="tiny", prompt=prompt, max_tokens=8, temperature=0)
        assert answer.choices[0].text == text
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 8


def test_the_openai_client_chats(client: openai.OpenAI, expected: list[str]) -> None:
    message: ChatCompletionUserMessageParam = {"role": "user", "content": PROMPTS[0].removesuffix("\n")}
    answer = client.chat.completions.create(model="tiny", messages=[message], max_completion_tokens=8)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == expected[0]


def test_the_openai_client_streams_completions(client: openai.OpenAI, expected: list[str]) -> None:
    chunks = list(
        client.completions.create(
            model="tiny", prompt=PROMPTS[1], max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == expected[1]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_the_openai_client_streams_chats(client: openai.OpenAI, expected: list[str]) -> None:
    parts: list[ChatCompletionContentPartParam] = [{"type": "text", "text": PROMPTS[2].removesuffix("\n")}]
    message: ChatCompletionUserMessageParam = {"role": "user", "content": parts}
    stream = client.chat.completions.create(model="tiny", messages=[message], max_tokens=8, stream=True)
    chunks = [chunk.choices[0] for chunk in stream]
    assert chunks[0].delta.role == "assistant"
    assert "".join(chunk.delta.content or "" for chunk in chunks) == expected[2]
    assert chunks[-1].finish_reason == "length"


def test_the_openai_client_reads_the_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="shorten the prompt"):
        client.completions.create(model="tiny", prompt="word " * 500)
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'"):
        client.completions.create(model="gpt-5", prompt="a")


def test_load_times_the_answers_of_the_engine(url: str, expected: list[str], tmp_path: Path) -> None:
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text("".join(json.dumps({"id": str(i), "prompt": p}) + "\n" for i, p in enumerate(PROMPTS)))
    for options in (["--concurrency", "1"], ["--concurrency", "5"], ["--rate", "200"]):
        out, work = tmp_path / "load.json", tmp_path / "work.json"
        command = [*GREENLLM, "load", "--url", url, "--predictions", str(predictions), "--out", str(out)]
        command += ["--requests", "20", "--warmup", "3", "--max-tokens", "8", *options]
        subprocess.run(command, check=True, env=os.environ | {"GREENLLM_WORK": str(work)}, capture_output=True)
        result = json.loads(out.read_text())
        assert (result["requests"], result["answered"], result["failed"]) == (20, 20, 0)
        assert [answer["id"] for answer in result["answers"]] == [str(i % len(PROMPTS)) for i in range(20)]
        assert [answer["text"] for answer in result["answers"]] == [expected[i % len(PROMPTS)] for i in range(20)]
        assert result["completion_tokens"] == 160
        latency, first = result["latency_s"], result["time_to_first_token_s"]
        assert 0 < first["p50"] < latency["p50"] <= latency["p95"] <= latency["p99"]
        window = result["window"]
        assert window["monotonic_start_s"] < window["monotonic_end_s"] < time.monotonic()
        duration_s = window["monotonic_end_s"] - window["monotonic_start_s"]
        assert result["throughput"]["requests_per_s"] == pytest.approx(20 / duration_s)
        assert json.loads(work.read_text()) == {"requests": 20, "tokens": 160}


def test_load_without_a_server_fails_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text('{"id": "1", "prompt": "a"}\n')
    command = [*GREENLLM, "load", "--url", f"http://127.0.0.1:{port}", "--predictions", str(predictions)]
    done = subprocess.run([*command, "--requests", "2", "--out", str(tmp_path / "o")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"greenllm load: error: http://127.0.0.1:{port}: no server")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("content", ["", "{}\n", '{"id": "1"}\n', "not JSON\n"])
def test_load_names_the_line_of_bad_predictions(tmp_path: Path, content: str) -> None:
    predictions = tmp_path / "predictions.jsonl"
    predictions.write_text(content)
    command = [*GREENLLM, "load", "--url", "http://127.0.0.1:1", "--predictions", str(predictions), "--out", "x"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert ("line 1" if content else "is empty") in done.stderr


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of input"])
def test_a_stop_lets_the_running_request_finish_and_reports_the_work_done(
    fp32: Path,
    tmp_path: Path,
    how: str,
) -> None:
    work = tmp_path / "work.json"
    options = ["--until-eof"] if how == "end of input" else []
    with serving(fp32, *options, GREENLLM_WORK=str(work)) as (process, url):
        body = {"prompt": PROMPTS[0], "max_tokens": 100, "stream": True}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30, trust_env=False) as response:
            lines = response.iter_lines()
            next(lines)  # it has begun
            if how == "end of input":
                assert process.stdin is not None
                process.stdin.close()
            else:
                process.send_signal(getattr(signal, how))
            assert "data: [DONE]" in list(lines)
        assert process.wait(30) == 0
    answered = json.loads(work.read_text())
    assert answered["requests"] == 1
    assert answered["tokens"] == 100


def test_a_port_in_use_is_reported_in_one_line(int8: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [*GREENLLM, "serve", str(int8), "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "already in use" in done.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["nowhere"], "no such folder"),
        (["."], "neither greenllm.json nor config.json"),
        ([".", "--port", "99999"], "99999"),
        ([".", "--host", "203.0.113.1"], "203.0.113.1"),
        ([".", "--batch", "0"], "--batch 0"),
    ],
)
def test_a_wrong_folder_or_option_is_reported_in_one_line(tmp_path: Path, options: list[str], expected: str) -> None:
    command = [*GREENLLM, "serve", "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
