"""Recipe step sparsify: sets the smallest weights to zero in place. Ordinary kernels do not get faster by it."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from greenllm.compression.settings import Removed
from greenllm.errors import UserError
from greenllm.recipes.step import Job, Step


class Sparsify(Step):
    """Unstructured pruning, the negative control: parameters, bytes, precision and time stay the same."""

    key: ClassVar[str] = "sparsify"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    keeps_widths: ClassVar[bool] = True
    made_on_cpu: ClassVar[bool] = True

    share: Removed = Field(description="Share of each linear layer's weights to set to zero, the smallest first.")

    def make(self, job: Job) -> None:
        """Write the sparse model; no work is reported, since the model computes nothing here."""
        from greenllm.compression.models import describe, load, report
        from greenllm.model_folder.manifest import read_manifest
        from greenllm.model_folder.weights import save_weights

        parent = job.needed_parent()
        model = load(parent, "auto")
        before = _nonzero(model)
        _zero_smallest(model, self.share, parent)
        with job.writing() as folder:
            save_weights(model, folder)
            describe(folder, parent, engine="transformers", precision=read_manifest(parent).precision or "fp32")
            nonzero = {"before": before, "after": _nonzero(model)}
            report(folder, parent, recipe="sparse", share=self.share, nonzero_parameters=nonzero)


def _zero_smallest(model: Any, share: float, folder: Path) -> None:
    """Set the smallest weights of each linear layer to zero (by magnitude: Han et al. 2015, arXiv 1506.02626).

    An output layer that shares its weights with the embedding is left unchanged.
    """
    from torch import nn
    from torch.nn.utils import prune

    embedding = model.get_input_embeddings().weight
    layers = [module for module in model.modules() if isinstance(module, nn.Linear) and module.weight is not embedding]
    if not layers:
        raise UserError(f"{folder}: no linear layers in this architecture; leave the recipe out for this model")
    for layer in layers:
        prune.l1_unstructured(layer, "weight", amount=share)  # type: ignore[no-untyped-call]
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]


def _nonzero(model: Any) -> int:
    return sum(int(weight.count_nonzero()) for weight in model.parameters())
