"""`greenllm deploy` and `greenllm measure` on tiny models, for the tests of the servers."""

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
# Three rounds of ten requests to one server.
SETTINGS = {
    "requests": 30,
    "starts": 1,
    "rounds": 3,
    "round_s": 0,
    "warmup": 2,
    "idle_s": 0.3,
    "twin": False,
    "threads": 1,
}
WILDCARDS = ["--wildcard", "experiment=support", "--wildcard", "seed=1"]
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


def write_predictions(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write predictions as evaluate does."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def rows_of(predictions: Sequence[str], prompts: Sequence[str] = PROMPTS) -> list[dict[str, Any]]:
    """Return the rows of a predictions file."""
    return [
        {"id": f"test-{i}", "prompt": prompt, "completion": "", "prediction": prediction}
        for i, (prompt, prediction) in enumerate(zip(prompts, predictions, strict=True))
    ]


def answers_of(model: Path) -> list[str]:
    """Return a model's own answers to the prompts."""
    return [answer.text for answer in load_engine(model, threads=1, device="cpu").generate(PROMPTS, 6)]


def make_bundle(model: Path, recipe: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run `greenllm deploy`; the bundle is `bundle` in the folder for recipe int8, else it has the recipe's name."""
    EVALUATION.write(tmp_path / "evaluation.json")
    command = [*GREENLLM, "deploy", "--task", "customer-service", "--model", str(model)]
    for pair in ("experiment=support", f"recipe={recipe}", "seed=1"):
        command += ["--wildcard", pair]
    command += ["--evaluation", str(tmp_path / "evaluation.json"), "--out", str(bundle_of(recipe, tmp_path))]
    return subprocess.run(command, capture_output=True, text=True)


def bundle_of(recipe: str, tmp_path: Path) -> Path:
    """Return where a test's bundle is."""
    return tmp_path / ("bundle" if recipe == "int8" else recipe)


def measure(
    tmp_path: Path,
    recipes: Sequence[str],
    start: Callable[..., Any] = subprocess.run,
    threads: int = 1,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    device: str = "cpu",
    meter: Sequence[str] = (),
    **settings: object,
) -> Any:
    """Run `greenllm measure` on bundles of this test; a recipe's predictions are in `RECIPE.jsonl`.

    `meter` is the beginning of a command line that runs it under a meter; without one it starts a meter itself.
    """
    command = [*meter, *GREENLLM, "measure", *options, "--threads", str(threads)]
    for recipe in recipes:
        command += ["--bundle", f"{recipe}={bundle_of(recipe, tmp_path)}"]
        command += ["--predictions", f"{recipe}={tmp_path / f'{recipe}.jsonl'}"]
    command += ["--settings", json.dumps(SETTINGS | settings), "--device", device, *WILDCARDS]
    command += ["--evaluation-settings", '{"max_tokens": 6}', "--energy-probe", str(tmp_path / "probe")]
    command += ["--energy-serve", str(tmp_path / "serve"), "--energy-load", str(tmp_path / "load")]
    locks = tmp_path / "locks"  # a separate folder, so that it does not wait for other jobs on this host
    locks.mkdir(exist_ok=True)
    around = os.environ | {"GREENLLM_LOCKS": str(locks), "GREENLLM_METER_INTERVAL_S": "0.1"} | dict(environment or {})
    around.pop("GREENLLM_METER_ID", None)
    outcome: dict[str, Any] = {"capture_output": True}
    if start is not subprocess.run:  # Ctrl-C works also where the tests run in the background, which ignores it
        outcome = {"stderr": subprocess.PIPE, "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return start([*command, "--out", str(tmp_path / "measurement.json")], text=True, env=around, **outcome)


@pytest.fixture
def deploy(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that bundles and measures one model; default predictions are the engine's own answers."""

    def run(
        model: Path,
        predictions: list[str] | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        prompts: Sequence[str] = PROMPTS,
        **options: Any,
    ) -> Any:
        if rows is None:
            rows = rows_of(answers_of(model) if predictions is None else predictions, prompts)
        write_predictions(tmp_path / "int8.jsonl", rows)
        bundled = make_bundle(model, "int8", tmp_path)
        return bundled if bundled.returncode else measure(tmp_path, ["int8"], **options)

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
