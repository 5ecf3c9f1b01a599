"""Recipe step prune: heads, feed-forward neurons and layers removed by importance, then trained again."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from greenllm.compression.settings import Removed
from greenllm.compression.shares import remaining, shape_of
from greenllm.recipes.step import Job, Step
from greenllm.training.model_sizes import SIZES

if TYPE_CHECKING:
    from greenllm.compression.cutting import Kept
    from greenllm.compression.shares import Shape
    from greenllm.config.models import Experiment


class Prune(Step):
    """Structured pruning and training again (settings in `recover`): the result is an ordinary smaller model."""

    key: ClassVar[str] = "prune"
    stage: ClassVar[Literal["train", "compress"]] = "compress"
    trains_by: ClassVar[Literal["train", "recover"] | None] = "recover"

    structured: Removed | None = Field(
        None, description="Share of each layer's heads and of its feed-forward neurons to remove."
    )
    heads: Removed | None = Field(
        None, description="Share of the heads alone, in whole key-value groups; overrides `structured`."
    )
    feed_forward: Removed | None = Field(
        None, description="Share of the feed-forward neurons alone; overrides `structured`."
    )
    layers: Removed | None = Field(None, description="Share of the layers to remove whole.")
    calibration_rows: int = Field(256, ge=1, description="Training rows on which importance is measured.")

    @model_validator(mode="after")
    def _removes_something(self) -> Self:
        if not any((self.structured, self.heads, self.feed_forward, self.layers)):
            raise PydanticCustomError(
                "prune", "removes nothing; expected structured, heads, feed_forward or layers, such as 0.5"
            )
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The shares of heads, feed-forward neurons and layers to remove; 0 for what stays whole."""
        return {
            "heads": self.heads or self.structured or 0,
            "feed_forward": self.feed_forward or self.structured or 0,
            "layers": self.layers or 0,
        }

    def check(self, experiment: "Experiment", before: "Sequence[Step]") -> None:
        """Raise UserError if a share of a model from scratch is not a whole number of heads or layers."""
        # As in Quantize: of another model the shape is not known yet, and `make` checks it.
        if experiment.model.init == "scratch" and all(step.keeps_widths for step in before):
            remaining(shape_of(SIZES[experiment.model.size]), **self.shares)

    def make(self, job: Job) -> None:
        """Write the pruned model, trained again, with its training.json and compression.json.

        What is removed depends on parent, data and threads alone, so a killed training resumes with the same model.
        The work reported is that of the training, without the forward passes of the `calibration_rows`.
        """
        from greenllm.compression.cutting import choose, cut
        from greenllm.compression.importance import FORMULAS, calibration_rows, measure
        from greenllm.compression.llama_like import decoder_of
        from greenllm.compression.models import load, report
        from greenllm.model_folder.inspection import context_of
        from greenllm.model_folder.weights import save_weights
        from greenllm.training.device import be_deterministic, prepare_device
        from greenllm.training.parallel import this_rank
        from greenllm.training.saving import save

        parent, data = job.needed_parent(), job.needed_data()
        job.needed_checkpoints()  # checked before anything is computed
        on_gpu = prepare_device(job.device, job.threads)
        be_deterministic(on_gpu)
        decoder = decoder_of(load(parent).to("cuda" if on_gpu else "cpu"), parent)
        rows = calibration_rows(data, context_of(decoder.network.config, parent), self.calibration_rows)
        removed = self.shares
        kept = choose(measure(decoder, rows), decoder.shape, **removed)
        with tempfile.TemporaryDirectory() as place:
            rank = this_rank()
            smaller = rank.first(lambda: Path(place))
            if rank.is_first:
                save_weights(cut(decoder, kept), smaller)
            rank.wait()
            trained = job.train(parent=smaller)
        with job.writing() as folder:
            save(trained, replace(job, out=folder))
            report(
                folder,
                parent,
                recipe="pruned",
                shares=removed,
                importance={name: FORMULAS[name] for name, share in removed.items() if share},
                calibration_rows=len(rows),
                removed=_removed(kept, decoder.shape),
            )


def _removed(kept: "list[Kept]", shape: "Shape") -> list[dict[str, Any]]:
    """Return what was removed of each layer: the whole layer, or the indices of heads and the number of neurons."""
    by_layer = {one.layer: one for one in kept}
    heads = range(shape.groups * shape.heads_per_group)
    removed = []
    for layer in range(shape.layers):
        one = by_layer.get(layer)
        gone = [head for head in heads if one is None or head // shape.heads_per_group not in one.groups]
        neurons = shape.feed_forward - (len(one.neurons) if one else 0)
        removed.append({"layer": layer, "whole": one is None, "heads": gone, "feed_forward_neurons": neurons})
    return removed
