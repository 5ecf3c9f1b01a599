"""Recipes and the whole configuration. A recipe has a key for each step that a file in `recipes/` defines."""

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, create_model, model_validator

from greenllm.config.models import (
    Decision,
    Deployment,
    Evaluation,
    Experiment,
    Metering,
    OwnEquipment,
    Report,
    Resources,
    Site,
    Training,
)
from greenllm.config.policy import Policy
from greenllm.config.section import Name, Override, Strict, UserPath
from greenllm.device_choice import DeviceChoice
from greenllm.recipes import STEPS, Step
from greenllm.study.controls import with_controls


class RecipeSteps(Strict):
    """How a model is made: a step applied to its parent's model, or to the model that the experiment starts from."""

    parent: Name | None = Field(None, alias="from", description="The recipe whose model this one starts from.")
    train: Override[Training] | None = Field(None, description="Train, with these settings instead of the defaults.")
    recover: Override[Training] | None = Field(None, description="After pruning: train again with these settings.")

    @property
    def steps(self) -> list[Step]:
        """The steps that the recipe names, `train` excepted; a valid recipe has at most one."""
        return [step for key in STEPS if key != "train" and (step := getattr(self, key)) is not None]

    @property
    def step(self) -> Step | None:
        """The step applied to the parent's model; None if the recipe takes a model unchanged."""
        if steps := self.steps:
            return steps[0]
        return STEPS["train"]() if self.train is not None else None

    @property
    def training(self) -> Override[Training]:
        """The training settings that the recipe sets."""
        return self.recover or self.train or Override[Training]()


def _fields_of_steps() -> dict[str, Any]:
    """Return a field for each step that a file in `recipes/` defines."""
    described = {key: (step.__doc__ or "").splitlines()[0] for key, step in STEPS.items() if key != "train"}
    return {key: (STEPS[key] | None, Field(None, description=text)) for key, text in described.items()}


if TYPE_CHECKING:

    class Recipe(RecipeSteps):
        """A recipe with the keys of all steps."""

        def __init__(self, **keys: Any) -> None: ...
else:
    Recipe = create_model("Recipe", __base__=RecipeSteps, __doc__=RecipeSteps.__doc__, **_fields_of_steps())


class WrittenConfig(Strict):
    """A GreenLLM study, as the user wrote it."""

    results: UserPath = Field("results", min_length=1, description="Folder for everything computed.")
    data_folder: UserPath = Field(".", description="Folder that relative paths of `file` data are relative to.")
    device: DeviceChoice = Field(
        "auto", description="`auto` uses a GPU if there is one, `cpu` never does, `require` refuses to run without one."
    )
    experiments: dict[Name, Experiment] = Field(min_length=1, description="The experiments, by name.")
    recipes: dict[Name, Recipe] = Field(min_length=1, description="The recipes, by name.")
    train: Training = Training()
    evaluate: Evaluation = Evaluation()
    deploy: Deployment = Deployment()
    decision: Decision = Decision()
    resources: Resources = Resources()
    site: Site = Site()
    hardware: dict[Annotated[str, Field(min_length=1)], OwnEquipment] = Field(
        default_factory=dict,
        description="Embodied carbon and life of your equipment, by kind (processor, gpu, memory, disk, server) or by "
        "the name of a device, such as NVIDIA H100; the rest is from our tables.",
    )
    meter: Metering = Metering()
    policy: Policy = Policy()
    report: Report = Report()


class Config(WrittenConfig):
    """A GreenLLM study, with the controls that its recipes need."""

    def on_gpu(self) -> Self:
        """Return the study with the further controls that its recipes need where the measurements have a GPU.

        Raises ConfigError with a line for each control whose name another recipe has.
        """
        experiments, recipes = self._with_controls(on_gpu=self.device != "cpu")
        return self.model_copy(update={"experiments": experiments, "recipes": recipes})

    def _with_controls(self, *, on_gpu: bool) -> tuple[dict[str, Experiment], dict[str, Recipe]]:
        on_gpu = on_gpu and self.resources.measure.gpu > 0
        return with_controls(self.experiments, self.recipes, self.deploy, on_gpu=on_gpu)

    @model_validator(mode="after")
    def _add_controls(self) -> Self:
        # With `auto` only the host on which the workflow runs shows whether there is a GPU: `study/reservations.py`.
        experiments, recipes = self._with_controls(on_gpu=self.device == "require")
        # The object is frozen only once it is complete, as in a dataclass' __post_init__.
        object.__setattr__(self, "experiments", experiments)
        object.__setattr__(self, "recipes", recipes)
        return self
