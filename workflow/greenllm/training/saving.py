"""A trained model as a folder: weights, tokenizer, greenllm.json and training.json."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from greenllm.model_folder.inspection import manifest_of
from greenllm.model_folder.weights import make_readable, save_weights
from greenllm.training import checkpoints

if TYPE_CHECKING:
    from greenllm.training.job import Job
    from greenllm.training.train import Trained

# Folder of a low-rank adapter, beside the model that it is merged into.
ADAPTER = "adapter"


def save(trained: "Trained", job: "Job", adapter: Callable[[Path], None] | None = None) -> None:
    """Write a trained model to `job.out` and remove the job's checkpoints.

    `adapter` writes the weights that were trained, if those are not the whole model, to the folder `ADAPTER` in it.

    Raises UserError if the disk is full; the checkpoints are kept then.
    """
    with job.writing() as folder:
        try:
            save_weights(trained.model, folder)
            if adapter:
                (folder / ADAPTER).mkdir()
                adapter(folder / ADAPTER)
                make_readable(folder / ADAPTER)
            shutil.copytree(job.needed_data() / "tokenizer", folder, dirs_exist_ok=True)
            manifest_of(folder).write(folder)
            trained.report.write(folder / "training.json")
        except (OSError, RuntimeError) as error:
            needed = 4 * (trained.report.parameters or 0)
            if not checkpoints.no_space(error, folder, needed):
                raise
            raise checkpoints.no_space_error(
                job.out.parent, "the model", needed, "make room and run again: the training is kept"
            ) from None
    checkpoints.remove(job.needed_checkpoints())
