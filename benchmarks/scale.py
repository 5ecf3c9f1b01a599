"""A parameter study of 10,000 jobs: its planning by Snakemake, and the bookkeeping of a simulated run of it.

    python benchmarks/scale.py                # 1,250, 2,500, 5,000 and 10,000 jobs
    python benchmarks/scale.py --rounds 3     # medians of three rounds

Planning is `snakemake --dry-run` of generated studies in three forms: few recipes with many seeds, as many of both, and
thousands of recipes with one seed, half of them quantised (each of these needs a control). The run's ledgers and stage
files are simulated: experiments of two recipes with many seeds on one host, with the meters inside each measurement
22 attempts for 10 jobs. All commands run in separate processes. Targets hold for the time of processors, since other
programs may run; the time by the clock is beside it. Targets at the largest size: planning at most 20 s and 600 MB,
account, attribute and one frame of watch at most 60 s. From size to size, time grows at most in proportion, plus a
fifth. Exit status 1 if a target is missed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

ROOT = Path(__file__).parents[1]
SIZES = (1_250, 2_500, 5_000, 10_000)
PLANNING_s, PLANNING_MB, BOOKKEEPING_s = 20.0, 600.0, 60.0
SLACK = 1.2  # ratio by which two equal runs may differ
RATE = {"train": {"learning_rate": 1e-3}}


@dataclass(frozen=True)
class Cost:
    """What a command took: by the clock (s), of processors (s), and its largest resident memory (MB)."""

    clock_s: float
    processors_s: float
    memory_MB: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of jobs, ascending")
    parser.add_argument("--rounds", type=int, default=1, help="rounds, of which the median is shown")
    parser.add_argument("--only", choices=("planning", "bookkeeping"), help="one of both parts")
    arguments = parser.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.only != "bookkeeping":
            for form in ("many seeds", "recipes and seeds", "many recipes"):
                costs = {size: planned(folder, form, size, arguments.rounds) for size in arguments.sizes}
                rows += shown(f"planning, {form}", costs, PLANNING_s, PLANNING_MB)
        if arguments.only != "planning":
            by_command: dict[str, dict[int, Cost]] = {}
            for size in arguments.sizes:
                results, config = simulated(folder / str(size), size)
                ledgers = str(results / "ledger")
                for command, words in {
                    "account": ["--config", str(config), "--results", str(results), "--out", str(results / "account")],
                    "attribute": [ledgers, "--json"],
                    "watch": [str(results), "--once"],
                }.items():
                    cost = measured([sys.executable, "-m", "greenllm", command, *words], arguments.rounds)
                    by_command.setdefault(command, {})[size] = cost
            for command, costs in by_command.items():
                rows += shown(command, costs, BOOKKEEPING_s, None)
    headers = ["what", "jobs", "processor s", "ratio", "clock s", "MB", "target", ""]
    print(f"\n{len(os.sched_getaffinity(0))} cores, medians of {arguments.rounds}\n")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"))
    missed = sum(row[-1] == "MISSED" for row in rows)
    print(f"\n{missed} targets missed")
    return int(missed > 0)


def shown(what: str, costs: dict[int, Cost], most_s: float, most_MB: float | None) -> list[list[Any]]:
    """Return a row for each size, with its ratio to the size before, and whether the targets are met."""
    rows: list[list[Any]] = []
    before: tuple[int, Cost] | None = None
    for size, cost in costs.items():
        ratio, most = None, None
        met = True
        if before is not None:
            ratio, most = cost.processors_s / before[1].processors_s, SLACK * size / before[0]
            met = ratio <= most
        target = "" if most is None else f"ratio at most {most:.1f}"
        if size == max(costs):
            met = met and cost.processors_s <= most_s and (most_MB is None or cost.memory_MB <= most_MB)
            target += f"; {most_s:g} s" + ("" if most_MB is None else f", {most_MB:g} MB")
        verdict = "" if not target else "met" if met else "MISSED"
        rows.append([what, size, cost.processors_s, ratio, cost.clock_s, cost.memory_MB, target, verdict])
        before = size, cost
    return rows


def planned(folder: Path, form: str, jobs: int, rounds: int) -> Cost:
    """Return what planning a study of about this number of jobs takes: three a model, and one for each seed."""
    models = max(4, jobs // 3)
    recipes = {"many seeds": 10, "recipes and seeds": round(models**0.5), "many recipes": models}[form]
    study = {
        "results": str(folder / "results"),
        "experiments": {
            "study": {
                "task": "customer-service",
                "data": {"source": "embedded"},
                "recipes": ["baseline"],
                "seeds": list(range(1, models // recipes + 1)),
            }
        },
        "recipes": {"baseline": {"train": {}}},
    }
    if form == "many recipes":  # a third trained, a third quantised, a third the controls of these
        for number in range(recipes // 3):
            study["recipes"] |= {  # type: ignore[operator]
                f"rate-{number}": {"train": {"learning_rate": 1e-3 * (1 + number / 1000)}},
                f"int8-{number}": {"from": f"rate-{number}", "quantize": "int8"},
            }
    else:
        study["recipes"] |= {  # type: ignore[operator]
            f"rate-{number}": {"train": {"learning_rate": 1e-3 * (1 + number / 1000)}} for number in range(1, recipes)
        }
    study["experiments"]["study"]["recipes"] = list(study["recipes"])  # type: ignore[index]
    path = folder / "study.json"
    path.write_text(json.dumps(study))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "2", "--configfile", str(path)]
    return measured(command, rounds)


def simulated(folder: Path, jobs: int) -> tuple[Path, Path]:
    """Write the ledgers and files of a run of about this many jobs; return its results folder and configuration."""
    from simulated_study import Simulation, config

    folder.mkdir()
    seeds = max(1, (jobs - 4) // 10)  # of two experiments, each with five jobs a seed; each collects and prepares once
    study = Simulation(folder / "results", config(seeds=list(range(1, seeds + 1))))
    for experiment in study.config.experiments:
        study.prepare(experiment)
        for seed in range(1, seeds + 1):
            study.train(experiment, "baseline", seed)
            study.evaluate(experiment, "baseline", seed, 0.9, 40)
            study.compress(experiment, "int8", seed)
            study.evaluate(experiment, "int8", seed, 0.9, 40)
            study.measure(experiment, seed, {"baseline": 26, "int8": 5}, twin=26)
    path = folder / "study.json"
    path.write_text(study.config.model_dump_json(by_alias=True, exclude_unset=True))
    return folder / "results", path


def measured(command: list[str], rounds: int) -> Cost:
    """Run a command; return the medians of what it took."""
    costs = [_once(command) for _ in range(rounds)]
    return Cost(*(statistics.median(column) for column in zip(*map(_values, costs), strict=True)))


def _values(cost: Cost) -> tuple[float, float, float]:
    return cost.clock_s, cost.processors_s, cost.memory_MB


def _once(command: list[str]) -> Cost:
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}")
    return Cost(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    sys.exit(main())
