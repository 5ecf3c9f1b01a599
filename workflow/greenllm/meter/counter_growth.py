"""How far a counter went between two readings: it grew, it wrapped around, or nobody can tell."""

from greenllm.meter.sensors import Counter

JUMPED = "the counter began anew (driver reloaded, or the machine was suspended?)"
WRAPPED = "so long between two readings that the counter may have wrapped more than once"
STOOD = "the counter stood still: it does not count (a virtual machine's, or a copy of the host's files?)"
# So many CPU seconds of jobs draw power: a counter that did not move meanwhile does not count, however short they were.
USED_S = 0.1

# A reading's time is that just after it: so much it may be off, and the time between two of them longer than it seems.
TIE_S = 0.05


class UnknownGrowthError(Exception):
    """It cannot be told how far a counter went; the message says why."""


def growth(before: float, now: float, span_s: float, counter: Counter) -> float:
    """Return the counts between two readings of one reader, which are `span_s` seconds apart.

    A step back is a wrap-around where the counter has one, else a reset. Whatever the step, it is one only where it is
    no more than `max_W` allows, and no further wrap-around would fit in. Raises UnknownGrowthError where it is none.
    """
    step = now - before
    if step < 0:
        if counter.wrap is None:
            raise UnknownGrowthError(JUMPED)
        step += counter.wrap
    if counter.max_W is not None:
        most = (span_s + TIE_S) * counter.max_W / counter.unit_J
        if step > most:
            raise UnknownGrowthError(JUMPED)
        if counter.wrap is not None and step + counter.wrap <= most:
            raise UnknownGrowthError(WRAPPED)
    return step
