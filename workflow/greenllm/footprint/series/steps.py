"""From the rows of a file to a series: times in UTC, units, order, doubled steps, gaps."""

import itertools
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from greenllm.errors import UserError, quoted
from greenllm.footprint.factor_kinds import KINDS
from greenllm.footprint.series.recorded import RecordedSeries

CARBON_UNIT = KINDS["grid carbon"].unit
# So many equal distances in a row are the length of a step, and not rows that are missing.
IN_A_ROW = 12
# Spellings of units, without blanks and in lower case: the unit that the series has, and by what values are multiplied.
_CARBON = {"gco2e/kwh": 1.0, "gco2eq/kwh": 1.0, "gco2/kwh": 1.0, "g/kwh": 1.0, "kgco2e/mwh": 1.0, "kgco2/mwh": 1.0,
           "kgco2eq/mwh": 1.0, "kg/mwh": 1.0, "kgco2e/kwh": 1e3, "kgco2eq/kwh": 1e3, "kgco2/kwh": 1e3, "kg/kwh": 1e3,
           "lbs/mwh": 0.45359237, "lb/mwh": 0.45359237}  # fmt: skip
_ENERGIES = {"kwh": 1.0, "mwh": 1e-3}


@dataclass(frozen=True)
class TimeStep:
    """A value as a file has it. `row` names the row in messages; `end` is None where the file does not say it."""

    row: str
    start: float  # Unix time (s)
    value: float | None
    end: float | None = None
    low: float | None = None
    high: float | None = None


def unit_of(text: str, where: str) -> tuple[str, float]:
    """Return the unit that a series in a unit has, and by what its values are multiplied.

    Carbon is in gCO2e/kWh, water in L/kWh, a price in its currency for each kWh. Raises UserError for another unit.
    """
    plain = text.replace(" ", "").replace("₂", "2").casefold()
    if plain in _CARBON:
        return CARBON_UNIT, _CARBON[plain]
    currency, _, energy = plain.partition("/")
    if energy in _ENERGIES and currency == "l":
        return "L/kWh", _ENERGIES[energy]
    if energy in _ENERGIES and re.fullmatch(r"[a-z]{3}", currency):
        return f"{currency.upper()}/kWh", _ENERGIES[energy]
    raise UserError(
        f"{where}: unit {quoted(text)} is unknown; expected gCO2e/kWh, kgCO2e/kWh, L/kWh, or a price such as EUR/MWh"
    )


def zone_of(name: str, where: str) -> ZoneInfo:
    """Return a time zone of the tz database. Raises UserError, which starts with `where`, if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UserError(
            f"{where}: no time zone {quoted(name)}; expected UTC, or a name such as Europe/Berlin"
        ) from None


class Clock:
    """Reads the times of a file, one after another, as Unix time in s.

    A time with an offset (or Z) is read as it is. One without is local time of `zone`; without a zone it is refused,
    since it may be off by hours. A local time that comes twice when clocks are set back is the first time summer time,
    the second time winter time.
    """

    def __init__(self, zone: ZoneInfo | None) -> None:
        self._zone = zone
        self._seen: set[datetime] = set()

    def read(self, text: str, where: str) -> float:
        """Return a time (ISO 8601) as Unix time in s.

        Raises UserError, which starts with `where`, if it is no time, has no time zone, or does not exist since clocks
        were set forward over it.
        """
        try:
            time = datetime.fromisoformat(text.strip())
        except ValueError:
            raise UserError(
                f"{where}: {quoted(text)} is no time; expected ISO 8601 such as 2026-01-31T13:00Z"
            ) from None
        if time.tzinfo is not None:
            return time.timestamp()
        if self._zone is None:
            raise UserError(
                f"{where}: {quoted(text)} has no time zone; write 2026-01-31T13:00Z or 2026-01-31T14:00+01:00, or name "
                "the zone in the header: time (Europe/Berlin)"
            )
        local = time.replace(tzinfo=self._zone, fold=1 if time in self._seen else 0)
        self._seen.add(time)
        if local.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != time:
            raise UserError(
                f"{where}: {quoted(text)} does not exist in {self._zone.key}: clocks were set forward over it; "
                "correct the time, or the time zone"
            )
        return local.timestamp()


def number_of(text: str | float | None, where: str) -> float | None:
    """Return a cell's number; None if it is empty. Raises UserError, which starts with `where`, if it is no number."""
    if text is None or (isinstance(text, str) and text.strip().casefold() in ("", "null", "na")):
        return None
    try:
        value = float(text)
    except OverflowError:
        raise UserError(f"{where}: too large a number; correct it, or leave it empty") from None
    except (TypeError, ValueError):
        raise UserError(f"{where}: {quoted(str(text))} is no number; correct it, or leave it empty") from None
    if value != value or value in (float("inf"), float("-inf")) or isinstance(text, bool):
        raise UserError(f"{where}: {quoted(str(text))} is no finite number; correct it, or leave it empty")
    return value


def series_of(
    steps: Iterable[TimeStep], path: Path, *, unit: str, place: str | None, source: str, issued: float | None = None
) -> RecordedSeries:
    """Return the series of a file's steps (their values in `unit`, see `unit_of`; issued at a Unix time, s).

    Steps are put in order of time. A single missing step is bridged by the mean of its neighbours and counted; longer
    gaps stay unknown. A step ends where the file says, else the usual length after its start, and where the next one
    begins at the latest. The usual length may change within a file, as that of prices did from hours to quarters.
    Raises UserError, one line that names the file and the row, for a step that is there twice with different values,
    for an implausible value, and for less than two values.
    """
    unit, times = unit_of(unit, str(path))
    in_order = sorted((_scaled(step, times) for step in steps), key=lambda step: step.start)
    for step in in_order:
        _require_plausible(step, unit, path)
    once, repeated = _without_repeats(in_order, path)
    if (
        unit == CARBON_UNIT
        and (values := [step.value for step in once if step.value is not None])
        and max(values) < KINDS["grid carbon"].least
    ):
        raise UserError(f"{path}: no value reaches 1 {CARBON_UNIT}; are they in kgCO2e/kWh? Correct the unit")
    known = [step for step in once if step.value is not None]
    if len(known) < 2:
        raise UserError(f"{path}: expected at least 2 values, got {len(known)}")
    whole, bridged = _bridged(known, _usual_lengths(once))
    bounds = all(step.low is not None and step.high is not None for step in whole)
    return RecordedSeries(
        times=[step.start for step in whole],
        ends=[step.end for step in whole if step.end is not None],
        values=[step.value for step in whole if step.value is not None],
        lows=[step.low for step in whole if step.low is not None] if bounds else None,
        highs=[step.high for step in whole if step.high is not None] if bounds else None,
        unit=unit,
        place=place,
        source=source,
        issued=issued,
        bridged=bridged,
        repeated=repeated,
    )


def _scaled(step: TimeStep, times: float) -> TimeStep:
    def scaled(number: float | None) -> float | None:
        return None if number is None else number * times

    return replace(step, value=scaled(step.value), low=scaled(step.low), high=scaled(step.high))


def _require_plausible(step: TimeStep, unit: str, path: Path) -> None:
    """Raise UserError for a negative carbon, one above what any grid has, and bounds on the wrong side."""
    if step.value is None:
        return
    where = f"{path}: {step.row}"
    most = KINDS["grid carbon"].most
    if unit == CARBON_UNIT and not 0 <= step.value <= most:
        raise UserError(
            f"{where}: {step.value:g} {unit} is not plausible; expected 0 to {most:g}; correct it or the unit"
        )
    if unit == "L/kWh" and step.value < 0:
        raise UserError(f"{where}: {step.value:g} {unit} is not plausible; expected 0 or more")
    if step.low is not None and step.high is not None and not step.low <= step.value <= step.high:
        raise UserError(f"{where}: expected low <= value <= high, got {step.low:g}, {step.value:g} and {step.high:g}")


def _without_repeats(in_order: Sequence[TimeStep], path: Path) -> tuple[list[TimeStep], int]:
    """Return the steps without those that are there twice with the same value, and how many these are."""
    once: list[TimeStep] = []
    repeated = 0
    for step in in_order:
        before = once[-1] if once else None
        if before is None or before.start != step.start:
            once.append(step)
        elif before.value == step.value:
            repeated += 1
        else:
            raise UserError(
                f"{path}: {step.row}: {_shown(step.start)} is already in {before.row}, with another value "
                f"({before.value} and {step.value}); remove one, or write local times with their offset (+01:00)"
            )
    return once, repeated


def _shown(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def _usual_lengths(steps: Sequence[TimeStep]) -> dict[float, float]:
    """Return the usual length of a step (s) from each start on.

    It is that of the file where steps have ends, else the distance that many steps in a row have, else the most
    frequent distance between two.
    """
    given = [step.end - step.start for step in steps if step.end is not None]
    distances = [b.start - a.start for a, b in itertools.pairwise(steps)]
    usual = [statistics.mode(given or distances)] * len(steps)
    if not given:
        place = 0
        for distance, alike in itertools.groupby(distances):
            count = len(list(alike))
            if count >= IN_A_ROW:
                usual[place:] = [distance] * (len(steps) - place)
            place += count
    return {step.start: length_s for step, length_s in zip(steps, usual, strict=True)}


def _bridged(known: Sequence[TimeStep], lengths_s: Mapping[float, float]) -> tuple[list[TimeStep], int]:
    """Return the steps with their ends, single missing ones filled in, and how many these are."""
    whole: list[TimeStep] = []
    bridged = 0
    for step, following in zip(known, [*known[1:], None], strict=True):
        next_start, length_s = float("inf") if following is None else following.start, lengths_s[step.start]
        end = min(step.end if step.end is not None else step.start + length_s, next_start)
        if step.end is None and next_start - end < length_s / 2:  # months are not of one length
            end = next_start
        whole.append(replace(step, end=end))
        missing_s = next_start - end
        if following is not None and 0 < missing_s <= 1.01 * length_s:
            bridged += 1
            whole.append(
                TimeStep(
                    row="bridged",
                    start=end,
                    end=next_start,
                    value=_middle(step.value, following.value),
                    low=_middle(step.low, following.low),
                    high=_middle(step.high, following.high),
                )
            )
    return whole, bridged


def _middle(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else (one + other) / 2
