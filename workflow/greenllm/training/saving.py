"""A trained model as a folder: weights, tokenizer, greenllm.json and training.json."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from greenllm.files import write_json
from greenllm.model_folder.written import manifest
from greenllm.training import checkpoints

if TYPE_CHECKING:
    from greenllm.training.job import Job
    from greenllm.training.train import Trained

# Folder of a low-rank adapter, beside the model that it is merged into.
ADAPTER = "adapter"


def save(trained: "Trained", job: "Job", adapter: Callable[[Path], None] | None = None) -> None:
    """Write a trained model to `job.out` and remove the job's checkpoints.

    `adapter` writes what was trained, where that is not the whole model, to the folder `ADAPTER` in it.

    Raises UserError where the disk is full; the checkpoints are kept then.
    """
    with job.writing() as folder:
        try:
            trained.model.save_pretrained(folder)
            if adapter:
                (folder / ADAPTER).mkdir()
                adapter(folder / ADAPTER)
            for file in folder.rglob("*.safetensors"):
                file.chmod(0o644)  # safetensors leaves it to its owner alone
            shutil.copytree(job.needed_data() / "tokenizer", folder, dirs_exist_ok=True)
            write_json(folder / "greenllm.json", manifest(folder, engine="transformers", precision="fp32"))
            write_json(folder / "training.json", trained.report)
        except (OSError, RuntimeError) as error:
            needed = 4 * trained.report["parameters"]
            if not checkpoints.no_space(error, folder, needed):
                raise
            raise checkpoints.no_space_error(
                job.out.parent, "the model", needed, "make room and run again: the training is kept"
            ) from None
    checkpoints.remove(job.needed_checkpoints())
