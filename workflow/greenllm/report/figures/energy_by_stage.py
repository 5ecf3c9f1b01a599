"""What every stage spent."""

from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.figure import Figure

from greenllm.account.document import Account
from greenllm.footprint.rows import StageSpent
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.stages import label_order, stage_colour, stage_name, stage_order
from greenllm.report.figures.style import INK, WIDTH_in, empty, legend
from greenllm.report.numbers import prefix_for, quantity, value_text


class Bar(NamedTuple):
    """What a recipe, or all recipes of an experiment together, spent: {stage: J} without waste, and the waste (J)."""

    name: str
    stages: dict[str, float]
    waste: float


def energy_by_stage(account: Account) -> Drawing:
    """Draw what every stage spent: a bar for each recipe, and one for what an experiment's recipes share."""
    title = "Energy by stage"
    caption = (
        "Every attempt counts once, in its own recipe. Shared: made once for all recipes of the experiment. "
        "Hatched: wasted by attempts that failed, were killed, lost, or superseded by a later one."
    )
    bars = list(_bars(account))
    if not bars:
        return Drawing(empty("No energy is known of any attempt."), title, "No data.", caption)
    scale, unit = prefix_for([sum(stages.values()) + waste for _, stages, waste in bars], "J")
    figure = Figure(figsize=(WIDTH_in, 0.95 + 0.3 * len(bars)), layout="constrained")
    axis = figure.subplots()
    for position, (_, stages, waste) in enumerate(bars):
        left = 0.0
        for stage in sorted(stages, key=stage_order):
            width = stages[stage] / scale
            axis.barh(position, width, left=left, height=0.66, color=stage_colour(stage), label=stage_name(stage))
            left += width
        if waste:
            axis.barh(
                position, waste / scale, left=left, height=0.66, facecolor="none", edgecolor=INK, hatch="////",
                linewidth=0.6, label=stage_name("waste"),
            )  # fmt: skip
            left += waste / scale
        axis.annotate(
            value_text(left), (left, position), xytext=(4, 0), textcoords="offset points", va="center", color=INK
        )
    axis.set_yticks(range(len(bars)), [bar.name for bar in bars])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    axis.spines["left"].set_visible(False)
    axis.margins(x=0.1)
    axis.set_xlabel(f"energy ({unit})")
    legend(figure, label_order)
    said = "; ".join(
        f"{name}: {quantity(sum(stages.values()) + waste, 'J')}, most of it {max(stages, key=stages.__getitem__)}"
        if stages
        else f"{name}: {quantity(waste, 'J')}, all of it waste"
        for name, stages, waste in bars
    )
    return Drawing(figure, title, f"{title}. {said}.", caption)


def _bars(account: Account) -> Iterator[Bar]:
    groups: dict[tuple[str, str], list[StageSpent]] = {}
    for name, experiment in account.experiments.items():
        groups[name, "shared"] = []
        for recipe in experiment.comparison.recipes:
            groups[name, recipe.recipe] = []
    for row in account.spent.stages:
        if row.energy_J is not None:
            key = (row.experiment or "study", row.recipe or ("shared" if row.experiment else "whole"))
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
            yield Bar(f"{experiment_name} · {recipe_name}", stages, waste)
