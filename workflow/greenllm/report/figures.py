"""The figures, as matplotlib draws them: SVG for the page, PDF for papers, PNG for slides.

All are 4.6 inches wide with letters of 8 points, so that they can be read on a phone and in a column of a paper.
Files hold no date and no random ids: the same account gives the same bytes.
"""

import datetime
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from greenllm.files import replacing
from greenllm.report.contents import metric_name
from greenllm.report.numbers import prefix_for, quantity, value_text

WIDTH_in = 4.6
INK, MUTED, RULE = "#1c2326", "#667077", "#d5d9d8"
BLUE = "#22577a"
# Told apart also by people with a colour vision deficiency: hue and lightness both change.
STAGES = {
    "collect": "#c9b458",
    "collect_model": "#e3d18a",
    "preprocess": "#a88a2c",
    "train": BLUE,
    "compress": "#7a5195",
    "evaluate": "#38a3a5",
    "deploy": "#b9c4c9",
    "serve": "#d1495b",
    "load": "#efa6a0",
}
OTHER = "#8d979c"
RECIPES = (BLUE, "#d1495b", "#2a9d6f", "#7a5195", "#c98a1b", "#38a3a5", "#667077")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
STAGE_NAMES = {
    "collect_model": "collect model", "deploy": "deploy (rest)", "serve": "server", "load": "load generator",
}  # fmt: skip

# Fonts with CJK glyphs, taken where one is installed; DejaVu comes with matplotlib.
_FONTS = [
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
]


def _style() -> dict[str, Any]:
    installed = set(font_manager.get_font_names())
    return {
        "font.family": [name for name in _FONTS if name in installed] or ["sans-serif"],
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 8,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelcolor": INK,
        "grid.color": RULE,
        "grid.linewidth": 0.5,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "xtick.major.size": 2.5,
        "ytick.major.size": 0,
        "legend.frameon": False,
        "legend.fontsize": 7.5,
        "hatch.linewidth": 0.6,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "svg.fonttype": "none",
        "svg.hashsalt": "greenllm",
        "pdf.fonttype": 42,
    }


@dataclass(frozen=True)
class Drawing:
    """A figure with its title, what it shows in words (for those who can't see it), and its caption."""

    name: str
    title: str
    alt: str
    caption: str
    svg: str


def draw_all(account: Mapping[str, Any], folder: Path) -> list[Drawing]:
    """Draw all figures, write each to `folder` as SVG, PDF and PNG, and return them in reading order."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(cast(Any, _style()))
        return [
            _written(name, *draw(account), folder)
            for name, draw in (
                ("quality-energy", quality_energy),
                ("energy-by-stage", energy_by_stage),
                ("power", power_over_time),
            )
        ]


def _written(name: str, figure: Figure, title: str, alt: str, caption: str, folder: Path) -> Drawing:
    FigureCanvasAgg(figure)
    nothing = {"Creator": None, "Date": None}
    metadata = {
        "svg": nothing,
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    for kind, without in metadata.items():
        content = io.BytesIO()
        figure.savefig(content, format=kind, metadata=without, dpi=200, facecolor="white" if kind == "png" else "none")
        with replacing(folder / f"{name}.{kind}") as path:
            path.write_bytes(content.getvalue())
        if kind == "svg":
            svg = content.getvalue().decode()
    return Drawing(name, title, alt, caption, svg)


def inline(drawing: Drawing) -> str:
    """Return a figure's SVG for a page: ids of its own, colours of ink that follow the page's, a label for readers."""
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{drawing.name}-', svg)
    svg = svg.replace("url(#", f"url(#{drawing.name}-").replace('xlink:href="#', f'xlink:href="#{drawing.name}-')
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (RULE, "rule"), (BLUE, "blue")):
        svg = svg.replace(colour, f"var(--{variable})")
    opening = re.compile(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>")
    label = drawing.alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return opening.sub(
        lambda found: f'<svg {spaces} viewBox="{found[1]}" role="img" aria-label="{label}">', svg, count=1
    )


def _empty(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH_in, 1.0))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=MUTED)
    return figure


# --- quality against energy ---


def quality_energy(account: Mapping[str, Any]) -> tuple[Figure, str, str, str]:
    """Draw each recipe's quality against the server's energy per request, one panel an experiment."""
    title = "Quality against energy per request"
    panels = {
        name: rows
        for name, experiment in account["experiments"].items()
        if (rows := [r for r in experiment["comparison"]["recipes"] if r["quality"] and r["energy_per_request_J"]])
    }
    caption = (
        "Up and to the left is better. Bars are 95 % intervals: of quality over the test examples, of energy over the "
        "parameters of sensors and models. Recipes on one host share most of the energy's error, so a difference "
        "can be surer than overlapping bars suggest; the comparison above takes that into account."
    )
    if not panels:
        return _empty("No model was both evaluated and measured under load."), title, "No data.", caption
    figure = Figure(figsize=(WIDTH_in, 0.45 + 2.0 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    said = []
    for axis, (name, rows) in zip(axes, panels.items(), strict=True):
        _quality_panel(axis, name, rows, account["experiments"][name]["comparison"]["recipes"])
        said += [
            f"{name}, {row['recipe']}: {metric_name(row['quality']['metric'])} {value_text(row['quality'])} at "
            f"{quantity(row['energy_per_request_J'], 'J')} per request"
            for row in rows
        ]
    return figure, title, f"{title}. " + "; ".join(said) + ".", caption


def _quality_panel(
    axis: Axes, name: str, rows: Sequence[Mapping[str, Any]], recipes: Sequence[Mapping[str, Any]]
) -> None:
    scale, unit = prefix_for([row["energy_per_request_J"] for row in rows], "J")
    order = [row["recipe"] for row in recipes]
    highest = max(row["energy_per_request_J"]["high"] for row in rows) / scale
    lowest = min(max(row["energy_per_request_J"]["low"], 0) for row in rows) / scale
    for row in rows:
        energy, quality = row["energy_per_request_J"], row["quality"]
        index = order.index(row["recipe"])
        x, y = energy["value"] / scale, quality["value"]
        colour = RECIPES[index % len(RECIPES)]
        axis.errorbar(
            x,
            y,
            xerr=[[x - energy["low"] / scale], [energy["high"] / scale - x]],
            yerr=[[y - quality["low"]], [quality["high"] - y]],
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            color=colour,
            elinewidth=1,
            capsize=0,
        )
        near_right = x > 0.7 * highest
        axis.annotate(
            row["recipe"],
            (x, y),
            xytext=(-6 if near_right else 6, 5),
            textcoords="offset points",
            ha="right" if near_right else "left",
            color=INK,
        )
    axis.set_xlim(0, highest * 1.08)
    if lowest > 0 and highest / lowest > 30:
        axis.set_xscale("log")
        axis.set_xlim(lowest / 1.5, highest * 1.5)
    low, high = min(row["quality"]["low"] for row in rows), max(row["quality"]["high"] for row in rows)
    room = max(0.25 * (high - low), 0.01 * abs(high), 1e-3)
    axis.set_ylim(low - room, high + 2 * room)
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_title(name)
    axis.set_xlabel(f"server's energy per request ({unit})")
    axis.set_ylabel(metric_name(rows[0]["quality"]["metric"]))


# --- energy by stage ---


def energy_by_stage(account: Mapping[str, Any]) -> tuple[Figure, str, str, str]:
    """Draw what every stage spent: a bar for each recipe, and one for what an experiment's recipes share."""
    title = "Energy by stage"
    caption = (
        "Every attempt counts once, in its own recipe. Shared: made once for all recipes of the experiment. "
        "Hatched: waste, that is attempts that failed, were killed, got lost, or were superseded by a later one."
    )
    bars = list(_bars(account))
    if not bars:
        return _empty("No energy is known of any attempt."), title, "No data.", caption
    scale, unit = prefix_for([sum(stages.values()) + waste for _, stages, waste in bars], "J")
    figure = Figure(figsize=(WIDTH_in, 0.95 + 0.3 * len(bars)), layout="constrained")
    axis = figure.subplots()
    used: dict[str, None] = {}
    for position, (_, stages, waste) in enumerate(bars):
        left = 0.0
        for stage in sorted(stages, key=_order):
            width = stages[stage] / scale
            axis.barh(position, width, left=left, height=0.66, color=STAGES.get(stage, OTHER), label=_once(stage, used))
            left += width
        if waste:
            axis.barh(
                position, waste / scale, left=left, height=0.66, facecolor="none", edgecolor=INK, hatch="////",
                linewidth=0.6, label=_once("waste", used),
            )  # fmt: skip
            left += waste / scale
        axis.annotate(
            value_text(left), (left, position), xytext=(4, 0), textcoords="offset points", va="center", color=INK
        )
    axis.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.margins(x=0.1)
    axis.set_xlabel(f"energy ({unit})")
    _legend(figure)
    said = "; ".join(
        f"{name}: {quantity(sum(stages.values()) + waste, 'J')}, most of it {max(stages, key=stages.__getitem__)}"
        if stages
        else f"{name}: {quantity(waste, 'J')}, all of it waste"
        for name, stages, waste in bars
    )
    return figure, title, f"{title}. {said}.", caption


def _bars(account: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float], float]]:
    """Yield (name, joules of each stage without waste, joules of waste) for each bar."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for name, experiment in account["experiments"].items():
        groups[name, "shared"] = []
        for row in experiment["comparison"]["recipes"]:
            groups[name, row["recipe"]] = []
    for row in account["spent"]["stages"]:
        if row["energy_J"] is not None:
            key = (row["experiment"] or "study", row["recipe"] or ("shared" if row["experiment"] else "whole"))
            groups.setdefault(key, []).append(row)
    for (experiment, recipe), rows in groups.items():
        stages: dict[str, float] = {}
        waste = 0.0
        for row in rows:
            wasted = row["waste_J"]["value"] if row["waste_J"] else 0.0
            waste += wasted
            if row["energy_J"]["value"] > wasted:
                stages[row["stage"]] = row["energy_J"]["value"] - wasted
        if rows:
            yield f"{experiment} · {recipe}", stages, waste


def _order(stage: str) -> tuple[int, str]:
    names = list(STAGES)
    return (names.index(stage) if stage in names else len(names), stage)


def _once(stage: str, used: dict[str, None]) -> str:
    """Return a label for the legend the first time, later one that matplotlib leaves out."""
    if stage in used:
        return "_" + stage
    used[stage] = None
    return STAGE_NAMES.get(stage, stage)


def _legend(figure: Figure) -> None:
    """Put one legend above all panels, in the order of the stages."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    order = [STAGE_NAMES.get(stage, stage) for stage in STAGES]
    labels = sorted(
        found, key=lambda label: (label == "waste", order.index(label) if label in order else len(order), label)
    )
    figure.legend(
        [found[label] for label in labels],
        labels,
        loc="outside upper left",
        ncols=4,
        handlelength=1,
        handleheight=0.9,
        columnspacing=1.2,
        handletextpad=0.5,
    )


# --- power over time ---


def power_over_time(account: Mapping[str, Any]) -> tuple[Figure, str, str, str]:
    """Draw the jobs' attributed power, one panel for each host and component, stages as stacked areas."""
    title = "Power over time"
    caption = (
        "The jobs' shares of each component's power, as attributed; stages at work at the same time are stacked. Other "
        "processes and unallocated idle are left out. Hours in which nothing ran are cut out at the dotted lines."
    )
    panels = [
        (host["host"], component, host["segments"])
        for host in account["power"]
        for component in sorted({name for segment in host["segments"] for name in segment["components"]})
    ]
    if not panels:
        return _empty("No power is known of any attempt."), title, "No data.", caption
    figure = Figure(figsize=(WIDTH_in, 0.8 + 1.25 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    used: dict[str, None] = {}
    said = []
    dated: set[str] = set()  # hosts whose stretches have their dates, in their first panel
    hosts = len({host for host, _, _ in panels})
    methods = {(row["host"], row["component"]): row["quality"] for row in account["methods"] if row["energy_J"]}
    for axis, (host, component, found) in zip(axes, panels, strict=True):
        peak = _power_panel(axis, component, found, used, dates=host not in dated)
        dated.add(host)
        quality = methods.get((host, component))
        words = ", ".join(part for part in (component.upper(), quality, f"on {host}" if hosts > 1 else "") if part)
        axis.set_title(words)
        axis.set_ylabel("power (W)")
        said.append(f"{words}: up to {quantity(peak, 'W')}")
    _legend(figure)
    return figure, title, f"{title}. " + "; ".join(said) + ".", caption


def _power_panel(
    axis: Axes, component: str, found: Sequence[Mapping[str, Any]], used: dict[str, None], *, dates: bool
) -> float:
    """Draw one component's areas, with the dates of its stretches if asked; return the highest power in watts."""
    lengths = [
        segment["width_s"] * max(len(watts) for stages in segment["components"].values() for watts in stages.values())
        for segment in found
    ]
    whole = sum(lengths)
    scale, unit = (3600, "h") if whole > 3 * 3600 else (60, "min") if whole > 180 else (1, "s")
    start, peak = 0.0, 0.0
    stages = sorted({stage for segment in found for stage in segment["components"].get(component, {})}, key=_order)
    for segment, length in zip(found, lengths, strict=True):
        count = round(length / segment["width_s"])
        edges = (start + segment["width_s"] * np.arange(count + 1)) / scale
        base = np.zeros(count)
        for stage in stages:
            watts = np.array(segment["components"].get(component, {}).get(stage, np.zeros(count)))
            if watts.any():
                top = np.where(watts > 0, base + watts, np.nan)  # nothing is drawn where a stage was not at work
                axis.stairs(
                    top,
                    edges,
                    baseline=base,
                    fill=True,
                    color=STAGES.get(stage, OTHER),
                    linewidth=0,
                    label=_once(stage, used),
                )
                base = base + watts
        peak = max(peak, float(base.max()))
        if len(found) > 1:
            axis.axvline(start / scale, color=MUTED, linestyle=":", linewidth=0.7)
            began = datetime.datetime.fromtimestamp(segment["started"], datetime.UTC)
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
