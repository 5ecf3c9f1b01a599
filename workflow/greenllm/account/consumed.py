"""What the jobs and the requests of an account consumed: energies by parameter, and reserved equipment.

Everything comes from account.json and attribution.json: no ledger is read.
"""

import datetime
import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from greenllm.account.document import Account, JobRow
from greenllm.attribution.stored import StoredAttribution, StoredHost, StoredJob
from greenllm.comparison.production_cost import ELSEWHERE
from greenllm.comparison.rows import ModelRow, RecipeRow, ServedModel
from greenllm.errors import UserError
from greenllm.estimate import UNSEEN, UNSEEN_SOURCE, Estimate, Interval, Parameter, total_known
from greenllm.footprint.consequences import Consumption, together
from greenllm.footprint.embodied import B_PER_GB, Machine, Reservation, Reserved
from greenllm.footprint.grid_course import GridCourse, relative_to_year
from greenllm.footprint.site_factors import Equipment

# The name of a processor's package, as RAPL has it; "package-0-die-1" is a part of one, "package-0-dram" its memory.
PACKAGE = re.compile(r"package-(\d+)")


@dataclass(frozen=True)
class Consumed:
    """The consumption of a study's jobs, models and requests.

    `grid_g_per_kWh` is the year's mean, to which `course` is related; `shift` moves all jobs in time.
    """

    account: Account
    attribution: StoredAttribution
    equipment: Sequence[Equipment]
    grid_g_per_kWh: float | None = None
    course: GridCourse | None = None
    shift: datetime.timedelta = datetime.timedelta()

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The sensors' parameters."""
        return {**self.attribution.parameters, UNSEEN: Parameter(0.0, -1.0, 1.0, "J/J", UNSEEN_SOURCE)}

    @cached_property
    def jobs(self) -> list[tuple[JobRow, Consumption]]:
        """Each attempt with what it consumed itself, without the meters inside it."""
        stored = self._by_id
        if stored.keys() != {row.id for row in self.account.jobs}:
            raise UserError(
                "account.json and attribution.json are of different attempts; expected those that one "
                "`greenllm account` wrote; run it again"
            )
        energies = {job.id: job.energy(self.parameters) for job in self.attribution.jobs}
        return [
            (row, self._job(row, stored[row.id], energies[row.id], self._idle_shares[row.id]))
            for row in self.account.jobs
        ]

    @cached_property
    def covered(self) -> float | None:
        """The share of the jobs' time that the series covers; None without a series."""
        spans = [(end - start).total_seconds() for start, end in self._times.values()]
        if self.course is None or not sum(spans):
            return None
        shares = [self._in_time[one][1] for one in self._times]
        return math.fsum(span * share for span, share in zip(spans, shares, strict=True)) / math.fsum(spans)

    def of_recipes(self, experiment: str, recipes: Collection[str | None]) -> list[tuple[JobRow, Consumption]]:
        """Return each attempt for some recipes of an experiment (None: for all) with what it consumed, in order."""
        found = (place for recipe in recipes for place in self._places.get((experiment, recipe), ()))
        return [self.jobs[place] for place in sorted(found)]

    @cached_property
    def _places(self) -> dict[tuple[str | None, str | None], list[int]]:
        """Where the attempts of each experiment and recipe are in `jobs`."""
        found: dict[tuple[str | None, str | None], list[int]] = defaultdict(list)
        for place, (row, _) in enumerate(self.jobs):
            found[row.experiment, row.recipe].append(place)
        return found

    def request(self, experiment: str, recipe: RecipeRow) -> Consumption | None:
        """Return what one request to a recipe's server consumes under load, the mean over seeds; None if unknown."""
        served = [model.serving for model in self.models[experiment, recipe.recipe] if model.serving]
        measured = [one for one in served if one.request_terms is not None]
        if not measured:
            return None
        mean = together([self._served(one) for one in measured]).scaled(1 / len(measured))
        sensors = None if mean.host is None else mean.host.interval()
        return replace(mean, spread=_beyond(recipe.energy_per_request_J, sensors))

    def idle_power(self, experiment: str, recipe: str) -> Estimate | None:
        """Return the idle power of a recipe's server in W, the mean over seeds; None where it was not measured."""
        terms = [m.serving.idle_terms for m in self.models[experiment, recipe] if m.serving and m.serving.idle_terms]
        energy = total_known(Estimate(one, self.parameters) for one in terms)
        return energy and energy.scaled(1 / len(terms))

    def reserved_in_service(self, experiment: str, recipe: str) -> Reserved | None:
        """Return what a recipe's server holds for each second that it is in service."""
        for model in self.models[experiment, recipe]:
            if model.serving and model.serving.attempt in self._by_id:
                amounts, unknown = self._reservation(model.serving, 1.0).by_equipment(self.equipment)
                return None if unknown else amounts
        return None

    def production(self, experiment: str, recipe: str) -> Consumption | None:
        """Return what a recipe's model took to be made, the mean over seeds; None where a part of it is unknown."""
        made = []
        for model in self.models[experiment, recipe]:
            ids = [one for step in model.cost_to_produce.steps for one in step.ids]
            if set(model.cost_to_produce.missing) - {ELSEWHERE}:
                return None
            if ids:
                made.append(together([self._consumption[one] for one in ids]))
        return together(made).scaled(1 / len(made)) if made else None

    @cached_property
    def _consumption(self) -> dict[str, Consumption]:
        """What each attempt consumed itself, by its id."""
        return {row.id: consumption for row, consumption in self.jobs}

    @cached_property
    def _by_id(self) -> dict[str, StoredJob]:
        return {job.id: job for job in self.attribution.jobs}

    @cached_property
    def _hosts(self) -> dict[str, StoredHost]:
        return {host.boot_id: host for host in self.attribution.hosts}

    @cached_property
    def models(self) -> Mapping[tuple[str, str], list[ModelRow]]:
        """The models of each experiment and recipe."""
        found: dict[tuple[str, str], list[ModelRow]] = defaultdict(list)
        for model in self.account.models:
            found[model.experiment, model.recipe].append(model)
        return found

    @cached_property
    def _idle_shares(self) -> dict[str, Estimate]:
        """Each job's share of its host's unallocated idle energy: that of its energy among all jobs there."""
        energies = {job.id: job.energy(self.parameters) for job in self.attribution.jobs}
        values = {name: energy.value if energy else 0.0 for name, energy in energies.items()}
        whole: dict[str, float] = defaultdict(float)
        for job in self.attribution.jobs:
            whole[job.boot_id] += values[job.id]
        idle = {boot_id: host.idle(self.parameters) for boot_id, host in self._hosts.items()}
        return {
            job.id: idle[job.boot_id].scaled(values[job.id] / whole[job.boot_id] if whole[job.boot_id] else 0.0)
            for job in self.attribution.jobs
        }

    @cached_property
    def _times(self) -> dict[str, tuple[datetime.datetime, datetime.datetime]]:
        """When each job ran (moved by `shift`)."""
        found = {}
        for row in self.account.jobs:
            start = datetime.datetime.fromisoformat(row.started) + self.shift
            length_s = self._by_id[row.id].duration_s or 0.0
            found[row.id] = (start, start + datetime.timedelta(seconds=length_s))
        return found

    @cached_property
    def _in_time(self) -> dict[str, tuple[float, float]]:
        if self.course is None or self.grid_g_per_kWh is None:
            return {}
        found = relative_to_year(self.course, list(self._times.values()), self.grid_g_per_kWh)
        return dict(zip(self._times, found, strict=True))

    @cached_property
    def _amounts(self) -> dict[str, tuple[Reserved | None, list[str]]]:
        """What each job reserved for itself alone: a meter inside another has its part of what that one reserved.

        A meter inside it on another host has what was reserved there.
        """
        whole = {job.id: self._reserved(job) for job in self.attribution.jobs}
        inside: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for job in self.attribution.jobs:
            around = self._by_id.get(job.parent or "")
            if around is not None and around.boot_id == job.boot_id:
                for name, amount in (whole[job.id][0] or {}).items():
                    inside[around.id][name] += amount
        return {
            one: (
                None
                if amounts is None
                else {name: max(0.0, amount - inside[one].get(name, 0.0)) for name, amount in amounts.items()},
                unknown,
            )
            for one, (amounts, unknown) in whole.items()
        }

    def _reserved(self, job: StoredJob) -> tuple[Reserved | None, list[str]]:
        nested = job.parent in self._by_id
        cpus = job.reserved_cpus if job.reserved_cpus is not None else 0.0 if nested else job.threads
        if cpus is None or job.duration_s is None:
            return None, ["embodied carbon: the ledger does not say what was reserved, or for how long"]
        if nested and not cpus and not job.gpus:
            return {}, []  # the job around it reserved what it used
        memory_B = job.reserved_memory_B
        reservation = Reservation(
            machine=self._machine(job.boot_id),
            cpus=cpus,
            memory_GB=None if memory_B is None else memory_B / B_PER_GB,
            gpus=[gpu.name for gpu in job.gpus],
            duration_s=job.duration_s,
        )
        amounts, unknown = reservation.by_equipment(self.equipment)
        return (None if unknown else amounts), unknown

    def _machine(self, boot_id: str) -> Machine:
        host = self._hosts[boot_id]
        cpus = (PACKAGE.match(one.device) for one in host.devices if one.component == "cpu")
        packages = {found[1] for found in cpus if found}
        memory_GB = None if host.memory_B is None else host.memory_B / B_PER_GB
        return Machine(host.cpus, max(1, len(packages)), memory_GB)

    def _job(self, row: JobRow, job: StoredJob, energy: Estimate | None, idle: Estimate) -> Consumption:
        reserved, unknown = self._amounts[job.id]
        gpus = [part for part in job.components if part.component == "gpu"]
        accelerator = job.energy(self.parameters, ("gpu",)) if gpus else Estimate()
        timed = None
        if job.id in self._in_time and energy is not None:
            timed = (energy + idle).scaled(self._in_time[job.id][0])
        return Consumption(
            accelerator=accelerator,
            host=energy,
            idle=idle,
            timed=timed,
            reserved=reserved,
            unknown=(*row.unknown, *unknown),
        )

    def _reservation(self, serving: ServedModel, duration_s: float) -> Reservation:
        job = self._by_id[serving.attempt or ""]
        around = self._by_id.get(job.parent or "", job)
        memory_B = serving.memory_bytes
        return Reservation(
            machine=self._machine(job.boot_id),
            cpus=serving.threads,
            memory_GB=None if memory_B is None else memory_B / B_PER_GB,
            gpus=[gpu.name for gpu in around.gpus][: serving.gpus],
            duration_s=duration_s,
        )

    def _served(self, serving: ServedModel) -> Consumption:
        """Return what a request to one server consumes under load; no host was idle meanwhile."""
        amounts: Reserved | None = None
        unknown = ["embodied carbon: the server's attempt is not in the account"]
        if serving.attempt in self._by_id and serving.answered:
            reservation = self._reservation(serving, serving.duration_s / serving.answered)
            amounts, unknown = reservation.by_equipment(self.equipment)
        accelerator = Estimate() if not serving.gpus else None
        if serving.accelerator_terms is not None:
            accelerator = Estimate(serving.accelerator_terms, self.parameters)
        return Consumption(
            accelerator=accelerator,
            host=Estimate(serving.request_terms or {}, self.parameters),
            idle=Estimate(),
            reserved=None if unknown else amounts,
            unknown=tuple(unknown),
        )


def _beyond(whole: Interval | None, sensors: Interval | None) -> tuple[float, float]:
    """Return the half-width (low, high) of a logarithm's interval that is not the sensors': the spread."""
    if whole is None or sensors is None or min(whole.low, sensors.low) <= 0:
        return 0.0, 0.0

    def half(bound: float, own: float) -> float:
        squares = math.log(bound / whole.value) ** 2 - math.log(own / sensors.value) ** 2
        return math.sqrt(max(0.0, squares))

    return half(whole.low, sensors.low), half(whole.high, sensors.high)
