"""`greenllm deploy` on a tiny model, for the tests of its servers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_models import PROMPTS

from greenllm.documents.evaluation import EvaluationReport
from greenllm.engines import load_engine
from greenllm.estimate import Interval

GREENLLM = [sys.executable, "-m", "greenllm"]
# Three rounds of ten requests, and no more.
SETTINGS = {"requests": 30, "rounds": 3, "round_s": 0, "most_s": 1e-6, "warmup": 2, "idle_s": 0.3}
WILDCARDS = ["--wildcard", "experiment=support", "--wildcard", "recipe=int8", "--wildcard", "seed=1"]
EVALUATION = EvaluationReport(
    task="customer-service",
    engine="transformers",
    precision="fp32",
    examples=len(PROMPTS),
    seed=1,
    primary="accuracy",
    metrics={"accuracy": Interval(0.9, 0.8, 0.95)},
    bootstrap=1000,
    tokens=40,
    prompt_tokens=80,
)


@pytest.fixture
def deploy(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the stage on a model; default predictions are the engine's own answers."""

    def run(
        model: Path,
        predictions: list[str] | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        start: Callable[..., Any] = subprocess.run,
        prompts: Sequence[str] = PROMPTS,
        threads: int = 1,
        options: Sequence[str] = (),
        **settings: object,
    ) -> Any:
        if rows is None and predictions is None:
            engine = load_engine(model, threads=1, device="cpu")
            predictions = [answer.text for answer in engine.generate(PROMPTS, 6)]
        rows = rows or [
            {"id": f"test-{i}", "prompt": prompt, "completion": "", "prediction": prediction}
            for i, (prompt, prediction) in enumerate(zip(prompts, predictions or [], strict=True))
        ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]  # as evaluate writes them
        (tmp_path / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
        EVALUATION.write(tmp_path / "evaluation.json")
        command = [*GREENLLM, "deploy", *options, "--task", "customer-service", "--model", str(model)]
        command += ["--threads", str(threads)]
        command += ["--settings", json.dumps(SETTINGS | settings), "--device", "cpu", *WILDCARDS]
        command += ["--evaluation-settings", '{"max_tokens": 6}', "--predictions", str(tmp_path / "predictions.jsonl")]
        command += ["--evaluation", str(tmp_path / "evaluation.json"), "--bundle", str(tmp_path / "bundle")]
        command += ["--energy-serve", str(tmp_path / "serve.json"), "--energy-load", str(tmp_path / "load.json")]
        locks = tmp_path / "locks"  # a separate folder, so that it does not wait for other jobs on this host
        locks.mkdir(exist_ok=True)
        environment = os.environ | {"GREENLLM_LOCKS": str(locks), "GREENLLM_METER_INTERVAL_S": "0.1"}
        environment.pop("GREENLLM_METER_ID", None)
        outcome: dict[str, Any] = {"capture_output": True}
        if start is not subprocess.run:  # Ctrl-C works also where the tests run in the background, which ignores it
            outcome = {"stderr": subprocess.PIPE, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
        return start([*command, "--out", str(tmp_path / "measurement.json")], text=True, env=environment, **outcome)

    return run


def of_this_test(tmp_path: Path, *words: str) -> list[psutil.Process]:
    """Return the running processes whose command line begins with these words and names a file of this test."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(tmp_path) in word for word in process.info["cmdline"] or [])
        and process.info["cmdline"][: len(words)] == list(words)
    ]


def until_loaded(tmp_path: Path) -> None:
    """Return when the server has answered some requests of the load generator."""
    deadline_s = time.monotonic() + 60
    while not (loads := of_this_test(tmp_path, *GREENLLM, "load")) or not loads[0].net_connections():
        assert time.monotonic() < deadline_s, "the load generator did not start"
