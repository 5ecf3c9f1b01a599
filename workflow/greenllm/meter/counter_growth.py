"""The growth of a counter between two readings, also over a wrap-around; or the reason why it is unknown."""

from greenllm.ledger.records import Counter

JUMPED = "the counter was reset (driver reloaded, or the machine was suspended?)"
WRAPPED = "the time between two readings is long enough that the counter may have wrapped more than once"
STOOD = "the counter stood still: it does not count (a virtual machine's, or a copy of the host's files?)"


def silent(longest_s: float) -> str:
    """Return the reason where a power was not read for longer than `longest_s` seconds."""
    return f"the source of the power was silent for more than {longest_s:.0f} s"


class UnknownGrowthError(Exception):
    """A counter's growth is unknown; the message says why."""


def growth(before: float, now: float, span_s: float, counter: Counter) -> float:
    """Return the counts between two readings by one reader, which are `span_s` seconds apart.

    A step back is a wrap-around if the counter wraps, otherwise a reset. Raises UnknownGrowthError for a reset, for a
    step larger than `max_W` allows, and where `max_W` allows one more wrap-around.
    """
    step = now - before
    if step < 0:
        if counter.wrap is None:
            raise UnknownGrowthError(JUMPED)
        step += counter.wrap
    if counter.max_W is not None:
        most = (span_s + counter.stamp_s) * counter.max_W / counter.unit_J
        if step > most:
            raise UnknownGrowthError(JUMPED)
        if counter.wrap is not None and step + counter.wrap <= most:
            raise UnknownGrowthError(WRAPPED)
    return step
