"""What to deploy, in sentences that a person can act on, which claim no more than the intervals show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.account.document import ExperimentAccount
from greenllm.comparison.rows import Advice, Difference, Quality, RecipeRow, Verdict, better_than_chance
from greenllm.estimate import Interval
from greenllm.report.causes import measured_text, parts_text, role, twin_text, why_open
from greenllm.report.language import listed, noted, text
from greenllm.report.names import metric_name, points_per_unit
from greenllm.report.numbers import (
    EITHER_WAY,
    THIN,
    TO,
    about,
    bounds_text,
    change,
    inverse,
    limit_text,
    percent,
    prefix_for,
    quantity,
    times,
    value_text,
    with_bounds,
)


@dataclass(frozen=True)
class Finding:
    """What to deploy of an experiment.

    `recipe` is the one to deploy or None; `verdict` is "saves", "baseline" (nothing beats it), "not resolvable", "loss"
    or "unknown"; `sentence` says what to deploy and why, `others` which recipes are not chosen and why, `note` what was
    asked for. `twin` says how far the same model differs from itself, and `nothing_to_compare` why the study can't
    compare anything: then nothing is recommended.
    """

    experiment: str
    recipe: str | None
    verdict: Verdict
    sentence: str
    others: list[str]
    note: str
    twin: str
    nothing_to_compare: str | None = None


def findings(experiments: Mapping[str, ExperimentAccount]) -> list[Finding]:
    """Return what to deploy of each experiment."""
    return [_finding(name, experiment) for name, experiment in experiments.items()]


def _finding(name: str, experiment: ExperimentAccount) -> Finding:
    rows, advice = experiment.comparison.recipes, experiment.recommendation
    baseline = _baseline(rows)
    chosen = next((row for row in rows if row.recipe == advice.recipe), None)
    needed = _needed(experiment)
    note, twin = _note(advice, needed) + measured_text(experiment.comparison), twin_text(experiment.comparison)
    if why := advice.at_chance:
        said = text("This study can't compare the recipes of {experiment}: {why}.", experiment=name, why=why)
        return Finding(name, None, "unknown", text("nothing can be recommended."), [], note, twin, said)
    steady = experiment.comparison.steady
    others = [said for row in rows if row is not chosen and (said := _other(row, baseline, chosen, experiment))]
    if chosen is None:
        return Finding(name, None, "unknown", _nothing(rows, advice, needed, experiment), others, note, twin)
    sentence = _keep(baseline, rows, experiment) if chosen is baseline else _deploy(chosen, baseline, advice, steady)
    return Finding(name, chosen.recipe, chosen.verdict, sentence, others, note, twin)


def _baseline(rows: Sequence[RecipeRow]) -> RecipeRow:
    return next(row for row in rows if row.is_baseline)


# --- what to deploy ---


def _deploy(row: RecipeRow, baseline: RecipeRow, advice: Advice, steady: bool) -> str:
    energy, quality = _energy_against(row, baseline, advice, steady), _quality_against(row, baseline)
    named = text("{recipe} ({role})", recipe=row.recipe, role=role(row)) if row.is_control else row.recipe
    paid = paid_back(row, advice)
    values = {"recipe": named, "energy": energy, "paid": text("; {clause}", clause=paid) if paid else ""}
    if row.times_less is not None and (parts := parts_text(row.parts)):
        quality = quality[0].upper() + quality[1:]
        return text("deploy {recipe}. {energy}: {parts}. {quality}{paid}.", parts=parts, quality=quality, **values)
    return text("deploy {recipe}. {energy}, {quality}{paid}.", quality=quality, **values)


def _energy_against(row: RecipeRow, baseline: RecipeRow, advice: Advice, steady: bool) -> str:
    other, factor = baseline.recipe, row.times_less
    if row.energy_per_request_J is None:
        return text("The energy of a request is unknown ({why})", why=_why_unknown(row, baseline))
    if factor is None:
        values = {"energy": _energy(row), "other": other, "why": _why_unknown(row, baseline)}
        if baseline.energy_per_request_J is None:
            return text("A request takes {energy}; the energy it takes with {other} is unknown ({why})", **values)
        return text("A request takes {energy}; how much energy it saves against {other} is unknown ({why})", **values)
    values = {"other": other, "how": text(row.energy_quality or "unknown")}
    if row.verdict == "saves":
        saved, between = times(factor)
        return text(
            "A request takes {times} times less energy than with {other} ({bounds}, {how})",
            times=saved, bounds=between, **values,
        )  # fmt: skip
    in_all = ""
    if total := advice.total_times_less:
        is_more = total.value < 1
        ratio, between = times(inverse(total) if is_more else total)
        in_all = text(
            noted("; counting the energy to make it, {times} times the energy over {requests} requests ({bounds})")
            if is_more
            else noted("; counting the energy to make it, {times} times less over {requests} requests ({bounds})"),
            times=ratio, requests=about(advice.requests), bounds=between,
        )  # fmt: skip
    if row.verdict == "loss":
        more, between = times(inverse(factor))
        return text(
            "A request takes {times} times the energy of {other} ({bounds}, {how})",
            times=more, bounds=between, **values,
        ) + in_all  # fmt: skip
    ratio, between = times(factor)
    why = why_open(row, steady)
    unresolved = (
        noted(
            "Whether a request takes less energy than with {other} is not resolvable: {why} ({times} times, {bounds}, "
            "{how})"
        )
        if why
        else noted(
            "Whether a request takes less energy than with {other} is not resolvable ({times} times, {bounds}, {how})"
        )
    )
    return text(unresolved, times=ratio, bounds=between, why=why, **values) + in_all


def _quality_against(row: RecipeRow, baseline: RecipeRow) -> str:
    own, reference, difference = row.quality, baseline.quality, row.quality_difference
    if own is None:
        return text("its quality unknown (not evaluated)")
    if reference is None or difference is None:
        return _quality(row)
    values = {"metric": metric_name(own.metric), "value": value_text(own)}
    if difference.value == difference.low == difference.high == 0:
        return text("{metric} {value}, as with {other} on every example", other=baseline.recipe, **values)
    return text(
        "{metric} {value} against {reference} ({difference})",
        reference=value_text(reference), difference=_difference(difference), **values,
    )  # fmt: skip


def paid_back(row: RecipeRow, advice: Advice) -> str:
    """Return in a clause when the energy to make a recipe's model is paid back; "" where that needs no word."""
    requests = advice.break_even_requests
    if requests == "never":
        return text("the energy to make it is never paid back")
    if requests is None:
        return text("when the energy to make it is paid back is unknown") if row.verdict == "saves" else ""
    if requests.high == 0:
        return text("making it took no more energy")
    if requests.high <= 1:
        return text("the energy to make it is paid back by the first request")
    value, low, high = (about(math.ceil(bound)) for bound in requests)  # a request is answered whole
    if requests.value == 0:
        return text("making it took hardly more energy, if any: paid back after at most {high} requests", high=high)
    paid = (
        noted("the energy to make it is paid back after 1 request ({low} to {high})")
        if value == "1"
        else noted("the energy to make it is paid back after {requests} requests ({low} to {high})")
    )
    return text(paid, requests=value, low=low, high=high)


def _keep(baseline: RecipeRow, rows: Sequence[RecipeRow], experiment: ExperimentAccount) -> str:
    values = {"recipe": baseline.recipe, "takes": _takes(baseline)}
    if len(rows) == 1:
        return text("deploy {recipe}, the only recipe. {takes}.", **values)
    chance, higher = experiment.comparison.chance, experiment.higher_is_better
    others = [row for row in rows if row is not baseline and row.qualifies == "yes"]
    good = [row for row in others if better_than_chance(row.quality, chance, higher=higher)]
    if not good:
        return text("deploy {recipe}: no other recipe is shown to be good enough. {takes}.", **values)
    kept = (
        noted(
            "deploy {recipe}: no other recipe that is good enough is shown to take less energy over the expected "
            "requests, counting the energy to make it. {takes}."
        )
        if any(row.verdict == "saves" for row in good)
        else noted("deploy {recipe}: no other recipe that is good enough is shown to take less energy. {takes}.")
    )
    return text(kept, **values)


def _takes(row: RecipeRow) -> str:
    if row.energy_per_request_J is None:
        why = _why_unknown(row)
        return text("The energy of a request is unknown ({why}), {quality}", why=why, quality=_quality(row))
    return text("A request takes {energy}, {quality}", energy=_energy(row), quality=_quality(row))


def _nothing(rows: Sequence[RecipeRow], advice: Advice, needed: str, experiment: ExperimentAccount) -> str:
    """Return why nothing can be recommended."""
    qualities = [(row.quality.value, row) for row in rows if row.quality]
    evaluated = [row for _, row in qualities]
    good = [row for row in evaluated if row.qualifies == "yes"]
    open_ = [row for row in evaluated if row.qualifies == "not resolvable"]
    if needed and evaluated and all(row.qualifies == "no" for row in evaluated):
        _, best = (max if experiment.higher_is_better else min)(qualities, key=lambda one: one[0])
        none = (
            noted("deploy none of these: none reaches {needed}. The best is {recipe} with {quality}.")
            if len(evaluated) == len(rows)
            else noted(
                "nothing can be recommended yet: no recipe that was evaluated reaches {needed} (not evaluated: "
                "{missing}). The best is {recipe} with {quality}."
            )
        )
        missing = listed([row.recipe for row in rows if row.quality is None])
        return text(none, needed=needed, missing=missing, recipe=best.recipe, quality=_quality(best))
    reason = advice.reason
    if advice.undecidable:
        return text("nothing can be recommended: {why}.", why=reason)
    if not evaluated:
        reason = text("no recipe was evaluated")
    elif not good and open_ and _baseline(rows).quality is not None:
        reason = text(
            "whether {recipes} reaches {needed} is not resolvable; more test examples may resolve it",
            recipes=listed([text("{recipe} ({quality})", recipe=row.recipe, quality=_quality(row)) for row in open_]),
            needed=needed or text("the quality needed"),
        )
    elif good and all(row.energy_per_request_J is None for row in good):
        reason = text(
            "{recipes} would be good enough, but energy is unknown ({why})",
            recipes=listed([row.recipe for row in good]), why=_why_unknown(good[0]),
        )  # fmt: skip
    return text("nothing can be recommended yet: {why}.", why=reason)


# --- the other recipes ---


def _other(row: RecipeRow, baseline: RecipeRow, chosen: RecipeRow | None, experiment: ExperimentAccount) -> str:
    """Return why another recipe was not chosen; empty if the table's numbers show it."""
    name, factor = row.recipe, row.times_less
    advice, steady = experiment.recommendation, experiment.comparison.steady
    if row is baseline:
        if row.qualifies != "no" or not chosen:
            return ""
        return text("{recipe} itself is not good enough: {quality}.", recipe=name, quality=_quality(row))
    if factor is None and chosen is None:
        return ""  # the sentence above says what is unknown
    if factor is None:
        return text(
            "{recipe}: its energy against {other}'s is unknown ({why}).",
            recipe=name, other=baseline.recipe, why=_why_unknown(row, baseline),
        )  # fmt: skip
    ratio, bounds = times(inverse(factor))
    more = text("{times} times the energy of {other} ({bounds})", times=ratio, bounds=bounds, other=baseline.recipe)
    if row.verdict == "not resolvable" and (why := why_open(row, steady)):
        return text("{recipe} is not resolvable: {why}. Measured: {more}.", recipe=name, why=why, more=more)
    if row.verdict == "loss":
        said = text("{recipe} is a loss: it takes {more}", recipe=name, more=more)
    elif name in advice.losses:
        total, other = (quantity(one.total_energy_per_request_J, "J", TO) for one in (row, baseline))
        said = text(
            "{recipe} is a loss: counting the energy to make it, a request takes {total} against {other}",
            recipe=name, total=total, other=other,
        )  # fmt: skip
    elif row.verdict == "not resolvable":
        said = text("{recipe} shows no saving that can be resolved: it takes {more}", recipe=name, more=more)
    else:
        said = _saves(row, factor, baseline, chosen, experiment)
    parts = parts_text(row.parts)
    if said and parts:
        return text("{said}; times less by cause: {parts}.", said=said, parts=parts)
    return text("{said}.", said=said) if said else ""


def _saves(
    row: RecipeRow, factor: Interval, baseline: RecipeRow, chosen: RecipeRow | None, experiment: ExperimentAccount
) -> str:
    """Return why a recipe that saves energy was not chosen; empty if another one takes clearly less."""
    ratio, bounds = times(factor)
    values = {"recipe": row.recipe, "less": text("{times} times less ({bounds})", times=ratio, bounds=bounds)}
    if row.quality is None:
        return text("{recipe} takes {less}, but was not evaluated", **values)
    if chosen is None:
        return text("{recipe} takes {less} than {other}", other=baseline.recipe, **values)
    if row.qualifies == "no":
        return text("{recipe} takes {less}, but is not good enough: {quality}", quality=_quality(row), **values)
    if row.qualifies == "not resolvable":
        return text(
            "{recipe} takes {less}, but whether it is good enough is not resolvable: {quality}",
            quality=_quality(row), **values,
        )  # fmt: skip
    if not better_than_chance(row.quality, experiment.comparison.chance, higher=experiment.higher_is_better):
        return text(
            "{recipe} takes {less}, but is not shown to be better than a model that ignores its input: {quality}",
            quality=_quality(row), **values,
        )  # fmt: skip
    if chosen is baseline:
        return text(
            "{recipe} takes {less} per request, but is not shown to save energy when the energy to make it counts",
            **values,
        )
    if (best := chosen.times_less) and factor.high >= best.low:
        return text(
            "{recipe} takes {less}, an interval that overlaps with that of {chosen}", chosen=chosen.recipe, **values
        )
    return text("{recipe} takes {less}", **values) if len(row.parts) > 1 else ""


# --- parts of sentences ---


def _needed(experiment: ExperimentAccount) -> str:
    """Return the quality asked for, such as "accuracy of at least 0.89"; empty where nothing was."""
    if (bound := experiment.recommendation.quality_bound) is None:
        return ""
    asked = (
        noted("{metric} of at least {bound}") if experiment.higher_is_better else noted("{metric} of at most {bound}")
    )
    shown = limit_text(bound, is_least=experiment.higher_is_better)
    return text(asked, metric=metric_name(experiment.primary), bound=shown)


def _note(advice: Advice, needed: str) -> str:
    expected = text("Expected requests: {requests}.", requests=about(advice.requests))
    if not needed:
        return expected
    confidence = percent(advice.confidence)
    return text("Needed: {needed}, with {confidence} confidence. ", needed=needed, confidence=confidence) + expected


def _why_unknown(*rows: RecipeRow) -> str:
    """Return why the energy of a request, or the ratio of two recipes' energies, is unknown."""
    for row in rows:
        if row.energy_per_request_J is None:
            return text(row.reason or noted("no request was answered"))
    return text("no seed was measured with both, or a sensor may have read no energy")


def _energy(row: RecipeRow) -> str:
    how = text(row.energy_quality or "unknown")
    scale, unit = prefix_for([row.energy_per_request_J], "J")
    shown = f"{value_text(row.energy_per_request_J, scale)}{THIN}{unit}"
    bounds = bounds_text(row.energy_per_request_J, scale, TO)
    return text("{energy} ({bounds}, {how})", energy=shown, bounds=bounds, how=how)


def _quality(row: RecipeRow) -> str:
    if (quality := row.quality) is None:
        return text("quality unknown (not evaluated)")
    return text("{metric} {value}", metric=metric_name(quality.metric), value=_with_bounds(quality))


def _difference(difference: Difference) -> str:
    """Return the bounds of a difference in quality, in points where the metric has them."""
    value, bounds = change(difference)
    if bounds == text(EITHER_WAY):
        return text("{value} either way", value=value)
    return text("{bounds} points", bounds=bounds) if points_per_unit(difference.metric) else bounds


def _with_bounds(value: Quality) -> str:
    return with_bounds(value_text(value), bounds_text(value, 1, TO))
