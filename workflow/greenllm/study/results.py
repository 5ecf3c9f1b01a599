"""The files that a study has written so far: evaluations, measurements, models, trainings, cards."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.study import layout
from greenllm.study.models import Config
from greenllm.study.plan import Plan

Key = tuple[str, str, int]  # experiment, recipe, seed
DEPLOYMENT = "greenllm/deployment/2"  # schema of measurement.json


@dataclass(frozen=True)
class Study:
    """The files of a results folder, read; a file that is not written yet is absent."""

    config: Config
    results: Path
    evaluations: dict[Key, dict[str, Any]] = field(default_factory=dict)
    measurements: dict[Key, dict[str, Any]] = field(default_factory=dict)
    models: dict[Key, dict[str, Any]] = field(default_factory=dict)
    trainings: dict[Key, dict[str, Any]] = field(default_factory=dict)
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    preparations: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """What the configuration asks for."""
        return Plan(self.config)

    def predictions(self, key: Key) -> list[dict[str, Any]]:
        """Return the predictions of one evaluation, in test order; empty where there are none."""
        experiment, recipe, seed = key
        path = layout.located(layout.PREDICTIONS, self.results, experiment=experiment, recipe=recipe, seed=seed)
        if not path.is_file():
            return []
        rows = []
        with path.open(encoding="utf-8", newline="\n") as file:  # an answer may hold other line separators
            for number, line in enumerate(file, start=1):
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise UserError(
                        f"{path}: row {number}: expected one JSON object a line: {error}; run evaluate again"
                    ) from None
        return rows


def _read(path: Path) -> dict[str, Any] | None:
    return read_json(path, "remove the file and run its stage again") if path.is_file() else None


def read_study(config: Config, results: Path) -> Study:
    """Read what `results` holds of the models that `config` asks for.

    Raises UserError where the folder is missing or a file in it is not JSON.
    """
    if not results.is_dir():
        raise UserError(
            f"{results}: no such results folder; expected the one the workflow wrote (config key `results`)"
        )
    study = Study(config, results)
    for key in study.plan.compared():
        experiment, recipe, seed = key
        # The experiment's source, for a recipe that takes its model unchanged.
        model = study.plan.model_folder(experiment, recipe, str(seed)) or layout.MODEL
        for table, pattern in (
            (study.evaluations, layout.EVALUATION),
            (study.measurements, layout.MEASUREMENT),
            (study.models, f"{model}/greenllm.json"),
            (study.trainings, layout.TRAINING),
        ):
            path = layout.located(pattern, results, experiment=experiment, recipe=recipe, seed=seed)
            if (value := _read(path)) is not None:
                table[key] = value
                if table is study.measurements and value.get("schema") != DEPLOYMENT:
                    raise UserError(
                        f"{path}: schema {value.get('schema')!r}, expected {DEPLOYMENT!r}; "
                        "remove the file and run deploy again"
                    )
    for experiment in config.experiments:
        if (value := _read(layout.located(layout.CARD, results, experiment=experiment))) is not None:
            study.cards[experiment] = value
        if (value := _read(layout.located(layout.PREPARATION, results, experiment=experiment))) is not None:
            study.preparations[experiment] = value
    return study
