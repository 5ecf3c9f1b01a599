"""Interface of a recipe step: its settings in the configuration, and how it makes a model."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from greenllm.config.section import Strict
from greenllm.training.job import Job

if TYPE_CHECKING:
    from greenllm.config.models import Experiment
    from greenllm.recipes.exported import Export

__all__ = ["Job", "Step"]


class Step(Strict):
    """One way to make a model from another, or from nothing.

    A subclass in a file of this folder adds its `key` to recipes, with its fields as the settings. Heavy libraries are
    imported in `make`, since every job imports the subclass to read the configuration.
    """

    key: ClassVar[str]
    stage: ClassVar[Literal["train", "compress"]]
    # The key beside it in the recipe with its training settings; None if it does not train.
    trains_by: ClassVar[Literal["train", "recover"] | None] = None
    # Whether it can make a model without a parent.
    from_scratch: ClassVar[bool] = False
    # Whether it reads the model of a parent. One that does not would be charged for the parent's energy.
    takes_parent: ClassVar[bool] = True
    # Whether its model has a context that limits prompt and answer.
    has_context: ClassVar[bool] = True
    # Whether its model's layers are as wide as the parent's, or as the experiment's size.
    keeps_widths: ClassVar[bool] = False
    # Whether no further step can start from its model.
    final: ClassVar[bool] = False
    # Whether it changes nothing but the engine or the device that computes.
    only_moves: ClassVar[bool] = False
    # Whether the step itself needs only the CPU: an idle GPU that it leased would count as its energy.
    made_on_cpu: ClassVar[bool] = False

    @property
    def others(self) -> tuple[str, ...]:
        """Names of further recipes whose models it reads, such as a teacher."""
        return ()

    @property
    def on_cpu(self) -> bool:
        """Whether its model runs only on the CPU: an idle GPU that it leased would count as its energy."""
        return False

    @property
    def environment(self) -> str | None:
        """Name of the Python environment for the step and its model (`.venv-<name>`); None for the project's own."""
        return None

    @property
    def changes(self) -> str | None:
        """What it changes of its parent's model, in one word, such as int8; None: the recipe's name says it."""
        return None

    def engine_alone(self) -> "Export | None":
        """Return the step that moves its parent's model to the same engine and changes nothing else.

        The recipe of that step is the control of a recipe that changes more. None if the engine stays transformers,
        which every parent has.
        """
        return None

    def check(self, experiment: "Experiment", before: "Sequence[Step]") -> None:
        """Raise UserError if the configuration alone shows that the step is impossible in an experiment.

        A mistake found here costs nothing; `make` would find it after the steps `before` have used their energy.
        """

    @abstractmethod
    def make(self, job: Job) -> None:
        """Write the model folder `job.out`, with its `greenllm.json`; raise UserError if the input does not fit."""
