"""`greenllm attribute`: share out the joules of all ledgers among their jobs."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from greenllm.attribution.artefacts import Artefact
from greenllm.attribution.from_ledgers import POLICIES, attribute
from greenllm.attribution.hosts import Gap
from greenllm.attribution.jobs import LEAST_COVERAGE, JobEnergy
from greenllm.attribution.reading import check_folder
from greenllm.attribution.result import Attribution
from greenllm.attribution.spending import Spending
from greenllm.estimate import Estimate
from greenllm.printing import print_json

ROWS = 20  # of a table, without --all
NAME_WIDTH = 40  # of a path or a run's id, so that a table fits 100 columns


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
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"print all rows of the tables, not only the {ROWS} that took the most joules",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the attribution; damaged ledgers are named on stderr. Raises UserError where there are no ledgers."""
    check_folder(arguments.ledger_dir)
    attribution = attribute(arguments.ledger_dir, arguments.policy, courses=False)
    for trouble in attribution.troubles:
        print(f"greenllm attribute: warning: {trouble}", file=sys.stderr)
    if arguments.json:
        print_json(attribution.to_json())
    else:
        print(as_tables(attribution, rows=None if arguments.all else ROWS))
    return 0


def as_tables(attribution: Attribution, rows: int | None = ROWS) -> str:
    """Return the tables: jobs, devices and gaps, waste, runs, artefacts.

    Each has at most `rows` rows: those with the most joules, and those whose energy is unknown.
    """
    parts = [
        f"Energy in joules by policy {attribution.policy}; low and high are 95 % bounds. A job's energy is its own, "
        "without the meters inside it.",
        _table(
            [(job.energy, _job_row(job)) for job in attribution.jobs],
            ["job", "rule", "wildcards", "status", "CPU s", "J", "low", "high", "quality"],
            ("left",) * 4 + ("right",) * 4,
            rows,
        ),
    ]
    for host in attribution.hosts:
        devices = tabulate(
            [
                [row.component, row.device, row.method, row.quality]
                + [_number(joules) for joules in (row.counted_J, row.jobs_J, row.other_J, row.idle_J)]
                for row in attribution.device_totals(host)
            ],
            headers=["component", "device", "method", "quality", "counted J", "= jobs", "+ other", "+ idle"],
            disable_numparse=True,
            colalign=("left",) * 4 + ("right",) * 4,
        )
        parts.append(f"Host {host.name}, boot {host.boot_id}\n\n{devices}")
        parts += [f"{device.sensor.device}: {notice}." for device in host.devices for notice in device.notices()]
        parts += _gap_lines(host.gaps)
    waste = ", ".join(
        f"{kind} {'unknown' if energy is None else f'{_number(energy.value)} J'}"
        for kind, energy in attribution.waste.items()
    )
    parts.append(f"Waste: {waste}.")
    if attribution.waste_by_rule:
        parts.append(
            _table(
                [
                    (spent.energy, [rule, experiment, kind, str(len(spent.jobs)), *_bounds(spent.energy, spent)])
                    for (rule, experiment, kind), spent in attribution.waste_by_rule.items()
                ],
                ["waste of rule", "experiment", "kind", "attempts", "J", "low", "high"],
                ("left",) * 3 + ("right",) * 4,
                rows,
            )
        )
    parts.append(
        _table(
            [
                (spent.energy, [_shortened(run_id or ""), str(len(spent.jobs)), *_bounds(spent.energy, spent)])
                for run_id, spent in attribution.spent_by_run.items()
            ],
            ["spent in run", "attempts", "J", "low", "high"],
            ("left",) + ("right",) * 4,
            rows,
        )
    )
    if attribution.artefacts:
        parts.append(_artefacts(attribution, rows))
    return "\n\n".join(parts)


def _gap_lines(gaps: Sequence[Gap]) -> list[str]:
    """Return a line for the time without a meter, and one for each device and reason of unknown energy."""
    lengths_s: dict[tuple[str | None, str], list[float]] = {}
    for gap in gaps:
        lengths_s.setdefault((gap.device, gap.reason), []).append(gap.duration_s)
    lines = []
    for (device, reason), own in lengths_s.items():
        how_long = f"{sum(own):.1f} s in {len(own)} gap(s)"
        if device is None:
            lines.append(f"Not watched by any meter, and counted nowhere: {how_long}.")
        else:
            lines.append(f"{device}: unknown, and counted nowhere: {how_long}: {reason}.")
    return lines


def _artefacts(attribution: Attribution, rows: int | None) -> str:
    made: dict[str, list[Artefact]] = {}
    for artefact in attribution.artefacts:
        made.setdefault(artefact.maker.id, []).append(artefact)
    parts = [
        "The cost of each artefact: its job and all jobs that it depends on, each once; waste apart.",
        _table(
            [
                (made[attempt.id][0].energy, _artefact_row(made[attempt.id]))
                for attempt in attribution.lineage.in_order
                if attempt.id in made
            ],
            ["artefact", "made by", "jobs", "J", "low", "high", "waste J"],
            ("left",) * 2 + ("right",) * 5,
            rows,
        ),
    ]
    reasons = list(dict.fromkeys(reason for a in attribution.artefacts for reason in a.unknown))
    if reasons:
        shown = reasons[:rows]
        more = f"\n  … and {len(reasons) - len(shown)} more (--all)" if len(shown) < len(reasons) else ""
        parts.append("≥: only a part is known, since\n  " + "\n  ".join(shown) + more)
    return "\n\n".join(parts)


def _table(
    ranked: Sequence[tuple[Estimate | None, Sequence[str | None]]],
    headers: Sequence[str],
    alignment: Sequence[str],
    rows: int | None,
) -> str:
    """Return a table of (energy, row), in order; of many rows the largest, and a line that counts the others."""
    shown: Sequence[int] = range(len(ranked))
    if rows is not None and len(ranked) > rows:
        by_size = sorted(shown, key=lambda i: math.inf if (energy := ranked[i][0]) is None else energy.value)
        shown = sorted(by_size[-rows:])
    table = tabulate([ranked[i][1] for i in shown], headers=headers, disable_numparse=True, colalign=alignment)
    hidden = len(ranked) - len(shown)
    return f"{table}\n… and {hidden} more that took less (--all)" if hidden else table


def _number(value: float | None) -> str:
    """Three significant digits, and all digits before the decimal point."""
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


def _bounds(energy: Estimate | None, spent: Spending) -> list[str]:
    """Return an energy with its bounds; if it is unknown, its known part without bounds."""
    if energy is None:
        return [f"≥ {_number(spent.known.value)}", "–", "–"]
    return [_number(bound) for bound in energy.interval()]


def _shortened(name: str) -> str:
    """Return a path or id; a long one without its beginning."""
    return name if len(name) <= NAME_WIDTH else f"…{name[1 - NAME_WIDTH :]}"


def _artefact_row(made: Sequence[Artefact]) -> list[str]:
    """Return the row of all artefacts of one job, which have one cost."""
    first = made[0]
    more = f" +{len(made) - 1}" if len(made) > 1 else ""
    return [
        _shortened(first.path) + more,
        (first.maker.rule or first.maker.id)[:20],
        str(len(first.production.lineage)),
        *_bounds(first.energy, first.production.cost),
        _bounds(first.production.waste.energy, first.production.waste)[0],
    ]


def _job_row(job: JobEnergy) -> list[str | None]:
    energy: Estimate | None = job.energy
    remarks = ["partial"] if job.partial else []
    if job.coverage < LEAST_COVERAGE:
        remarks.append(f"{100 * job.coverage:.0f} % of its time")
    if job.unused:
        remarks.append(f"never used {', '.join(job.unused)}")
    qualities = {component.quality for component in job.components if component.energy is not None}
    return [
        job.id,
        job.rule,
        " ".join(f"{name}={value}" for name, value in job.wildcards.items()),
        job.status if job.waste in (None, job.status) else f"{job.status} ({job.waste})",
        _number(job.cpu_s),
        *map(_number, energy.interval() if energy is not None else (None, None, None)),
        "+".join(sorted(qualities)) + (f" ({', '.join(remarks)})" if remarks else ""),
    ]
