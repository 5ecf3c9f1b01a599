"""What the serving tests share: models, made once per run, and a server in a process of its own."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from narrowing import Piped


@pytest.fixture(scope="session")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_fp32(tmp_path_factory.mktemp("models") / "fp32")


@pytest.fixture(scope="session")
def int8(tmp_path_factory: pytest.TempPathFactory, fp32: Path) -> Path:
    return tiny_models.make_int8(fp32, tmp_path_factory.mktemp("models") / "int8")


@pytest.fixture(scope="session", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest) -> Path:
    made: Path = request.getfixturevalue(request.param)
    return made


@contextlib.contextmanager
def serving(folder: Path, *options: str, **environment: str) -> Iterator[tuple[Piped, str]]:
    """Run `greenllm serve` on a model folder; yield its process and its address once it answers."""
    command = [sys.executable, "-m", "greenllm", "serve", str(folder), "--port", "0", "--threads", "1"]
    command += ["--device", "cpu", *options]
    pipe = subprocess.PIPE
    with Piped(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ | environment) as process:
        try:
            ready = process.stdout.readline()
            assert ready.startswith("greenllm serve: ready at http://127.0.0.1:"), process.stderr.read()
            yield process, ready.split()[-1]
        finally:
            process.kill()
