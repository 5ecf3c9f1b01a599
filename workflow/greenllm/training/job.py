"""The inputs, settings and output folder of one recipe step."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from greenllm.errors import UserError
from greenllm.files import replacing_folder

if TYPE_CHECKING:
    from greenllm.config.models import Model, Training
    from greenllm.device_choice import DeviceChoice
    from greenllm.training.method import Method
    from greenllm.training.model_sizes import Decoder
    from greenllm.training.planned_batches import Work
    from greenllm.training.train import Trained


@dataclass(frozen=True)
class Job:
    """Inputs and settings of a recipe step, which writes its model to `out` by `writing`."""

    out: Path
    stage: Literal["train", "compress"]  # the command that runs the step
    training: "Training"  # the study's settings, overridden by the experiment and the recipe
    parent: Path | None = None  # folder of the model to start from; None: from scratch
    model: "Model | None" = None  # size and context of a model from scratch
    others: Mapping[str, Path] = field(default_factory=dict)  # model folders of the recipes in `Step.others`
    data: Path | None = None  # folder that `greenllm preprocess` wrote
    checkpoints: Path | None = None  # where an interrupted training resumes
    seed: int = 1
    threads: int = 1
    device: "DeviceChoice" = "auto"
    report_work: "Callable[[Work], None]" = lambda work: None  # called with the work done so far

    @property
    def inputs(self) -> tuple[Path | None, ...]:
        """The folders that the step reads."""
        return (self.parent, self.data, self.checkpoints, *self.others.values())

    def writing(self) -> AbstractContextManager[Path]:
        """Yield an empty folder to write the model to; it replaces `out` on success and is removed on failure."""
        return replacing_folder(self.out, self.stage)

    def needed_parent(self) -> Path:
        """Return the parent's folder; raise UserError if there is none."""
        if self.parent is None:
            raise UserError("--from: is missing; expected the folder of the model to start from")
        return self.parent

    def needed_data(self) -> Path:
        """Return the data's folder; raise UserError if there is none."""
        if self.data is None:
            raise UserError("--data: is missing; expected the folder that `greenllm preprocess` wrote")
        return self.data

    def needed_checkpoints(self) -> Path:
        """Return the folder for checkpoints; raise UserError if there is none."""
        if self.checkpoints is None:
            raise UserError("--checkpoints: is missing; expected a folder from which a killed training resumes")
        return self.checkpoints

    def train(
        self, *, model: "Decoder | None" = None, parent: Path | None = None, method: "Method | None" = None
    ) -> "Trained":
        """Train on the job's data with its settings; see `training.train`."""
        from greenllm.training.train import train

        return train(
            self.training,
            data=self.needed_data(),
            checkpoint_folder=self.needed_checkpoints(),
            seed=self.seed,
            threads=self.threads,
            device=self.device,
            model=model,
            parent=parent,
            method=method,
            report_work=self.report_work,
        )
