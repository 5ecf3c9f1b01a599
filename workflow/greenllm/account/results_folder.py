"""Reading a results folder with an account; no job runs and no file is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenllm.account.account import account, compared_of
from greenllm.account.document import Account
from greenllm.comparison.recipes import Comparison
from greenllm.config.models import Decision
from greenllm.config.read import validate
from greenllm.config.section import Override
from greenllm.errors import UserError
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
class ResultsFolder:
    """The data that an account is computed from."""

    folder: Path
    study: Study
    attribution: "Attribution"
    packages: Mapping[str, str]

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """The comparison of each experiment's recipes."""
        return compared_of(self.study, self.attribution, attempts(self.attribution.jobs))[1]

    def account(self) -> Account:
        """Return the account, computed again."""
        return account(self.study, self.attribution, self.packages)


def read_results_folder(
    folder: Path, decision: Mapping[str, Any] | None = None, experiment: str | None = None
) -> ResultsFolder:
    """Read a results folder with the configuration in its account.

    `decision` has settings that replace its own: those of `experiment` alone if it is given, since what can be asked of
    one metric may be nonsense of another.

    Raises UserError if there is no account, if a file that it was computed from is missing or can't be read, or if no
    recipe can have the required quality.
    """
    from greenllm.attribution import attribute

    path = layout.located(layout.ACCOUNT, folder)
    found = Account.read(path, REMEDY)
    validate(dict(decision or {}), Override[Decision], "decision")
    values = dict(found.config)
    asked = [name for name in values["experiments"] if experiment in (None, name)]
    values["experiments"] = {
        name: {**member, "decision": {**member.get("decision", {}), **((decision or {}) if name in asked else {})}}
        for name, member in values["experiments"].items()
    }
    config = validate(values, Config, str(path))
    for name in asked:
        try:
            TASKS[config.experiments[name].task].check_decision(Plan(config).decision(name))
        except UserError as error:
            remedy = f"; --experiment NAME asks one of {len(asked)} alone" if decision and len(asked) > 1 else ""
            raise UserError(f"{folder}: experiments.{name}.decision.{error}{remedy}") from None
    return ResultsFolder(
        folder,
        read_study(config, folder),
        attribute(layout.located(layout.LEDGER, folder), policy=config.meter.policy),
        found.packages,
    )
