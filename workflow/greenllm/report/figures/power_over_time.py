"""The power of what ran, over time."""

import datetime
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from greenllm.account.document import Account
from greenllm.footprint.rows import PowerSegment
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.stages import label_order, stage_colour, stage_name, stage_order
from greenllm.report.figures.style import MUTED, WIDTH_in, empty, legend
from greenllm.report.numbers import quantity


def power_over_time(account: Account) -> Drawing:
    """Draw the jobs' attributed power, one panel for each host and component, stages as stacked areas."""
    title = "Power over time"
    caption = (
        "The jobs' shares of each component's power, as attributed; stages that run at once are stacked. Other "
        "processes and unallocated idle are left out. Hours in which nothing ran are cut out at the dotted lines."
    )
    panels = [
        (host.host, component, host.segments)
        for host in account.power
        for component in sorted({name for segment in host.segments for name in segment.components})
    ]
    if not panels:
        return Drawing(empty("No power is known of any attempt."), title, "No data.", caption)
    figure = Figure(figsize=(WIDTH_in, 0.8 + 1.25 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    said = []
    dated: set[str] = set()  # hosts whose stretches have their dates, in their first panel
    hosts = len({host for host, _, _ in panels})
    methods = {(row.host, row.component): row.quality for row in account.methods if row.energy_J}
    for axis, (host, component, found) in zip(axes, panels, strict=True):
        peak = _power_panel(axis, component, found, dates=host not in dated)
        dated.add(host)
        quality = methods.get((host, component))
        words = ", ".join(part for part in (component.upper(), quality, f"on {host}" if hosts > 1 else "") if part)
        axis.set_title(words)
        axis.set_ylabel("power (W)")
        said.append(f"{words}: up to {quantity(peak, 'W')}")
    legend(figure, label_order)
    return Drawing(figure, title, f"{title}. " + "; ".join(said) + ".", caption)


def _power_panel(axis: Axes, component: str, found: Sequence[PowerSegment], *, dates: bool) -> float:
    """Draw one component's areas, with the dates of its stretches if asked; return the highest power in watts."""
    lengths = [
        segment.width_s * max(len(watts) for stages in segment.components.values() for watts in stages.values())
        for segment in found
    ]
    whole = sum(lengths)
    scale, unit = (3600, "h") if whole > 3 * 3600 else (60, "min") if whole > 180 else (1, "s")
    start, peak = 0.0, 0.0
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
                    color=stage_colour(stage),
                    linewidth=0,
                    label=stage_name(stage),
                )
                base = base + watts
        peak = max(peak, float(base.max()))
        if len(found) > 1:
            axis.axvline(start / scale, color=MUTED, linestyle=":", linewidth=0.7)
            began = datetime.datetime.fromtimestamp(segment.started, datetime.UTC)
            if dates and length > 0.25 * whole:
                axis.annotate(
                    began.strftime("%d %b %H:%M UTC"), (start / scale, 1), xycoords=("data", "axes fraction"),
                    xytext=(3, -8), textcoords="offset points", fontsize=6.5, color=MUTED,
                )  # fmt: skip
        start += length
    axis.set_xlim(0, max(whole / scale, math.ulp(1.0)))
    axis.set_ylim(0, max(peak * 1.3, 1e-3))
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.set_xlabel(f"time in which something ran ({unit})")
    return peak
