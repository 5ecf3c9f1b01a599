"""What `greenllm tune` varies: the settings, and the values that each of their knobs may have."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from greenllm.errors import UserError

Value = int | float | str | None


@dataclass(frozen=True)
class Setting:
    """One way to run: rows or requests in a batch, precision, threads, and power limit of each GPU (W).

    None: the knob is not turned.
    """

    batch: int
    threads: int
    precision: str | None = None
    power_limit_W: float | None = None

    def __str__(self) -> str:
        shown = [f"batch {self.batch}", f"{self.threads} thread{'' if self.threads == 1 else 's'}"]
        shown += [self.precision] if self.precision else []
        return ", ".join([*shown, *([f"{self.power_limit_W:g} W"] if self.power_limit_W is not None else [])])


KNOBS = tuple(field.name for field in fields(Setting))


@dataclass(frozen=True)
class Space:
    """The values of each knob, in their order. Raises UserError where a knob has none, or one twice."""

    batch: Sequence[int]
    threads: Sequence[int]
    precision: Sequence[str | None] = (None,)
    power_limit_W: Sequence[float | None] = (None,)

    def __post_init__(self) -> None:
        for knob in KNOBS:
            values = self.values(knob)
            if not values or len(set(values)) < len(values):
                raise UserError(f"{knob}: expected at least one value, each once, got {list(values)}")

    def values(self, knob: str) -> Sequence[Value]:
        """Return the values of a knob."""
        values: Sequence[Value] = getattr(self, knob)
        return values

    @property
    def turned(self) -> list[str]:
        """The knobs that have several values."""
        return [knob for knob in KNOBS if len(self.values(knob)) > 1]

    def settings(self) -> list[Setting]:
        """Return all settings, those of one precision and power limit together: another one needs another process."""
        return [
            Setting(batch, threads, precision, limit_W)
            for limit_W, precision, batch, threads in itertools.product(
                self.power_limit_W, self.precision, self.batch, self.threads
            )
        ]

    def places(self, setting: Setting) -> dict[str, int]:
        """Return the index of a setting's value among those of each turned knob."""
        return {knob: list(self.values(knob)).index(getattr(setting, knob)) for knob in self.turned}

    def at(self, places: Mapping[str, int]) -> Setting:
        """Return the setting at these indices of the turned knobs."""
        return Setting(**{knob: self.values(knob)[places.get(knob, 0)] for knob in KNOBS})  # type: ignore[arg-type]

    def steps(self, one: Setting, other: Setting) -> int:
        """Return the number of steps of knobs, from one value to the next, that are between two settings."""
        here, there = self.places(one), self.places(other)
        return sum(abs(here[knob] - there[knob]) for knob in self.turned)
