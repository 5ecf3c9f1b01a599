"""The power that a job is expected to draw: the mean of earlier attempts in the ledgers, or else a model.

Snakemake hands it out as the resource `power_W`, so that the running jobs together stay within a budget of power.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenllm.config.models import Needs
from greenllm.ledger.energy_log import SUMMED
from greenllm.ledger.file import ledger_paths
from greenllm.meter.host import processor_count
from greenllm.meter.sensors import cpu_model, dram_model, nvml
from greenllm.study.plan import Plan

# The most that a GPU draws where its limit is unknown, as on the nodes of a cluster: NVIDIA H100 SXM, data sheet.
GPU_W = 700.0
# The end record of a ledger is read from its end; it is this long at most (bytes).
LONGEST_END = 1 << 20


@dataclass(frozen=True)
class Reserved:
    """What a job reserves: processors, GPUs, and the power limit of each GPU (W; None: it has none)."""

    threads: int
    gpus: int
    power_limit_W: float | None = None


@dataclass(frozen=True)
class ExpectedPower:
    """The mean power (W) of earlier attempts, by rule, experiment and recipe, and by rule alone."""

    earlier_W: Mapping[tuple[str, str | None, str | None], float] = field(default_factory=dict)
    of_rule_W: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_ledgers(cls, ledgers: Path) -> "ExpectedPower":
        """Read the first and the last record of each ledger; attempts that did not succeed are left out.

        The energies are the provisional ones of the meters: a budget needs no more.
        """
        energy_J: dict[str, float] = {}
        attempts: dict[str, tuple[str, str | None, str | None, float]] = {}
        for path in ledger_paths(ledgers):
            start, end = _records(path)
            attempt, _, nested = path.stem.partition(".")
            energies = [part.get("energy_J") for part in end.get("components", ()) if part["component"] in SUMMED]
            # A meter inside another has its own part of the energy of the job around both.
            energy_J[attempt] = energy_J.get(attempt, 0.0) + sum(one["value"] for one in energies if one)
            rule, duration_s = start.get("job", {}).get("rule"), end.get("duration_s")
            if not nested and rule and duration_s and end.get("status") == "succeeded":
                wildcards = start["job"].get("wildcards", {})
                attempts[attempt] = (rule, wildcards.get("experiment"), wildcards.get("recipe"), duration_s)
        of_job, of_rule = _Sums(), _Sums()
        for attempt, (rule, experiment, recipe, duration_s) in attempts.items():
            if energy_J[attempt] > 0:  # where no sensor could be read, nothing is known
                of_job.add((rule, experiment, recipe), energy_J[attempt], duration_s)
                of_rule.add(rule, energy_J[attempt], duration_s)
        return cls(of_job.means(), of_rule.means())

    def of(self, rule: str, wildcards: Mapping[str, str], reserved: Reserved) -> int:
        """Return the power of a job (W, rounded up): of its rule, experiment and recipe; of its rule; or modelled."""
        known = self.earlier_W.get((rule, wildcards.get("experiment"), wildcards.get("recipe")))
        power_W = self.of_rule_W.get(rule) if known is None else known
        return max(1, math.ceil(modelled_W(reserved) if power_W is None else power_W))

    def of_light(self) -> int:
        """Return the power of a job that belongs to no stage (W, rounded up): one busy processor, as modelled."""
        return max(1, math.ceil(modelled_W(Reserved(1, 0))))


class _Sums:
    """Sums of energy and time by key."""

    def __init__(self) -> None:
        self._sums: dict[Any, tuple[float, float]] = {}

    def add(self, key: Any, energy_J: float, duration_s: float) -> None:
        before_J, before_s = self._sums.get(key, (0.0, 0.0))
        self._sums[key] = before_J + energy_J, before_s + duration_s

    def means(self) -> dict[Any, float]:
        return {key: energy_J / duration_s for key, (energy_J, duration_s) in self._sums.items()}


def reserved(plan: Plan, stage: str, wildcards: Mapping[str, str]) -> Reserved:
    """Return what a job of a stage reserves."""
    needs: Needs = getattr(plan.config.resources, stage)
    gpus = plan.gpus(stage, wildcards["experiment"], wildcards.get("recipe"))
    return Reserved(needs.threads, gpus, needs.power_limit_W)


def jobs_over_budget(plan: Plan, expected: ExpectedPower, budget_W: float) -> list[str]:
    """Return a line for each stage, experiment and recipe whose job alone is expected to draw more than the budget."""
    lines = []
    for stage, wildcards in _jobs(plan):
        power_W = expected.of(stage, wildcards, reserved(plan, stage, wildcards))
        if power_W > budget_W:
            lines.append(
                f"power budget: {budget_W:g} W, but {stage} of {'/'.join(wildcards.values())} alone is expected to "
                f"draw {power_W} W; allow at least as much (--resources power_W={power_W}), or limit what it uses"
            )
    return lines


def _jobs(plan: Plan) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield stage and wildcards of each kind of job."""
    for name, experiment in plan.config.experiments.items():
        for stage in ("collect", "preprocess", "measure"):
            yield stage, {"experiment": name}
        for recipe in plan.recipes(name):
            step = plan.config.recipes[recipe].step
            stages = [step.stage] if step is not None else []
            for stage in [*stages, *(("evaluate", "deploy") if recipe in experiment.recipes else ())]:
                yield stage, {"experiment": name, "recipe": recipe}


def modelled_W(reserved: Reserved) -> float:
    """Return the power (W) of a job whose processors are busy and whose GPUs draw what they may.

    Processors and memory as the meter models them (docs/explanation/modelled.md); memory by the share of processors.
    """
    cpus = processor_count()
    share = min(1.0, reserved.threads / cpus)
    power_W = 0.0
    for sensor in (*cpu_model.find(), *dram_model.find()):
        for term in sensor.terms:
            watts = sensor.parameters[term.parameter].value * term.factor
            power_W += watts * (share if term.of == "time" else min(reserved.threads, cpus))
    if reserved.gpus:
        limits = [sensor.limit_W for sensor in nvml.find()[1] if sensor.limit_W]
        power_W += reserved.gpus * (reserved.power_limit_W or max(limits, default=GPU_W))
    return power_W


def _records(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the start and the end record of a ledger; empty where one is missing or damaged."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(OSError), path.open("rb") as file:
        lines = [file.readline()]
        file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_END))
        lines.append(file.read().rstrip(b"\n").rpartition(b"\n")[2])
        for line, kind in zip(lines, ("start", "end"), strict=True):
            record: Any = None
            with contextlib.suppress(ValueError):
                record = json.loads(line)
            found.append(record if isinstance(record, dict) and record.get("record") == kind else {})
    return (found[0], found[1]) if len(found) == 2 else ({}, {})
