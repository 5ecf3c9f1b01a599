"""Recipes, and the whole configuration: a recipe has a key for each step in `recipes/`."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from greenllm.config.models import (
    Decision,
    Deployment,
    Evaluation,
    Experiment,
    Metering,
    Resources,
    Site,
    Training,
    TrainingOverride,
)
from greenllm.config.section import Name, Strict, UserPath
from greenllm.recipes import STEPS, Step


class RecipeSteps(Strict):
    """One way to a model: a step upon its parent, or upon the experiment's own model."""

    parent: Name | None = Field(None, alias="from", description="The recipe whose model this one starts from.")
    train: TrainingOverride | None = Field(None, description="Train, with these settings instead of the defaults.")
    recover: TrainingOverride | None = Field(None, description="After pruning: train again, with these settings.")

    @property
    def steps(self) -> list[Step]:
        """What the recipe does, by its keys beside `train`; a sound recipe has one at most."""
        return [step for key in STEPS if key != "train" and (step := getattr(self, key)) is not None]

    @property
    def step(self) -> Step | None:
        """What the recipe does to its parent: None where it takes a model as it is."""
        if steps := self.steps:
            return steps[0]
        return STEPS["train"]() if self.train is not None else None

    @property
    def training(self) -> TrainingOverride:
        """The recipe's own training settings."""
        return self.recover or self.train or TrainingOverride()


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


class Config(Strict):
    """A GreenLLM study."""

    results: UserPath = Field("results", min_length=1, description="Folder for everything computed.")
    data_folder: UserPath = Field(".", description="Folder that relative paths of `file` data start from.")
    device: Literal["auto", "cpu", "require"] = Field(
        "auto", description="`auto` uses a GPU where there is one, `cpu` never, `require` refuses to run without."
    )
    experiments: dict[Name, Experiment] = Field(min_length=1, description="The experiments, by name.")
    recipes: dict[Name, Recipe] = Field(min_length=1, description="The recipes, by name.")
    train: Training = Training()
    evaluate: Evaluation = Evaluation()
    deploy: Deployment = Deployment()
    decision: Decision = Decision()
    resources: Resources = Resources()
    site: Site = Site()
    meter: Metering = Metering()
