"""`greenllm attribute`: share out the joules of all ledgers among their jobs."""

import argparse
import json
import sys
from pathlib import Path

from tabulate import tabulate

from greenllm.attribution.jobs import JobEnergy
from greenllm.attribution.result import POLICIES, Attribution, attribute
from greenllm.meter.estimate import Estimate


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("ledger_dir", type=Path, metavar="LEDGER_DIR", help="folder of ledgers, as in results/ledger")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON (energies in joules)")
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="allocated",
        help="allocated (default): a job also pays for the idle part of what it reserved; active: it does not",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the attribution; damaged ledgers are named on stderr."""
    attribution = attribute(arguments.ledger_dir, arguments.policy)
    for trouble in attribution.troubles:
        print(f"greenllm attribute: warning: {trouble}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(attribution.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(as_text(attribution))
    return 0


def as_text(attribution: Attribution) -> str:
    """Return the tables for a person: jobs, devices, waste and gaps."""
    parts = [
        f"Energy in joules by policy {attribution.policy}; low and high are 95 % bounds. A job's energy is its own, "
        "without the meters inside it.",
        tabulate(
            [_job_row(job) for job in attribution.jobs],
            headers=["job", "rule", "wildcards", "status", "CPU s", "J", "low", "high", "quality"],
            disable_numparse=True,
            colalign=("left",) * 4 + ("right",) * 4,
        ),
    ]
    for host in attribution.hosts:
        devices = tabulate(
            [
                [row[name] for name in ("component", "device", "method", "quality")]
                + [_number(row[name]) for name in ("counted_J", "jobs_J", "other_J", "idle_J")]
                for row in attribution.device_totals(host)
            ],
            headers=["component", "device", "method", "quality", "counted J", "= jobs", "+ other", "+ idle"],
            disable_numparse=True,
            colalign=("left",) * 4 + ("right",) * 4,
        )
        parts.append(f"Host {host.attempts[0].start['host']}, boot {host.boot_id}\n\n{devices}")
        gaps_s = sum(gap["duration_s"] for gap in host.gaps if gap["device"] is None)
        if gaps_s:
            parts.append(f"Not watched by any meter, and counted nowhere: {gaps_s:.1f} s in {len(host.gaps)} gap(s).")
    waste = ", ".join(
        f"{kind} {'unknown' if energy is None else f'{_number(energy.value)} J'}"
        for kind, energy in attribution.waste.items()
    )
    parts.append(f"Waste: {waste}.")
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    """Three significant digits, and all those before the point."""
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _job_row(job: JobEnergy) -> list[str | None]:
    start = job.attempt.start["job"]
    energy: Estimate | None = job.energy
    qualities = {component.quality for component in job.components if component.energy is not None}
    return [
        job.id,
        start.get("rule"),
        " ".join(f"{name}={value}" for name, value in start.get("wildcards", {}).items()),
        job.status if job.waste in (None, job.status) else f"{job.status} ({job.waste})",
        _number(job.cpu_s),
        *map(_number, energy.interval() if energy is not None else (None, None, None)),
        "+".join(sorted(qualities)) + (" (partial)" if job.partial else ""),
    ]
