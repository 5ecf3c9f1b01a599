"""The fingerprint of a training: only checkpoints with the same one are resumed."""

from dataclasses import asdict
from pathlib import Path

import torch

from greenllm.config.models import Training
from greenllm.files import sha256_of
from greenllm.training import checkpoints
from greenllm.training.method import Method
from greenllm.training.model_sizes import Decoder
from greenllm.training.trainer import Run


def fingerprint_of(
    settings: Training, run: Run, data: Path, model: Decoder | None, parent: Path | None, method: Method
) -> str:
    """Return the fingerprint of everything that the weights depend on."""
    return checkpoints.fingerprint(
        {
            "settings": settings.model_dump(),
            "model": asdict(model) if model and not parent else None,
            "parent": hashes_of(parent) if parent else None,
            "method": method.depends_on,
            "data": [sha256_of(data / name) for name in ("train.parquet", "validation.parquet")],
            "tokenizer": sha256_of(data / "tokenizer" / "tokenizer.json"),
            "run": [run.seed, run.threads, run.on_gpu, run.precision],
            "torch": torch.__version__,
        }
    )


def hashes_of(model: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a model folder, by name."""
    return {file.name: sha256_of(file) for file in sorted(model.glob("*.*"))}
