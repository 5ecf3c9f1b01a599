"""A parameter study of 10,000 jobs: its planning by Snakemake, and the bookkeeping of a simulated run of it.

    python benchmarks/scale.py                # 1,250, 2,500, 5,000 and 10,000 jobs
    python benchmarks/scale.py --rounds 3     # medians of three rounds

Planning is `snakemake --dry-run` of generated studies in three forms: few recipes with many seeds, as many of both, and
thousands of recipes with one seed, a third of them quantised, a third the controls of these. The run's ledgers and
stage files are simulated in the same three forms on one host, with the meters inside each measurement. All commands run
in separate processes. Targets hold for the time of processors, since other programs may run; the time by the clock is
beside it. Targets at the largest size: planning at most 20 s and 600 MB, account, attribute and one frame of watch at
most 60 s; what is made from the account has none. From size to size, time grows at most in proportion, plus a fifth.
Exit status 1 if a target is missed.
"""

import argparse
import json
import os
import shutil
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
FORMS = ("many seeds", "recipes and seeds", "many recipes")
AFTERWARDS = ("footprint", "export", "verify", "report")  # commands without a target


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
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="forms of the study")
    arguments = parser.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for form in arguments.forms:
            if arguments.only != "bookkeeping":
                costs = {size: planned(folder, form, size, arguments.rounds) for size in arguments.sizes}
                rows += shown(f"planning, {form}", costs, PLANNING_s, PLANNING_MB)
            if arguments.only != "planning":
                by_command: dict[str, dict[int, Cost]] = {}
                for size in arguments.sizes:
                    place = folder / form / str(size)
                    simulated(place, form, size)
                    for words in commands(place):
                        cost = measured([sys.executable, "-m", "greenllm", *words], arguments.rounds)
                        by_command.setdefault(words[0], {})[size] = cost
                    shutil.rmtree(place)
                for command, costs in by_command.items():
                    most_s = None if command in AFTERWARDS else BOOKKEEPING_s
                    rows += shown(f"{command}, {form}", costs, most_s, None)
    headers = ["what", "jobs", "processor s", "ratio", "clock s", "MB", "target", ""]
    print(f"\n{len(os.sched_getaffinity(0))} cores, medians of {arguments.rounds}\n")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"))
    missed = sum(row[-1] == "MISSED" for row in rows)
    print(f"\n{missed} targets missed")
    return int(missed > 0)


def shown(what: str, costs: dict[int, Cost], most_s: float | None, most_MB: float | None) -> list[list[Any]]:
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
        if size == max(costs) and most_s is not None:
            met = met and cost.processors_s <= most_s and (most_MB is None or cost.memory_MB <= most_MB)
            target += f"; {most_s:g} s" + ("" if most_MB is None else f", {most_MB:g} MB")
        verdict = "" if not target else "met" if met else "MISSED"
        rows.append([what, size, cost.processors_s, ratio, cost.clock_s, cost.memory_MB, target, verdict])
        before = size, cost
    return rows


def planned(folder: Path, form: str, jobs: int, rounds: int) -> Cost:
    """Return what planning a study of about this number of jobs takes: three a model, and one for each seed."""
    study = generated(form, jobs // 3, folder / "results")
    path = folder / "study.json"
    path.write_text(json.dumps(study))
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "2", "--configfile", str(path)]
    return measured(command, rounds)


def generated(form: str, models: int, results: Path) -> dict[str, Any]:
    """Return a study of about this number of models."""
    number = {"many seeds": 10, "recipes and seeds": round(models**0.5), "many recipes": models}[form]
    recipes: dict[str, Any] = {"baseline": {"train": {}}}
    for one in range(number // 3 if form == "many recipes" else number - 1):
        recipes[f"rate-{one}"] = {"train": {"learning_rate": 1e-3 * (1 + one / 1000)}}
        if form == "many recipes":  # a third trained, a third quantised, a third the controls of these
            recipes[f"int8-{one}"] = {"from": f"rate-{one}", "quantize": "int8"}
    experiment = {
        "task": "customer-service",
        "data": {"source": "embedded"},
        "recipes": list(recipes),
        "seeds": list(range(1, models // number + 1)),
    }
    return {"results": str(results), "experiments": {"study": experiment}, "recipes": recipes}


def simulated(folder: Path, form: str, jobs: int) -> None:
    """Write the ledgers and files of a run of about this many jobs, and its configuration, study.json."""
    from simulated_study import Simulation

    from greenllm.config.read import validate
    from greenllm.study.models import Config

    folder.mkdir(parents=True)
    config: Config = validate(generated(form, jobs // 3, folder / "results"), Config, "study")
    study = Simulation(folder / "results", config)
    (folder / "study.json").write_text(config.model_dump_json(by_alias=True, exclude_unset=True))
    for name, experiment in config.experiments.items():
        study.prepare(name)
        # Of thousands of servers each is busy for some tenths of a second: each meter reads as long as all take.
        busy_s = {one: (200 + place % 7) / len(experiment.recipes) for place, one in enumerate(experiment.recipes)}
        for seed in experiment.seeds:
            for place, recipe in enumerate(experiment.recipes):
                step = config.recipes[recipe].step
                if step is not None and step.stage == "compress":
                    study.compress(name, recipe, seed)
                else:
                    study.train(name, recipe, seed, 10)
                study.evaluate(name, recipe, seed, 0.8 + 0.1 * place / len(experiment.recipes), 50)
            study.measure(name, seed, busy_s, rounds=4, twin=busy_s[experiment.baseline])


def commands(folder: Path) -> list[list[str]]:
    """Return the commands of the last rules, in their order."""
    results, account = folder / "results", folder / "results/account"
    written = {name: str(account / f"{name}.json") for name in ("account", "footprint", "verification")}
    return [
        ["account", "--config", str(folder / "study.json"), "--results", str(results), "--out", str(account)],
        ["attribute", str(results / "ledger"), "--json"],
        ["watch", str(results), "--once"],
        ["footprint", str(results), "--out", written["footprint"]],
        ["export", str(results), "--to", "all", "--out", str(results / "exports")],
        ["verify", str(results), "--record", written["verification"]],
        ["report", "--account", written["account"], "--footprint", written["footprint"],
         "--verification", written["verification"], "--out", str(results / "report")],
    ]  # fmt: skip


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
