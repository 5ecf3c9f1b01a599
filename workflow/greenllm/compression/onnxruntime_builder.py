"""Quantisation of weights in blocks by ONNX Runtime GenAI's model builder, for its CPU engine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from greenllm.errors import UserError


def build(
    model: Path, out: Path, *, precision: Literal["int8", "int4"], options: Mapping[str, object], threads: int
) -> None:
    """Quantise a Hugging Face model folder's weights and write an ONNX Runtime GenAI folder for the CPU.

    `options` are the builder's extra options, such as algo_config and block_size. The default is symmetric,
    round to nearest, one scale for each block of 32 weights. Activations are quantised to int8 on the fly (the
    builder's default for the CPU: MatMulNBits with accuracy level 4). Nothing is downloaded.

    Raises `UserError` if the builder does not know the model's architecture, or fails.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        # The builder would write the commit of the repository around .venv, this project's, into the model.
        "GIT_DIR": os.devnull,
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",  # so that progress reaches a log file line by line
    }
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-P", "-m", "onnxruntime_genai.models.builder"]
        command += ["-i", str(model), "-o", str(out), "-p", precision, "-e", "cpu", "-c", cache]
        if options:
            command += ["--extra_options", *(f"{name}={value}" for name, value in options.items())]
        # The builder's progress goes straight to our standard error.
        done = subprocess.run(command, env=environment, text=True, stdout=2, stderr=subprocess.PIPE, check=False)
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if last.startswith("NotImplementedError"):
        raise UserError(
            f"{model}: ONNX Runtime GenAI's model builder does not know this architecture; leave the recipe "
            f"{precision} out for this model ({last})"
        )
    sys.stderr.write(done.stderr)
    raise UserError(f"{model}: ONNX Runtime GenAI's model builder failed: {last}")
