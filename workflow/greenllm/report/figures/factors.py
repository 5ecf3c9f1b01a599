"""How many times less energy each recipe takes, and what of it is due to each cause."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from greenllm.account.document import Account
from greenllm.comparison.rows import ComparedRecipes, Verdict
from greenllm.estimate import Interval
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.style import BLUE, INK, MUTED, RULE
from greenllm.report.language import noted, text
from greenllm.report.numbers import percent, times

WHOLE, PART, BAND = noted("the recipe"), noted("one cause of it"), noted("can't be resolved here")
_ROW_in, _PANEL_in = 0.22, 0.75  # height of a row, and of what is around the rows of a panel


@dataclass(frozen=True)
class DrawnFactor:
    """A row of the figure: a recipe's whole ratio, or one of its parts."""

    name: str
    is_part: bool
    times_less: Interval
    verdict: Verdict

    def in_words(self) -> str:
        """Return the factor with its bounds."""
        ratio, bounds = times(self.times_less)
        said = noted("{name} {times} ({bounds})")
        if self.verdict == "not resolvable":
            said = noted("{name} {times} ({bounds}), not resolvable")
        return text(said, name=self.name, times=ratio, bounds=bounds)


def factors(account: Account) -> Drawing | None:
    """Draw each recipe's ratio and its parts, one panel an experiment; None where no ratio is known."""
    panels = []
    for name, experiment in account.experiments.items():
        compared = experiment.comparison
        if rows := list(_drawn(compared)):
            words = f"{name}: " + "; ".join(row.in_words() for row in rows) + _band_in_words(compared)
            draw = partial(_panel, compared=compared, rows=rows)
            panels.append(Panel(name, words, _PANEL_in + _ROW_in * len(rows), draw, name))
    if not panels:
        return None
    caption = text(
        "Energy per request of the baseline divided by the recipe's, on a logarithmic axis: right of the line at 1 a "
        "recipe saves energy. Filled: the whole recipe. Open: one cause of it, such as the engine by itself; the "
        "product of the causes is the whole. Bars are 95 % intervals. Hatched: differences that can't be resolved, "
        "since the same model, deployed twice, differs by as much."
    )
    return multiples(text("Times less energy than the baseline, and why"), caption, panels)


def _drawn(compared: ComparedRecipes) -> Iterator[DrawnFactor]:
    for row in compared.recipes:
        if row.times_less is None:
            continue
        name = text("{recipe} (control)", recipe=row.recipe) if row.is_control else row.recipe
        yield DrawnFactor(name, False, row.times_less, row.verdict)
        for part in row.parts if len(row.parts) > 1 else []:
            if part.times_less is not None:
                yield DrawnFactor(text("by {change}", change=text(part.change)), True, part.times_less, part.verdict)


def _band(compared: ComparedRecipes) -> tuple[float, float] | None:
    """Return the ratios between which nothing can be resolved; None where that is unknown."""
    if compared.twin is None or compared.twin.resolvable is None:
        return None
    most = 1 + compared.twin.resolvable
    return 1 / most, most


def _band_in_words(compared: ComparedRecipes) -> str:
    known = compared.twin and compared.twin.resolvable
    if not known:
        return ""
    return text("; differences below {share} can't be resolved", share=percent(float(f"{known:.2g}")))


def _panel(axis: Axes, compared: ComparedRecipes, rows: Sequence[DrawnFactor]) -> None:
    axis.set_xscale("log")
    if band := _band(compared):
        axis.axvspan(
            *band, facecolor=RULE, edgecolor=MUTED, alpha=0.7, hatch="////", linewidth=0, label=text(BAND), zorder=0
        )
    axis.axvline(1, color=INK, linewidth=1, zorder=1)
    for position, row in enumerate(rows):
        middle, low, high = row.times_less
        left = max(low, middle / 1e3)  # a logarithmic axis has no place for 0
        axis.errorbar(
            middle, position, xerr=[[middle - left], [high - middle]],
            marker="s" if row.is_part else "o", markerfacecolor="white" if row.is_part else BLUE,
            markersize=4.5 if row.is_part else 5.5, color=BLUE, elinewidth=1 if row.is_part else 1.6, capsize=2,
            linestyle="none", label=text(PART if row.is_part else WHOLE), zorder=3,
        )  # fmt: skip
    axis.set_yticks(range(len(rows)), [_in_lines(row.name) for row in rows])
    for label, row in zip(axis.get_yticklabels(), rows, strict=True):
        if not row.is_part:
            label.set_fontweight("bold")
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.grid(visible=False, axis="y")
    _ticks(axis, [row.times_less for row in rows], band)
    axis.set_xlabel(text("times less energy"))


def _in_lines(name: str) -> str:
    """Return a name in two lines where it is long, so that the axes keep their room."""
    break_at = name.rfind("-", 0, 18) + 1
    return name if len(name) < 18 or not break_at else f"{name[:break_at]}\n{name[break_at:]}"


def _ticks(axis: Axes, shown: Sequence[Interval], band: tuple[float, float] | None) -> None:
    """Label the axis with plain numbers, as many as have room."""
    lowest = min([*(one.low for one in shown if one.low > 0), (band or (1.0,))[0], 1.0])
    highest = max([*(one.high for one in shown), (band or (1.0,))[-1], 1.0])
    axis.set_xlim(lowest / 1.08, highest * 1.08)
    span = highest / lowest
    subs = (1, 2, 5) if span > 2.5 else tuple(tenth / 10 for tenth in range(10, 100))
    if 1.25 < span <= 2.5:
        subs = tuple(fifth / 5 for fifth in range(5, 50))
    axis.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
