"""What a plan is expected to save, and what it saved, in sentences."""

from collections import Counter
from collections.abc import Sequence

from greenllm.estimate import Interval
from greenllm.report.language import noted, text
from greenllm.report.numbers import bounds_text, percent, prefix_for, quantity, with_bounds
from greenllm.scheduling.document import ScheduleOutcome, SchedulePlan
from greenllm.scheduling.expectations import OTHER

OBJECTIVES = {"carbon": noted("carbon"), "price": noted("price"), "both": noted("both"), "energy": noted("energy")}
MOST_NAMED = 5  # jobs of a sentence


def plan_text(plan: SchedulePlan) -> str:
    """Return a plan's summary for the terminal."""
    later = sum(job.runs[0].start != job.at_once.start for job in plan.jobs)
    share = f" ({percent(abs(plan.saving.value) / plan.cost_at_once)})" if plan.cost_at_once > 0 else ""
    change = (
        f"saves {_saving(plan.saving, plan.unit)}{share}"
        if plan.saving.value >= 0
        else f"{_saving(_reversed(plan.saving), plan.unit)} more{share}"
    )
    lines = [
        f"{len(plan.jobs)} jobs from {plan.begin} to {plan.deadline} at the latest; {later} start later than at once.",
        f"Expected: {quantity(plan.cost_at_once, plan.unit)} at once, {quantity(plan.cost, plan.unit)} as planned: "
        f"{change}.",
    ]
    if plan.starts_at_once:
        lines.append("No schedule was found that costs less, so jobs start as they would without a plan.")
    elif plan.saving.value < 0:
        lines.append("It costs more, since without a plan jobs would exceed policy.power_budget_W or the deadline.")
    if not plan.signal_bounds:
        lines.append("The signal has no bounds, so the interval is that of the energies alone.")
    if not plan.cautious:
        lines.append("The deadline leaves no room for jobs that take longer than expected.")
    if guessed := sum(job.source.startswith("model") for job in plan.jobs):
        lines.append(f"{guessed} jobs have no earlier run: their energy and run time are rough guesses of a model.")
    if changed := sum(job.source.endswith(OTHER) for job in plan.jobs):
        lines.append(
            f"{changed} jobs, or jobs before them, have other settings than in their earlier runs: their energy and "
            "run time may be beyond their bounds."
        )
    if moved := [job for job in plan.jobs if job.moved]:
        places = [f"{job.name} on {job.device} instead of {job.device_at_once}" for job in moved]
        lines.append(
            f"{len(moved)} jobs run on another device: {_named(places)}. Weights differ between devices, and training "
            "energies of recipes on different devices are not compared."
        )
    for reason, count in Counter(job.stays for job in plan.jobs if job.stays and not job.moved).items():
        lines.append(f"{count} jobs stay where they are: {reason}.")
    return "\n".join(lines)


def _reversed(saving: Interval) -> Interval:
    return Interval(-saving.value, -saving.high, -saving.low)


def _saving(saving: Interval, unit: str) -> str:
    """Return a saving with its interval. Where that is wider than the saving, it has three digits, as costs have."""
    if saving.high - saving.low <= abs(saving.value):
        return quantity(saving, unit)
    scale, _ = prefix_for([saving.value], unit)
    return with_bounds(quantity(saving.value, unit), bounds_text(saving, scale))


def _named(places: Sequence[str]) -> str:
    more = f", and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return "; ".join(places[:MOST_NAMED]) + more


def outcome_text(found: ScheduleOutcome) -> list[str]:
    """Return what a plan saved, for the page."""
    cost, at_once, saving = found.cost.value, found.cost_at_once.value, found.saving
    share = percent(abs(saving.value) / at_once) if at_once > 0 else "–"
    more = saving if saving.value >= 0 else _reversed(saving)
    happened = (
        noted(
            "{count} jobs ran by a plan for {objective}: {cost} instead of {at_once} had they started at once, so "
            "{change} ({share}) were saved; the expected saving was {expected}."
        )
        if saving.value >= 0
        else noted(
            "{count} jobs ran by a plan for {objective}: {cost} instead of {at_once} had they started at once, which "
            "is {change} ({share}) more; the expected saving was {expected}."
        )
    )
    lines = [
        text(
            happened,
            count=len(found.jobs), objective=text(OBJECTIVES[found.objective]), cost=quantity(cost, found.unit),
            at_once=quantity(at_once, found.unit), change=_saving(more, found.unit),
            share=share, expected=_saving(found.expected_saving, found.unit),
        ),
        text(
            "With perfect knowledge of the signal, run times and energies {best} could have been saved; the regret is "
            "{regret}.",
            best=quantity(found.best_saving, found.unit), regret=quantity(found.regret, found.unit),
        ),
        text(
            "These are the ledgers' energies, whose error is the interval, times the signal while each job ran; "
            "without cooling and distribution."
        ),
    ]  # fmt: skip
    if found.device_saving is not None:
        moved = [job for job in found.jobs if job.device_saving is not None]
        lines.append(
            text(
                "{count} jobs ran on another device than without the plan, a further saving of {saving} by earlier "
                "runs on that device: {jobs}. Weights differ between devices, and training energies of recipes on "
                "different devices are not compared.",
                count=len(moved),
                saving=_saving(found.device_saving, found.unit),
                jobs=_named([f"{job.name} ({job.device}, {job.device_at_once})" for job in moved]),
            )
        )
    if not found.recorded:
        lines.append(text("The signal is the forecast, as no recorded one is given (policy.recorded)."))
    if found.late_s > 0:
        lines.append(text("The last job ended {late} after the deadline.", late=quantity(found.late_s, "s")))
    if found.not_run:
        lines.append(text("{count} planned jobs did not run.", count=len(found.not_run)))
    if found.unknown:
        lines.append(
            text("The energy of {count} planned jobs is unknown; the costs are without them.", count=len(found.unknown))
        )
    return lines
