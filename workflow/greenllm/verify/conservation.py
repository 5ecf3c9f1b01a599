"""Every joule is counted once: what devices counted, what jobs got, and what sums say agree in the written files."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from greenllm.attribution.result import ROUNDING, ROUNDING_J
from greenllm.documents.verification import CheckOutcome
from greenllm.ledger.energy_log import SUMMED
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence

PLACE = "account/attribution.json"


def check_conservation(evidence: Evidence) -> CheckOutcome:
    """Check the sums in attribution.json as they are written, without computing anything from ledgers."""
    check = Check("conservation", "counted = jobs + other processes + idle, no part is negative, sums are sums", "sums")
    written = evidence.text(layout.ATTRIBUTION)
    if written is None:
        check.skip(f"{PLACE}: missing or no JSON object")
        return check.outcome()
    try:
        _check_devices(check, written)
        for job in written["jobs"]:
            _check_job(check, job, written["parameters"])
        _check_totals(check, written)
    except (KeyError, TypeError, AttributeError) as error:
        check.find(PLACE, "is not what `greenllm account` writes", found=f"{type(error).__name__}: {error}")
    for trouble in evidence.attribution_again.troubles:
        if "a bug, please report it" in trouble:
            check.find("ledger", "the energy computed again is not conserved", found=trouble)
    return check.outcome()


def _equal(one_J: float, other_J: float) -> bool:
    return math.isclose(one_J, other_J, rel_tol=ROUNDING, abs_tol=ROUNDING_J)


def _check_devices(check: Check, written: Mapping[str, Any]) -> None:
    jobs_J: dict[tuple[str, str, str, str], list[float]] = {}
    for job in written["jobs"]:
        for part in job["components"]:
            if part["energy_J"] is not None:
                name = job["boot_id"], part["component"], part["device"], part["method"]
                jobs_J.setdefault(name, []).append(part["energy_J"]["value"])
    for host in written["hosts"]:
        for row in host["devices"]:
            place = f"{PLACE}: {host['host']}, {row['component']} {row['device']}"
            parts = {name: row[name] for name in ("jobs_J", "other_J", "idle_J")}
            total_J = math.fsum(parts.values())
            check.expect(
                _equal(row["counted_J"], total_J), place, "counted is not jobs + other + idle (J)", total_J,
                row["counted_J"],
            )  # fmt: skip
            name = host["boot_id"], row["component"], row["device"], row["method"]
            of_jobs_J = math.fsum(jobs_J.get(name, ()))
            check.expect(
                _equal(row["jobs_J"], of_jobs_J), place, "the jobs' part is not their sum (J)", of_jobs_J, row["jobs_J"]
            )
            for part, value_J in parts.items():
                check.expect(value_J >= -ROUNDING_J, f"{place}: {part}", "is negative", "0 or more", value_J)


def _check_job(check: Check, job: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    place = f"{PLACE}: jobs[{job['id']}]"
    known = [part for part in job["components"] if part["energy_J"] is not None]
    for part in known:
        energy = part["energy_J"]
        ordered = energy["low"] <= energy["value"] + ROUNDING_J and energy["value"] <= energy["high"] + ROUNDING_J
        check.expect(ordered, place, f"its interval of {part['component']} is out of order", "low, value, high", energy)
        check.expect(energy["value"] >= -ROUNDING_J, place, f"its {part['component']} is negative", 0, energy["value"])
        of_terms_J = math.fsum(t["coefficient"] * parameters[t["parameter"]]["value"] for t in part["terms"])
        check.expect(
            _equal(energy["value"], of_terms_J), place, f"its {part['component']} is not the sum of its terms (J)",
            of_terms_J, energy["value"],
        )  # fmt: skip
    summed = [part["energy_J"]["value"] for part in known if part["component"] in SUMMED]
    if job["energy_J"] is not None:
        check.expect(
            _equal(job["energy_J"]["value"], math.fsum(summed)), place, "its energy is not that of its components (J)",
            math.fsum(summed), job["energy_J"]["value"],
        )  # fmt: skip


def _check_totals(check: Check, written: Mapping[str, Any]) -> None:
    def total(jobs: Iterable[Mapping[str, Any]]) -> float:
        return math.fsum(job["energy_J"]["value"] for job in jobs if job["energy_J"] is not None)

    spent = written["spent_J"]
    if spent is not None:
        all_J = total(written["jobs"])
        check.expect(
            _equal(spent["value"], all_J), f"{PLACE}: spent_J", "is not the sum of all jobs (J)", all_J, spent["value"]
        )
    for kind, value_J in written["waste_J"].items():
        wasted_J = total(job for job in written["jobs"] if job["waste"] == kind)
        if value_J is not None:
            place = f"{PLACE}: waste_J.{kind}"
            check.expect(_equal(value_J, wasted_J), place, "is not the sum of these jobs (J)", wasted_J, value_J)
