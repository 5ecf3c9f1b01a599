"""`greenllm measure` on several bundles whose servers are stand-ins that start at once, for the tests of it."""

import itertools
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from deploying import make_bundle, measure, of_this_test, rows_of, write_predictions
from tiny_models import PROMPTS

STAND_IN = Path(__file__).with_name("openai_stand_in.py")
SERVER = f"{sys.executable} {STAND_IN} serve {{model}} --served-model-name {{name}} --port {{port}} --alone"
RECIPES = ["baseline", "small", "smaller"]
WITH_TWIN = [*RECIPES, "baseline~twin"]
Bundles = Callable[[Sequence[str]], None]


@pytest.fixture
def bundles(int8: Path, tmp_path: Path) -> Bundles:
    """Return a function that makes equal bundles for recipes."""

    def make(recipes: Sequence[str]) -> None:
        assert make_bundle(int8, recipes[0], tmp_path).returncode == 0
        for recipe in recipes:
            if recipe != recipes[0]:
                shutil.copytree(tmp_path / recipes[0], tmp_path / recipe)
            write_predictions(tmp_path / f"{recipe}.jsonl", rows_of([one.split()[-1].upper() for one in PROMPTS]))

    return make


def measured(tmp_path: Path, recipes: Sequence[str], **settings: Any) -> dict[str, Any]:
    """Measure, and return the document."""
    done = measure(tmp_path, recipes, server=SERVER, **settings)
    assert done.returncode == 0, done.stderr
    assert of_this_test(tmp_path) == []
    found: dict[str, Any] = json.loads((tmp_path / "measurement.json").read_text())
    return found


def rounds_of(document: dict[str, Any], place: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Return the rounds of each server at one concurrency."""
    return {server["name"]: server["points"][place]["rounds"] for server in document["servers"] if server["points"]}


def in_order_of_time(document: dict[str, Any], place: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Return all rounds with their servers; each begins after the one before has ended."""
    rounds = [(name, one) for name, of_server in rounds_of(document, place).items() for one in of_server]
    rounds.sort(key=lambda each: each[1]["window"]["monotonic_start_s"])
    for (_, before), (_, after) in itertools.pairwise(rounds):
        assert before["window"]["monotonic_end_s"] < after["window"]["monotonic_start_s"]
    return rounds
