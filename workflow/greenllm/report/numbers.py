"""Numbers for readers: with as many digits as their interval allows, a prefixed unit, and their language's signs."""

import functools
import math
from collections.abc import Iterable
from typing import Literal

from babel.numbers import NumberPattern, parse_pattern

from greenllm.comparison.rows import Difference, Quality
from greenllm.estimate import Interval, Parameter, PartialInterval
from greenllm.footprint.carbon import GridFactor
from greenllm.report.language import current, noted, text
from greenllm.report.names import points_per_unit

# A number, one with an interval, a count that is never reached, or unknown.
Value = float | Interval | PartialInterval | Quality | Difference | Parameter | GridFactor | Literal["never"] | None

THIN = "\u202f"  # narrow no-break space: groups digits, and separates a number from its unit
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
# Units that take no prefix, or only those above one.
_PLAIN = {
    "",
    "1",
    noted("requests"),
    noted("rows"),
    noted("attempts"),
    noted("requests/s"),
    noted("tokens/s"),
    "g CO₂e/kWh",
    "×",
    noted("tokens"),
    noted("samples"),
}
_WHOLE = {"B"}
_MOST_DECIMALS = 6
EITHER_WAY = noted("either way")
TO = noted(" to ")


def split(value: Value) -> tuple[float | None, float | None, float | None]:
    """Return (value, low, high) of a number or an interval."""
    if value is None:
        return None, None, None
    if value == "never":
        return math.inf, None, None
    if isinstance(value, int | float):
        return float(value), None, None
    return value.value, value.low, value.high


def decimals(value: float, low: float | None = None, high: float | None = None, limit: float | None = None) -> int:
    """Return the decimals that a number deserves; a negative count rounds to tens, hundreds and so on.

    With an interval they follow from its half-width, by the rule of the Particle Data Group (Review of Particle
    Physics, introduction, "Rounding"): two digits of the half-width where these are 10 to 35, one digit where they are
    more. The value has at most three significant digits, however narrow the interval; without an interval it has
    three. A positive one has at least two, and no bound of it is printed as 0, as far as three digits allow. `limit` is
    the number that decides, such as 1 for a ratio: a bound beside it is not printed as the limit.
    """
    bounds = [] if low is None or high is None else [low, high]
    half = max((abs(value - bound) for bound in bounds), default=0.0)
    largest = max(abs(value), half)
    most = max(0, 2 - math.floor(math.log10(largest))) if largest else 0
    if not half:
        return most
    exponent = math.floor(math.log10(half))
    places = min(most, -exponent + (half / 10.0**exponent < 3.55))
    if low is not None and low > 0:
        places = max(places, 1 - math.floor(math.log10(value)))
        while places < most and round(low, places) == 0:
            places += 1
    while places < _MOST_DECIMALS and any(bound != limit == round(bound, places) for bound in bounds):
        places += 1
    return places


def plain(number: float, places: int) -> str:
    """Return a number with the decimal sign of the language; negative places round to tens.

    Digits are grouped by a narrow space in every language, as ISO 80000-1 asks; zero has no minus sign.
    """
    locale = current().locale
    shown: str = _pattern(max(0, places)).apply(round(number, places) + 0.0, locale)
    return shown.replace(locale.number_symbols["latn"]["group"], THIN).replace("-", "−")


@functools.cache
def _pattern(places: int) -> NumberPattern:
    return parse_pattern("#,##0" + ("." + "0" * places if places else ""))


def inverse(ratio: Interval) -> PartialInterval:
    """Return 1 / ratio with its bounds; there is no upper bound if the ratio may be 0."""
    return PartialInterval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low if ratio.low > 0 else None)


def signed(number: float, places: int) -> str:
    """Return a number with its sign, also a plus; zero has none."""
    return plain(number, places) if round(number, places) <= 0 else f"+{plain(number, places)}"


def times(ratio: Value) -> tuple[str, str]:
    """Return a ratio of energies and its bounds; no bound is printed as 1 where it is not 1, since 1 decides."""
    return value_text(ratio, limit=1.0), bounds_text(ratio, between=TO, limit=1.0)


def change(difference: Difference) -> tuple[str, str]:
    """Return a difference in quality, in points where the metric has them: the value, and its bounds without a unit.

    Both have one digit of the interval's half-width, and none below 0.0001 or 0.01 points: a smaller difference means
    nothing to a reader. Where both bounds are smaller, they are "less than 0.0001" and "either way".
    """
    points = points_per_unit(difference.metric)
    unit = THIN + text("points") if points else ""
    value, low, high = (number * (points or 1.0) for number in (difference.value, difference.low, difference.high))
    finest = 2 if points else 4
    half = max(value - low, high - value)
    places = min(finest, max(0, -math.floor(math.log10(half)))) if half > 0 else min(finest, decimals(value))
    if 0 < max(abs(low), abs(high)) < 10.0**-finest:
        return text("less than {number}", number=plain(10.0**-finest, finest) + unit), text(EITHER_WAY)
    return signed(value, places) + unit, signed(low, places) + text(TO) + signed(high, places)


def about(count: float) -> str:
    """Return a count to two significant digits."""
    return plain(float(f"{count:.2g}"), 0)


def percent(share: float) -> str:
    """Return a share as a percentage, such as "95 %"; a share below 1 is never shown as 100 %."""
    digits = 3
    while float(f"{100 * share:.{digits}g}") == 100 and share < 1 and digits < 15:
        digits += 1
    rounded = f"{100 * share:.{digits}g}"
    return f"{plain(float(rounded), len(rounded.partition('.')[2]))}{THIN}%"


def prefix_for(values: Iterable[Value], unit: str) -> tuple[float, str]:
    """Return (factor, prefixed unit) that brings the median of the values' sizes between 1 and 1000."""
    sizes = sorted(abs(size) for value in values if (size := split(value)[0]))
    if unit == "kWh":  # the prefix belongs to Wh
        factor, prefixed = prefix_for([size * 1e3 for size in sizes], "Wh")
        return factor / 1e3, prefixed
    if unit in _PLAIN or not sizes:
        return 1.0, "" if unit == "1" else unit
    median = sizes[len(sizes) // 2]
    for size, prefix in _PREFIXES:
        if unit in _WHOLE and size < 1:
            break
        if unit == "s" and size > 1:
            continue
        if median >= size:
            return size, prefix + unit
    return (1.0, unit) if unit in _WHOLE else (_PREFIXES[-1][0], _PREFIXES[-1][1] + unit)


def value_text(value: Value, scale: float = 1.0, limit: float | None = None) -> str:
    """Return the number without its interval, in units of `scale`; for `limit` see `decimals`."""
    middle, low, high = split(value)
    if middle is None:
        return text("unknown")
    if math.isinf(middle):
        return text("never")
    if 0 < middle / scale < 0.0005 and low is None:
        return f"<{THIN}0.001"
    parts = [None if part is None else part / scale for part in (middle, low, high)]
    return plain(middle / scale, decimals(middle / scale, parts[1], parts[2], limit))


def limit_text(limit: float, *, is_least: bool) -> str:
    """Return a number that others must reach, never rounded to one that is easier to reach.

    One of at most six digits is shown as it was written; the third digit of a longer one is rounded up if it
    `is_least`, else down.
    """
    places = decimals(limit)
    for more in range(4):
        if math.isclose(round(limit, places + more), limit, rel_tol=1e-12):
            return plain(limit, places + more)
    digits = limit * 10.0**places
    return plain((math.ceil(digits) if is_least else math.floor(digits)) / 10.0**places, places)


def bounds_text(value: Value, scale: float = 1.0, between: str = "–", limit: float | None = None) -> str:
    """Return the interval without its value, such as "0.41–0.63", or "at least 0.41"; empty if there is none."""
    middle, low, high = split(value)
    if middle is None or low is None:
        return ""
    if high is None:
        return text("at least {number}", number=plain(low / scale, decimals(low / scale)))
    places = decimals(middle / scale, low / scale, high / scale, limit)
    if between == "–" and low < 0:
        between = TO
    return plain(low / scale, places) + text(between) + plain(high / scale, places)


def quantity(value: Value, unit: str, between: str = "–") -> str:
    """Return a number with its unit and interval, such as "52 mJ (41–63)", or "unknown"."""
    if split(value)[0] is None:
        return text("unknown")
    scale, prefixed = prefix_for([value], unit)
    shown = value_text(value, scale) + (THIN + text(prefixed) if prefixed else "")
    bounds = bounds_text(value, scale, between)
    return with_bounds(shown, bounds)


def with_bounds(shown: str, bounds: str) -> str:
    """Return a number with its interval in brackets, where it has one."""
    return text("{value} ({bounds})", value=shown, bounds=bounds) if bounds else shown
