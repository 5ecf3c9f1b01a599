"""Sensors: one file each, behind one small interface.

A sensor says what it reads and how its energy follows from the readings: a sum of parameter · factor · growth of a
basis, where the basis is its own counter, the time, or the host's busy time. Attribution needs no more than that,
so a new sensor is one new file here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from greenllm.estimate import Parameter


class SensorError(Exception):
    """A reading failed; the message says why."""


@dataclass(frozen=True)
class Term:
    """Energy in joules: parameter · factor · growth of a basis.

    `of` "counter": the sensor's own counter, or its gauge's power over time, in joules; "time": seconds; "busy": CPU
    seconds that the host's processors were busy.
    """

    parameter: str
    of: Literal["counter", "time", "busy"]
    factor: float = 1.0


@dataclass(frozen=True)
class Counter:
    """A counter's scale. `unit_J`: joules of one count; `wrap`: it starts again at zero after so many counts.

    `shared`: all meters of the host read the same counter; otherwise each integrates from a zero of its own.
    `ticks`: it is renewed only now and then, at instants that attribution looks for. `max_W`: the most that it can
    count, by which a wrap-around is told from a reset, and two of them from one. `still_s`: a counter that works is
    renewed so often, in seconds, and what it counts draws power whenever it is on: one that stands still for longer, or
    never moved while jobs worked, does not count.
    """

    unit_J: float
    wrap: float | None = None
    shared: bool = True
    ticks: bool = False
    max_W: float | None = None
    still_s: float | None = None


@dataclass(frozen=True)
class Gauge:
    """A power that is shown, and renewed only now and then.

    `unit_W`: watts of one count; `mean_s`: it is the mean of so long a time before (0: of a part of a refresh period).
    """

    unit_W: float
    mean_s: float = 0.0


@dataclass
class Sensor:
    """One device, read by one method. Without terms it is a null object: it reads nothing, and `reason` says why.

    `read` returns the raw counter, or the raw power of a gauge; it raises SensorError where that fails. `processes`
    counts the processes on a GPU; `memory` is what is used of its memory, in bytes, None where it does not say. `close`
    ends what reading needed. `poll_s` is how often it must be read at least, where that is more often than the meter's
    own interval.
    """

    component: Literal["gpu", "cpu", "dram", "platform"]
    device: str
    method: str
    quality: Literal["measured", "modelled"]
    terms: Sequence[Term] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    counter: Counter | None = None
    gauge: Gauge | None = None
    read: Callable[[], float] | None = None
    processes: Callable[[], int] | None = None
    memory: Callable[[], float | None] | None = None
    close: Callable[[], None] | None = None
    poll_s: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the sensor as a ledger's start record describes it."""
        return {
            "component": self.component,
            "device": self.device,
            "method": self.method,
            "quality": self.quality,
            "reason": self.reason,
            "counter": self.counter and asdict(self.counter),
            "gauge": self.gauge and asdict(self.gauge),
            "terms": [{"parameter": t.parameter, "of": t.of, "factor": t.factor} for t in self.terms],
        }
