"""Which recipe to deploy: the one that is shown to need the least energy at the required quality."""

import math
from collections.abc import Sequence

from greenllm.comparison.recipes import Comparison
from greenllm.comparison.rows import Advice, Qualifies, RecipeRow, Verdict, better_than_chance
from greenllm.config.models import Decision
from greenllm.errors import listed


def decided(comparison: Comparison, decision: Decision) -> tuple[list[RecipeRow], Advice]:
    """Return an experiment's recipes, and which one to deploy.

    A recipe's total energy is that of a request plus that to produce the model, divided by the expected requests. A
    recipe is recommended if its quality is shown not to be worse than asked, and to be better than that of a model that
    ignores its input, and if its total energy is shown to be less than that of the baseline if the baseline is good
    enough itself (the interval of the ratio is above 1). Among several, the one with the least total energy is
    recommended. If no recipe is shown to be better, the baseline is recommended; if energy or quality is unknown, or
    the host was not steady, no recipe is.
    """
    front = _front(comparison)
    rows = [
        comparison.row(recipe, qualifies(comparison, decision, recipe), recipe in front)
        for recipe in comparison.recipes
    ]
    return rows, _advice(comparison, decision, rows, front)


def at_chance(comparison: Comparison) -> str | None:
    """Return why no recipe can be compared: none is shown to be better than a model that ignores its input; else None.

    Shown: the 95 % interval of a recipe's quality excludes that model's.
    """
    evaluated = [found for recipe in comparison.recipes if (found := comparison.quality_of(recipe))]
    higher, metric = comparison.task.higher_is_better, comparison.task.primary.replace("_", " ")
    chance = comparison.chance
    if chance is None or any(better_than_chance(quality, chance, higher=higher) for quality in evaluated):
        return None
    least, most = comparison.task.range
    remedy = "train the models longer or on more data, or evaluate on more examples"
    if all(quality.value == (least if higher else most) for quality in evaluated):
        return f"the {metric} of each recipe is {evaluated[0].value:g}, the worst that it can be; {remedy}"
    known = f"{metric} than a model that ignores its input ({chance:.3g})"
    return f"no recipe is shown to have a better {known}; {remedy}"


def undecidable(comparison: Comparison, decision: Decision) -> str | None:
    """Return why the required quality, relative to the baseline's, can't exclude any recipe; None if it can.

    It can't if the baseline is so bad that the bound is no better than the worst value of the metric.
    """
    if decision.worse_by is None or decision.quality is not None or len(comparison.recipes) == 1:
        return None
    baseline, metric = comparison.quality[comparison.baseline], comparison.task.primary.replace("_", " ")
    if baseline is None:
        if not any(comparison.quality.values()):
            return None  # nothing was evaluated
        return f"{comparison.baseline} was not evaluated, so the others' {metric} can't be compared with it"
    if not _says_nothing(comparison, decision, baseline.value):
        return None
    worst = f"{metric} of {comparison.baseline} itself is {baseline.value:.3g}"
    allows = f"any {metric} is at most {decision.worse_by:g} worse than that"
    remedy = "train the baseline better, or ask for a quality (decision.quality), or a smaller decision.worse_by"
    return f"the {worst}, and {allows}; {remedy}"


def _says_nothing(comparison: Comparison, decision: Decision, baseline: float) -> bool:
    """Whether any quality is at most `worse_by` worse than the baseline's."""
    least, most = comparison.task.range
    if decision.worse_by is None:
        return True
    higher = comparison.task.higher_is_better
    return baseline - decision.worse_by <= least if higher else baseline + decision.worse_by >= most


def qualifies(comparison: Comparison, decision: Decision, recipe: str) -> Qualifies:
    """Return whether a recipe's quality is shown, one-sided at `decision.confidence`, not to be worse than required."""
    if undecidable(comparison, decision):
        return "not resolvable"
    found = []
    if decision.quality is not None:
        found.append((comparison.quality[recipe], decision.quality))
    if decision.worse_by is not None and recipe != comparison.baseline:
        sign = 1 if comparison.task.higher_is_better else -1
        found.append((comparison.differences[recipe], -sign * decision.worse_by))
    if comparison.quality[recipe] is None:
        return "not resolvable"
    answers: set[Qualifies] = set()
    for uncertain, bound in found:
        if uncertain is None:
            answers.add("not resolvable")
            continue
        low, high = uncertain.low(decision.confidence), uncertain.high(decision.confidence)
        if not comparison.task.higher_is_better:
            low, high, bound = -high, -low, -bound
        answers.add("yes" if low >= bound else "no" if high < bound else "not resolvable")
    return "no" if "no" in answers else "not resolvable" if "not resolvable" in answers else "yes"


def _front(comparison: Comparison) -> list[str]:
    """Return the recipes that no other beats in both quality and energy per request (by best estimates)."""
    sign = 1 if comparison.task.higher_is_better else -1
    known = {
        recipe: (sign * quality.value, -energy_J.value)
        for recipe in comparison.recipes
        if (quality := comparison.quality_of(recipe)) and (energy_J := comparison.request.mean(recipe))
    }

    unbeaten, most = set(), -math.inf
    for own in sorted(set(known.values()), reverse=True):  # by quality, the best first, then by energy
        if own[1] > most:
            unbeaten.add(own)
            most = own[1]
    return [recipe for recipe, own in known.items() if own in unbeaten]


def _advice(comparison: Comparison, decision: Decision, rows: Sequence[RecipeRow], front: list[str]) -> Advice:
    by_recipe = {row.recipe: row for row in rows}
    in_all = {
        row.recipe: comparison.total.times_less(comparison.baseline, row.recipe) for row in rows if not row.is_baseline
    }
    chance = at_chance(comparison)
    unsaid = chance or undecidable(comparison, decision)
    chosen, reason = (None, unsaid) if unsaid else _choice(comparison, rows)
    if chosen is not None and _useless(comparison, by_recipe[chosen]):
        chosen, reason = None, f"{chosen}, the most frugal, answers nothing right"
    row = None if chosen in (None, comparison.baseline) else by_recipe[chosen]
    return Advice(
        recipe=chosen,
        baseline=comparison.baseline,
        reason=reason,
        undecidable=unsaid is not None,
        at_chance=chance,
        requests=decision.requests,
        confidence=decision.confidence,
        quality_bound=_quality_bound(comparison, decision),
        times_less=row and row.times_less,
        total_times_less=row and in_all[row.recipe],
        quality_difference=row and row.quality_difference,
        break_even_requests=row and row.break_even_requests,
        front=front,
        losses=[
            row.recipe
            for row in rows
            if row.recipe != chosen
            and (row.verdict == "loss" or (not row.is_baseline and _in_all(comparison, row.recipe) == "loss"))
        ],
    )


def _choice(comparison: Comparison, rows: Sequence[RecipeRow]) -> tuple[str | None, str | None]:
    """Return the recipe to deploy, or why there is none."""
    if comparison.twin is not None and not comparison.twin.steady:
        return None, "the host was not steady: the same model, deployed twice, differs from itself"
    chance, higher = comparison.chance, comparison.task.higher_is_better
    good = [row for row in rows if row.qualifies == "yes" and better_than_chance(row.quality, chance, higher=higher)]
    if not good:
        return None, _why_none(comparison, rows)
    energy_J = {row.recipe: energy.value for row in good if (energy := row.total_energy_per_request_J)}
    if not energy_J:
        return None, f"the energy in all of {_listed(good)} is unknown ({_why_unknown(comparison, good[0])})"
    baseline = next((row for row in good if row.is_baseline), None)
    if baseline is None:
        return min(_worth_their_changes(comparison, list(energy_J)), key=energy_J.__getitem__), None
    if baseline.recipe not in energy_J:
        return None, (
            f"the energy in all of {comparison.baseline}, which others are compared with, is unknown "
            f"({_why_unknown(comparison, baseline)})"
        )
    shown = [recipe for recipe in energy_J if recipe != baseline.recipe and _in_all(comparison, recipe) == "saves"]
    return min(_worth_their_changes(comparison, shown) or [baseline.recipe], key=energy_J.__getitem__), None


def _in_all(comparison: Comparison, recipe: str) -> Verdict:
    """Return whether a recipe's energy in all is less than the baseline's."""
    return comparison.verdict(comparison.total.verdict(comparison.baseline, recipe))


def _worth_their_changes(comparison: Comparison, recipes: Sequence[str]) -> list[str]:
    """Return those of the recipes that are shown to take less energy in all than each simpler one of them.

    Simpler are those on the way from the baseline: plain weights on the same engine, where the engine alone saves.
    """
    return [
        recipe
        for recipe in recipes
        if all(
            comparison.verdict(comparison.total.verdict(simpler, recipe)) == "saves"
            for simpler in comparison.study.plan.path(comparison.experiment, recipe)[1:-1]
            if simpler in recipes
        )
    ]


def _useless(comparison: Comparison, row: RecipeRow) -> bool:
    """Return whether a recipe's quality is the worst that the metric can be."""
    least, _ = comparison.task.range
    return bool(comparison.task.higher_is_better and row.quality and row.quality.value <= least)


def _why_none(comparison: Comparison, rows: Sequence[RecipeRow]) -> str:
    unevaluated = [row for row in rows if row.quality is None]
    if len(unevaluated) == len(rows):
        return "no recipe was evaluated"
    if comparison.quality[comparison.baseline] is None and any(row.qualifies == "not resolvable" for row in rows):
        return f"{comparison.baseline} was not evaluated, so the others' quality can't be compared with it"
    if open_ := [row for row in rows if row.qualifies == "not resolvable" and row not in unevaluated]:
        return (
            f"it is not resolvable whether the quality of {_listed(open_)} is good enough; "
            "more test examples or seeds may show it"
        )
    return "no recipe's quality is as asked" + (f" ({_listed(unevaluated)} not evaluated)" if unevaluated else "")


def _why_unknown(comparison: Comparison, row: RecipeRow) -> str:
    """Return why a recipe's total energy is unknown."""
    if row.energy_per_request_J is None:
        return str(row.reason or "no request was answered")
    if row.placed_apart:
        return f"a plan put its jobs and the baseline's on different devices: {listed(row.placed_apart)}"
    missing = [reason for model in comparison.models[row.recipe].values() for reason in model.cost.missing]
    return missing[0] if missing else "no seed has both its serving and its making measured"


def _listed(rows: Sequence[RecipeRow]) -> str:
    return ", ".join(row.recipe for row in rows)


def _quality_bound(comparison: Comparison, decision: Decision) -> float | None:
    """Return the value of the primary metric that is required; None if no quality is."""
    higher = comparison.task.higher_is_better
    bounds = [] if decision.quality is None else [decision.quality]
    baseline = comparison.quality[comparison.baseline]
    if (
        baseline is not None
        and decision.worse_by is not None
        and not _says_nothing(comparison, decision, baseline.value)
    ):
        bounds.append(baseline.value + (-decision.worse_by if higher else decision.worse_by))
    return (max if higher else min)(bounds, default=None)
