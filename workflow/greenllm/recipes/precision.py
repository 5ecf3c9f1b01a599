"""Recipe step precision: weights and inference in bf16."""

from typing import ClassVar, Literal

from pydantic import Field

from greenllm.compression.settings import ByFormat
from greenllm.errors import UserError
from greenllm.recipes.step import Job, Step


class Precision(ByFormat, Step):
    """Store the weights in another precision and compute in it: `precision: bf16`."""

    key: ClassVar[str] = "precision"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    keeps_widths: ClassVar[bool] = True

    format: Literal["bf16"] = Field(description="Format of weights and arithmetic; the hardware must support it.")

    @property
    def changes(self) -> str | None:
        """The format of weights and arithmetic."""
        return self.format

    def make(self, job: Job) -> None:
        """Write the model with rounded weights; no work is reported, since the model computes nothing here."""
        import torch

        from greenllm.compression.models import describe, load, report
        from greenllm.model_folder.weights import save_weights
        from greenllm.training.device import has_bf16, prepare_device

        parent = job.needed_parent()
        on_gpu = prepare_device(job.device, job.threads)
        if not has_bf16(on_gpu):
            raise UserError(
                f"precision: bf16, but this {'GPU' if on_gpu else 'processor'} does not compute in it, and emulation "
                "would cost more than fp32; leave this recipe out here"
            )
        model = load(parent, torch.bfloat16).to("cuda" if on_gpu else "cpu")
        with job.writing() as folder:
            save_weights(model, folder)
            describe(folder, parent, engine="transformers", precision="bf16")
            report(folder, parent, recipe="bf16")
