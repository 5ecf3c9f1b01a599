"""When jobs are to start, and what that is expected to save."""

from greenllm.estimate import Interval
from greenllm.footprint.rows import AccountPart
from greenllm.report.language import noted, text
from greenllm.report.table import Column, Table
from greenllm.scheduling.document import SchedulePlan


class PlannedRow(AccountPart):
    """A job of a plan."""

    job: str
    start: str
    at_once: str
    pauses: int
    duration_s: Interval
    energy_J: Interval
    source: str
    device: str | None
    device_at_once: str | None
    stays: str | None
    cost: float
    cost_at_once: float
    saving: float


def schedule_table(plan: SchedulePlan) -> Table:
    """One row a job, in the order of planned starts."""
    rows = [
        PlannedRow(
            job=job.name,
            start=job.runs[0].start,
            at_once=job.at_once.start,
            pauses=len(job.runs) - 1,
            duration_s=job.duration_s,
            energy_J=job.energy_J,
            source=job.source,
            device=job.device,
            device_at_once=job.device_at_once,
            stays=job.stays,
            cost=job.cost,
            cost_at_once=job.cost_at_once,
            saving=job.cost_at_once - job.cost,
        )
        for job in sorted(plan.jobs, key=lambda job: job.runs[0].start)
    ]
    return Table(
        "schedule",
        noted("Schedule: when jobs are to start"),
        PlannedRow,
        [
            Column("job", "Job"),
            Column("start", "Planned start (UTC)"),
            Column("at_once", "Start at once (UTC)"),
            Column("pauses", "Pauses", None, "number"),
            Column("duration_s", "Run time", "s", "interval"),
            Column("energy_J", "Energy", "J", "interval"),
            Column("source", "Expected by"),
            Column("device", "Device", if_known=True),
            Column("device_at_once", "Device without a plan", if_known=True),
            Column("stays", "Devices left out, as there is", if_known=True),
            Column("cost", "Cost", plan.unit, "number"),
            Column("cost_at_once", "Cost at once", plan.unit, "number", like="cost"),
            Column("saving", "Saving", plan.unit, "number"),
        ],
        rows,
        [text("Cost: energy times the signal's mean while the job runs.")],
    )
