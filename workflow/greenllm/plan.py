"""What a configuration asks for: what each recipe does, and where each model lies."""

from collections.abc import Iterator
from dataclasses import dataclass

from greenllm.config.models import Config, Experiment, Recipe, Training, TrainingOverride


@dataclass(frozen=True)
class Plan:
    """The jobs of a study, read from its configuration."""

    config: Config

    def recipes(self, experiment: str) -> list[str]:
        """Return an experiment's recipes and the parents they need, parents first."""
        found: list[str] = []
        for name in self.config.experiments[experiment].recipes:
            found.extend(ancestor for ancestor in self.lineage(name) if ancestor not in found)
        return found

    def lineage(self, recipe: str) -> list[str]:
        """Return the recipe with its ancestors, the oldest first."""
        parent = self.config.recipes[recipe].parent
        return [*self.lineage(parent), recipe] if parent else [recipe]

    def trained(self) -> list[str]:
        """Return the recipes that train."""
        return [name for name, recipe in self.config.recipes.items() if recipe.train is not None]

    def compressed(self) -> list[str]:
        """Return the recipes that compress."""
        return [name for name, recipe in self.config.recipes.items() if recipe.quantize is not None]

    def compared(self) -> Iterator[tuple[str, str, int]]:
        """Yield experiment, recipe and seed of each model that is evaluated and deployed."""
        for name, experiment in self.config.experiments.items():
            for recipe in experiment.recipes:
                for seed in experiment.seeds:
                    yield name, recipe, seed

    def starts_from_source(self, experiment: str) -> bool:
        """Say whether the experiment starts from a model that somebody trained before."""
        return self.config.experiments[experiment].model.init != "scratch"

    def model_folder(self, experiment: str, recipe: str | None, seed: str) -> str | None:
        """Return the folder of a recipe's model below the results, as a pattern with the pathvar `<results>`.

        `recipe` None is the model that the experiment starts from: a folder, or None where that is from scratch.
        """
        step = self.config.recipes[recipe] if recipe else None
        if step is None or (step.parent is None and step.train is None and step.quantize is None):
            return f"<results>/models/{experiment}/source" if self.starts_from_source(experiment) else None
        return f"<results>/models/{experiment}/{recipe}/seed-{seed}/model"

    def parent_folder(self, experiment: str, recipe: str, seed: str) -> str | None:
        """Return the folder of the model that a recipe starts from, None where it starts from scratch."""
        return self.model_folder(experiment, self.config.recipes[recipe].parent, seed)

    def gpus(self, stage: str, recipe: str | None) -> int:
        """Return the GPUs that a stage leases for a recipe: none where the study or the recipe's engine uses the CPU.

        A GPU that is leased belongs to its holder, idle or not: one that an engine can't use would be charged to it.
        """
        asked: int = getattr(self.config.resources, stage).gpu
        on_cpu = self.config.device == "cpu" or (recipe is not None and self.recipe(recipe).quantize is not None)
        return 0 if on_cpu else asked

    def device(self, recipe: str) -> str:
        """Return the device that a recipe's stages are told: its engine may run on the CPU alone."""
        return "cpu" if self.recipe(recipe).quantize is not None else self.config.device

    def training(self, experiment: str, recipe: str) -> Training:
        """Return the training settings: the study's, then the experiment's, then the recipe's own on top."""
        settings = self.config.train.model_dump()
        for override in (self.experiment(experiment).train, self.recipe(recipe).train or TrainingOverride()):
            # null leaves a setting as it is; only patience has a meaning for it
            given = override.model_dump(exclude_unset=True).items()
            settings.update({name: value for name, value in given if value is not None or name == "patience"})
        return Training(**settings)

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by name."""
        return self.config.experiments[name]

    def recipe(self, name: str) -> Recipe:
        """Return a recipe by name."""
        return self.config.recipes[name]
