"""What a plan is expected to save, and what it saved, in sentences."""

from greenllm.report.language import noted, text
from greenllm.report.numbers import percent, quantity
from greenllm.scheduling.document import ScheduleOutcome, SchedulePlan

OBJECTIVES = {"carbon": noted("carbon"), "price": noted("price"), "both": noted("both")}


def plan_text(plan: SchedulePlan) -> str:
    """Return a plan's summary for the terminal."""
    moved = sum(job.runs[0].start != job.at_once.start for job in plan.jobs)
    share = f" ({percent(plan.saving.value / plan.cost_at_once)})" if plan.cost_at_once > 0 else ""
    lines = [
        f"{len(plan.jobs)} jobs from {plan.begin} to {plan.deadline} at the latest; {moved} start later than at once.",
        f"Expected: {quantity(plan.cost_at_once, plan.unit)} at once, {quantity(plan.cost, plan.unit)} as planned: "
        f"saves {quantity(plan.saving, plan.unit)}{share}.",
    ]
    if not plan.signal_bounds:
        lines.append("The signal has no bounds, so the interval is that of the energies alone.")
    if not plan.cautious:
        lines.append("The deadline leaves no room for jobs that take longer than expected.")
    if guessed := sum(job.source.startswith("model") for job in plan.jobs):
        lines.append(f"{guessed} jobs have no earlier run: their energy and run time are rough guesses of a model.")
    return "\n".join(lines)


def outcome_text(found: ScheduleOutcome) -> list[str]:
    """Return what a plan saved, for the page."""
    share = percent(found.saving / found.cost_at_once) if found.cost_at_once > 0 else "–"
    lines = [
        text(
            "{count} jobs ran by a plan for {objective}: {cost} instead of {at_once} had they started at once, so "
            "{saving} ({share}) were saved; expected were {expected}.",
            count=len(found.jobs), objective=text(OBJECTIVES[found.objective]), cost=quantity(found.cost, found.unit),
            at_once=quantity(found.cost_at_once, found.unit), saving=quantity(found.saving, found.unit), share=share,
            expected=quantity(found.expected_saving, found.unit),
        ),
        text(
            "With perfect knowledge of the signal, run times and energies {best} could have been saved; the regret is "
            "{regret}.",
            best=quantity(found.best_saving, found.unit), regret=quantity(found.regret, found.unit),
        ),
        text(
            "These are the ledgers' energies times the signal while each job ran; without cooling and distribution."
        ),
    ]  # fmt: skip
    if not found.recorded:
        lines.append(text("The signal is the forecast, as no recorded one is given (policy.recorded)."))
    if found.late_s > 0:
        lines.append(text("The last job ended {late} after the deadline.", late=quantity(found.late_s, "s")))
    if found.not_run:
        lines.append(text("{count} planned jobs did not run.", count=len(found.not_run)))
    return lines
