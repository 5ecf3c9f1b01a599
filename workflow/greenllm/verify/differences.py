"""Where two JSON values differ: numbers beyond rounding, all else exactly."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

# Sums of floating-point numbers differ in their last digits between processors and versions of numpy.
ROUNDING, SMALLEST = 1e-9, 1e-12
KEYS = ("id", "path", "name", "run_id")  # by which the rows of a list are found again


class Mismatch(NamedTuple):
    """A place in a JSON value, such as `jobs[3].energy_J.value`, and what is expected and found there."""

    place: str
    what: str
    expected: str
    found: str


def close(expected: float, found: float) -> bool:
    """Whether two numbers are equal except for rounding."""
    return math.isclose(expected, found, rel_tol=ROUNDING, abs_tol=SMALLEST)


def values(value: Any) -> int:
    """Return the number of single values in a JSON value."""
    if isinstance(value, Mapping):
        return sum(map(values, value.values()))
    return sum(map(values, value)) if isinstance(value, list) else 1


def differences(expected: Any, found: Any, place: str = "") -> Iterator[Mismatch]:
    """Yield where `found` differs from `expected`."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in {**expected, **found}:
            at = f"{place}.{key}" if place else str(key)
            if key not in found:
                yield Mismatch(at, "is missing", _text(expected[key]), "nothing")
            elif key not in expected:
                yield Mismatch(at, "is one too many", "nothing", _text(found[key]))
            else:
                yield from differences(expected[key], found[key], at)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _of_lists(expected, found, place)
    elif not _equal(expected, found):
        yield Mismatch(place, "differs", _text(expected), _text(found))


def _of_lists(expected: Sequence[Any], found: Sequence[Any], place: str) -> Iterator[Mismatch]:
    """Yield the differences of two lists; rows with a key are compared with those of the same key."""
    key = next((key for key in KEYS if _identifies(key, expected) and _identifies(key, found)), None)
    if key is not None:
        order = [[row[key] for row in rows] for rows in (expected, found)]
        expected_by_key, found_by_key = ({f"[{row[key]}]": row for row in rows} for rows in (expected, found))
        for one in differences(expected_by_key, found_by_key):
            yield one._replace(place=place + one.place)
        if sorted(order[0]) == sorted(order[1]) and order[0] != order[1]:
            yield Mismatch(place, "is in another order", _text(order[0]), _text(order[1]))
        return
    if len(expected) != len(found):
        yield Mismatch(place, "has another number of entries", str(len(expected)), str(len(found)))
    for number, (one, other) in enumerate(zip(expected, found, strict=False)):
        yield from differences(one, other, f"{place}[{number}]")


def _identifies(key: str, rows: Sequence[Any]) -> bool:
    """Whether each row has this key, each another text."""
    found = [row.get(key) for row in rows if isinstance(row, Mapping)]
    texts = [text for text in found if isinstance(text, str)]
    return len(texts) == len(rows) > 0 and len(set(texts)) == len(texts)


def _equal(expected: Any, found: Any) -> bool:
    numbers = [one for one in (expected, found) if isinstance(one, int | float) and not isinstance(one, bool)]
    if len(numbers) == 2:
        return close(*map(float, numbers))
    return type(expected) is type(found) and expected == found


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
