"""A model behind an existing OpenAI endpoint: collected, evaluated and deployed without weights."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deploying import GREENLLM
from prepared_data import write_prepared

from greenllm.engines import load_engine

STAND_IN = Path(__file__).parents[1] / "openai_stand_in.py"
KEY = "a-key-that-nobody-may-read"
CHAT = {"chat": True, "system": "One word:", "key_variable": "OWN_KEY"}


@contextlib.contextmanager
def stand_in(key: str | None = None) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, str(STAND_IN), "serve", ".", "--served-model-name", "own/model", "--port", str(port)]
    environment = os.environ | ({} if key is None else {"STAND_IN_KEY": key})
    with subprocess.Popen([*command, "--alone"], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with stand_in() as url:
        yield url


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    with stand_in(KEY) as url:
        yield url


@pytest.fixture
def greenllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command with the key in its environment."""
    locks = tmp_path / "locks"
    locks.mkdir()
    monkeypatch.setenv("GREENLLM_LOCKS", str(locks))
    monkeypatch.setenv("GREENLLM_METER_INTERVAL_S", "0.1")
    monkeypatch.setenv("OWN_KEY", KEY)
    monkeypatch.delenv("GREENLLM_METER_ID", raising=False)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*GREENLLM, *map(str, arguments)], capture_output=True, text=True)

    return run


def collect(greenllm, out: Path, url: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return greenllm("collect-model", "--settings", json.dumps({"init": url} | settings), "--out", out)


def evaluate(greenllm, folder: Path, model: Path) -> subprocess.CompletedProcess[str]:
    if not (folder / "data").exists():
        write_prepared(folder / "data", train=1, validation=1, test=20)
    outputs = ["--out", folder / "evaluation.json", "--predictions", folder / "predictions.jsonl"]
    settings = ["--settings", '{"batch": 8, "max_tokens": 4, "bootstrap": 100}']
    return greenllm(
        "evaluate", "--task", "customer-service", "--model", model, "--data", folder / "data", *settings, *outputs
    )


def measure(greenllm, folder: Path, model: Path) -> subprocess.CompletedProcess[str]:
    inputs = ["--model", model, "--evaluation", folder / "evaluation.json"]
    done = greenllm("deploy", "--task", "customer-service", *inputs, "--out", folder / "bundle")
    assert done.returncode == 0, done.stderr
    inputs = ["--bundle", f"own={folder / 'bundle'}", "--predictions", f"own={folder / 'predictions.jsonl'}"]
    outputs = ["--out", folder / "measurement.json", "--energy-serve", folder / "serve"]
    outputs += ["--energy-load", folder / "load", "--energy-probe", folder / "probe"]
    settings = {"requests": 20, "rounds": 2, "round_s": 0, "warmup": 2, "idle_s": 0.2, "concurrency": 4}
    return greenllm("measure", "--settings", json.dumps(settings), *inputs, *outputs)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_chat_endpoint_is_evaluated_and_measured_and_its_key_written_nowhere(greenllm, guarded, tmp_path):
    collected = collect(greenllm, tmp_path / "model", guarded, **CHAT)
    assert collected.returncode == 0, collected.stderr
    manifest = json.loads((tmp_path / "model" / "greenllm.json").read_text())
    assert manifest["engine"] == "openai-endpoint"
    assert manifest["endpoint"]["url"] == guarded
    assert manifest["endpoint"]["served_name"] == "own/model"  # taken from the endpoint's list

    done = evaluate(greenllm, tmp_path, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [
        f"One word: {line['prompt'].split()[-1].upper()}" for line in lines
    ]
    assert {(line["tokens"], line["prompt_tokens"], line["confidence"]) for line in lines} == {(2, 5, None)}
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert (evaluation["engine"], evaluation["precision"]) == ("openai-endpoint", None)

    done = measure(greenllm, tmp_path, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads((tmp_path / "measurement.json").read_text())["servers"]  # without a twin
    assert measured["agreement"] == {"equal": 20, "compared": 20, "share": 1.0}
    (point,) = measured["points"]
    assert (point["answered"], point["completion_tokens"], point["prompt_tokens"]) == (20, 40, 100)
    assert {one["serve_id"] for one in point["rounds"]} == {None}
    assert point["energy_J"] is point["energy_per_request_J"] is None
    assert measured["idle"]["energy_J"] is measured["idle"]["power_W"] is None
    assert "runs elsewhere" in measured["energy_reason"]
    assert measured["memory_bytes"] is measured["model_bytes"] is None
    assert measured["memory_reason"]
    names = sorted(path.name for path in (tmp_path / "bundle").iterdir())
    assert names == [".greenllm-written", "README.md", "greenllm.json"]
    assert guarded in (tmp_path / "bundle" / "README.md").read_text()
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [content for content in written if KEY.encode() in content]
    assert KEY not in done.stderr


def test_an_endpoint_on_this_host_is_metered_by_its_control_group(greenllm, endpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path / "sys"))
    group = tmp_path / "sys/fs/cgroup/box"
    collect(greenllm, tmp_path / "model", endpoint, cgroup="box")
    done = evaluate(greenllm, tmp_path, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    for folder in (group.parent, group):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.stat").write_text("usage_usec 1000\n")
        (folder / "cgroup.procs").touch()
    done = measure(greenllm, tmp_path, tmp_path / "model")
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads((tmp_path / "measurement.json").read_text())["servers"]  # without a twin
    (point,) = measured["points"]
    assert point["energy_per_request_J"]["value"] > 0
    assert "GPU" in measured["energy_reason"]
    ledgers = [json.loads(path.read_text().splitlines()[0]) for path in (tmp_path / "ledger").glob("*/*.jsonl")]
    claimed = {ledger["job"]["rule"]: ledger["cgroups"] for ledger in ledgers}
    assert claimed == {"measure": ["box"], "serve": ["box"], "load": []}
    assert {one["serve_id"] for one in point["rounds"]} < {ledger["id"] for ledger in ledgers}

    (group / "cpu.stat").unlink()
    (group / "cgroup.procs").unlink()
    group.rmdir()
    assert "model.cgroup: no control group 'box' on this host" in one_line(
        measure(greenllm, tmp_path, tmp_path / "model")
    )


def test_what_an_endpoint_refuses_is_reported_in_one_line(greenllm, guarded, endpoint, tmp_path, monkeypatch):
    out = tmp_path / "model"
    assert "HTTP 401: Incorrect API key provided; model.key_variable" in one_line(collect(greenllm, out, guarded))
    assert "no model 'other' there; it has own/model" in one_line(collect(greenllm, out, endpoint, served_name="other"))
    assert "can't be reached" in one_line(collect(greenllm, out, "http://127.0.0.1:9/v1"))
    assert "HTTP 404: not found" in one_line(collect(greenllm, out, endpoint.replace("/v1", "/v2")))
    assert not out.exists()
    collect(greenllm, out, guarded, **CHAT)
    monkeypatch.setenv("OWN_KEY", "wrong")
    assert "HTTP 401: Incorrect API key provided; is $OWN_KEY its key?" in one_line(evaluate(greenllm, tmp_path, out))
    monkeypatch.delenv("OWN_KEY")
    assert "$OWN_KEY is not set" in one_line(evaluate(greenllm, tmp_path, out))
    manifest = json.loads((out / "greenllm.json").read_text())
    manifest["endpoint"] |= {"url": endpoint, "served_name": "gone", "key_variable": None}
    (out / "greenllm.json").write_text(json.dumps(manifest))
    assert "HTTP 404: The model `gone` does not exist." in one_line(evaluate(greenllm, tmp_path, out))
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("127.0.0.1:8000", "expected 'http://127.0.0.1:8000'"),
        ("localhost", "expected 'http://localhost'"),
        ("http:/host", "expected 'http://host'"),
        ("http://host ", "white space"),
        (f"http://user:{KEY}@host/v1", "--key-variable"),
        (f"http://host/v1?key={KEY}", "expected the address alone: http://host/v1"),
        ("ws://host", "ws://"),
        ("host", "is no address"),
    ],
)
def test_load_reports_what_is_not_an_address(greenllm, tmp_path, url, expected):
    (tmp_path / "predictions.jsonl").write_text('{"id": "1", "prompt": "a"}\n')
    done = greenllm("load", "--url", url, "--predictions", tmp_path / "predictions.jsonl", "--out", tmp_path / "out")
    said = one_line(done)
    assert said.startswith("greenllm load: error: --url: ")
    assert expected in said
    assert KEY not in done.stderr


def test_who_streams_gets_the_whole_text(greenllm, endpoint, tmp_path):
    collected = collect(greenllm, tmp_path / "model", endpoint)
    assert collected.returncode == 0, collected.stderr
    pieces = ["", ""]

    def add(index: int, piece: object) -> None:
        pieces[index] += str(piece)

    answers = load_engine(tmp_path / "model", threads=1).generate(["say one", "say two"], 4, on_token=add)
    assert pieces == ["ONE", "TWO"] == [answer.text for answer in answers]


def test_an_address_may_be_in_capitals(greenllm, endpoint, tmp_path):
    collected = collect(greenllm, tmp_path / "model", endpoint.replace("http://", "HTTP://"))
    assert collected.returncode == 0, collected.stderr
    assert json.loads((tmp_path / "model" / "greenllm.json").read_text())["endpoint"]["url"] == endpoint
