"""Finds the number that is meant, with its unit, in the output of a meter outside the host: a line, a table, JSON."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from greenllm.meter.units import BASE, NUMBER, UNIT, Quantity, ReadingError, converted, scale, shown, unit_in, words

KEY = "GREENLLM_PLATFORM_KEY"
PICK = f"name the one to take in {KEY}: the words before it, its place (1, 2, …), or its path in JSON"

_NUMBER_AND_UNIT = re.compile(rf"({NUMBER})(?:{UNIT})?")
# A unit in brackets or in a separate cell: `0.12 (kW)`, `0.12;kW`.
_UNIT_APART = re.compile(r"[ \t]*[(\[,;|\t\"'][ \t]*([^\W\d_]+)[ \t]*(?:[)\],;|\"']|$)", re.MULTILINE)
# A unit on a separate line: `unit: kW`.
_UNIT_LINE = re.compile(r"^[ \t\"']*units?[ \t\"']*[:=][ \t\"']*([^\s\"',;]+)", re.IGNORECASE | re.MULTILINE)
# A number without a unit is one of the quantity at the end of the name before it: `power: 12`, "apower":12.
_NAME = re.compile(r"([\w .\"'()\[\]-]*)[:=]\s*\"?$")
_NAMED: dict[Quantity, re.Pattern[str]] = {
    "power": re.compile(r"(power|watts?)\W*$", re.IGNORECASE),
    "energy": re.compile(r"(energy|joules?)\W*$", re.IGNORECASE),
}
# Names with these words are not a measured power or energy of now, unless the key names them.
_ELSE = re.compile(
    r"\b(factor|limit|cap|capacity|threshold|budget|rated|nominal|apparent|reactive|max|maximum|min|minimum|peak|"
    r"cycles?|state|status|horsepower)\b",
    re.IGNORECASE,
)
# The labels of a Prometheus metric: shelly_power_watts{relay="0"}.
_LABELS = re.compile(r"(?<=\w)\{(?:\"[^\"\n]*\"|[^{}\"\n])*\}")
_MINUS_APART = re.compile(r"[-\u2212\u2013\u2014]\s*$")
_FIRST_DIGITS, _THREE_DIGITS = re.compile(r"(?<![\d.,])\d{1,3} $"), re.compile(r"\d{3}(?!\d)")
# How JSON names the unit of the value beside it.
_UNIT_NAMES = ("unit", "units", "unitofmeasurement", "uom")


@dataclass(frozen=True)
class _Number:
    """A number in a text, its unit (empty: none), its line up to it, its position, and its JSON path.

    A blank may separate thousands, so it may be only a part of a number. `follows`: up to three digits and a blank come
    before it. `goes_on`: a blank and three digits come after it.
    """

    number: str
    unit: str
    before: str
    start: int = 0
    path: str = ""
    follows: bool = False
    goes_on: bool = False

    @property
    def split(self) -> bool:
        """Whether the blank may separate thousands."""
        return self.follows or self.goes_on


class _Object(tuple[tuple[str, Any], ...]):
    """A JSON object as it is written: a name may occur twice."""


def reading(text: str, quantity: Quantity, key: str = "", bare_unit: str = "") -> float:
    """Return the watts (power) or joules (energy) in a text.

    Of several numbers `key` picks one: the n-th ("2"), the one after these words on their line, or, in JSON, that of
    this path ("emeters.0.power", or the end of it). A number without a unit is in `bare_unit` (default: W, J); it
    counts if the key picks it, if it is alone, or after a name of its quantity, as in "power: 12".
    Raises ReadingError where no number or several could be meant.
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
            names = [str(place) if one.path.isdecimal() else one.path for place, one in enumerate(found[:5], 1)]
            paths = f" ({', '.join(names)})" if structure is not None else ""
            if any(one.split for one in found):
                raise ReadingError(f"a blank may separate thousands in {shown(text)}; expected a plain number")
            raise ReadingError(f"several numbers in {shown(text)}{paths}: {PICK}")
        (one,) = found
        alone = text.strip() == one.number
        name = _NAME.search(one.before)
        named = name is not None and _NAMED[quantity].search(words(name[1]).rstrip())
        if _ELSE.search(words(one.before)):
            raise ReadingError(f"{one.number} may be no measured {quantity} in {shown(text)}: {PICK}")
        if not (one.unit or alone or named):
            raise ReadingError(f"{one.number} has no unit in {shown(text)}: {PICK}")
    if one.split:
        raise ReadingError(f"a blank may separate thousands in {shown(text)}; expected a plain number")
    if _MINUS_APART.search(one.before):
        raise ReadingError(f"{one.number} may be negative in {shown(text)}; expected a number without a minus")
    try:
        return converted(one.number, one.unit or bare_unit or BASE[quantity], quantity)
    except ReadingError as error:
        name_of = one.path or one.before.strip(" \t:=\"'")
        raise ReadingError(f"{name_of}: {error}" if name_of else str(error)) from None


def _numbers(text: str, path: str = "") -> Iterator[_Number]:
    plain = _LABELS.sub(lambda labels: " " * len(labels[0]), text)
    label_start, heading = 0, ""
    line = " and ".join(dict.fromkeys(match[1] for match in _UNIT_LINE.finditer(plain)))
    for match in _NUMBER_AND_UNIT.finditer(plain):
        label = text[label_start : match.start()]
        heading = heading or label.rpartition("\n")[0]
        behind = (match[2] or "").rstrip(".!?")
        if not behind and (apart := _UNIT_APART.match(plain, match.end())):
            behind = unit_in(apart[1])
        unit = _agreed(behind, unit_in(label) or ("" if behind else line or unit_in(heading)))
        before = text[: match.start()].rpartition("\n")[2]
        follows = bool(_FIRST_DIGITS.search(plain[: match.start()]) and _THREE_DIGITS.match(match[1]))
        goes_on = match[1].isdecimal() and len(match[1]) <= 3 and bool(_THREE_DIGITS.match(plain[match.end(1) + 1 :]))
        goes_on = goes_on and plain[match.end(1)] == " "
        before = f"{path}: {before}" if path else before
        yield _Number(match[1], unit, before, match.start(), path, follows, goes_on)
        if not re.match(
            r"\s*[):=\]]", plain[match.end() :]
        ):  # otherwise it is part of the next one's name: `kW 1: 0.12`
            label_start = match.end()


def _agreed(unit: str, other: str) -> str:
    """Return the unit named in two places; both units where they differ."""
    same = not unit or not other or unit_in(f"{unit} {other}") in (unit, other)
    return (unit or other) if same else f"{unit} and {other}"


def _json(text: str) -> Any:
    """Return a JSON object or list; None for any other text. Raises ReadingError for an incomplete object."""
    if text.strip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text, object_pairs_hook=_Object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if text.strip().startswith("{"):  # incomplete, as while it is written: its last number may be, too
            raise ReadingError(f"{shown(text)} is no JSON ({error})") from None
        return None


def _no_number(constant: str) -> NoReturn:
    raise ReadingError(f"{constant} is no number")


def _leaves(value: Any, path: str = "", unit: str = "") -> Iterator[_Number]:
    """Yield the numbers of JSON, and an entry without a number for each other value that a key may name."""
    if isinstance(value, _Object):
        for name, inner in value:
            beside, own = _unit_beside(value, name), unit_in(name)
            if own and any(scale(own, q) and scale(beside, q) for q in BASE):
                own = _agreed(own, beside)
            yield from _leaves(inner, f"{path}.{name}".lstrip("."), own or beside or unit)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{place}".lstrip("."), unit)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield _Number(str(value), unit, f"{path}: ", path=path)
    elif isinstance(value, str) and (numbers := list(_numbers(value, path))):
        for n in numbers:
            yield replace(n, unit=_agreed(n.unit, unit), start=0)
    else:
        yield _Number("", "", "", path=path)


def _unit_beside(value: _Object, name: str) -> str:
    """Return the unit that a JSON object has for its value of this name, as in "unit" or "power_unit"."""
    texts: dict[str, str] = {}
    for beside, text in value:
        if beside == "attributes" and isinstance(text, _Object):  # as in Home Assistant
            texts |= {_joined(inner): unit for inner, unit in text if isinstance(unit, str)}
        elif isinstance(text, str):
            texts[_joined(beside)] = text
    own = [texts[_joined(name) + ending] for ending in ("unit", "units") if _joined(name) + ending in texts]
    return " and ".join(dict.fromkeys(own or [texts[common] for common in _UNIT_NAMES if texts.get(common)]))


def _joined(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _picked(found: Sequence[_Number], key: str, text: str, *, is_json: bool) -> _Number:
    """Return the number that the key picks. Raises ReadingError where there is none, or several."""
    if key.isdecimal():
        numbers = [one for one in found if one.number]
        meant = numbers[int(key) - 1 : int(key)] if int(key) else []
        if is_json and re.search(rf'"{key}"\s*:', text):
            raise ReadingError(f"{KEY}={key} may be a name or a place in {shown(text)}: use a longer path")
    elif is_json:
        meant = [one for one in found if f".{one.path}".endswith(f".{key}")]
    else:
        after = re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")
        meant = []
        for match in after.finditer(text):
            line_end = len(text) if (newline := text.find("\n", match.end())) < 0 else newline
            first = [one for one in found if match.end() <= one.start < line_end][:1]
            # Digits of the key are not part of the number: `PSU 1 220 W`.
            meant += [replace(one, follows=False) if match.end() == one.start - 1 else one for one in first]
    if len(meant) != 1 or not meant[0].number:
        number = "no number" if len(meant) < 2 else "several numbers"
        raise ReadingError(f"{KEY}={key} names {number} in {shown(text)}")
    return meant[0]
