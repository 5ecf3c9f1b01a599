"""Sensors: one file each, behind one small interface.

A sensor says what it reads and how its energy follows from the readings: a sum of parameter · factor · growth of a
basis. The basis is its own counter, the time, or the host's busy time. Attribution needs no more than that, so a new
sensor is one new file here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from greenllm.estimate import Parameter
from greenllm.ledger.records import Counter, Gauge, SensorRecord, Term

__all__ = ["Counter", "Gauge", "Sensor", "SensorError", "Term"]


class SensorError(Exception):
    """A reading failed; the message says why."""


class NoAnswerYetError(SensorError):
    """The sensor's first answer has not come yet."""


@dataclass
class Sensor(SensorRecord):
    """One device that can be read by one method. Without terms it reads nothing, and `reason` says why.

    `read` returns the raw counter, or the raw power of a gauge; it raises SensorError where that fails. `processes`
    counts the processes on a GPU. `memory` returns the bytes used of its memory, None where it does not say. `close`
    ends what reading needed. `poll_s` is the longest time (s) between two readings, where that is less than the meter's
    own interval.
    """

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    read: Callable[[], float] | None = None
    processes: Callable[[], int] | None = None
    memory: Callable[[], float | None] | None = None
    close: Callable[[], None] | None = None
    poll_s: float | None = None

    @property
    def record(self) -> SensorRecord:
        """The sensor as a ledger's start record describes it."""
        return SensorRecord(**{one.name: getattr(self, one.name) for one in fields(SensorRecord)})
