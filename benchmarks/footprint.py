"""`greenllm footprint` on a large study: 10,000 jobs on 50 hosts, with a year of hourly carbon.

    python benchmarks/footprint.py

A simulated study's account is multiplied: its jobs run again on further hosts, each with its own sensors. Exit status 1
if it takes more than 60 s or 4 GB, or if the default command takes more than 2 s on the simulated study itself.
"""

import argparse
import copy
import datetime
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from greenllm.account.consumed import Consumed
from greenllm.account.document import Account
from greenllm.account.footprint import footprint
from greenllm.attribution.stored import StoredAttribution
from greenllm.footprint.consequences import ImpactModel
from greenllm.footprint.draws import Draws
from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import Equipment, SiteFactors

MOST_s, MOST_GB, MOST_DEFAULT_s = 60.0, 4.0, 2.0
YEAR = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Hourly:
    """A year of hours, each with a carbon intensity (gCO2e/kWh)."""

    sums: Any  # up to each hour

    def mean_between(self, start: datetime.datetime, end: datetime.datetime) -> tuple[float | None, float]:
        hours = [(moment - YEAR).total_seconds() / 3600 for moment in (start, end)]
        at = np.interp(hours, np.arange(len(self.sums)), self.sums)
        return float(at[1] - at[0]) / max(1e-9, hours[1] - hours[0]), 1.0


def factor(name: str, value: float, spread: float = 1.2) -> Factor:
    return Factor(
        name=name, place="", value=value, low=value / spread, high=value * spread, interval="", unit="", year=2026,
        source="simulated",
    )  # fmt: skip


SITE = SiteFactors(
    place="simulated",
    grid_carbon=factor("grid carbon", 350), grid_carbon_marginal=factor("grid carbon, marginal", 600),
    market_carbon=factor("market carbon", 50), grid_water=factor("grid water", 3), pue=factor("PUE", 1.4),
    wue=factor("WUE", 1.5), erf=factor("ERF", 0.2), heat_carbon=factor("heat carbon", 200), price=factor("price", 0.3),
)  # fmt: skip
KINDS: dict[Any, float] = {"processor": 20, "memory": 0.5, "server": 1000, "gpu": 273}
EQUIPMENT = [
    Equipment(kind=kind, name=kind, embodied=factor(f"embodied {kind}", kg), life=factor(f"life of {kind}", 5))
    for kind, kg in KINDS.items()
]


def simulated(folder: Path) -> None:
    """Write the account of a simulated study below `folder`."""
    from simulated_study import whole_study

    from greenllm.cli import main

    study = whole_study(folder)
    settings = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    main(["account", "--config", settings, "--results", str(folder), "--out", str(folder / "account")])


def multiply(folder: Path, jobs: int, hosts: int) -> None:
    """Let the jobs of an account run again on further hosts."""
    paths = [folder / "account" / name for name in ("account.json", "attribution.json")]
    account, attribution = (json.loads(path.read_text()) for path in paths)
    parts = {job["id"]: job for job in attribution["jobs"]}
    rows, base_host, base_parameters = account["jobs"], attribution["hosts"][0], dict(attribution["parameters"])
    outer = [row for row in rows if row["parent"] is None]
    for number in range(jobs - len(rows)):
        host = f"host{number % hosts}"
        row = copy.deepcopy(outer[number % len(outer)])
        job = copy.deepcopy(parts[row["id"]])
        start = YEAR + datetime.timedelta(hours=8760 * number / jobs)
        new = {"id": f"{host}-{number}", "host": host, "started": start.isoformat()}
        row.update(new)
        job.update(new, boot_id=f"boot-{host}")
        for component in job["components"]:
            for term in component["terms"]:
                term["parameter"] += f"@{host}"
        account["jobs"].append(row)
        attribution["jobs"].append(job)
    for number in range(hosts):
        host = copy.deepcopy(base_host)
        host.update(host=f"host{number}", boot_id=f"boot-host{number}", memory_B=64e9)
        attribution["hosts"].append(host)
        attribution["parameters"] |= {f"{name}@host{number}": one for name, one in base_parameters.items()}
    for path, content in zip(paths, (account, attribution), strict=True):
        path.write_text(json.dumps(content))


def compute(folder: Path) -> None:
    """Compute and write the footprint of a folder, as the command does."""
    read = [folder / "account" / name for name in ("account.json", "attribution.json")]
    carbon = np.random.default_rng(1).uniform(50, 700, 8760)
    course = Hourly(np.concatenate([[0.0], np.cumsum(carbon)]))
    consumed = Consumed(Account.read(read[0]), StoredAttribution.read(read[1]), EQUIPMENT, 350.0, course)
    found = footprint(consumed, ImpactModel(consumed.parameters, SITE, EQUIPMENT, Draws()), 2026, [])
    (folder / "footprint.json").write_text(found.model_dump_json(by_alias=True))


def timed(command: list[str]) -> tuple[float, float, float]:
    """Return a command's time and processor time (s), and the most memory (GB) of all commands so far."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, processor_s, after.ru_maxrss * 1024 / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000, help="number of jobs")
    parser.add_argument("--hosts", type=int, default=50, help="number of hosts")
    parser.add_argument("--compute", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compute:
        compute(arguments.compute)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulated(folder)
        default_s, default_cpu_s, _ = timed(
            [sys.executable, "-m", "greenllm", "footprint", str(folder), "--country", "FRA", "--pue", "1.2"]
        )
        multiply(folder, arguments.jobs, arguments.hosts)
        took_s, took_cpu_s, took_GB = timed([sys.executable, __file__, "--compute", str(folder)])
        written_MB = (folder / "footprint.json").stat().st_size / 1e6
    met = [default_s <= MOST_DEFAULT_s, took_s <= MOST_s, took_GB <= MOST_GB]
    print(f"a simulated study, another place: {default_s:.2f} s (at most {MOST_DEFAULT_s:g} s)")
    print(f"{arguments.jobs} jobs on {arguments.hosts} hosts: {took_s:.1f} s (at most {MOST_s:g} s)")
    print(f"of processors: {default_cpu_s:.2f} s and {took_cpu_s:.1f} s")
    print(f"memory: {took_GB:.2f} GB (at most {MOST_GB:g} GB); footprint.json: {written_MB:.0f} MB")
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
