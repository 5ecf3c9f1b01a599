"""The power that a job is expected to draw: the mean of earlier attempts in the ledgers, or else a model.

Snakemake hands it out as the resource `power_W`, so that the running jobs together stay within a budget of power.
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenllm.config.models import Needs
from greenllm.errors import UserError
from greenllm.ledger.energy_log import SUMMED
from greenllm.ledger.file import first_and_last_line, ledger_paths
from greenllm.meter.sensors import nvml
from greenllm.study.modelled_power import Reserved, modelled_power
from greenllm.study.plan import Plan


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
        return max(1, math.ceil(modelled_power(reserved).value if power_W is None else power_W))

    def of_light(self) -> int:
        """Return the power of a job that belongs to no stage (W, rounded up): one busy processor, as modelled."""
        return max(1, math.ceil(modelled_power(Reserved(1, 0)).value))


class _Sums:
    """Sums of energy and time by key."""

    def __init__(self) -> None:
        self._sums: dict[Any, tuple[float, float]] = {}

    def add(self, key: Any, energy_J: float, duration_s: float) -> None:
        before_J, before_s = self._sums.get(key, (0.0, 0.0))
        self._sums[key] = before_J + energy_J, before_s + duration_s

    def means(self) -> dict[Any, float]:
        return {key: energy_J / duration_s for key, (energy_J, duration_s) in self._sums.items()}


@dataclass(frozen=True)
class PowerBudget:
    """The power (W) that all running jobs may draw together, and what each job of a plan is expected to draw."""

    plan: Plan
    budget_W: float
    expected: ExpectedPower
    without_gpu: bool

    @classmethod
    def checked(cls, plan: Plan, ledgers: Path, budget_W: float, *, here: bool) -> "PowerBudget":
        """Return the budget of jobs that run on this host (`here`), or on a cluster's nodes, whose GPUs are unknown.

        Raises UserError, with a line for each kind of job that alone would draw more, the one with the most last.
        """
        budget = cls(plan, budget_W, ExpectedPower.from_ledgers(ledgers), without_gpu=here and not nvml.find()[0])
        if lines := budget._too_much():
            raise UserError("\n".join(lines))
        return budget

    def of(self, stage: str, wildcards: Mapping[str, str]) -> int:
        """Return the power (W, rounded up) that a job of a stage is expected to draw."""
        needs: Needs = getattr(self.plan.config.resources, stage)
        gpus = 0 if self.without_gpu else self.plan.gpus(stage, wildcards["experiment"], wildcards.get("recipe"))
        recipe = wildcards.get("recipe")
        nodes = 1 if recipe is None else self.plan.nodes(stage, wildcards["experiment"], recipe)
        return self.expected.of(stage, wildcards, Reserved(needs.threads, gpus, needs.power_limit_W, nodes))

    def _too_much(self) -> list[str]:
        powers = [(self.of(stage, wildcards), stage, wildcards) for stage, wildcards in _jobs(self.plan)]
        return [
            f"power budget: {self.budget_W:g} W, but {stage} of {'/'.join(wildcards.values())} alone is "
            f"expected to draw {power_W} W; allow at least as much (--resources power_W={power_W}, or "
            "policy.power_budget_W), or limit what it uses"
            for power_W, stage, wildcards in sorted(powers, key=lambda row: row[0])
            if power_W > self.budget_W
        ]


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


def _records(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the start and the end record of a ledger; empty where one is missing or damaged."""
    try:
        lines = first_and_last_line(path)
    except OSError:
        return {}, {}
    found: list[dict[str, Any]] = []
    for line, kind in zip(lines, ("start", "end"), strict=True):
        record: Any = None
        with contextlib.suppress(ValueError):
            record = json.loads(line)
        found.append(record if isinstance(record, dict) and record.get("record") == kind else {})
    return found[0], found[1]
