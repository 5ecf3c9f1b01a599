"""Quality against energy, with the recipes that no other one beats in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from greenllm.account.document import Account, ExperimentAccount
from greenllm.comparison.rows import Quality
from greenllm.estimate import Interval
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.style import INK, MUTED, Look, empty, looks
from greenllm.report.language import noted, text
from greenllm.report.names import metric_name
from greenllm.report.numbers import prefix_for, quantity, value_text


@dataclass(frozen=True)
class DrawnRecipe:
    """A recipe whose quality and energy per request (J) are both known."""

    recipe: str
    quality: Quality
    energy: Interval
    on_front: bool
    recommended: bool
    look: Look

    def in_words(self) -> str:
        """Return its quality and energy."""
        said = text(
            "{recipe}: {metric} {value} at {energy} per request",
            recipe=self.recipe, metric=metric_name(self.quality.metric), value=value_text(self.quality),
            energy=quantity(self.energy, "J"),
        )  # fmt: skip
        return text("{said}, recommended", said=said) if self.recommended else said


def quality_energy(account: Account) -> Drawing:
    """Draw each recipe's quality against the server's energy per request, one panel an experiment."""
    title = text("Quality against energy per request")
    look = looks(account)
    found = {name: rows for name, one in account.experiments.items() if (rows := _drawn(one, look))}
    lower = {name: not account.experiments[name].higher_is_better for name in found}
    caption = _caption(upside_down=any(lower.values()))
    if not found:
        nothing = empty(text("No model was both evaluated and measured under load."))
        return Drawing(nothing, title, text("No data."), caption)
    panels = [
        Panel(
            name,
            "; ".join(f"{name}, {row.in_words()}" for row in rows),
            2.1,
            partial(_panel, rows=rows, lower_is_better=lower[name]),
            name,
        )
        for name, rows in found.items()
    ]
    return multiples(title, caption, panels)


def _drawn(experiment: ExperimentAccount, look: dict[str, Look]) -> list[DrawnRecipe]:
    best = experiment.recommendation.recipe
    return [
        DrawnRecipe(
            row.recipe, row.quality, row.energy_per_request_J, row.on_front, row.recipe == best, look[row.recipe]
        )
        for row in experiment.comparison.recipes
        if row.quality and row.energy_per_request_J
    ]


def _caption(*, upside_down: bool) -> str:
    better = (
        noted("Up and to the left is better (where less is better, the axis of quality is inverted).")
        if upside_down
        else noted("Up and to the left is better.")
    )
    return text(better) + text(
        " The line joins the Pareto front: recipes that no other one beats in both. A ring: the recommended one. "
        "Bars are 95 % intervals. Recipes on one host share most of the energy's error, so a difference can be surer "
        "than overlapping bars suggest; the comparison takes that into account."
    )


def _panel(axis: Axes, rows: Sequence[DrawnRecipe], *, lower_is_better: bool) -> None:
    scale, unit = prefix_for([row.energy for row in rows], "J")
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.energy.value)
    axis.plot(
        [row.energy.value / scale for row in front], [row.quality.value for row in front],
        color=MUTED, linewidth=0.8, linestyle="--", zorder=1,
    )  # fmt: skip
    highest = max(row.energy.high for row in rows) / scale
    for row in rows:
        x, y = row.energy.value / scale, row.quality.value
        axis.errorbar(
            x, y,
            xerr=[[x - row.energy.low / scale], [row.energy.high / scale - x]],
            yerr=[[y - row.quality.low], [row.quality.high - y]],
            marker=row.look.marker, color=row.look.colour,
            markersize=5, elinewidth=1, capsize=0, label=row.recipe, linestyle="none",
        )  # fmt: skip
        if row.recommended:
            axis.plot(x, y, marker="o", markersize=11, markerfacecolor="none", markeredgecolor=INK, linestyle="none")
            right = x > 0.7 * highest
            axis.annotate(
                row.recipe, (x, y), xytext=(-9 if right else 9, 6), textcoords="offset points",
                ha="right" if right else "left", color=INK, fontweight="bold",
            )  # fmt: skip
    _limits(axis, rows, scale)
    if lower_is_better:
        axis.invert_yaxis()
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(text("server's energy per request ({unit})", unit=unit))
    metric = metric_name(rows[0].quality.metric)
    axis.set_ylabel(text("{metric} (less is better)", metric=metric) if lower_is_better else metric)


def _limits(axis: Axes, rows: Sequence[DrawnRecipe], scale: float) -> None:
    """Leave room for names; use a logarithmic axis if energies differ by large factors."""
    highest = max(row.energy.high for row in rows) / scale
    lowest = min(max(row.energy.low, 0) for row in rows) / scale
    axis.set_xlim(0, highest * 1.08)
    if lowest > 0 and highest / lowest > 30:
        axis.set_xscale("log")
        axis.set_xlim(lowest / 1.5, highest * 1.5)
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    low, high = min(row.quality.low for row in rows), max(row.quality.high for row in rows)
    room = max(0.25 * (high - low), 0.01 * abs(high), 1e-3)
    axis.set_ylim(low - room, high + room)
