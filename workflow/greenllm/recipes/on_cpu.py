"""Recipe step device: the same weights, computed on the CPU. It shows what the device alone saves or costs."""

from typing import ClassVar, Literal

from pydantic import Field

from greenllm.compression.settings import WithShortForm
from greenllm.recipes.step import Job, Step


class OnCpu(WithShortForm, Step):
    """Compute with the parent's weights on the CPU, also where there is a GPU; `device: cpu` is the short form."""

    key: ClassVar[str] = "device"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    keeps_widths: ClassVar[bool] = True
    final: ClassVar[bool] = True
    only_moves: ClassVar[bool] = True
    short_form: ClassVar[str] = "use"

    use: Literal["cpu"] = Field(description="PyTorch on the CPU.")

    @property
    def on_cpu(self) -> bool:
        """That is the step."""
        return True

    def make(self, job: Job) -> None:
        """Write the model, whose manifest names the device; no work is reported, since it computes nothing here.

        Where the CPU computes in bf16 only by emulation, bf16 weights keep their values and are computed with in fp32.
        """
        import torch

        from greenllm.compression.models import describe, load, report
        from greenllm.model_folder.manifest import read_manifest
        from greenllm.model_folder.weights import save_weights
        from greenllm.training.device import has_bf16

        parent = job.needed_parent()
        bf16 = read_manifest(parent).precision == "bf16" and has_bf16(on_gpu=False)
        model = load(parent, torch.bfloat16 if bf16 else None)
        with job.writing() as folder:
            save_weights(model, folder)
            describe(folder, parent, engine="transformers", precision="bf16" if bf16 else "fp32", device="cpu")
            report(folder, parent, recipe="on the CPU")
