"""The signal over time, and below it when each job runs: as planned, and if it started at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import matplotlib
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenllm.footprint.formulas import J_PER_kWh
from greenllm.report.figures import style
from greenllm.report.figures.drawing import Drawing, write
from greenllm.report.language import text
from greenllm.scheduling.document import SchedulePlan, TimeSpan
from greenllm.scheduling.problem import MS, Course

MOST_JOBS = 60  # that have a row; of more, those with the most energy


def schedule_drawing(plan: SchedulePlan, course: Course, bounds: tuple[Course, Course] | None) -> Drawing:
    """Draw a plan; `course` is its signal from the plan's begin on, with its 95 % `bounds` where they are known."""
    shown = sorted(
        sorted(plan.jobs, key=lambda job: -job.energy_J.value)[:MOST_JOBS], key=lambda job: job.runs[0].start
    )
    height_in = 1.4 + 0.16 * len(shown)
    figure = Figure(figsize=(style.WIDE_in, height_in), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.1, max(height_in - 1.1, 0.4)])
    _draw_signal(above, plan, course, bounds)
    for row, job in enumerate(shown):
        below.broken_barh([_bar(job.at_once)], (row - 0.4, 0.8), color=style.RULE)
        below.broken_barh([_bar(run) for run in job.runs], (row - 0.25, 0.5), color=style.BLUE)
    below.set_yticks(range(len(shown)), [job.name for job in shown], fontsize=6)
    below.set_ylim(len(shown) - 0.5, -0.5)
    below.axvline(_day(plan.deadline), color="#d1495b", linewidth=1)
    locator = dates.AutoDateLocator()  # type: ignore[no-untyped-call]
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    below.set_xlabel(text("time (UTC)"))
    title = text("Schedule")
    caption = text(
        "Above the signal, below the jobs: blue as planned, grey if they started at once. The red line is the deadline."
    )
    return Drawing(figure, title, caption, caption, wide=True)


def write_schedule(plan: SchedulePlan, course: Course, bounds: tuple[Course, Course] | None, prefix: Path) -> None:
    """Write the drawing as SVG, PDF and PNG: `prefix` with these endings."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(cast(Any, style.settings()))
        write(prefix.name, schedule_drawing(plan, course, bounds), prefix.parent)


def _draw_signal(axis: Axes, plan: SchedulePlan, course: Course, bounds: tuple[Course, Course] | None) -> None:
    if not plan.signal:  # the objective is energy
        axis.set_axis_off()
        return
    begin_s = datetime.fromisoformat(plan.begin).timestamp()
    days = [_day_of(begin_s + edge / MS) for edge in course.edges]
    if bounds is not None:
        low, high = map(_with_unit, bounds)
        axis.stairs(high, days, baseline=low, fill=True, color=style.RULE)
    axis.stairs(_with_unit(course), days, baseline=None, color=style.INK, linewidth=1)
    axis.set_ylabel(f"{plan.unit}/kWh")


def _with_unit(course: Course) -> Sequence[float]:
    rates: list[float] = (course.rates * J_PER_kWh).tolist()
    return rates


def _bar(run: TimeSpan) -> tuple[float, float]:
    return _day(run.start), max(_day(run.end) - _day(run.start), 1e-6)


def _day(time: str) -> float:
    return _day_of(datetime.fromisoformat(time).timestamp())


def _day_of(unix_s: float) -> float:
    return float(dates.date2num(datetime.fromtimestamp(unix_s, UTC)))  # type: ignore[no-untyped-call]
