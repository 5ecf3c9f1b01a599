"""How often does the interval of a consequence contain the truth? Simulated studies whose factors err as published.

    python benchmarks/impact_coverage.py                   # 1,000 studies: some seconds
    python benchmarks/impact_coverage.py --studies 200

In each study the truth is known: gains of sensors, PUE, carbon and water of the grid, embodied carbon, prices. What is
published of each is in error, as often as its bounds say. Errors are drawn as the footprint assumes (lognormal halves),
and as it does not (normal halves). Exit status 1 if a target is missed.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tabulate import tabulate

from greenllm.estimate import Estimate, Parameter, unseen
from greenllm.footprint.consequences import Consequences, Consumption, ImpactModel, together
from greenllm.footprint.draws import NORMAL_95, Draws
from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import Equipment, SiteFactors

LEAST, MOST = 0.93, 0.97  # targets
JOBS, HOSTS = 12, 3
LEAST_ERRED = 0.05  # of the truth over what is published: a normal error could make it negative
YEAR_s, kWh = 365 * 86400, 3.6e6
# Relative bounds that are published with each constant; those of embodied carbon are as wide as for an H100.
BOUNDS = {
    **{f"gain {host}": (0.95, 1.05) for host in range(HOSTS)},
    **{f"watts {host}": (0.5, 1.75) for host in range(HOSTS)},
    "grid carbon": (0.7, 1.5),
    "PUE": (0.94, 1.2),
    "WUE": (0.4, 2.5),
    "grid water": (0.5, 2.0),
    "price": (0.9, 1.1),
    "embodied gpu": (0.6, 2.09),
    "life of gpu": (0.75, 1.5),
}
TRUTH = {
    **{f"gain {host}": 1.0 for host in range(HOSTS)},
    **{f"watts {host}": 40.0 for host in range(HOSTS)},
    "grid carbon": 350.0, "PUE": 1.4, "WUE": 1.2, "grid water": 3.0, "price": 0.2, "embodied gpu": 273.0,
    "life of gpu": 4.0,
}  # fmt: skip


def lognormal(value: float, low: float, high: float, normal: float) -> float:
    return value * (value / low if normal < 0 else high / value) ** (normal / NORMAL_95)


def gaussian(value: float, low: float, high: float, normal: float) -> float:
    return value + normal / NORMAL_95 * (value - low if normal < 0 else high - value)


ERRORS: Mapping[str, Callable[[float, float, float, float], float]] = {
    "lognormal halves": lognormal,
    "normal halves": gaussian,
}


@dataclass(frozen=True)
class Job:
    """What a job really used: joules behind a counter, seconds of a modelled device, GPU seconds, joules unseen."""

    host: int
    counted_J: float
    modelled_s: float
    gpu_s: float
    open_J: float
    unseen_J: float


def studied(random: np.random.Generator, error: Callable[..., float], seed: int) -> dict[str, bool]:
    """Return whether the intervals of one study contain the truth, by quantity."""
    published = {}
    for name, true in TRUTH.items():
        low, high = BOUNDS[name]
        # The truth lies where the error says, relative to what is published: so what is published follows from both.
        erred = 0.0
        while erred < LEAST_ERRED:
            erred = error(1.0, low, high, random.standard_normal())
        value = true / erred
        published[name] = (value, value * low, value * high)
    jobs = []
    for number in range(JOBS):
        open_J = float(random.uniform(0, 0.2) * kWh)
        jobs.append(
            Job(
                host=number % HOSTS,
                counted_J=float(random.lognormal(0, 1) * kWh),
                modelled_s=float(random.lognormal(10, 1)),
                gpu_s=float(random.lognormal(9, 1)),
                open_J=open_J,
                unseen_J=float(open_J * random.standard_normal() / NORMAL_95),
            )
        )
    return covered(jobs, published, seed)


def covered(jobs: list[Job], published: Mapping[str, tuple[float, float, float]], seed: int) -> dict[str, bool]:
    """Compare the footprint of the published constants with the truth."""
    parameters = {
        name: Parameter(*published[name], "1", "simulated") for name in published if name.startswith(("gain", "watts"))
    }

    def factor(name: str) -> Factor:
        value, low, high = published[name]
        return Factor(
            name=name, place="", value=value, low=max(1.0, low) if name == "PUE" else low, high=high,
            interval="", unit="", year=None, source="simulated",
        )  # fmt: skip

    site = SiteFactors(
        place="simulated", grid_carbon=factor("grid carbon"), pue=factor("PUE"), wue=factor("WUE"),
        grid_water=factor("grid water"), price=factor("price"),
    )  # fmt: skip
    card = Equipment(kind="gpu", name="gpu", embodied=factor("embodied gpu"), life=factor("life of gpu"))
    rows = [
        Consumption(
            accelerator=Estimate(),
            host=Estimate(
                {f"gain {job.host}": job.counted_J, f"watts {job.host}": job.modelled_s}, parameters
            ) + unseen(str(number), "gpu", job.open_J),
            idle=Estimate(),
            reserved={"gpu": job.gpu_s},
        )
        for number, job in enumerate(jobs)
    ]  # fmt: skip
    model = ImpactModel(parameters, site, [card], Draws(4000, seed))
    one, whole = model.consequences([rows[0], together(rows)])
    return {
        **{f"{name}, one job": inside for name, inside in _inside(one, jobs[:1]).items()},
        **{f"{name}, study": inside for name, inside in _inside(whole, jobs).items()},
    }


def _inside(found: Consequences, jobs: list[Job]) -> dict[str, bool]:
    it_kWh = sum(
        job.counted_J * TRUTH[f"gain {job.host}"] + job.modelled_s * TRUTH[f"watts {job.host}"] + job.unseen_J
        for job in jobs
    ) / kWh  # fmt: skip
    site_kWh = it_kWh * TRUTH["PUE"]
    embodied = sum(job.gpu_s for job in jobs) * TRUTH["embodied gpu"] * 1000 / (TRUTH["life of gpu"] * YEAR_s)
    truth = {
        "it_J": it_kWh * kWh,
        "site_J": site_kWh * kWh,
        "carbon_g": site_kWh * TRUTH["grid carbon"],
        "embodied_g": embodied,
        "total_g": site_kWh * TRUTH["grid carbon"] + embodied,
        "water_L": it_kWh * TRUTH["WUE"] + site_kWh * TRUTH["grid water"],
        "cost": site_kWh * TRUTH["price"],
    }
    return {name: bool(getattr(found, name).low <= true <= getattr(found, name).high) for name, true in truth.items()}


def coverage(error: Callable[..., float], studies: int, seed: int) -> dict[str, float]:
    """Return the share of simulated studies whose interval contains the truth, by quantity."""
    random = np.random.default_rng(seed)
    found = [studied(random, error, number) for number in range(studies)]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies with each kind of error")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation")
    arguments = parser.parse_args()
    rows, missed = [], 0
    for kind, error in ERRORS.items():
        for name, share in coverage(error, arguments.studies, arguments.seed).items():
            met = LEAST <= share <= MOST
            missed += not met
            rows.append([kind, name, f"{share:.1%}", "met" if met else "missed"])
    print(tabulate(rows, ["errors", "quantity", "covered", ""], "pipe", disable_numparse=True))
    print(f"\n{len(rows) - missed} of {len(rows)} targets met (covered {LEAST:.0%} to {MOST:.0%})")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
