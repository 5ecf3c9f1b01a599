"""A results folder that an account was made of, read again: nothing is run, no file is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenllm.account.account import SCHEMA, account, models_of
from greenllm.comparison.recipes import Comparison, compared
from greenllm.config.models import Decision
from greenllm.config.read import validate
from greenllm.config.section import Override
from greenllm.errors import UserError
from greenllm.files import read_json
from greenllm.footprint.standing import attempts
from greenllm.study import layout
from greenllm.study.models import Config
from greenllm.study.plan import Plan
from greenllm.study.results import Study, read_study
from greenllm.tasks import TASKS

if TYPE_CHECKING:
    from greenllm.attribution import Attribution

REMEDY = "expected a results folder in which `greenllm account` has been run"


@dataclass(frozen=True)
class Results:
    """What an account rests on."""

    folder: Path
    study: Study
    attribution: "Attribution"
    packages: Mapping[str, str]

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """The comparison of each experiment's recipes."""
        found = attempts(self.attribution.to_json())
        return compared(self.study, models_of(self.study, self.attribution, found, factor=None))

    def account(self) -> dict[str, Any]:
        """Return the account made anew."""
        return account(self.study, self.attribution, self.packages)


def read_results(folder: Path, decision: Mapping[str, Any] | None = None) -> Results:
    """Read a results folder with the configuration in its account; `decision` has settings that replace its own.

    Raises UserError where there is no account, what it rests on is gone or cannot be read, or a quality is asked for
    that no recipe can have.
    """
    from greenllm.attribution import attribute

    path = layout.located(layout.ACCOUNT, folder)
    found = read_json(path, REMEDY)
    if found.get("schema") != SCHEMA:
        raise UserError(f"{path}: expected schema {SCHEMA!r}; run `greenllm account` again")
    validate(dict(decision or {}), Override[Decision], "decision")
    values = dict(found["config"])
    values["experiments"] = {
        name: {**experiment, "decision": {**experiment.get("decision", {}), **(decision or {})}}
        for name, experiment in values["experiments"].items()
    }
    config = validate(values, Config, str(path))
    for name, experiment in config.experiments.items():
        try:
            TASKS[experiment.task].check_decision(Plan(config).decision(name))
        except UserError as error:
            raise UserError(f"{folder}: experiments.{name}.decision.{error}") from None
    return Results(
        folder,
        read_study(config, folder),
        attribute(layout.located(layout.LEDGER, folder), policy=config.meter.policy),
        found["packages"],
    )
