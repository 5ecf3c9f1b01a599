"""What `greenllm tune` varies: the settings, and the values that each of their knobs may have."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

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
        """Return all settings."""
        return [
            Setting(batch, threads, precision, limit_W)
            for batch, threads, precision, limit_W in itertools.product(
                self.batch, self.threads, self.precision, self.power_limit_W
            )
        ]

    def coordinates(self, settings: Sequence[Setting]) -> npt.NDArray[np.float64]:
        """Return the place of each setting's values among those of its turned knobs, from 0 (first) to 1 (last)."""
        places = [
            [list(self.values(knob)).index(getattr(one, knob)) / (len(self.values(knob)) - 1) for knob in self.turned]
            for one in settings
        ]
        return np.array(places, dtype=np.float64).reshape(len(settings), len(self.turned))
