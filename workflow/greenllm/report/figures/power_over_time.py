"""The power of what ran, over time."""

import datetime
import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from greenllm.account.document import Account
from greenllm.footprint.rows import PowerSegment
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.stages import label_order, stage_colour, stage_name, stage_order, stage_pattern
from greenllm.report.figures.style import MUTED, empty
from greenllm.report.language import text
from greenllm.report.numbers import quantity


def power_over_time(account: Account) -> Drawing:
    """Draw the jobs' attributed power, one panel for each host and component, stages as stacked areas."""
    title = text("Power over time")
    caption = text(
        "The jobs' shares of each component's power, as attributed; stages that run at once are stacked. Other "
        "processes and unallocated idle are left out. Hours in which nothing ran are cut out at the dotted lines."
    )
    found = [
        (host.host, component, host.segments)
        for host in account.power
        for component in sorted({name for segment in host.segments for name in segment.components})
    ]
    if not found:
        return Drawing(empty(text("No power is known of any attempt.")), title, text("No data."), caption)
    panels = []
    dated: set[str] = set()  # hosts whose stretches have their dates, in their first panel
    hosts = len({host for host, _, _ in found})
    methods = {(row.host, row.component): row.quality for row in account.methods if row.energy_J}
    for host, component, segments in found:
        known = text(methods.get((host, component), ""))
        on = text("on {host}", host=host) if hosts > 1 else ""
        words = ", ".join(part for part in (component.upper(), known, on) if part)
        peak = quantity(_peak(component, segments), "W")
        said = text("{component}: up to {power}", component=words, power=peak)
        draw = partial(_power_panel, component=component, found=segments, dates=host not in dated)
        panels.append(Panel(words, said, 1.5, draw))
        dated.add(host)
    return multiples(title, caption, panels, wide=True, order=label_order)


def _peak(component: str, found: Sequence[PowerSegment]) -> float:
    """Return the highest power of all stages together, in watts."""
    return max(
        (
            float(np.sum(list(stages.values()), axis=0).max())
            for segment in found
            if (stages := segment.components.get(component))
        ),
        default=0.0,
    )


def _power_panel(axis: Axes, component: str, found: Sequence[PowerSegment], *, dates: bool) -> None:
    """Draw one component's areas, with the dates of its stretches if asked."""
    lengths = [
        segment.width_s * max(len(watts) for stages in segment.components.values() for watts in stages.values())
        for segment in found
    ]
    whole = sum(lengths)
    scale, unit = (3600, "h") if whole > 3 * 3600 else (60, "min") if whole > 180 else (1, "s")
    start, peak = 0.0, _peak(component, found)
    stages = sorted({stage for segment in found for stage in segment.components.get(component, {})}, key=stage_order)
    for segment, length in zip(found, lengths, strict=True):
        count = round(length / segment.width_s)
        edges = (start + segment.width_s * np.arange(count + 1)) / scale
        base = np.zeros(count)
        for stage in stages:
            watts = np.array(segment.components.get(component, {}).get(stage, np.zeros(count)))
            if watts.any():
                top = np.where(watts > 0, base + watts, np.nan)  # nothing is drawn where a stage did not run
                axis.stairs(
                    top,
                    edges,
                    baseline=base,
                    fill=True,
                    facecolor=stage_colour(stage),
                    edgecolor="white",
                    hatch=stage_pattern(stage),
                    linewidth=0,
                    label=stage_name(stage),
                )
                base = base + watts
        if len(found) > 1:
            axis.axvline(start / scale, color=MUTED, linestyle=":", linewidth=0.7)
            began = datetime.datetime.fromtimestamp(segment.started, datetime.UTC)
            if dates and length > 0.25 * whole:
                axis.annotate(
                    text("{time} UTC", time=f"{began:%Y-%m-%d %H:%M}"),
                    (start / scale, 1), xycoords=("data", "axes fraction"),
                    xytext=(3, -8), textcoords="offset points", fontsize=6.5, color=MUTED,
                )  # fmt: skip
        start += length
    axis.set_xlim(0, max(whole / scale, math.ulp(1.0)))
    axis.set_ylim(0, max(peak * 1.3, 1e-3))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.set_xlabel(text("time in which something ran ({unit})", unit=unit))
    axis.set_ylabel(text("power (W)"))
