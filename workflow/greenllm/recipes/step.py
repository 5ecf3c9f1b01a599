"""What a recipe's step is: settings that stand in the configuration, and what they do to a model."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from greenllm.config.section import Strict
from greenllm.errors import UserError
from greenllm.files import replacing_folder

if TYPE_CHECKING:
    from greenllm.config.models import Experiment, Model, Training
    from greenllm.training.device import Device
    from greenllm.training.method import Method
    from greenllm.training.sizes import Decoder
    from greenllm.training.train import Trained
    from greenllm.training.work import Work


@dataclass(frozen=True)
class Job:
    """What a step has to work with; what it makes goes to `out`, through `writing`."""

    out: Path
    stage: Literal["train", "compress"]  # the command that does it
    training: "Training"  # the study's settings, with the experiment's and the recipe's own on top
    parent: Path | None = None  # folder of the model that the step starts from; None from scratch
    model: "Model | None" = None  # from scratch: size and context
    others: Mapping[str, Path] = field(default_factory=dict)  # models of the recipes that `Step.others` names
    data: Path | None = None  # what `greenllm preprocess` wrote
    checkpoints: Path | None = None  # where an interrupted training leaves off
    seed: int = 1
    threads: int = 1
    device: "Device" = "auto"
    report_work: "Callable[[Work], None]" = lambda work: None  # told the work done so far

    @property
    def inputs(self) -> tuple[Path | None, ...]:
        """The folders that the step reads or goes on from."""
        return (self.parent, self.data, self.checkpoints, *self.others.values())

    def writing(self) -> AbstractContextManager[Path]:
        """Yield an empty folder to write the model to, which then takes the place of `out`, or is removed."""
        return replacing_folder(self.out, self.stage)

    def needed_parent(self) -> Path:
        """Return the parent's folder; raise UserError where there is none."""
        if self.parent is None:
            raise UserError("--from: is missing; expected the folder of the model to start from")
        return self.parent

    def needed_data(self) -> Path:
        """Return the data's folder; raise UserError where there is none."""
        if self.data is None:
            raise UserError("--data: is missing; expected the folder that `greenllm preprocess` wrote")
        return self.data

    def needed_checkpoints(self) -> Path:
        """Return the folder for checkpoints; raise UserError where there is none."""
        if self.checkpoints is None:
            raise UserError("--checkpoints: is missing; expected a folder from which a killed training resumes")
        return self.checkpoints

    def train(
        self, *, model: "Decoder | None" = None, parent: Path | None = None, method: "Method | None" = None
    ) -> "Trained":
        """Train on the job's data, as its settings say; see `training.train`."""
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


class Step(Strict):
    """One way to make a model from another, or from nothing.

    A file in this folder that defines a subclass adds the key `key` to recipes, with the subclass' fields as its
    settings. Heavy libraries are imported in `make`: the configuration is read by every job.
    """

    key: ClassVar[str]
    stage: ClassVar[Literal["train", "compress"]]
    # The recipe's key beside it that says how it trains; None where it does not.
    trains_by: ClassVar[Literal["train", "recover"] | None] = None
    # Whether it can start without a parent.
    from_scratch: ClassVar[bool] = False
    # Whether prompts and answers must fit into its model's context.
    has_context: ClassVar[bool] = True
    # Whether the layers of its result are as wide as the size that the experiment names, or as its parent's.
    keeps_widths: ClassVar[bool] = False
    # Whether no further step can start from its result.
    final: ClassVar[bool] = False
    # Whether it is made on the CPU, wherever its result runs: a GPU leased for the making would be charged to it idle.
    made_on_cpu: ClassVar[bool] = False

    @property
    def others(self) -> tuple[str, ...]:
        """Names of the recipes, beside the parent, whose models it reads: a teacher."""
        return ()

    @property
    def on_cpu(self) -> bool:
        """Whether its result runs on the CPU alone: a GPU leased for it would be charged to it idle."""
        return False

    @property
    def environment(self) -> str | None:
        """Name of the Python environment that it and its result need (`.venv-<name>`); None for the project's own."""
        return None

    def check(self, experiment: "Experiment", before: "Sequence[Step]") -> None:
        """Raise UserError where the configuration alone says that the step can't be done in an experiment.

        What is known here costs nothing; `make` would find it after the steps `before` were paid for.
        """
        return

    @abstractmethod
    def make(self, job: Job) -> None:
        """Write the model folder `job.out`, with its `greenllm.json`; raise UserError where the input does not fit."""
