"""Small multiples: a panel an experiment, all of one kind, below each other in a file and in a grid on the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenllm.report.figures.drawing import Drawing, PagePanel
from greenllm.report.figures.style import COLUMN_in, WIDE_in, legend, legend_of
from greenllm.report.language import text


@dataclass(frozen=True)
class Panel:
    """A panel: its title, what it shows in words, its height, and what draws it; `name` is its experiment's."""

    title: str
    words: str
    height_in: float
    draw: Callable[[Axes], None]
    name: str = ""


def multiples(
    title: str,
    caption: str,
    panels: Sequence[Panel],
    *,
    wide: bool = False,
    order: Callable[[str], Any] | None = None,
) -> Drawing:
    """Return the drawing of some panels; `order` sorts the legend, which several panels share."""
    heights = [panel.height_in for panel in panels]
    figure = Figure(figsize=(COLUMN_in, 0.1 + sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_title(panel.title)
        panel.draw(axis)
    legend(figure, order)
    shared = len(panels) > 1
    said = "; ".join(panel.words for panel in panels)
    return Drawing(
        figure,
        title,
        text("{title}. {words}.", title=title, words=said),
        caption,
        [_alone(title, panel, wide, None if shared else order, with_legend=not shared) for panel in panels],
        wide,
        legend_of(figure, order) if shared else None,
    )


def _alone(title: str, panel: Panel, wide: bool, order: Callable[[str], Any] | None, *, with_legend: bool) -> PagePanel:
    figure = Figure(figsize=(WIDE_in if wide else COLUMN_in, panel.height_in), layout="constrained")
    axis = figure.subplots()
    axis.set_title(panel.title)
    panel.draw(axis)
    if with_legend:
        legend(figure, order)
    return PagePanel(panel.name, text("{title}. {words}.", title=title, words=panel.words), figure)
