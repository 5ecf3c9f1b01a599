"""What every stage spent."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from matplotlib.axes import Axes

from greenllm.account.document import Account
from greenllm.footprint.rows import StageSpent
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.stages import label_order, stage_colour, stage_name, stage_order, stage_pattern
from greenllm.report.figures.style import INK, empty
from greenllm.report.language import text
from greenllm.report.numbers import prefix_for, quantity, value_text


class Bar(NamedTuple):
    """What a recipe, or all recipes of an experiment together, spent: {stage: J} without waste, and the waste (J)."""

    experiment: str
    recipe: str
    stages: dict[str, float]
    waste: float

    @property
    def energy_J(self) -> float:
        """All of it."""
        return sum(self.stages.values()) + self.waste

    def in_words(self) -> str:
        """Return what was spent, and most of it on what."""
        values = {"experiment": self.experiment, "recipe": self.recipe, "energy": quantity(self.energy_J, "J")}
        if not self.stages:
            return text("{experiment} · {recipe}: {energy}, all of it waste", **values)
        most = stage_name(max(self.stages, key=self.stages.__getitem__))
        return text("{experiment} · {recipe}: {energy}, most of it {stage}", stage=most, **values)


def energy_by_stage(account: Account) -> Drawing:
    """Draw what every stage spent, a panel an experiment: a bar for each recipe, and one for what recipes share."""
    title = text("Energy by stage")
    caption = text(
        "Every attempt counts once, in its own recipe. Shared: made once for all recipes of the experiment. "
        "Hatched in black: wasted by attempts that failed, were killed, lost, or superseded by a later one. All panels "
        "have the same scale."
    )
    bars = list(_bars(account))
    if not bars:
        nothing = empty(text("No energy is known of any attempt."))
        return Drawing(nothing, title, text("No data."), caption)
    scale, unit = prefix_for([bar.energy_J for bar in bars], "J")
    most = max(bar.energy_J for bar in bars) / scale
    panels = []
    for experiment in dict.fromkeys(bar.experiment for bar in bars):
        own = [bar for bar in bars if bar.experiment == experiment]
        draw = partial(_draw, bars=own, scale=scale, unit=unit, most=most)
        panels.append(
            Panel(experiment, "; ".join(bar.in_words() for bar in own), 0.6 + 0.24 * len(own), draw, experiment)
        )
    return multiples(title, caption, panels, order=label_order)


def _draw(axis: Axes, bars: Sequence[Bar], scale: float, unit: str, most: float) -> None:
    for position, bar in enumerate(bars):
        left = 0.0
        for stage in sorted(bar.stages, key=stage_order):
            width = bar.stages[stage] / scale
            axis.barh(
                position, width, left=left, height=0.66, color=stage_colour(stage), hatch=stage_pattern(stage),
                edgecolor="white", linewidth=0.3, label=stage_name(stage),
            )  # fmt: skip
            left += width
        if bar.waste:
            axis.barh(
                position, bar.waste / scale, left=left, height=0.66, facecolor="none", edgecolor=INK, hatch="////",
                linewidth=0.6, label=stage_name("waste"),
            )  # fmt: skip
            left += bar.waste / scale
        axis.annotate(
            value_text(left), (left, position), xytext=(4, 0), textcoords="offset points", va="center", color=INK
        )
    axis.set_yticks(range(len(bars)), [bar.recipe for bar in bars])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.set_xlim(0, 1.2 * most)
    axis.set_xlabel(text("energy ({unit})", unit=unit))


def _bars(account: Account) -> Iterator[Bar]:
    groups: dict[tuple[str, str], list[StageSpent]] = {}
    for name, experiment in account.experiments.items():
        groups[name, text("shared")] = []
        for recipe in experiment.comparison.recipes:
            groups[name, recipe.recipe] = []
    for row in account.spent.stages:
        if row.energy_J is not None:
            key = (row.experiment or text("study"), row.recipe or (text("shared") if row.experiment else text("all")))
            groups.setdefault(key, []).append(row)
    for (experiment_name, recipe_name), rows in groups.items():
        stages: dict[str, float] = {}
        waste = 0.0
        for row in rows:
            wasted = row.waste_J.value if row.waste_J else 0.0
            waste += wasted
            if row.energy_J and row.energy_J.value > wasted:
                stages[row.stage] = row.energy_J.value - wasted
        if rows:
            yield Bar(experiment_name, recipe_name, stages, waste)
