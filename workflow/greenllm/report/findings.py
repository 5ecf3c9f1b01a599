"""The comparison in sentences that a person can act on, no surer than the intervals are."""

from collections.abc import Mapping
from typing import Any

from greenllm.report.contents import metric_name
from greenllm.report.numbers import bounds_text, quantity, value_text

Row = Mapping[str, Any]


def findings(account: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return, for each experiment and recipe, {experiment, recipe, verdict, finding, advice, note}."""
    found = []
    for name, experiment in account["experiments"].items():
        rows = experiment["comparison"]["recipes"]
        baseline = next(row for row in rows if row["is_baseline"])
        others = [row for row in rows if not row["is_baseline"]]
        for row in others:
            found.append(
                {"experiment": name, "recipe": row["recipe"], "verdict": row["verdict"]} | _finding(row, baseline)
            )
        if not others:
            found.append({"experiment": name, "recipe": baseline["recipe"], "verdict": "baseline"} | _alone(baseline))
    return found


def _alone(row: Row) -> dict[str, str]:
    energy = quantity(row["energy_per_request_J"], "J", " to ")
    finding = f"{row['recipe']} needs {energy} per request{_quality_clause(row)}."
    if row["energy_per_request_J"] is None:
        finding = f"the energy per request of {row['recipe']} is unknown ({row['reason']})."
    return {"finding": finding, "advice": "There is no second recipe to compare it with.", "note": _note(row)}


def _quality_clause(row: Row) -> str:
    quality = row["quality"]
    return f" at {metric_name(quality['metric'])} {_with_bounds(quality)}" if quality else ""


def _with_bounds(value: Mapping[str, Any]) -> str:
    bounds = bounds_text(value, 1, " to ")
    return f"{value_text(value)} ({bounds})" if bounds else value_text(value)


def _finding(row: Row, baseline: Row) -> dict[str, str]:
    one, other = row["recipe"], baseline["recipe"]
    return {
        "finding": f"{_energy(row, one, other)}{_quality(row, baseline)}.",
        "advice": _advice(row, one, other),
        "note": _note(row),
    }


def _energy(row: Row, one: str, other: str) -> str:
    factor = row["times_less"]
    if factor is None:
        return f"the energy of {one} against {other} is unknown ({row['reason'] or f'{other} was not measured'})"
    if row["verdict"] == "saves":
        return (
            f"{one} needs {value_text(factor)} times less energy per request than {other} "
            f"({bounds_text(factor, 1, ' to ')})"
        )
    if row["verdict"] == "loss":
        more = {"value": 1 / factor["value"], "low": 1 / factor["high"], "high": 1 / factor["low"]}
        return (
            f"{one} is a loss: it needs {value_text(more)} times more energy per request than {other} "
            f"({bounds_text(more, 1, ' to ')})"
        )
    return (
        f"whether {one} or {other} needs less energy per request is not resolvable "
        f"(ratio {value_text(factor)}, {bounds_text(factor, 1, ' to ')})"
    )


def _quality(row: Row, baseline: Row) -> str:
    own, reference, difference = row["quality"], baseline["quality"], row["quality_difference"]
    if own is None or reference is None:
        return "; its quality is unknown (not evaluated)" if own is None else _quality_clause(row)
    clause = f"{_quality_clause(row)} against {value_text(reference)}"
    if difference is None:
        return clause
    if difference["value"] == 0 and difference["low"] == 0 and difference["high"] == 0:
        return f"{clause}: every answer is as right or wrong as before"
    if not difference["resolved"]:
        return f"{clause}: the difference in quality is not resolvable ({bounds_text(difference, 1, ' to ')})"
    size, word = _size(difference)
    return f"{clause}: {word} by {_with_bounds(size)}"


def _size(difference: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    if difference["value"] >= 0:
        return {name: difference[name] for name in ("value", "low", "high")}, "higher"
    return {"value": -difference["value"], "low": -difference["high"], "high": -difference["low"]}, "lower"


def _advice(row: Row, one: str, other: str) -> str:
    difference = row["quality_difference"]
    lower = difference is not None and difference["resolved"] and difference["value"] < 0
    higher = difference is not None and difference["resolved"] and difference["value"] > 0
    if row["quality"] is not None and row["quality"]["high"] <= 0:
        return f"{one} answers nothing right: its model is of no use yet, whatever energy it takes."
    match row["verdict"]:
        case "saves":
            if difference is None:
                return f"Evaluate {one} before choosing it: its quality beside {other}'s is unknown."
            if lower:
                size, _ = _size(difference)
                loss = f"{value_text(size)} less {metric_name(difference['metric'])}"
                return f"Choose {one} only where {loss} is acceptable."
            return f"Choose {one}.{_payback(row)}"
        case "loss":
            return f"Keep {other}" + (f", unless the better quality is worth the energy of {one}." if higher else ".")
        case "not resolvable":
            worse = f" The quality of {one} is lower." if lower else ""
            return f"Energy gives no reason to prefer either; more requests or seeds may.{worse}"
        case _:
            return "Nothing can be recommended yet."


def _payback(row: Row) -> str:
    requests = row["break_even_requests"]
    if requests is None:
        return ""
    if requests["value"] == 0:
        return " It costs no more to produce, so it saves from the first request."
    bounds = bounds_text(requests, 1, " to ")
    return f" Its extra energy to produce is saved after {value_text(requests)} requests ({bounds})."


def _note(row: Row) -> str:
    quality = row["energy_quality"]
    if quality is None:
        return "Energy unknown"
    seeds = len(row["seeds_measured"])
    if seeds == 1:
        return f"Energy {quality}, one run: the interval leaves out how much runs differ from each other."
    return f"Energy {quality}, {seeds} seeds: the interval holds the spread between them."
