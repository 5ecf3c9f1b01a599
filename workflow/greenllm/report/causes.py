"""Why a recipe saves energy, and what the comparison can resolve, in words."""

import functools
from collections.abc import Sequence

from greenllm.comparison.rows import ComparedRecipes, EnergySpread, Factor, RecipeRow, Twin
from greenllm.report.language import noted, plural, text
from greenllm.report.numbers import THIN, plain, times

UNSTEADY = noted("the host was not steady")
SINGLE = noted("a single round shows no spread")
APART = ("engine", "device")  # changes that are separated from all others
_PARTS = {
    "not resolvable": noted("{change} {times} ({bounds}), not resolvable"),
    "loss": noted("{change} {times} ({bounds}), a loss"),
}


def parts_text(parts: Sequence[Factor]) -> str:
    """Return the factors of a ratio by cause, such as "engine 6.3 (5.9 to 6.7), int8 1.02 (0.97 to 1.07)".

    Empty for a ratio with one cause, which is that of the recipe, unless several changes were not separated.
    """
    if len(parts) < 2:
        mixed = [part for part in parts if is_mixed(part)]
        return "".join(
            text("{changes} together, not separated by a control", changes=text(part.change)) for part in mixed
        )
    apart = noted("{before}; {after}") if any(_PARTS.get(part.verdict) for part in parts[:-1]) else _COMMA
    return functools.reduce(lambda before, after: text(apart, before=before, after=after), map(_part, parts))


_COMMA = noted("{before}, {after}")


def is_mixed(part: Factor) -> bool:
    """Return whether a factor is that of the engine or device and of something else at once."""
    return part.change not in APART and any(change in _words(part.change) for change in APART)


def _words(change: str) -> set[str]:
    return set(change.replace(",", "").split())


def _part(part: Factor) -> str:
    change = text(part.change)
    if part.times_less is None:
        return text("{change} unknown", change=change)
    ratio, bounds = times(part.times_less)
    return text(
        _PARTS.get(part.verdict, noted("{change} {times} ({bounds})")), change=change, times=ratio, bounds=bounds
    )


def role(row: RecipeRow) -> str:
    """Return what a recipe is in the comparison: the baseline, a control, or "" for the others."""
    if row.is_baseline:
        return text("baseline")
    if not row.is_control:
        return ""
    changed = [part.change for part in row.parts]
    if not changed or not all(_words(change) <= {*APART, "and"} for change in changed):
        return text("control")
    changes = functools.reduce(
        lambda first, second: text("{first} and the {second}", first=first, second=second),
        [text(change) for change in changed],
    )
    return text("control: the {changes} alone", changes=changes)


def twin_text(compared: ComparedRecipes) -> str:
    """Return how far the same model, deployed twice, differs from itself, and what follows."""
    twin = compared.twin
    if twin is None:
        return text(
            "The same model was not deployed twice (deploy.twin), so what differences this host can resolve is unknown."
        )
    if twin.times_less is None:
        why = twin.reason or text("it was not measured")
        return text("How far the same model, deployed twice, differs is unknown ({why}).", why=why)
    ratio, bounds = times(twin.times_less)
    if twin.resolvable is None:
        return text(
            "The same model, deployed twice, differs by {times}. The spread between starts is unknown, and so is what "
            "differences this host can resolve: start the servers more often (deploy.starts, deploy.rounds).",
            times=ratio,
        )
    if not twin.steady:
        return text(
            "The same model, deployed twice, differs by {times} ({bounds}): {unsteady}, so no difference is "
            "resolvable. Measure again with nothing else running on the host, or with more starts (deploy.starts).",
            times=ratio,
            bounds=bounds,
            unsteady=text(UNSTEADY),
        )
    differs = text("The same model, deployed twice, differs by {times} ({bounds}).", times=ratio, bounds=bounds)
    share = resolvable_share(twin)
    return differs + text(" Differences below about {share} can't be resolved on this host.", share=share)


def resolvable_share(twin: Twin) -> str:
    """Return the smallest difference that can be resolved, in per cent; "" where it is unknown."""
    if twin.resolvable is None:
        return ""
    smallest = 100 * twin.resolvable
    return f"{plain(smallest, 0 if smallest >= 1 else 1)}{THIN}%"


def why_open(row: RecipeRow, steady: bool) -> str:
    """Return why no difference from the baseline can be resolved, whatever its interval; "" if the interval says so."""
    if not steady:
        return text(UNSTEADY)
    return text(SINGLE) if row.energy_spread is not None and row.energy_spread.over is None else ""


def measured_text(compared: ComparedRecipes) -> str:
    """Return how often the recipes were measured side by side; empty where it is unknown."""
    starts, rounds, seeds = compared.starts, compared.rounds, len(compared.seeds)
    if starts is None or rounds is None:
        return ""
    started, sent = plural("{count} time", "{count} times", starts), plural("{count} round", "{count} rounds", rounds)
    said = text(
        " Measured side by side, each server started {starts}, with {rounds} after each start",
        starts=started,
        rounds=sent,
    )
    return said + (text(".") if seeds == 1 else text(", for each of {seeds} seeds.", seeds=seeds))


def spread_text(spread: EnergySpread) -> str:
    """Return what the interval of an energy includes, and what it leaves out."""
    if spread.over is None:
        return text(
            "measured once, in one round: the interval is the sensors' alone and says nothing of how far runs differ"
        )
    if spread.over == "starts":
        return text(
            "{count} starts of the server: how far models of other seeds would differ is not included",
            count=spread.count,
        )
    if spread.over == "rounds":
        return text(
            "{count} rounds of one start: how far other starts and seeds would differ is not included",
            count=spread.count,
        )
    if spread.pooled:
        return text("{count} seeds, their variance pooled over the recipes", count=spread.count)
    return text("{count} seeds", count=spread.count)
