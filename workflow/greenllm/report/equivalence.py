"""Energies that a person knows, each with its source, to compare a request with."""

from dataclasses import dataclass

from greenllm.estimate import Interval, PartialInterval
from greenllm.report.language import noted, text
from greenllm.report.numbers import TO, about, quantity


@dataclass(frozen=True)
class Known:
    """An energy that a person knows, in joules; `said` is a sentence with {requests}, the number that it answers."""

    name: str
    energy_J: float
    said: str
    source: str


PHONE = Known(
    noted("A phone charge"),
    (14.46 - 22 * 0.13) * 3600,
    noted("One phone charge answers {requests} requests."),
    noted(
        "14.46 Wh in 24 hours less 22 hours of maintenance at 0.13 W (US EPA, Greenhouse Gas Equivalencies Calculator, "
        "Calculations and References, from US Department of Energy 2020)"
    ),
)
KETTLE = Known(
    noted("Boiling a litre of water"),
    4.18e3 * 80,
    noted("Boiling a litre of water takes the energy of {requests} requests."),
    noted(
        "1 kg of water from 20 °C to 100 °C at 4.18 kJ/(kg K), its specific heat (CRC Handbook of Chemistry and "
        "Physics), without the losses of the kettle"
    ),
)
KNOWN = (PHONE, KETTLE)


def requests_of(known: Known, per_request_J: Interval | None) -> PartialInterval | None:
    """Return how many requests an energy answers; None where the energy of a request is unknown or zero."""
    if per_request_J is None or per_request_J.value <= 0:
        return None
    low, high = known.energy_J / per_request_J.high, None
    if per_request_J.low > 0:
        high = known.energy_J / per_request_J.low
    return PartialInterval(known.energy_J / per_request_J.value, low, high)


def said(known: Known, per_request_J: Interval | None) -> str:
    """Return how many requests an energy answers, in a sentence."""
    found = requests_of(known, per_request_J)
    if found is None:
        return text(known.said, requests=text("an unknown number of"))
    number = about(found.value)
    if found.low is not None and found.high is not None:
        number = text("{value} ({bounds})", value=number, bounds=about(found.low) + text(TO) + about(found.high))
    return text(known.said, requests=number)


def sources() -> list[str]:
    """Return what each known energy is, and where it is from."""
    return [
        text(
            "{name}: {energy}; {source}.",
            name=text(one.name),
            energy=quantity(one.energy_J, "J"),
            source=text(one.source),
        )
        for one in KNOWN
    ]
