"""The attempts that made, checked and served a model, by stage, with the energy of all of them."""

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from greenllm import __version__
from greenllm.account.document import Account, JobComponent, JobRow
from greenllm.comparison.rows import ModelRow, ServedModel
from greenllm.estimate import Interval
from greenllm.footprint.carbon import J_PER_kWh
from greenllm.ledger.energy_log import SUMMED

SHARED = ("collect", "collect_model", "preprocess")  # stages that serve all recipes of an experiment
MADE = ("train", "compress")  # stages of a recipe and of its ancestors
CHECKED = ("evaluate", "deploy")  # stages of the recipe alone
DAY_s = 86_400


def summed(energies: Iterable[Interval | None]) -> Interval | None:
    """Return the sum of the known energies, None if none is known.

    Bounds are added, as if all errors were one sensor's: the account's rows don't say which errors they share, so this
    is the widest interval of the sum.
    """
    found = [energy for energy in energies if energy is not None]
    return Interval(*map(math.fsum, zip(*found, strict=True))) if found else None


def kWh(energy_J: Interval) -> Interval:
    """Return an energy in kWh."""
    return Interval(*(joules / J_PER_kWh for joules in energy_J))


def half_width(interval: Interval) -> float | None:
    """Return the larger half of an interval, as a share of its value; None if the value is not above 0."""
    value, low, high = interval
    return max(high - value, value - low) / value if value > 0 else None


def moment(time: str) -> datetime.datetime:
    """Return a time of the account (RFC 3339)."""
    return datetime.datetime.fromisoformat(time)


def duration_s(job: JobRow) -> float | None:
    """Return how long an attempt took by the wall clock; None while it runs, or if it was lost."""
    return None if job.ended is None else (moment(job.ended) - moment(job.started)).total_seconds()


def model_name(model: ModelRow) -> str:
    """Return the name that tells a model from the others of its study."""
    return f"{model.experiment}-{model.recipe}-seed-{model.seed}"


def version_of(account: Account) -> str:
    """Return the version of GreenLLM that metered the study."""
    return account.packages.get("greenllm", __version__)


def starts_from(account: Account, experiment: str) -> str | None:
    """Return the folder, id or address of the trained model that an experiment starts from; None if it has none."""
    start = account.config["experiments"][experiment].get("model", {}).get("init", "scratch")
    return None if start == "scratch" else str(start)


@dataclass(frozen=True)
class Stage:
    """The attempts at one stage of a model's life, failed ones included; `recipe` is the one whose job it is.

    `jobs` has an attempt's parts on further hosts as well.
    """

    name: str
    recipe: str | None
    jobs: tuple[JobRow, ...]

    @cached_property
    def energy_J(self) -> Interval | None:
        """The energy of the IT equipment; None if that of no attempt is known."""
        return summed(job.energy_J for job in self.jobs)

    @cached_property
    def accelerator_J(self) -> Interval | None:
        """The energy of the GPUs; None where there was none, or it is unknown."""
        return self.component_J("gpu")

    def component_J(self, component: str) -> Interval | None:
        """Return the energy of a kind of device; None if unknown."""
        return summed(part.energy_J for part in self.parts if part.component == component)

    @cached_property
    def parts(self) -> list[JobComponent]:
        """The devices' parts of the energy."""
        return [part for job in self.jobs for part in job.components if part.component in SUMMED]

    @property
    def wasted_J(self) -> Interval | None:
        """The energy of the attempts that came to nothing; None without such an attempt."""
        return summed(job.energy_J for job in self.jobs if job.standing not in ("current", "earlier", "paused"))

    @property
    def quality(self) -> str | None:
        """How the energy was found: measured, modelled or partly modelled."""
        found = {part.quality for part in self.parts if part.energy_J is not None}
        return "partly modelled" if len(found) > 1 else next(iter(found), None)

    @property
    def method(self) -> str:
        """How each component's energy was found."""
        known = [part for part in self.parts if part.energy_J is not None]
        return "; ".join(dict.fromkeys(f"{part.component}: {part.method} ({part.quality})" for part in known))

    @property
    def trains(self) -> bool:
        """Whether a model is trained in it: by `train`, or by a step of `compress` such as distilling."""
        return self.name == "train" or (self.name == "compress" and bool(self.work("samples")))

    @property
    def unknown(self) -> list[str]:
        """The parts of the energy that are unknown, with the reason."""
        reasons = [reason for job in self.jobs for reason in job.unknown]
        reasons += [f"{job.id}: no energy known" for job in self.jobs if job.energy_J is None and not job.unknown]
        return list(dict.fromkeys(reasons))

    @property
    def started(self) -> str:
        """The start of the first attempt (RFC 3339)."""
        return min(job.started for job in self.jobs)

    @cached_property
    def attempts(self) -> tuple[JobRow, ...]:
        """The attempts without their parts on further hosts, which ran at the same time."""
        ids = {job.id for job in self.jobs}
        return tuple(job for job in self.jobs if job.parent not in ids)

    @property
    def duration_s(self) -> float | None:
        """How long all attempts took together by the wall clock; None if that is unknown of one."""
        each = [duration_s(job) for job in self.attempts]
        return None if None in each else math.fsum(seconds for seconds in each if seconds is not None)

    def work(self, name: str) -> float | None:
        """Return the work of a kind that the attempts did; None if none reported any."""
        found = [amount for job in self.jobs if (amount := job.work.get(name)) is not None]
        return math.fsum(found) if found else None


@dataclass(frozen=True)
class Serving(Stage):
    """The serving of a model under load: the energy and time are those of the rounds of requests alone.

    `around` are the attempts inside which the servers ran; they hold the GPUs.
    """

    served: ServedModel
    around: tuple[JobRow, ...]

    @property
    def starts(self) -> int:
        """How often the server was started for these rounds."""
        return sum(job.standing == "current" for job in self.jobs)

    @cached_property
    def energy_J(self) -> Interval | None:
        """The energy of the rounds at the concurrency that is compared."""
        return self.served.energy_J

    @cached_property
    def accelerator_J(self) -> Interval | None:
        """None: the account has the GPUs' part by recipe alone."""
        return None

    @cached_property
    def parts(self) -> list[JobComponent]:
        """The devices that served it; the energies are those of whole attempts."""
        jobs = self.around if "gpu:" in self.method else ()
        return [
            *(part for job in self.jobs for part in job.components if part.component in SUMMED),
            *(part for job in jobs for part in job.components if part.component == "gpu"),
        ]

    @property
    def wasted_J(self) -> Interval | None:
        """None: only answered rounds are counted."""
        return None

    @property
    def quality(self) -> str | None:
        """How the energy was found: measured, modelled or partly modelled."""
        return self.served.quality

    @property
    def method(self) -> str:
        """How each component's energy was found."""
        return self.served.method or ""

    @property
    def unknown(self) -> list[str]:
        """Why its energy is unknown."""
        return [self.served.reason] if self.served.reason else []

    @property
    def duration_s(self) -> float | None:
        """The length of the rounds together."""
        return float(self.served.duration_s)


def stages_of(account: Account, model: ModelRow) -> list[Stage]:
    """Return the stages that made and checked a model and its ancestors, in the order of the workflow.

    Attempts that still run are left out. A stage that several models share is in the stages of each.
    """
    return _stages(account, model, [model.recipe])


def provided(account: Account, model: ModelRow) -> list[Stage]:
    """Return the stages that count for providing a model: as `stages_of`, and those that checked its ancestors."""
    return _stages(account, model, model.chain)


def _stages(account: Account, model: ModelRow, checked: Sequence[str]) -> list[Stage]:
    wanted: list[tuple[str, str | None]] = [(name, None) for name in SHARED]
    wanted += [(name, recipe) for recipe in model.chain for name in MADE]
    wanted += [(name, recipe) for recipe in checked for name in CHECKED]
    stages = []
    for name, recipe in wanted:
        jobs = _ended(account, model, name, recipe)
        if jobs:
            stages.append(Stage(name, recipe, jobs))
    return stages


def serving_of(account: Account, model: ModelRow) -> "Serving | None":
    """Return the serving of a model under load; None if it was not served on a metered host."""
    jobs = _ended(account, model, "serve", model.recipe)
    if model.serving is None or not jobs:
        return None
    parents = dict.fromkeys(job.parent for job in jobs if job.parent in account.jobs_by_id)
    around = tuple(account.jobs_by_id[parent] for parent in parents if parent is not None)
    return Serving("serve", model.recipe, jobs, model.serving, around)


def life_of(account: Account, model: ModelRow) -> list[Stage]:
    """Return the stages that made and checked a model, and its serving, whose energy is known."""
    serving = serving_of(account, model)
    return [
        stage for stage in [*stages_of(account, model), *([serving] if serving else [])] if stage.energy_J is not None
    ]


def _ended(account: Account, model: ModelRow, rule: str, recipe: str | None) -> tuple[JobRow, ...]:
    """Return the attempts at one stage of a model, those that still run left out."""
    jobs = account.jobs_of(rule, model.experiment, recipe, model.seed)
    return tuple(job for job in jobs if job.standing != "running")
