"""ONNX Runtime GenAI's model builder: weights for its CPU engine, unchanged or quantised in blocks."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from greenllm.compression.last_token import write_last_token_graph
from greenllm.errors import UserError
from greenllm.model_folder.manifest import Precision


def build(model: Path, out: Path, *, precision: Precision, options: Mapping[str, object], threads: int) -> None:
    """Write a Hugging Face model folder as an ONNX Runtime GenAI folder for the CPU, with weights in `precision`.

    `options` are the builder's extra options, such as algo_config and block_size. For int8 and int4 the default is
    symmetric, round to nearest, one scale for each block of 32 weights; activations are quantised to int8 on the fly
    (the builder's default for the CPU: MatMulNBits with accuracy level 4). fp32 quantises nothing. Nothing is
    downloaded. A graph of the last token's logits is added, with which the engine answers.

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
        write_last_token_graph(out)
        return
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if last.startswith("NotImplementedError"):
        raise UserError(
            f"{model}: ONNX Runtime GenAI's model builder does not know this architecture; leave the recipes "
            f"of ONNX Runtime out for this model ({last})"
        )
    sys.stderr.write(done.stderr)
    raise UserError(f"{model}: ONNX Runtime GenAI's model builder failed: {last}")
