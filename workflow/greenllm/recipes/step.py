"""What a recipe's step is: settings that stand in the configuration, and what they do to a model."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from greenllm.config.section import Strict
from greenllm.training.job import Job

if TYPE_CHECKING:
    from greenllm.config.models import Experiment

__all__ = ["Job", "Step"]


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
