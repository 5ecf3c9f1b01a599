"""The rows of an account about energy, carbon and power, typed; names and order are those of account.json."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from greenllm.documents.document import Number
from greenllm.estimate import Interval, PartialInterval


class AccountPart(BaseModel):
    """An object of the account: unknown keys are refused, values are not changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @classmethod
    def of(cls, source: object, **own: Any) -> Self:
        """Return one with its `own` values, and for the other fields the source's attributes of the same names."""
        return cls(**{name: getattr(source, name) for name in cls.model_fields if name not in own}, **own)


class Impact(AccountPart):
    """An energy (J) and its carbon (g CO2e), and the carbon of the site (times PUE); None if unknown."""

    energy_J: Interval | None
    carbon_g: PartialInterval | None
    carbon_site_g: PartialInterval | None


class Spent(AccountPart):
    """What some attempts spent together; `waste_J` is the part of it that was wasted.

    They spent at least that where the energy of some of them, or a part of it, is unknown; `unknown` is their number.
    """

    attempts: int
    unknown: int
    energy_J: Interval | None
    carbon_g: PartialInterval | None
    carbon_site_g: PartialInterval | None
    waste_J: Interval | None


class _Run(AccountPart):
    run_id: str
    started: str
    ended: str
    hosts: list[str]


class RunSpent(Spent, _Run):
    """What one run of the workflow spent. Times are RFC 3339."""


class _Stage(AccountPart):
    experiment: str | None
    recipe: str | None
    stage: str


class StageSpent(Spent, _Stage):
    """What one stage spent; without a recipe it serves all recipes, without an experiment the whole study."""


class StudySpent(AccountPart):
    """What a study spent, every attempt once: in total, by run, by stage, by kind of waste, and by what still runs."""

    total: Spent
    runs: list[RunSpent]
    stages: list[StageSpent]
    waste: dict[str, Spent]
    running: Spent


class ImpactRow(AccountPart):
    """A row of the table `impact`: a stage, or a sum ("all") over stages, recipes or experiments."""

    experiment: str
    recipe: str
    stage: str
    attempts: int
    unknown: int
    energy_J: Interval | None
    waste_J: Interval | None
    energy_kWh: Interval | None
    carbon_gCO2e: PartialInterval | None
    pue: Number | None
    carbon_site_gCO2e: PartialInterval | None
    grid_gCO2e_per_kWh: Number | None
    grid_low: Number | None
    grid_high: Number | None
    grid_place: str | None
    grid_year: int | None
    grid_outdated: bool | None
    grid_source: str | None
    grid_licence: str | None


class PowerSegment(AccountPart):
    """A stretch of time in which something ran: {component: {stage: mean power (W) in each bin}}.

    `started` is Unix time in s, `width_s` the width of a bin.
    """

    started: Number
    width_s: Number
    components: dict[str, dict[str, list[Number]]]


class HostPower(AccountPart):
    """The attributed power on one host over time."""

    host: str
    segments: list[PowerSegment]
