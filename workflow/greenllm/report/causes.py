"""Why a recipe saves energy, and what the comparison can resolve, in words."""

import functools
from collections.abc import Sequence

from greenllm.comparison.rows import ComparedRecipes, EnergySpread, Factor, RecipeRow, Twin
from greenllm.report.language import noted, plural, text
from greenllm.report.numbers import THIN, plain, times

UNSTEADY = noted("the host was not steady")
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
    return part.change not in APART and any(change in part.change.replace(",", "").split() for change in APART)


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
    if not row.parts:
        return text("control")
    changed = functools.reduce(
        lambda first, second: text("{first} and the {second}", first=first, second=second),
        [text(part.change) for part in row.parts],
    )
    return text("control: the {changes} alone", changes=changed)


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
    if not twin.steady:
        return text(
            "The same model, deployed twice, differs by {times} ({bounds}): {unsteady}, so no difference is "
            "resolvable. Measure again with nothing else running on the host, or in more blocks (deploy.rounds).",
            times=ratio,
            bounds=bounds,
            unsteady=text(UNSTEADY),
        )
    differs = text("The same model, deployed twice, differs by {times} ({bounds}).", times=ratio, bounds=bounds)
    return differs + _resolvable(twin)


def _resolvable(twin: Twin) -> str:
    if twin.resolvable is None:
        return ""
    return text(" Differences below about {share} can't be resolved on this host.", share=resolvable_share(twin))


def resolvable_share(twin: Twin) -> str:
    """Return the smallest difference that can be resolved, in per cent; "" where it is unknown."""
    if twin.resolvable is None:
        return ""
    smallest = 100 * twin.resolvable
    return f"{plain(smallest, 0 if smallest >= 1 else 1)}{THIN}%"


def measured_text(compared: ComparedRecipes) -> str:
    """Return how often the recipes were measured side by side; empty where it is unknown."""
    if compared.blocks is None:
        return ""
    blocks = plural("{count} block", "{count} blocks", compared.blocks)
    if len(compared.seeds) == 1:
        return text(" Measured side by side in {blocks} with one seed.", blocks=blocks)
    return text(
        " Measured side by side in {blocks} with each of {seeds} seeds.", blocks=blocks, seeds=len(compared.seeds)
    )


def spread_text(spread: EnergySpread) -> str:
    """Return what the interval of an energy includes, and what it leaves out."""
    if spread.over is None:
        return text(
            "measured once, in one round: the interval is the sensors' alone and says nothing of how far runs differ"
        )
    if spread.over == "rounds":
        return text(
            "{count} blocks of one run: how far other seeds and deployments would differ is not in the interval",
            count=spread.count,
        )
    if spread.pooled:
        return text("{count} seeds, their variance pooled over the recipes", count=spread.count)
    return text("{count} seeds", count=spread.count)
