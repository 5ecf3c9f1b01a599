"""What a configuration asks for: what each recipe does, and where each model lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from greenllm.config.models import Config, Decision, Deployment, Evaluation, Experiment, Recipe, Training
from greenllm.config.section import overridden
from greenllm.serving.addresses import is_endpoint


def python_of(environment: str) -> Path:
    """Return the Python of an environment that stands beside the project's own, in the root of the repository."""
    return Path(__file__).parents[2] / f".venv-{environment}/bin/python"


@dataclass(frozen=True)
class Plan:
    """The jobs of a study, read from its configuration."""

    config: Config

    def recipes(self, experiment: str) -> list[str]:
        """Return an experiment's recipes and those they are made from, these first."""
        found: list[str] = []
        for name in self.config.experiments[experiment].recipes:
            found.extend(ancestor for ancestor in self.lineage(name) if ancestor not in found)
        return found

    def lineage(self, recipe: str) -> list[str]:
        """Return the recipe with all that it is made from, each once, the oldest first."""
        found: list[str] = []
        for needed in self.needs(recipe):
            found.extend(name for name in self.lineage(needed) if name not in found)
        return [*found, recipe]

    def needs(self, recipe: str) -> list[str]:
        """Return the recipes whose models a recipe reads: its parent, and others such as a teacher."""
        chosen = self.config.recipes[recipe]
        return [*([chosen.parent] if chosen.parent else []), *(chosen.step.others if chosen.step else ())]

    def made_by(self, stage: str) -> list[str]:
        """Return the recipes whose step is of a stage: train or compress."""
        return [name for name, recipe in self.config.recipes.items() if recipe.step and recipe.step.stage == stage]

    def compared(self) -> Iterator[tuple[str, str, int]]:
        """Yield experiment, recipe and seed of each model that is evaluated and deployed."""
        for name, experiment in self.config.experiments.items():
            for recipe in experiment.recipes:
                for seed in experiment.seeds:
                    yield name, recipe, seed

    def starts_from_source(self, experiment: str) -> bool:
        """Say whether the experiment starts from a model that somebody trained before."""
        return self.config.experiments[experiment].model.init != "scratch"

    def runs_elsewhere(self, experiment: str) -> bool:
        """Say whether the experiment's model runs already, behind an endpoint: it has no weights or tokenizer here."""
        return is_endpoint(self.config.experiments[experiment].model.init)

    def model_folder(self, experiment: str, recipe: str | None, seed: str) -> str | None:
        """Return the folder of a recipe's model below the results, as a pattern with the pathvar `<results>`.

        `recipe` None is the model that the experiment starts from: a folder, or None where that is from scratch.
        """
        if recipe is None or self.config.recipes[recipe].step is None:
            return f"<results>/models/{experiment}/source" if self.starts_from_source(experiment) else None
        return f"<results>/models/{experiment}/{recipe}/seed-{seed}/model"

    def parent_folder(self, experiment: str, recipe: str, seed: str) -> str | None:
        """Return the folder of the model that a recipe starts from, None where it starts from scratch."""
        return self.model_folder(experiment, self.config.recipes[recipe].parent, seed)

    def other_folders(self, experiment: str, recipe: str, seed: str) -> dict[str, str]:
        """Return the folders of the other models that a recipe's step reads, by recipe."""
        step = self.config.recipes[recipe].step
        names = step.others if step else ()
        return {name: folder for name in names if (folder := self.model_folder(experiment, name, seed))}

    def on_cpu(self, recipe: str) -> bool:
        """Say whether a recipe's model runs on the CPU alone."""
        step = self.config.recipes[recipe].step
        return self.config.device == "cpu" or (step is not None and step.on_cpu)

    def gpus(self, stage: str, recipe: str | None) -> int:
        """Return the GPUs that a stage leases for a recipe: none where the study or the recipe's engine uses the CPU.

        A GPU that is leased belongs to its holder, idle or not: one that an engine can't use would be charged to it.
        """
        asked: int = getattr(self.config.resources, stage).gpu
        return 0 if self.config.device == "cpu" or (recipe is not None and self.on_cpu(recipe)) else asked

    def device(self, recipe: str) -> str:
        """Return the device that a recipe's stages are told: its engine may run on the CPU alone."""
        return "cpu" if self.on_cpu(recipe) else self.config.device

    def python(self, recipe: str) -> str:
        """Return the Python that makes and runs a recipe's model: the project's own, or that of an environment."""
        step = self.config.recipes[recipe].step
        return str(python_of(step.environment)) if step and step.environment else "python"

    def training(self, experiment: str, recipe: str) -> Training:
        """Return the training settings: the study's, then the experiment's, then the recipe's own on top."""
        return overridden(self.config.train, self.experiment(experiment).train, self.recipe(recipe).training)

    def evaluation(self, experiment: str) -> Evaluation:
        """Return how quality is measured: as the study says, with the experiment's own on top."""
        return overridden(self.config.evaluate, self.experiment(experiment).evaluate)

    def deployment(self, experiment: str) -> Deployment:
        """Return how a served model is measured: as the study says, with the experiment's own on top."""
        return overridden(self.config.deploy, self.experiment(experiment).deploy)

    def decision(self, experiment: str) -> Decision:
        """Return what a recipe must reach: as the study says, with the experiment's own on top."""
        return overridden(self.config.decision, self.experiment(experiment).decision)

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by name."""
        return self.config.experiments[name]

    def recipe(self, name: str) -> Recipe:
        """Return a recipe by name."""
        return self.config.recipes[name]
