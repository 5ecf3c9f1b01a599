"""Quality against energy: which recipes no other one beats."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.style import INK, MUTED, WIDTH_in, empty, legend, looks
from greenllm.report.names import metric_name
from greenllm.report.numbers import prefix_for, quantity, value_text

Row = Mapping[str, Any]


def quality_energy(account: Mapping[str, Any]) -> Drawing:
    """Draw each recipe's quality against the server's energy per request, one panel an experiment."""
    title = "Quality against energy per request"
    panels = {
        name: rows
        for name, experiment in account["experiments"].items()
        if (rows := [r for r in experiment["comparison"]["recipes"] if r["quality"] and r["energy_per_request_J"]])
    }
    if not panels:
        nothing = empty("No model was both evaluated and measured under load.")
        return Drawing(nothing, title, "No data.", _caption(upside_down=False))
    figure = Figure(figsize=(WIDTH_in, 0.75 + 2.0 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    said, upside_down = [], False
    for axis, (name, rows) in zip(axes, panels.items(), strict=True):
        experiment = account["experiments"][name]
        recommended = experiment["recommendation"]["recipe"]
        lower = not experiment["higher_is_better"]
        upside_down |= lower
        axis.set_title(name)
        _panel(axis, rows, account, recommended, lower_is_better=lower)
        said += [_said(name, row, recommended) for row in rows]
    legend(figure)
    return Drawing(figure, title, f"{title}. " + "; ".join(said) + ".", _caption(upside_down=upside_down))


def _caption(*, upside_down: bool) -> str:
    return (
        "Up and to the left is better"
        + (" (where less is better, the axis of quality stands on its head). " if upside_down else ". ")
        + "The line joins the Pareto front: recipes that no other one beats in both. A ring: the recommended one. "
        "Bars are 95 % intervals. Recipes on one host share most of the energy's error, so a difference can be surer "
        "than overlapping bars suggest; the comparison above takes that into account."
    )


def _said(name: str, row: Row, recommended: str | None) -> str:
    energy = quantity(row["energy_per_request_J"], "J")
    said = f"{name}, {row['recipe']}: {metric_name(row['quality']['metric'])} {value_text(row['quality'])} at {energy}"
    return f"{said} per request" + (", recommended" if row["recipe"] == recommended else "")


def _panel(
    axis: Axes, rows: Sequence[Row], account: Mapping[str, Any], recommended: str | None, *, lower_is_better: bool
) -> None:
    look = looks(account)
    scale, unit = prefix_for([row["energy_per_request_J"] for row in rows], "J")
    front = sorted(
        (row for row in rows if row["on_front"]), key=lambda row: float(row["energy_per_request_J"]["value"])
    )
    axis.plot(
        [row["energy_per_request_J"]["value"] / scale for row in front],
        [row["quality"]["value"] for row in front],
        color=MUTED, linewidth=0.8, linestyle="--", zorder=1,
    )  # fmt: skip
    highest = max(row["energy_per_request_J"]["high"] for row in rows) / scale
    for row in rows:
        energy, quality = row["energy_per_request_J"], row["quality"]
        x, y = energy["value"] / scale, quality["value"]
        axis.errorbar(
            x, y,
            xerr=[[x - energy["low"] / scale], [energy["high"] / scale - x]],
            yerr=[[y - quality["low"]], [quality["high"] - y]],
            marker=look[row["recipe"]].marker, color=look[row["recipe"]].colour,
            markersize=5, elinewidth=1, capsize=0, label=row["recipe"], linestyle="none",
        )  # fmt: skip
        if row["recipe"] == recommended:
            axis.plot(x, y, marker="o", markersize=11, markerfacecolor="none", markeredgecolor=INK, linestyle="none")
            right = x > 0.7 * highest
            axis.annotate(
                row["recipe"], (x, y), xytext=(-9 if right else 9, 6), textcoords="offset points",
                ha="right" if right else "left", color=INK, fontweight="bold",
            )  # fmt: skip
    _limits(axis, rows, scale)
    if lower_is_better:
        axis.invert_yaxis()
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(f"server's energy per request ({unit})")
    axis.set_ylabel(metric_name(rows[0]["quality"]["metric"]) + (" (less is better)" if lower_is_better else ""))


def _limits(axis: Axes, rows: Sequence[Row], scale: float) -> None:
    """Leave room for names; a logarithmic axis where energies lie far apart."""
    highest = max(row["energy_per_request_J"]["high"] for row in rows) / scale
    lowest = min(max(row["energy_per_request_J"]["low"], 0) for row in rows) / scale
    axis.set_xlim(0, highest * 1.08)
    if lowest > 0 and highest / lowest > 30:
        axis.set_xscale("log")
        axis.set_xlim(lowest / 1.5, highest * 1.5)
    low, high = min(row["quality"]["low"] for row in rows), max(row["quality"]["high"] for row in rows)
    room = max(0.25 * (high - low), 0.01 * abs(high), 1e-3)
    axis.set_ylim(low - room, high + room)
