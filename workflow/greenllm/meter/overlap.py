"""Zones that overlap: several of a host's sensors show the same counter, so that it must count once.

The kernel registers a powercap zone for each die, named package-0-die-0 and so on. On Threadripper and EPYC of the
first two generations all dies of a package read one register; on Cascade Lake-AP each has its own counter. Their names
are alike, so only their readings show which is the case. A sample reads them within microseconds: one counter shows the
same count in both zones, unless it was renewed in between. Two counters differ by the energy of their dies since the
boot, and practically never agree to the microjoule. A first reading may be equal by chance (both at zero after the
boot), so only readings after either has moved count. A part of these is enough, since equality by chance is excluded.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

from greenllm.ledger.records import Counter, SensorRecord

# The part of the samples, among those in which either counter had moved, that must show equal counts. With one counter
# nearly all do; with two readings 0.5 ms apart still half of them, if the counter is renewed every millisecond.
ENOUGH = 0.1


def show_one_counter(agreed: int, moved: int) -> bool:
    """Whether two zones show one counter: of `moved` samples in which either had moved, `agreed` show equal counts."""
    return agreed >= max(1.0, ENOUGH * moved)


def notice(device: str, others: Sequence[str]) -> str:
    """Return the remark on a device whose counter other zones show, too."""
    return f"{' and '.join([device, *others])} show one and the same counter: each joule counts once"


def may_overlap(one: Counter | None, other: Counter | None) -> bool:
    """Whether two counters of one component and method can be the same: shared by all meters, on one scale."""
    if one is None or other is None or one.ticks or not one.shared:  # a GPU's, which ticks, is known by its UUID
        return False
    return other.shared and (one.unit_J, one.wrap) == (other.unit_J, other.wrap)


def alike(sensors: Sequence[SensorRecord]) -> list[list[int]]:
    """Return the places of sensors whose counters may be the same: each group of two or more of one kind."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, sensor in enumerate(sensors):
        if sensor.counter is not None and may_overlap(sensor.counter, sensor.counter):
            kind = sensor.component, sensor.method, sensor.counter.unit_J, sensor.counter.wrap
            groups.setdefault(kind, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


class Agreement:
    """The number of samples in which two zones showed equal counts."""

    def __init__(self) -> None:
        """No sample yet."""
        self._last: tuple[float, float] | None = None
        self._agreed = self._moved = 0

    def add(self, one: float, other: float) -> None:
        """Add the two counts of one sample."""
        if self._last is not None and self._last != (one, other):
            self._moved += 1
            self._agreed += one == other
        self._last = one, other

    @property
    def one_counter(self) -> bool:
        """Whether they show one counter."""
        return show_one_counter(self._agreed, self._moved)


def repeated(count: int, one_counter: Callable[[int, int], bool]) -> dict[int, int]:
    """Return {zone: the first zone that shows its counter} for those of `count` zones that repeat an earlier one.

    `one_counter` says of two of them whether they show one counter.
    """
    first: dict[int, int] = {}
    for one, other in combinations(range(count), 2):
        if one not in first and other not in first and one_counter(one, other):
            first[other] = one
    return first
