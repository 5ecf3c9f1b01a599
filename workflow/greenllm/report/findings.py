"""What to deploy, in sentences that a person can act on, which claim no more than the intervals show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.account.document import ExperimentAccount
from greenllm.comparison.rows import Advice, Difference, Quality, RecipeRow, Verdict
from greenllm.estimate import Interval
from greenllm.report.causes import measured_text, parts_text, role, twin_text, why_open
from greenllm.report.names import metric_name, points_per_unit
from greenllm.report.numbers import (
    EITHER_WAY,
    Value,
    about,
    bounds_text,
    change,
    inverse,
    percent,
    quantity,
    times,
    value_text,
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
        said = f"This study can't compare the recipes of {name}: {why}."
        return Finding(name, None, "unknown", "nothing can be recommended.", [], note, twin, said)
    steady = experiment.comparison.steady
    others = [said for row in rows if row is not chosen and (said := _other(row, baseline, chosen, advice, steady))]
    if chosen is None:
        return Finding(name, None, "unknown", _nothing(rows, advice, needed, experiment), others, note, twin)
    if _useless(chosen, experiment):
        sentence = f"deploy none of these yet: {chosen.recipe}, the most frugal, answers no example correctly."
        return Finding(name, None, "unknown", sentence, others, note, twin)
    sentence = _keep(baseline, rows) if chosen is baseline else _deploy(chosen, baseline, advice, steady)
    return Finding(name, chosen.recipe, chosen.verdict, sentence, others, note, twin)


def _baseline(rows: Sequence[RecipeRow]) -> RecipeRow:
    return next(row for row in rows if row.is_baseline)


# --- what to deploy ---


def _deploy(row: RecipeRow, baseline: RecipeRow, advice: Advice, steady: bool) -> str:
    energy, quality = _energy_against(row, baseline, advice, steady), _quality_against(row, baseline)
    if parts := parts_text(row.parts):
        reasons = f"{energy}: {parts}. {quality[0].upper()}{quality[1:]}"
    else:
        reasons = f"{energy}, {quality}"
    named = f"{row.recipe} ({role(row)})" if row.is_control else row.recipe
    return f"deploy {named}. {reasons}{_paid_back(row, advice)}."


def _energy_against(row: RecipeRow, baseline: RecipeRow, advice: Advice, steady: bool) -> str:
    other, factor = baseline.recipe, row.times_less
    if row.energy_per_request_J is None:
        return f"The energy of a request is unknown ({_why_unknown(row, baseline)})"
    if factor is None:
        why = _why_unknown(row, baseline)
        if baseline.energy_per_request_J is None:
            return f"A request takes {_energy(row)}; the energy it takes with {other} is unknown ({why})"
        return f"A request takes {_energy(row)}; how much energy it saves against {other} is unknown ({why})"
    how = row.energy_quality
    if row.verdict == "saves":
        saved, between = times(factor)
        return f"A request takes {saved} times less energy than with {other} ({between}, {how})"
    in_all = ""
    if total := advice.total_times_less:
        saved, between = times(total)
        requests = f"{about(advice.requests)} requests ({between})"
        in_all = f"; counting the energy to make it, {saved} times less over {requests}"
    if row.verdict == "loss":
        more, between = times(inverse(factor))
        return f"A request takes {more} times the energy of {other} ({between}, {how}){in_all}"
    ratio, between = times(factor)
    found = f"{ratio} times, {between}, {how}"
    why = f": {reason}" if (reason := why_open(row, steady)) else ""
    return f"Whether a request takes less energy than with {other} is not resolvable{why} ({found}){in_all}"


def _quality_against(row: RecipeRow, baseline: RecipeRow) -> str:
    own, reference, difference = row.quality, baseline.quality, row.quality_difference
    if own is None:
        return "its quality unknown (not evaluated)"
    if reference is None or difference is None:
        return _quality(row)
    name = f"{metric_name(own.metric)} {value_text(own)}"
    if difference.value == difference.low == difference.high == 0:
        return f"{name}, as with {baseline.recipe} on every example"
    return f"{name} against {value_text(reference)} ({_difference(difference)})"


def _paid_back(row: RecipeRow, advice: Advice) -> str:
    requests = advice.break_even_requests
    if requests == "never":
        return "; the energy to make it is never paid back"
    if requests is None:
        return "; when the energy to make it is paid back is unknown" if row.verdict == "saves" else ""
    if requests.high == 0:
        return "; making it took no more energy"
    if requests.high <= 1:
        return "; the energy to make it is paid back by the first request"
    value, low, high = (about(math.ceil(bound)) for bound in requests)  # a request is answered whole
    if requests.value == 0:
        return f"; making it took hardly more energy, if any: paid back after at most {high} requests"
    after = "1 request" if value == "1" else f"{value} requests"
    return f"; the energy to make it is paid back after {after} ({low} to {high})"


def _keep(baseline: RecipeRow, rows: Sequence[RecipeRow]) -> str:
    name = baseline.recipe
    if len(rows) == 1:
        return f"deploy {name}, the only recipe. {_takes(baseline)}."
    others_are_good = any(row.qualifies == "yes" for row in rows if row is not baseline)
    lacking = "that is good enough is shown to take less energy" if others_are_good else "is shown to be good enough"
    return f"deploy {name}: no other recipe {lacking}. {_takes(baseline)}."


def _takes(row: RecipeRow) -> str:
    if row.energy_per_request_J is None:
        return f"The energy of a request is unknown ({_why_unknown(row)}), {_quality(row)}"
    return f"A request takes {_energy(row)}, {_quality(row)}"


def _nothing(rows: Sequence[RecipeRow], advice: Advice, needed: str, experiment: ExperimentAccount) -> str:
    """Return why nothing can be recommended."""
    qualities = [(row.quality.value, row) for row in rows if row.quality]
    evaluated = [row for _, row in qualities]
    good = [row for row in evaluated if row.qualifies == "yes"]
    open_ = [row for row in evaluated if row.qualifies == "not resolvable"]
    if needed and evaluated and all(row.qualifies == "no" for row in evaluated):
        _, best = (max if experiment.higher_is_better else min)(qualities, key=lambda one: one[0])
        return f"deploy none of these: none reaches {needed}. The best is {best.recipe} with {_quality(best)}."
    reason = advice.reason
    if advice.undecidable:
        return f"nothing can be recommended: {reason}."
    if not evaluated:
        reason = "no recipe was evaluated"
    elif not good and open_ and _baseline(rows).quality is not None:
        said = _listed([f"{row.recipe} ({_quality(row)})" for row in open_])
        reached = needed or "the quality needed"
        reason = f"whether {said} reaches {reached} is not resolvable; more test examples may resolve it"
    elif good and all(row.energy_per_request_J is None for row in good):
        names = _listed([row.recipe for row in good])
        reason = f"{names} would be good enough, but energy is unknown ({_why_unknown(good[0])})"
    return f"nothing can be recommended yet: {reason}."


def _useless(row: RecipeRow, experiment: ExperimentAccount) -> bool:
    return experiment.higher_is_better and row.quality is not None and row.quality.value <= 0


# --- the other recipes ---


def _other(row: RecipeRow, baseline: RecipeRow, chosen: RecipeRow | None, advice: Advice, steady: bool) -> str:
    """Return why another recipe was not chosen; empty if the table's numbers show it."""
    name, factor = row.recipe, row.times_less
    if row is baseline:
        return f"{name} itself is not good enough: {_quality(row)}." if row.qualifies == "no" and chosen else ""
    if factor is None and chosen is None:
        return ""  # the sentence above says what is unknown
    if factor is None:
        return f"{name}: its energy against {baseline.recipe}'s is unknown ({_why_unknown(row, baseline)})."
    more = "{} times the energy of {baseline} ({})".format(*times(inverse(factor)), baseline=baseline.recipe)
    if row.verdict == "not resolvable" and (why := why_open(row, steady)):
        return f"{name} is not resolvable: {why}. Measured: {more}."
    if row.verdict == "loss":
        said = f"{name} is a loss: it takes {more}"
    elif name in advice.losses:
        total, other = (quantity(one.total_energy_per_request_J, "J", " to ") for one in (row, baseline))
        said = f"{name} is a loss: counting the energy to make it, a request takes {total} against {other}"
    elif row.verdict == "not resolvable":
        said = f"{name} shows no saving that can be resolved: it takes {more}"
    else:
        said = _saves(row, factor, baseline, chosen)
    parts = parts_text(row.parts)
    return f"{said}; times less by cause: {parts}." if said and parts else f"{said}." if said else ""


def _saves(row: RecipeRow, factor: Interval, baseline: RecipeRow, chosen: RecipeRow | None) -> str:
    """Return why a recipe that saves energy was not chosen; empty if another one takes clearly less."""
    name, less = row.recipe, "{} times less ({})".format(*times(factor))
    if chosen is None:
        return f"{name} takes {less} than {baseline.recipe}"
    if row.quality is None:
        return f"{name} takes {less}, but was not evaluated"
    if row.qualifies == "no":
        return f"{name} takes {less}, but is not good enough: {_quality(row)}"
    if row.qualifies == "not resolvable":
        return f"{name} takes {less}, but whether it is good enough is not resolvable: {_quality(row)}"
    if chosen is baseline:
        return f"{name} takes {less} per request, but is not shown to save energy when the energy to make it counts"
    if (best := chosen.times_less) and factor.high >= best.low:
        return f"{name} takes {less}, an interval that overlaps with that of {chosen.recipe}"
    return f"{name} takes {less}" if len(row.parts) > 1 else ""


# --- parts of sentences ---


def _needed(experiment: ExperimentAccount) -> str:
    """Return the quality asked for, such as "accuracy of at least 0.89"; empty where nothing was."""
    if (bound := experiment.recommendation.quality_bound) is None:
        return ""
    side = "at least" if experiment.higher_is_better else "at most"
    return f"{metric_name(experiment.primary)} of {side} {value_text(bound)}"


def _note(advice: Advice, needed: str) -> str:
    asked = f"Needed: {needed}, with {percent(advice.confidence)} confidence. " if needed else ""
    return f"{asked}Expected: {about(advice.requests)} requests."


def _why_unknown(*rows: RecipeRow) -> str:
    """Return why the energy of a request, or the ratio of two recipes' energies, is unknown."""
    for row in rows:
        if row.energy_per_request_J is None:
            return row.reason or "no request was answered"
    return "no seed was measured with both, or a sensor may have read no energy"


def _energy(row: RecipeRow) -> str:
    return quantity(row.energy_per_request_J, "J", " to ").removesuffix(")") + f", {row.energy_quality})"


def _quality(row: RecipeRow) -> str:
    quality = row.quality
    return f"{metric_name(quality.metric)} {_with_bounds(quality)}" if quality else "quality unknown (not evaluated)"


def _difference(difference: Difference) -> str:
    """Return the bounds of a difference in quality, in points where the metric has them."""
    value, bounds = change(difference)
    if bounds == EITHER_WAY:
        return f"{value} {bounds}"
    return bounds + (" points" if points_per_unit(difference.metric) else "")


def _bounds(value: Value) -> str:
    return bounds_text(value, 1, " to ")


def _with_bounds(value: Quality) -> str:
    bounds = _bounds(value)
    return f"{value_text(value)} ({bounds})" if bounds else value_text(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
