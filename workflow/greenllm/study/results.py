"""The files that a study has written so far: evaluations, measurements, models, trainings, cards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from greenllm.documents.card import DataCard
from greenllm.documents.evaluation import EvaluationReport
from greenllm.documents.measurement import ServerMeasurement, SideBySide
from greenllm.documents.prediction import Prediction, read_predictions
from greenllm.documents.preparation import PreparationReport
from greenllm.documents.training import TrainingReport
from greenllm.errors import UserError
from greenllm.model_folder.manifest import FILE as MANIFEST
from greenllm.model_folder.manifest import Manifest, read_manifest
from greenllm.study import layout
from greenllm.study.models import Config
from greenllm.study.plan import Plan
from greenllm.tasks import TASKS

Key = tuple[str, str, int]  # experiment, recipe, seed
Of = TypeVar("Of")


@dataclass(frozen=True)
class Study:
    """The content of a results folder's files; a file that is not written yet is absent."""

    config: Config
    results: Path
    evaluations: dict[Key, EvaluationReport] = field(default_factory=dict)
    side_by_side: dict[tuple[str, int], SideBySide] = field(default_factory=dict)  # by experiment and seed
    manifests: dict[Key, Manifest] = field(default_factory=dict)
    trainings: dict[Key, TrainingReport] = field(default_factory=dict)
    cards: dict[str, DataCard] = field(default_factory=dict)
    preparations: dict[str, PreparationReport] = field(default_factory=dict)

    @cached_property
    def plan(self) -> Plan:
        """What the configuration asks for."""
        return Plan(self.config)

    def measurement(self, key: Key) -> ServerMeasurement | None:
        """Return the measurement of one model's server; None if it is not measured yet."""
        experiment, recipe, seed = key
        whole = self.side_by_side.get((experiment, seed))
        return None if whole is None else whole.server(recipe)

    def path(self, pattern: str, key: Key) -> Path:
        """Return where a file of one model is (study/layout.py has the patterns)."""
        experiment, recipe, seed = key
        return layout.located(pattern, self.results, experiment=experiment, recipe=recipe, seed=seed)

    def predictions(self, key: Key) -> list[Prediction]:
        """Return the predictions of one evaluation, in test order; empty where there are none."""
        path, (experiment, _, _) = self.path(layout.PREDICTIONS, key), key
        kind = TASKS[self.config.experiments[experiment].task].prediction_type
        return read_predictions(path, kind) if path.is_file() else []


def _read_manifest(file: Path) -> Manifest:
    return read_manifest(file.parent)


def read_study(config: Config, results: Path) -> Study:
    """Read what `results` holds of the models that `config` asks for.

    Raises UserError if the folder is missing or a file in it is not what its stage writes.
    """
    if not results.is_dir():
        raise UserError(
            f"{results}: no such results folder; expected the one the workflow wrote (config key `results`)"
        )
    study = Study(config, results)

    def read(table: dict[Any, Of], key: Any, path: Path, of: Callable[[Path], Of]) -> None:
        if path.is_file():
            table[key] = of(path)

    for key in study.plan.compared():
        experiment, recipe, seed = key
        # The experiment's source, for a recipe that takes its model unchanged.
        model = study.plan.model_folder(experiment, recipe, str(seed)) or layout.MODEL
        read(study.evaluations, key, study.path(layout.EVALUATION, key), EvaluationReport.read)
        read(study.manifests, key, study.path(f"{model}/{MANIFEST}", key), _read_manifest)
        read(study.trainings, key, study.path(layout.TRAINING, key), TrainingReport.read)
    for name, seed in study.plan.measured():
        place = layout.located(layout.MEASUREMENT, results, experiment=name, seed=seed)
        read(study.side_by_side, (name, seed), place, SideBySide.read)
    for name in config.experiments:
        card, report = (layout.located(at, results, experiment=name) for at in (layout.CARD, layout.PREPARATION))
        read(study.cards, name, card, DataCard.read)
        read(study.preparations, name, report, PreparationReport.read)
    return study
