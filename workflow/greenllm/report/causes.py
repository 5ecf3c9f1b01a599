"""Why a recipe saves energy, and what the comparison can resolve, in words."""

from collections.abc import Sequence

from greenllm.comparison.rows import ComparedRecipes, Factor, RecipeRow
from greenllm.report.numbers import THIN, plain, times

UNSTEADY = "the host was not steady"
SINGLE = "a single round shows no spread"
APART = ("engine", "device")  # changes that are separated from all others
_REMARKS = {"not resolvable": ", not resolvable", "loss": ", a loss"}


def parts_text(parts: Sequence[Factor]) -> str:
    """Return the factors of a ratio by cause, such as "engine 6.3 (5.9 to 6.7), int8 1.02 (0.97 to 1.07)".

    Empty for a ratio with one cause, which is that of the recipe, unless several changes were not separated.
    """
    if len(parts) < 2:
        return "".join(f"{part.change} together, not separated by a control" for part in parts if is_mixed(part))
    said = [_part(part) for part in parts]
    separator = "; " if any(_REMARKS.get(part.verdict) for part in parts[:-1]) else ", "
    return separator.join(said)


def is_mixed(part: Factor) -> bool:
    """Return whether a factor is that of the engine or device and of something else at once."""
    return part.change not in APART and any(change in _words(part.change) for change in APART)


def _words(change: str) -> set[str]:
    return set(change.replace(",", "").split())


def _part(part: Factor) -> str:
    if part.times_less is None:
        return f"{part.change} unknown"
    return "{change} {} ({}){remark}".format(
        *times(part.times_less), change=part.change, remark=_REMARKS.get(part.verdict, "")
    )


def role(row: RecipeRow) -> str:
    """Return what a recipe is in the comparison: the baseline, a control, or "" for the others."""
    if row.is_baseline:
        return "baseline"
    if not row.is_control:
        return ""
    changed = [part.change for part in row.parts]
    apart = changed and all(_words(change) <= {*APART, "and"} for change in changed)
    return f"control: the {' and the '.join(changed)} alone" if apart else "control"


def twin_text(compared: ComparedRecipes) -> str:
    """Return how far the same model, deployed twice, differs from itself, and what follows."""
    twin = compared.twin
    if twin is None:
        return (
            "The same model was not deployed twice (deploy.twin), so what differences this host can resolve is unknown."
        )
    if twin.times_less is None:
        return f"How far the same model, deployed twice, differs is unknown ({twin.reason or 'it was not measured'})."
    if twin.resolvable is None:
        return (
            f"The same model, deployed twice, differs by {times(twin.times_less)[0]}. The spread between starts is "
            "unknown, and so is what differences this host can resolve: start the servers more often (deploy.starts, "
            "deploy.rounds)."
        )
    differs = "The same model, deployed twice, differs by {} ({})".format(*times(twin.times_less))
    if not twin.steady:
        return (
            f"{differs}: {UNSTEADY}, so no difference is resolvable. Measure again with nothing else running on the "
            "host, or with more starts (deploy.starts)."
        )
    smallest = 100 * twin.resolvable
    share = plain(smallest, 0 if smallest >= 1 else 1)
    return f"{differs}. Differences below about {share}{THIN}% can't be resolved on this host."


def why_open(row: RecipeRow, steady: bool) -> str:
    """Return why no difference from the baseline can be resolved, whatever its interval; "" if the interval says so."""
    if not steady:
        return UNSTEADY
    return SINGLE if row.energy_spread is not None and row.energy_spread.over is None else ""


def measured_text(compared: ComparedRecipes) -> str:
    """Return how often the recipes were measured side by side; empty where it is unknown."""
    starts, rounds, seeds = compared.starts, compared.rounds, len(compared.seeds)
    if starts is None or rounds is None:
        return ""
    started = "once" if starts == 1 else f"{starts} times"
    said = f"each server started {started}, with {rounds} {'round' if rounds == 1 else 'rounds'} after each start"
    return f" Measured side by side, {said}{'' if seeds == 1 else f', for each of {seeds} seeds'}."
