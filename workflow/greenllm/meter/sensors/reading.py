"""The one number that is meant in what a meter outside the host says: a line, a table, JSON; with its unit."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from greenllm.meter.units import BASE, NUMBER, UNIT, Quantity, ReadingError, converted, is_unit, shown

KEY = "GREENLLM_PLATFORM_KEY"
PICK = f"name the one to take in {KEY}: the words before it, its place (1, 2, …), or its path in JSON"

_NUMBER_AND_UNIT = re.compile(rf"({NUMBER})(?:{UNIT})?")
# A number without a unit is one of the quantity behind a name of that: `power: 12`, "apower":12, total_energy=12.
_NAMED: dict[Quantity, re.Pattern[str]] = {
    "power": re.compile(r"(power|watt)[\w .\"'-]*[:=]\s*\"?$", re.IGNORECASE),
    "energy": re.compile(r"(energy|joule)[\w .\"'-]*[:=]\s*\"?$", re.IGNORECASE),
}
# How JSON names the unit of the value beside it.
_UNIT_NAMES = ("unit", "units", "unit_of_measurement")


@dataclass(frozen=True)
class _Number:
    """A number in a text, the unit behind it (empty: none), the text before it, where it stands, and its JSON path."""

    number: str
    unit: str
    before: str
    start: int = 0
    path: str = ""


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object as it is written: a name may stand in it twice."""


def reading(text: str, quantity: Quantity, key: str = "", bare_unit: str = "") -> float:
    """Return the watts (power) or joules (energy) that a text tells of.

    Of several numbers `key` picks one: the n-th ("2"), the one behind these words on their line, or, in JSON, that of
    this path ("emeters.0.power", or the end of it). A number without a unit is in `bare_unit` (default: W, J); it
    counts where the key picks it, where it stands alone, or behind a name of its quantity, as in "power: 12".
    Raises ReadingError where nothing or several things could be meant.
    """
    structure = _json(text)
    found = list(_numbers(text)) if structure is None else list(_leaves(structure))
    if key:
        one = _picked(found, key, text, is_json=structure is not None)
    else:
        found = [one for one in found if one.number]
        if not found:
            raise ReadingError(f"no number in {shown(text)}")
        if len(found) > 1:
            paths = f" ({', '.join(one.path for one in found[:5])})" if structure is not None else ""
            raise ReadingError(f"several numbers in {shown(text)}{paths}: {PICK}")
        (one,) = found
        alone = text.strip() == one.number
        if not (one.unit or alone or _NAMED[quantity].search(one.before)):
            raise ReadingError(f"{one.number} has no unit in {shown(text)}: {PICK}")
    return converted(one.number, one.unit or bare_unit or BASE[quantity], quantity)


def _numbers(text: str, path: str = "") -> Iterator[_Number]:
    for match in _NUMBER_AND_UNIT.finditer(text):
        before = text[: match.start()].rpartition("\n")[2]
        unit = (match[2] or "").rstrip(".!?")
        yield _Number(match[1], unit, f"{path}: {before}" if path else before, match.start(), path)


def _json(text: str) -> Any:
    """Return a JSON object or list; None for any other text. Raises ReadingError where an object is not whole."""
    if text.strip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, object_pairs_hook=_Object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if text.strip().startswith("{"):  # cut short, as while it is written: so may be its last number
            raise ReadingError(f"{shown(text)} is no JSON ({error})") from None
        return None


def _no_number(constant: str) -> NoReturn:
    raise ReadingError(f"{constant} is no number")


def _leaves(value: Any, path: str = "", unit: str = "") -> Iterator[_Number]:
    """Yield the numbers of JSON, and, without a number, what else a key may name."""
    if isinstance(value, _Object):
        beside = [text for name, text in value if name in _UNIT_NAMES and isinstance(text, str)]
        for name, inner in value:
            named = name.rpartition("_")[2]
            own = named if named != name and is_unit(named) else beside[0] if len(beside) == 1 else ""
            yield from _leaves(inner, f"{path}.{name}".lstrip("."), own)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{place}".lstrip("."), unit)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield _Number(str(value), unit, f"{path}: ", path=path)
    elif isinstance(value, str) and (numbers := list(_numbers(value, path))):
        yield from (_Number(n.number, n.unit or unit, n.before, path=path) for n in numbers)
    else:
        yield _Number("", "", "", path=path)


def _picked(found: Sequence[_Number], key: str, text: str, *, is_json: bool) -> _Number:
    """Return the number that the key picks. Raises ReadingError where there is none, or several."""
    if is_json:
        meant = [one for one in found if f".{one.path}".endswith(f".{key}")]
    elif key.isdecimal():
        meant = list(found[int(key) - 1 : int(key)]) if int(key) else []
    else:
        words = re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")
        meant = []
        for match in words.finditer(text):
            line_end = len(text) if (newline := text.find("\n", match.end())) < 0 else newline
            meant += [one for one in found if match.end() <= one.start < line_end][:1]
    if len(meant) != 1 or not meant[0].number:
        number = "no number" if len(meant) < 2 else "several numbers"
        raise ReadingError(f"{KEY}={key} names {number} in {shown(text)}")
    return meant[0]
