"""Energies as sums of uncertain parameters, so that errors shared by two jobs cancel in their ratio."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from greenllm.field_types import Number, Text

# Name prefix and source of the parameters that `unseen` makes, one for each attempt and device.
UNSEEN = "unseen@"
UNSEEN_SOURCE = "readings: what happened between two of them"


class Interval(NamedTuple):
    """A value with its 95 % bounds."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return `{value, low, high}`."""
        return self._asdict()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return how pydantic reads and writes it as a field."""
        return _as_object(cls)


class PartialInterval(NamedTuple):
    """A value with 95 % bounds, each of which may be unknown (None)."""

    value: float
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        """Return `{value, low, high}`."""
        return self._asdict()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Return how pydantic reads and writes it as a field."""
        return _as_object(cls)


def _as_object(cls: type[Interval] | type[PartialInterval]) -> Any:
    """Return a schema of pydantic that reads and writes a value with bounds as `{value, low, high}`, not as a list."""
    from pydantic_core import core_schema  # here, since the meter imports this module and does without pydantic

    def read(given: object) -> object:
        if isinstance(given, cls):
            return given
        numbers = dict(given) if isinstance(given, Mapping) and tuple(given) == cls._fields else {}
        known = [number for number in numbers.values() if number is not None]
        if len(known) < (3 if cls is Interval else 1) or not all(isinstance(number, int | float) for number in known):
            raise ValueError("expected {value, low, high}, each a number")
        return cls(**numbers)

    written = core_schema.plain_serializer_function_ser_schema(cls.to_json)
    return core_schema.no_info_plain_validator_function(read, serialization=written)


@dataclass(frozen=True, slots=True)
class Parameter:
    """An uncertain constant of a sensor: a gain, a power per core; with 95 % bounds, unit and source."""

    value: Number
    low: Number
    high: Number
    unit: Text
    source: Text

    def to_json(self) -> dict[str, Any]:
        """Return `{value, low, high, unit, source}`."""
        return {name: getattr(self, name) for name in ("value", "low", "high", "unit", "source")}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Parameter":
        """Read what `to_json` wrote. Raises KeyError, TypeError or ValueError where a field is missing or no number."""
        value, low, high = (float(record[name]) for name in ("value", "low", "high"))
        return cls(value, low, high, str(record["unit"]), str(record["source"]))


UNSEEN_PARAMETER = Parameter(0.0, -1.0, 1.0, "J/J", UNSEEN_SOURCE)


@dataclass(frozen=True, slots=True)
class Estimate:
    """An energy in joules: the sum of coefficient times parameter, over `terms` {parameter name: coefficient}.

    Parameters are independent of each other; their deviations add in quadrature (GUM, JCGM 100:2008, 5.1.2),
    separately for the low and the high side. Estimates that share a parameter share its error.
    """

    terms: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The best estimate, in joules."""
        return math.fsum(c * self.parameters[name].value for name, c in self.terms.items())

    @property
    def low(self) -> float:
        """The lower 95 % bound, in joules."""
        return self.value - self._deviation(-1)

    @property
    def high(self) -> float:
        """The upper 95 % bound, in joules."""
        return self.value + self._deviation(+1)

    def _deviation(self, side: int) -> float:
        deviations = []
        for name, coefficient in self.terms.items():
            parameter = self.parameters[name]
            upwards = (coefficient >= 0) == (side > 0)
            deviations.append(coefficient * ((parameter.high if upwards else parameter.low) - parameter.value))
        return math.hypot(*deviations)

    def __add__(self, other: "Estimate") -> "Estimate":
        return total([self, other])

    def scaled(self, factor: float) -> "Estimate":
        """Return this estimate times a known factor."""
        return Estimate({name: c * factor for name, c in self.terms.items()}, self.parameters)

    def interval(self) -> Interval:
        """Return value, low and high, in joules."""
        return Interval(self.value, self.low, self.high)

    def to_json(self) -> dict[str, float]:
        """Return `{value, low, high}` in joules."""
        return self.interval().to_json()


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Return the sum of estimates; parameters they share stay shared."""
    terms: dict[str, float] = {}
    parameters: dict[str, Parameter] = {}
    for estimate in estimates:
        for name, coefficient in estimate.terms.items():
            terms[name] = terms.get(name, 0.0) + coefficient
            parameters[name] = estimate.parameters[name]
    return Estimate(terms, parameters)


def total_known(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """Return the sum of the known estimates, or None if all are unknown."""
    known = [estimate for estimate in estimates if estimate is not None]
    return total(known) if known else None


def interval_of(estimate: Estimate | None) -> Interval | None:
    """Return the interval of an estimate, None if it is unknown."""
    return None if estimate is None else estimate.interval()


def unseen(attempt: str, device: str, halfwidth_J: float) -> Estimate:
    """Return 0 J ± `halfwidth_J` (half of a 95 % interval), an attempt's energy that a device's readings leave open."""
    name = f"{UNSEEN}{attempt}/{device}"
    return Estimate({name: halfwidth_J}, {name: UNSEEN_PARAMETER})


def merged_terms(estimate: Estimate) -> dict[str, float]:
    """Return the terms of an estimate, all that readings left open as one: `UNSEEN` with half of its interval in J."""
    terms = {name: c for name, c in estimate.terms.items() if not name.startswith(UNSEEN)}
    open_J = math.hypot(*(c for name, c in estimate.terms.items() if name.startswith(UNSEEN)))
    return terms | ({UNSEEN: open_J} if open_J else {})


def ratio(a: Estimate, b: Estimate) -> Interval:
    """Return a/b with 95 % bounds, in which the error of parameters that a and b share cancels.

    Each parameter is moved to its bounds while the others keep their values; the ratio's deviations add in quadrature.
    Raises ZeroDivisionError if b is zero.
    """
    parameters = {**a.parameters, **b.parameters}
    a_J, b_J = a.value, b.value

    def at(moved: str, bound: float) -> float:
        change = bound - parameters[moved].value
        return (a_J + a.terms.get(moved, 0.0) * change) / (b_J + b.terms.get(moved, 0.0) * change)

    value = a_J / b_J
    downwards, upwards = [], []
    for name in {**a.terms, **b.terms}:
        try:
            moved = [at(name, parameters[name].low) - value, at(name, parameters[name].high) - value]
        except ZeroDivisionError:  # the denominator is zero at this bound: the ratio is unbounded
            moved = [-value, math.inf]
        downwards.append(min(0.0, *moved))
        upwards.append(max(0.0, *moved))
    return Interval(value, value - math.hypot(*downwards), value + math.hypot(*upwards))
