"""Runs `greenllm meter` around real commands; tests import what they need of it."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from narrowing import Piped

GREENLLM = [sys.executable, "-m", "greenllm"]
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def meter(*arguments: object, env: Mapping[str, str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GREENLLM, "meter", *map(str, arguments)], env=env, capture_output=True, text=True, timeout=120, **more
    )


def start(*arguments: object, env: Mapping[str, str], **more: Any) -> Piped:
    return Piped(
        [*GREENLLM, "meter", *map(str, arguments)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def wait_for_lines(tmp_path: Path, count: int) -> Path:
    """Wait until the ledger has this number of lines more than now; return its path."""
    (path,) = (tmp_path / "ledger").glob("*/*.jsonl")
    enough = path.read_bytes().count(b"\n") + count
    for _ in range(6000):
        if path.read_bytes().count(b"\n") >= enough:
            return path
        time.sleep(0.01)
    raise AssertionError(f"{path}: the meter writes no more")


def the_ledger(tmp_path: Path) -> list[Any]:
    (path,) = (tmp_path / "ledger").glob("*/*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]
