"""Recipe step lora: train a low-rank adapter to the parent's frozen weights, and merge it into them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from greenllm.recipes.step import Job, Step
from greenllm.training.adapted_layers import FROM_SCRATCH, require_layers

if TYPE_CHECKING:
    from greenllm.config.models import Experiment


class Lora(Step):
    """Train only a low-rank adapter (LoRA), and merge it; settings in the recipe's `train`."""

    key: ClassVar[str] = "lora"
    stage: ClassVar[Literal["train", "compress"]] = "train"
    keeps_widths: ClassVar[bool] = True
    trains_by: ClassVar[Literal["train", "recover"] | None] = "train"

    rank: int = Field(8, ge=1, description="Rank of the matrix that is added to the weights of each layer.")
    alpha: float = Field(16, gt=0, description="The added matrix is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the adapter's inputs that training drops.")
    modules: list[str] | None = Field(
        None,
        min_length=1,
        description="Linear layers to adapt, such as q_proj; null adapts all in attention and feed-forward.",
    )

    def check(self, experiment: "Experiment", before: "Sequence[Step]") -> None:
        """Raise UserError if a model from scratch has no layer of such a name."""
        if experiment.model.init == "scratch":  # no step changes the names
            require_layers(self.modules or (), FROM_SCRATCH)

    def make(self, job: Job) -> None:
        """Write the merged model, the adapter in `adapter/`, and the error of merging in training.json."""
        from greenllm.training.adapter import adapt, merge
        from greenllm.training.method import Method
        from greenllm.training.saving import save

        settings = self.model_dump()
        method = Method(adapt=lambda network: adapt(network, **settings), depends_on={"lora": settings})
        trained = job.train(parent=job.needed_parent(), method=method)
        merged = merge(trained.model)
        report = trained.report.extended(adapter=settings | {"largest_difference": merged.largest_difference})
        save(replace(trained, model=merged.network, report=report), job, adapter=merged.adapter.save)
