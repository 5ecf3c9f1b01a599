"""The jobs that a configuration asks for: what each recipe does, from which model, with which settings and GPUs."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from greenllm.config.models import Decision, Deployment, Evaluation, Experiment, Training
from greenllm.config.read import ConfigError, nearest
from greenllm.config.section import overridden
from greenllm.model_folder.addresses import is_endpoint
from greenllm.model_folder.manifest import EngineName
from greenllm.study import layout
from greenllm.study.controls import Control, ancestors, device_control, engine_alone, engine_control, is_on_cpu, moves
from greenllm.study.models import Config, Recipe

Of = TypeVar("Of")

USES_NO_GPU = ("collect", "preprocess", "deploy")


def python_of(environment: str) -> Path:
    """Return the Python of an additional environment, in the root of the repository."""
    return Path(__file__).parents[3] / f".venv-{environment}/bin/python"


def _interpreter_beside(server: str) -> str | None:
    """Return the Python of the environment that holds a server's command, None if the command is in none."""
    try:
        command = shutil.which(shlex.split(server)[0])
    except (ValueError, IndexError):  # the stage deploy reports it
        return None
    python = Path(command).with_name("python") if command else None
    return str(python) if python and python.is_file() else None


@dataclass(frozen=True)
class GpuJobs:
    """The jobs of one stage, experiment and recipe: the GPUs that each asks for, and those that it can use.

    `python` is the Python whose PyTorch computes there; None if it is unknown, as for some other servers.
    """

    stage: str
    experiment: str
    recipe: str
    asked: int
    usable: int
    python: str | None


@dataclass(frozen=True)
class Plan:
    """The jobs of a study, derived from its configuration.

    `without_gpu` holds the Pythons whose PyTorch can't compute on this host's GPUs: their jobs lease none.
    """

    config: Config
    without_gpu: frozenset[str] = frozenset()

    def recipes(self, experiment: str) -> list[str]:
        """Return an experiment's recipes and their ancestors, ancestors first."""
        compared = self.experiment(experiment).recipes
        return list(dict.fromkeys(ancestor for name in compared for ancestor in self.lineage(name)))

    def lineage(self, recipe: str) -> list[str]:
        """Return the recipe and all its ancestors, each once, the oldest first."""
        found: list[str] = []
        for needed in self.needs(recipe):
            found.extend(name for name in self.lineage(needed) if name not in found)
        return [*found, recipe]

    def needs(self, recipe: str) -> list[str]:
        """Return the recipes whose models a recipe reads: its parent, and others, such as a teacher."""
        chosen = self.recipe(recipe)
        return [*([chosen.parent] if chosen.parent else []), *(chosen.step.others if chosen.step else ())]

    def made_by(self, stage: str) -> list[str]:
        """Return the recipes whose step runs in a stage: train or compress."""
        return [name for name, recipe in self.config.recipes.items() if recipe.step and recipe.step.stage == stage]

    def compared(self) -> Iterator[tuple[str, str, int]]:
        """Yield experiment, recipe and seed of each model that is evaluated and deployed."""
        for name, experiment in self.config.experiments.items():
            for recipe in experiment.recipes:
                for seed in experiment.seeds:
                    yield name, recipe, seed

    def measured(self) -> Iterator[tuple[str, int]]:
        """Yield experiment and seed of each measurement: one measures all recipes of its experiment."""
        for name, experiment in self.config.experiments.items():
            for seed in experiment.seeds:
                yield name, seed

    def baseline(self, experiment: str) -> str:
        """Return the recipe that others are compared with: the one named baseline, else the first."""
        return self.experiment(experiment).baseline

    def baseline_first(self, experiment: str) -> list[str]:
        """Return the recipes that are compared, the baseline before the others."""
        baseline = self.baseline(experiment)
        return [baseline, *(one for one in self.experiment(experiment).recipes if one != baseline)]

    def twin(self, experiment: str) -> str | None:
        """Return the name of the baseline's second server, which shows how far equal servers differ; None without."""
        return f"{self.baseline(experiment)}~twin" if self._has_twin(experiment) else None

    def _has_twin(self, experiment: str) -> bool:
        return self.deployment(experiment).twin and not self.runs_elsewhere(experiment)

    def control(self, experiment: str, recipe: str) -> str | None:
        """Return the recipe that shows the effect of a recipe's engine alone: the same parent's model, moved to it.

        None for a recipe on the baseline's engine, for one that only changes the engine, and without a control.
        """
        if self._has_engine_of_baseline(experiment, recipe):
            return None
        return self._compared(experiment, engine_control(recipe, self.config.recipes))

    def device_control(self, experiment: str, recipe: str) -> str | None:
        """Return the recipe that shows the effect of a recipe's device alone: the model before it, on the CPU.

        None for a recipe that may use a GPU, if the baseline runs on the CPU as well, and without a control.
        """
        compared, recipes = self._places(experiment), self.config.recipes
        return self._compared(experiment, device_control(recipe, self.baseline(experiment), compared, recipes))

    def _compared(self, experiment: str, control: Control | None) -> str | None:
        """Return the experiment's first recipe that is a control; None if there is none."""
        if control is None:
            return None
        places = self._places(experiment)
        made = [name for name in self._moves.get(control.on(self.config.recipes), ()) if name in places]
        return min(made, key=places.__getitem__, default=None)

    @cached_property
    def _moves(self) -> dict[Control, list[str]]:
        return moves(self.config.recipes)

    def _places(self, experiment: str) -> dict[str, int]:
        """Return where each compared recipe is in the experiment's list."""
        if experiment not in self._places_by_experiment:
            recipes = self.experiment(experiment).recipes
            self._places_by_experiment[experiment] = {name: place for place, name in enumerate(recipes)}
        return self._places_by_experiment[experiment]

    @cached_property
    def _places_by_experiment(self) -> dict[str, dict[str, int]]:
        return {}

    def is_control(self, experiment: str, recipe: str) -> bool:
        """Return whether a recipe is the control of another: it shows the effect of the engine or the device alone."""
        if experiment not in self._controls_by_experiment:
            self._controls_by_experiment[experiment] = {
                control
                for other in self.experiment(experiment).recipes
                for control in (self.control(experiment, other), self.device_control(experiment, other))
                if control is not None and control != other
            }
        return recipe in self._controls_by_experiment[experiment]

    @cached_property
    def _controls_by_experiment(self) -> dict[str, set[str]]:
        return {}

    def path(self, experiment: str, recipe: str) -> list[str]:
        """Return the compared recipes on the way from the baseline to a recipe, both included.

        In between are the recipe's compared ancestors, then the last of these on the recipe's device, then the same on
        its engine, then its control, where they are compared. The ratio of the baseline to the recipe is the product of
        the ratios of the steps of this path; `changes` names what each changes.
        """
        baseline, compared = self.baseline(experiment), self._places(experiment)
        if recipe == baseline:
            return [baseline]
        alone, on_baselines = engine_alone(self.recipe(recipe)), self._has_engine_of_baseline(experiment, recipe)
        if alone is not None and on_baselines:
            return [baseline, recipe]  # the way over another engine and back would explain nothing
        before = ancestors(recipe, baseline, compared, self.config.recipes)
        between = [*before, self.device_control(experiment, recipe)]
        if alone is not None:
            moved = self._compared(experiment, Control(before[-1], alone))
            between += [moved, self.control(experiment, recipe)]
        return list(dict.fromkeys(name for name in [*between, recipe] if name is not None))

    def changes(self, before: str, after: str, *, device: bool = False) -> str:
        """Return in a few words how one recipe's model differs from another's: engine, int8, engine and int8.

        `device`: whether they were measured on different devices, which only the measurement shows.
        """
        shared, chain = self._parents(before), self._parents(after)
        words = ["engine"] if engine_alone(self.recipe(before)) != engine_alone(self.recipe(after)) else []
        words += ["device"] if device else []
        new = [name for name in self._numerics(chain) if name not in shared]
        words += [self._word(name) for name in new]
        if not new and self._numerics(shared) != self._numerics(chain):  # `before` does more than `after`
            unmoved = [name for name in chain if not self._only_moves(name)]
            words.append(unmoved[-1] if unmoved else layout.SOURCE)
        return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or after

    def _parents(self, recipe: str) -> list[str]:
        """Return the chain of parents of a recipe, the oldest first, and the recipe."""
        parent = self.recipe(recipe).parent
        return [*(self._parents(parent) if parent else []), recipe]

    def _only_moves(self, recipe: str) -> bool:
        """Return whether a recipe only moves its parent's model to another engine or device."""
        step = self.recipe(recipe).step
        return step is not None and step.only_moves

    def _numerics(self, chain: list[str]) -> list[str]:
        """Return those recipes of a chain that change what the model computes."""
        return [name for name in chain if self.recipe(name).step is not None and not self._only_moves(name)]

    def _word(self, recipe: str) -> str:
        """Return what a recipe changes, in a word."""
        step = self.recipe(recipe).step
        return (step.changes if step else None) or recipe

    def _has_engine_of_baseline(self, experiment: str, recipe: str) -> bool:
        """Return whether a recipe's model runs on the baseline's engine."""
        return engine_alone(self.recipe(recipe)) == engine_alone(self.recipe(self.baseline(experiment)))

    def starts_from_source(self, experiment: str) -> bool:
        """Return whether the experiment starts from a model that exists already."""
        return self.experiment(experiment).model.init != "scratch"

    def runs_elsewhere(self, experiment: str) -> bool:
        """Return whether the experiment's model runs behind an endpoint: no weights and no tokenizer are here."""
        return is_endpoint(self.experiment(experiment).model.init)

    def context(self, experiment: str) -> int | None:
        """Return the context length (tokens) of the experiment's models; None if none is trained from scratch."""
        steps = [self.recipe(recipe).step for recipe in self.recipes(experiment)]
        if self.starts_from_source(experiment) or not any(step is not None and step.has_context for step in steps):
            return None
        return self.experiment(experiment).model.context

    def source_keys(self, experiment: str) -> set[str]:
        """Return the keys of the experiment's `model` that are needed to fetch its source or to ask its endpoint."""
        if self.runs_elsewhere(experiment):
            return {"init", "served_name", "chat", "system", "key_variable", "cgroup"}
        return {"init", "revision", "chat"}

    def engines_of_source(self, experiment: str) -> tuple[EngineName, ...]:
        """Return the engines, beside transformers, that run the model that the experiment starts from.

        A recipe that reads another model as well, as a distilled one does, makes a network of its own.
        """
        if not self.starts_from_source(experiment) or self.runs_elsewhere(experiment):
            return ()
        for name in self.recipes(experiment):
            steps = [self.recipe(one).step for one in self.lineage(name)]
            if engine_alone(self.recipe(name)) and not any(step is not None and step.others for step in steps):
                return ("onnxruntime-genai",)
        return ()

    def made_folders(self) -> Iterator[Path]:
        """Yield the folders that the study replaces, with all their content."""
        results = self.config.results
        for experiment in self.config.experiments:
            yield from (layout.located(one, results, experiment=experiment) for one in layout.MADE_FOR_EXPERIMENT)
            for recipe in self.config.recipes:
                for one in layout.MADE_FOR_RECIPE:
                    yield layout.located(one, results, experiment=experiment, recipe=recipe)
        yield from (layout.located(one, results) for one in layout.MADE_ONCE)

    def model_folder(self, experiment: str, recipe: str | None, seed: str) -> str | None:
        """Return the folder of a recipe's model, as a pattern with the pathvar `<results>` (study/layout.py).

        With `recipe` None, return the folder of the experiment's source model. None if there is no such model.
        """
        if recipe is None or self.recipe(recipe).step is None:
            return layout.SOURCE_MODEL.format(experiment=experiment) if self.starts_from_source(experiment) else None
        return layout.MODEL.format(experiment=experiment, recipe=recipe, seed=seed)

    def parent_folder(self, experiment: str, recipe: str, seed: str) -> str | None:
        """Return the folder of the model that a recipe starts from, None if it starts from scratch."""
        return self.model_folder(experiment, self.recipe(recipe).parent, seed)

    def other_folders(self, experiment: str, recipe: str, seed: str) -> dict[str, str]:
        """Return the folders of the other models that a recipe's step reads, by recipe."""
        step = self.recipe(recipe).step
        names = step.others if step else ()
        return {name: folder for name in names if (folder := self.model_folder(experiment, name, seed))}

    def on_cpu(self, recipe: str) -> bool:
        """Return whether a recipe's model runs only on the CPU."""
        return self.config.device == "cpu" or is_on_cpu(self.recipe(recipe))

    def gpus(self, stage: str, experiment: str, recipe: str | None) -> int:
        """Return the number of GPUs that a stage leases for a recipe: those asked for that it can use.

        A leased GPU's energy is charged to its holder, even if idle: a job leases none that it can't use.
        """
        if recipe is None:  # a measurement serves all recipes of its experiment
            recipes = self.experiment(experiment).recipes if stage == "measure" else []
            return max((self.gpus(stage, experiment, one) for one in recipes), default=0)
        jobs = self.gpu_jobs(stage, experiment, recipe)
        return 0 if jobs.python in self.without_gpu else min(jobs.asked, jobs.usable)

    def gpu_jobs(self, stage: str, experiment: str, recipe: str) -> GpuJobs:
        """Return the GPUs that a stage asks for and can use for a recipe, independent of this host."""
        asked: int = getattr(self.config.resources, stage).gpu
        usable = 1
        python: str | None = self._interpreter(recipe)
        step = self.recipe(recipe).step
        server = self.deployment(experiment).server if stage == "measure" else None
        if self.on_cpu(recipe) or self.runs_elsewhere(experiment) or stage in USES_NO_GPU:
            usable = 0
        elif server is not None:
            usable, python = asked, _interpreter_beside(server)
        elif step is not None and stage == step.stage:
            usable = 0 if step.made_on_cpu else self._processes(experiment, recipe)
        return GpuJobs(stage, experiment, recipe, asked, usable, python)

    def all_gpu_jobs(self) -> Iterator[GpuJobs]:
        """Yield the GPUs that each stage asks for, for each recipe of each experiment."""
        for experiment, study in self.config.experiments.items():
            for recipe in self.recipes(experiment):
                if (step := self.recipe(recipe).step) is not None:
                    yield self.gpu_jobs(step.stage, experiment, recipe)
                if recipe in study.recipes:
                    yield self.gpu_jobs("evaluate", experiment, recipe)
                    yield self.gpu_jobs("measure", experiment, recipe)

    def nodes(self, stage: str, experiment: str, recipe: str) -> int:
        """Return the number of nodes on which a stage's job for a recipe runs."""
        step = self.recipe(recipe).step
        trains = step is not None and step.trains_by is not None and step.stage == stage
        return self.training(experiment, recipe).nodes if trains else 1

    def most_nodes(self, stage: str) -> int:
        """Return the largest number of nodes on which a job of a stage runs."""
        experiments = self.config.experiments
        return max((self.nodes(stage, name, one) for name in experiments for one in self.recipes(name)), default=1)

    def most_gpus(self, stage: str) -> int:
        """Return the largest number of GPUs that a job of a stage asks for and can use."""
        return max((min(one.asked, one.usable) for one in self.all_gpu_jobs() if one.stage == stage), default=0)

    def _processes(self, experiment: str, recipe: str) -> int:
        """Return the number of processes that make a recipe's model: each uses one GPU."""
        step = self.recipe(recipe).step
        return self.training(experiment, recipe).processes if step and step.trains_by else 1

    def _interpreter(self, recipe: str) -> str:
        python = self.python(recipe)
        return sys.executable if python == "python" else python

    def device(self, recipe: str) -> str:
        """Return the device for a recipe's stages: `cpu` if its engine runs only there, else the study's."""
        return "cpu" if self.on_cpu(recipe) else self.config.device

    def python(self, recipe: str) -> str:
        """Return the Python that makes and runs a recipe's model: the project's own, or an environment's."""
        step = self.recipe(recipe).step
        return str(python_of(step.environment)) if step and step.environment else "python"

    def training(self, experiment: str, recipe: str) -> Training:
        """Return the training settings: the study's, overridden by the experiment's, overridden by the recipe's."""
        return overridden(self.config.train, self.experiment(experiment).train, self.recipe(recipe).training)

    def evaluation(self, experiment: str) -> Evaluation:
        """Return the evaluation settings: the study's, overridden by the experiment's."""
        return overridden(self.config.evaluate, self.experiment(experiment).evaluate)

    def deployment(self, experiment: str) -> Deployment:
        """Return the deployment settings: the study's, overridden by the experiment's."""
        return overridden(self.config.deploy, self.experiment(experiment).deploy)

    def decision(self, experiment: str) -> Decision:
        """Return what a recipe must reach to be recommended: the study's, overridden by the experiment's."""
        return overridden(self.config.decision, self.experiment(experiment).decision)

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by name. Raises ConfigError where the study has none of this name."""
        return _member("experiments", self.config.experiments, name)

    def recipe(self, name: str) -> Recipe:
        """Return a recipe by name. Raises ConfigError where the study has none of this name."""
        return _member("recipes", self.config.recipes, name)


def _member(key: str, members: Mapping[str, Of], name: str) -> Of:
    if name not in members:
        raise ConfigError([f"{key}: no {name!r}{nearest(name, list(members))}"])
    return members[name]
