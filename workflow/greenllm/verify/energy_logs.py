"""Each energy log says what its attempt's ledger says."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from greenllm.attribution import Attempt
from greenllm.documents.verification import CheckOutcome
from greenllm.estimate import UNSEEN, UNSEEN_PARAMETER, Estimate, Parameter
from greenllm.ledger.energy_log import SCHEMA, SUMMED
from greenllm.meter.other_hosts import components_elsewhere
from greenllm.verify.check import Check
from greenllm.verify.differences import differences, values
from greenllm.verify.evidence import Evidence

OF_START = (
    "id",
    "parent",
    "run_id",
    "host",
    "boot_id",
    "command",
    "config_hash",
    "inputs",
    "started",
    "threads",
    "waited_s",
    "planned_s",
    "planned_device",
    "held_s",
)
OF_END = ("outputs", "ended", "duration_s", "status", "exit_code", "components", "cpu_s", "work", "lost_records")


def check_energy_logs(evidence: Evidence) -> CheckOutcome:
    """Compare each log with its ledger's start and end record, and its energy with its components."""
    check = Check("energy logs", "each energy log says what its ledger says", "values")
    folder = evidence.folder / "energy"
    attempts = {attempt.id: attempt for attempt in evidence.attempts}
    logged: set[str] = set()
    for path, content in evidence.energy_logs.items():
        place = evidence.name_of(path)
        try:
            log = json.loads(content.decode("utf-8"))
        except ValueError as error:  # not JSON, or not UTF-8
            check.find(place, "is no JSON object", found=error)
            continue
        if not isinstance(log, dict) or log.get("schema") != SCHEMA:
            check.find(place, "is no energy log", SCHEMA, log.get("schema") if isinstance(log, dict) else None)
            continue
        attempt = attempts.get(str(log.get("id")))
        if attempt is None or attempt.end is None:
            check.find(place, "has no ledger with an end record", "a ledger", log.get("id"))
            continue
        check.expect(attempt.id not in logged, place, "is a second log of the attempt", found=attempt.id)
        logged.add(attempt.id)
        _compare_log(check, evidence, place, path, log, attempt)
    _compare_presence(check, evidence, folder, logged)
    return check.outcome()


def _compare_log(
    check: Check, evidence: Evidence, place: str, path: Path, log: dict[str, Any], attempt: Attempt
) -> None:
    assert attempt.end is not None
    start, end = asdict(attempt.start), asdict(attempt.end)
    expected = {name: start[name] for name in OF_START} | {name: end[name] for name in OF_END}
    expected |= {"job": start["job"], "gpus": start["gpus"]}
    elsewhere = components_elsewhere(evidence.ledgers_inside.get(attempt.id, ()), attempt.start)
    expected["components"] = [*end["components"], *(part.to_json() for part in elsewhere)]
    logged = log.get("parameters", {})
    used = [term["parameter"] for part in expected["components"] for term in part.get("terms") or ()]
    # What is known without the log: the ledger's parameters, and those of what readings left open.
    open_ = {name: UNSEEN_PARAMETER for name in (*logged, *used) if name.startswith(UNSEEN)}
    stated = {**open_, **attempt.start.parameters}
    others = {name: Parameter.from_json(one) for name, one in logged.items() if name not in stated}
    expected |= _energy(expected["components"], others | stated, attempt)
    found = {name: log.get(name) for name in expected}
    check.count(values(expected))
    for one in differences(json.loads(json.dumps(expected)), found):
        check.find(f"{place}: {one.place}", one.what, one.expected, one.found)
    ledger = Path(os.path.normpath(path.parent / str(log.get("ledger"))))
    check.expect(
        ledger.name == Path(attempt.path).name,
        f"{place}: ledger",
        "is not the attempt's",
        attempt.path,
        log.get("ledger"),
    )
    for name, parameter in logged.items():
        if name in stated:
            for one in differences(stated[name].to_json(), parameter):
                check.find(f"{place}: parameters.{name}.{one.place}", one.what, one.expected, one.found)


def _energy(components: list[dict[str, Any]], known: Mapping[str, Parameter], attempt: Attempt) -> dict[str, Any]:
    """Return the energy that components and parameters make, as a log has it."""
    terms: dict[str, float] = {}
    summed = [part for part in components if part["component"] in SUMMED and part["energy_J"] is not None]
    for part in summed:
        for term in part["terms"]:
            name = term["parameter"]
            if name not in known:
                return {}
            terms[name] = terms.get(name, 0.0) + term["coefficient"]
    partial = any(part["energy_J"] is None for part in components) or bool(attempt.end and attempt.end.lost_records)
    return {"energy_J": Estimate(terms, known).to_json() if summed else None, "partial": partial}


def _compare_presence(check: Check, evidence: Evidence, folder: Path, logged: set[str]) -> None:
    """Find results in use whose job left no log; an interrupted job leaves none, and a job made again replaces it."""
    if not logged:
        check.skip(f"energy logs: none in {evidence.name_of(folder)}")
        return
    hosts = {job.id: job.host for job in evidence.account.jobs}
    for job in evidence.account.jobs:
        # The account's own job and those after it are made again with each account.
        part = job.parent in hosts and hosts[job.parent] != job.host  # of a job on several hosts, which has the log
        if job.standing == "current" and job.experiment is not None and not part:
            names = [job.rule, job.experiment, job.recipe, job.seed and f"seed-{job.seed}"]
            check.expect(
                job.id in logged,
                "energy/" + "/".join(str(name) for name in names if name),
                "has no energy log, and its result is in use",
                job.id,
                "no log",
            )
