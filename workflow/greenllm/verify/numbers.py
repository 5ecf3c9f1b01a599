"""Every number of the account, computed again from ledgers, results and factors."""

import json
import re
from collections.abc import Mapping
from typing import Any

from greenllm.config.read import read_settings
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import UserError
from greenllm.scheduling.outcome import outcome_of_study
from greenllm.study import layout
from greenllm.study.models import Config
from greenllm.verify.check import Check
from greenllm.verify.differences import differences, values
from greenllm.verify.evidence import Evidence

OF_THE_SOLVER = ("best_saving", "regret")


def check_numbers(evidence: Evidence) -> CheckOutcome:
    """Attribute the ledgers again and make the account again; compare each value with the written ones."""
    check = Check("numbers", "the account's numbers follow from ledgers, results and factors", "values")
    again = evidence.again
    if isinstance(again, UserError):
        check.find("account/account.json", "cannot be computed again", found=again)
        return check.outcome()
    compare(check, "account/account.json", again.to_json(), evidence.written, evidence)
    written = evidence.text(layout.ATTRIBUTION)
    if written is None:
        check.find("account/attribution.json", "is missing or no JSON object")
    else:
        compare(check, "account/attribution.json", evidence.attribution_again.to_json(), written, evidence)
    _compare_schedule(check, evidence)
    _compare_configuration(check, evidence)
    return check.outcome()


def compare(check: Check, place: str, expected: Any, found: Mapping[str, Any], evidence: Evidence) -> None:
    """Compare a JSON file with what it should be; troubles name ledgers by paths that depend on the current folder."""
    expected = json.loads(json.dumps(expected))
    check.count(values(expected))
    one_place, other_place = (
        {**value, "troubles": [_without_folder(line, evidence) for line in value.get("troubles", [])]}
        for value in (expected, found)
    )
    for one in differences(one_place, other_place):
        check.find(f"{place}: {one.place}", one.what, one.expected, one.found)


def _compare_schedule(check: Check, evidence: Evidence) -> None:
    """Compare what a plan saved; not the best that it could have: a solver's time limit may change that."""
    if (written := evidence.text(layout.SCHEDULE)) is None:
        return
    try:
        again = outcome_of_study(evidence.config, evidence.folder, evidence.attribution_again.jobs)
    except UserError as error:
        check.skip(f"account/schedule.json: cannot be computed again: {error}")
        return
    expected = None if again is None else again.model_dump(mode="json", by_alias=True)
    if expected is None or expected["signal"] != written.get("signal"):
        check.skip("account/schedule.json: the plan is gone, or the files of its signal have changed")
        return
    for name in OF_THE_SOLVER:
        expected.pop(name)
    compare(
        check,
        "account/schedule.json",
        expected,
        {name: value for name, value in written.items() if name not in OF_THE_SOLVER},
        evidence,
    )


def _without_folder(trouble: str, evidence: Evidence) -> str:
    """Return a trouble with the paths of ledgers relative to the ledger folder."""
    paths = "|".join(re.escape(ledger.path) for ledger in evidence.ledgers)
    return re.sub(rf"\S*?(?={paths})", "", trouble) if paths else trouble


def _compare_configuration(check: Check, evidence: Evidence) -> None:
    """Compare the account's configuration with the one that the last job that made it was given."""
    maker = evidence.maker_of(layout.ACCOUNT)
    command = maker.start.command or [] if maker else []
    if "--config" not in command:
        check.skip("the configuration: no ledger of the job that made the account")
        return
    given = command[command.index("--config") + 1]
    if not given.startswith("{"):
        if maker is not evidence.maker_of(layout.STUDY):
            check.skip("the configuration: the job that made the account read it from another file")
            return
        given = str(layout.located(layout.STUDY, evidence.folder))
    try:
        config: Config = read_settings(given, Config, option="--config")
    except UserError as error:
        check.skip(f"the configuration: {error}")
        return
    expected = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    check.count(values(expected))
    for one in differences(expected, evidence.written["config"]):
        check.find(f"account/account.json: config.{one.place}", one.what, one.expected, one.found)
