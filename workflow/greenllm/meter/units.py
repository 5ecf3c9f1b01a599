"""Power and energy with their units, as external meters write them. Ambiguous text is refused."""

import math
import re
from typing import Literal

Quantity = Literal["power", "energy"]

BASE: dict[Quantity, str] = {"power": "W", "energy": "J"}
OTHER: dict[Quantity, Quantity] = {"power": "energy", "energy": "power"}
UNITS: dict[Quantity, str] = {"power": "mW, W, kW, MW", "energy": "J, kJ, MJ, Wh, kWh"}  # for messages
_PREFIXES = {"": 1.0, "µ": 1e-6, "μ": 1e-6, "u": 1e-6, "m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_PREFIX_WORDS = {"": 1.0, "micro": 1e-6, "milli": 1e-3, "kilo": 1e3, "mega": 1e6, "giga": 1e9}
_SYMBOLS: dict[Quantity, dict[str, float]] = {
    "power": {"W": 1.0},
    "energy": {"J": 1.0, "Ws": 1.0, "Wh": 3600.0},
}
_WORDS: dict[Quantity, dict[str, float]] = {
    "power": {"watt": 1.0},
    "energy": {"joule": 1.0, "wattsecond": 1.0, "watthour": 3600.0},
}

# Marks that group digits by thousands, and never separate numbers in a list: apostrophes and non-breaking spaces.
_MARKS = "'’\u00a0\u2009\u202f"
# Everything that may belong to a number, so that 1,234 or 10.0.0.7 is refused, not cut; no digits of a name (PSU1).
NUMBER = rf"(?<![\w.,])[-+\u2212]?\.?\d(?:[\d.,]|[{_MARKS}](?=\d{{3}}(?!\d)))*(?:[eE][-+]?\d+)?"
# The text after it on its line that begins like a unit; `kW h` and `watt hours` are one.
UNIT = r"[ \t\u00a0\u2009\u202f]*((?:[^\W\d_]|[%°])[^\s,;:|(){}\[\]\"'<>=]*(?:[ -](?:h|s|hours?|seconds?)\b)?)"
_PLAIN = re.compile(r"\+?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_GROUPED = re.compile(rf"\d{{1,3}}(?:([{_MARKS},.])\d{{3}})(?:\1\d{{3}})*(?:([.,])\d+)?")

# Any word of a name that is shaped like a unit, in upper or lower case, counts as the name's unit. If `scale` refuses
# that unit, the reading is refused.
_PREFIX_WORD = "(?:nano|micro|milli|kilo|mega|giga|tera)"
_SYMBOL_SHAPE = "[pnµμumkgt]?(?:wh?|ws|j|vah?|varh?)|[µμumk][av]|[kmg]?hz|pct|percent|dbm|btu|hp"
_WORD_SHAPE = rf"(?:{_PREFIX_WORD}[ -]?|[kmg] ?)?(?:watt|joule|volt[ -]?amp(?:ere)?)s?(?:[ -]?(?:hours?|seconds?|h|s))?"
_SHAPE = re.compile(rf"(?<![^\W\d])(?:{_WORD_SHAPE}|{_SYMBOL_SHAPE}|k?w[ ·-]h)(?![^\W\d])", re.IGNORECASE)
_STEM = "power|energy|total|draw|load|usage|consumption|input|output|active|avg|peak|maximum|minimum|sum"
_GLUED = re.compile(rf"({_STEM})(?=(?:{_SYMBOL_SHAPE})(?![^\W\d_]))", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Za-z])(?=[A-Z][a-z]{2})")
_UNCLEAR = re.compile(r"[a-z]{2}([kmu](?:Wh?|J|VA))(?![^\W\d_])")  # outletkW: k may be of either


class ReadingError(Exception):
    """A text holds no unambiguous reading; the message says why, in one line."""


def scale(unit: str, quantity: Quantity) -> float | None:
    """Return the watts (power) or joules (energy) of one unit; None if it is not a unit of that quantity.

    Symbols are those of the SI; words, such as kilowatts, are accepted. The prefix m is milli and M is mega, so `mw`,
    `Mw` and `MWH`, whose case is wrong, are refused; otherwise w, j and H are read as W, J and h, and K as k.
    """
    unit = re.sub(r"[ ·.-]", "", unit)
    for symbol, factor in _SYMBOLS[quantity].items():
        prefix, rest = unit[: -len(symbol)], unit[-len(symbol) :]
        careless = prefix in ("m", "M") and rest != symbol
        if rest.lower() == symbol.lower() and prefix in _PREFIXES and not careless:
            return _PREFIXES[prefix] * factor
    word = unit.lower().removesuffix("s").replace("watts", "watt")
    for name, factor in _WORDS[quantity].items():
        if word.endswith(name) and (prefix := word.removesuffix(name)) in _PREFIX_WORDS:
            return _PREFIX_WORDS[prefix] * factor
    return None


def is_unit(text: str) -> bool:
    """Whether a text is a unit of power or of energy."""
    return scale(text, "power") is not None or scale(text, "energy") is not None


def words(name: str) -> str:
    """Return a name (snake, camel or plain) with blanks between its words."""
    return _CAMEL.sub(" ", _GLUED.sub(r"\1 ", name)).replace("_", " ")


def unit_in(name: str) -> str:
    """Return the unit in a name, or in the text before a number; empty where there is none.

    It may be one that `scale` refuses, as `mw`. Several that differ are returned as "kW and W", which is no unit.
    """
    found = [match[0] for match in _SHAPE.finditer(words(name))]
    as_written = {match[0] for match in _SHAPE.finditer(name.replace("_", " "))}
    other_letters = len(re.sub(r"[\W\d_]", "", name)) - len("".join(found))
    # Where the style asks for the capital, M may be milli: powerMW, POWER_MW.
    styled = name.isupper() and other_letters > 1
    found = [word.lower() if word[0] == "M" and (styled or word not in as_written) else word for word in found]
    found += [match[1] for match in _UNCLEAR.finditer(_GLUED.sub(r"\1 ", name))]
    different = {(scale(w, "power"), scale(w, "energy"), None if is_unit(w) else w.lower()): w for w in reversed(found)}
    return " and ".join(reversed(different.values()))


def amount(text: str, quantity: Quantity, unit: str) -> float:
    """Return a number as watts or joules. Its unit is the one after it, else `unit`.

    Raises ReadingError for any other text.
    """
    match = re.fullmatch(rf"({NUMBER})(?:{UNIT})?", text.strip())
    if match is None:
        raise ReadingError(f"{shown(text)} is no number")
    return converted(match[1], match[2] or unit, quantity)


def converted(number: str, unit: str, quantity: Quantity) -> float:
    """Return a number of units as watts or joules. Raises ReadingError where it is no such quantity, or negative."""
    if " and " in unit:
        raise ReadingError(f"{number} has two units, {unit}; expected one")
    if (factor := scale(unit, quantity)) is None:
        what = f"a unit of {OTHER[quantity]}" if scale(unit, OTHER[quantity]) else "none"
        raise ReadingError(f"{number} {unit}: expected a unit of {quantity} ({UNITS[quantity]}); {unit} is {what}")
    value = _plain(number) * factor if factor >= 1 else _plain(number) / round(1 / factor)
    if not 0 <= value < math.inf:
        raise ReadingError(f"{number}: expected a number that is not negative, and finite")
    return value


def _plain(number: str) -> float:
    digits = number.rstrip(".,")
    if digits == "inf":  # as JSON's 1e400 is read
        raise ReadingError("the number is too large; expected a finite one")
    if digits.startswith(("-", "\u2212")):
        raise ReadingError(f"{digits}: expected a number that is not negative")
    if _PLAIN.fullmatch(digits):
        return float(digits)
    # Thousands are unambiguous if their mark never separates a list, or another mark precedes the fraction.
    grouped = _GROUPED.fullmatch(digits)
    if grouped and grouped[1] != grouped[2] and (grouped[1] in _MARKS or grouped[2]):
        return float(digits.replace(grouped[1], "").replace(",", "."))
    raise ReadingError(f"{digits} may be read in two ways; expected a plain number such as 1234.5")


def shown(text: str) -> str:
    """Return the beginning of a text for a message, on one line."""
    return repr(text.strip()[:80])
