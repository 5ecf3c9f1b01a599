"""The section `policy`: when and where jobs run, by the grid's carbon, the price of electricity, or joules alone."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from greenllm.config.section import Strict, UserPath

_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d)")
_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration such as 36h, 90min or 20s. Raises ValueError for another text."""
    found = _DURATION.fullmatch(duration.strip())
    if not found:
        raise ValueError(duration)
    return float(found[1]) * _UNITS_S[found[2]]


def _checked_duration(text: str) -> str:
    try:
        seconds_of(text)
    except ValueError:
        raise PydanticCustomError(
            "duration", "expected a number with s, min, h or d, such as 36h", {"given": text}
        ) from None
    return text


def _checked_time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise PydanticCustomError(
            "time",
            "expected a time with its zone, such as 2026-12-01T08:00+01:00 or 2026-12-01T07:00Z",
            {"given": text},
        )
    return text


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


Duration = Annotated[str, AfterValidator(_checked_duration)]
Time = Annotated[str, AfterValidator(_checked_time)]
SignalFiles = Annotated[list[UserPath], BeforeValidator(_as_list)]


class Policy(Strict):
    """When and where jobs run: `greenllm plan` moves them to hours with little carbon or a low price."""

    objective: Literal["carbon", "price", "both", "energy"] | None = Field(
        None, description="What a plan saves; `energy` needs no signal; null: no plan, jobs start at once."
    )
    signal: SignalFiles = Field(
        default_factory=list,
        description="File with the expected carbon (gCO2e/kWh) or price (such as EUR/MWh) over time; for `both` one "
        "file of each. Formats as for site.series, bounds included; without a file jobs start at once.",
    )
    recorded: SignalFiles = Field(
        default_factory=list,
        description="The same, as it turned out: the report computes the saving by these; without them by `signal`.",
    )
    max_age: Duration | None = Field(
        "48h", description="A file of `signal` that was written longer ago is refused, such as 36h; null: any age."
    )
    carbon_price_per_t: float | None = Field(
        None, ge=0, description="For `both`: price of a tonne of CO2e, in the currency of the price."
    )
    deadline: Time | None = Field(
        None, description='All jobs are done by then, with its zone: "2026-12-01T08:00+01:00".'
    )
    max_delay: Duration | None = Field(
        None,
        description="All jobs are done at most this much later than without a plan: a number with s, min, h or d; "
        "null: any delay up to the deadline, and 24h without one.",
    )
    power_budget_W: float | None = Field(
        None, gt=0, description="Largest sum of the power of jobs that run at once, by earlier ledgers."
    )
    interrupt: bool = Field(
        False, description="Trainings may pause at a checkpoint and go on from it in a better hour (not on a cluster)."
    )
    devices: Annotated[bool | list[str], BeforeValidator(_as_list)] = Field(
        False,
        description="Trainings and compressions that may use a GPU run on the device of this host that takes least, "
        "by earlier ledgers: true, or the devices to choose from, such as [cpu, NVIDIA A100-SXM4-80GB]. Weights differ "
        "between devices, and training energies of recipes on different devices are not compared.",
    )
