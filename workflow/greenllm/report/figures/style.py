"""How figures look: size, letters, colours."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib import font_manager
from matplotlib.figure import Figure

from greenllm.account.document import Account

COLUMN_in = 3.33  # a column of a paper with two; with letters of 8 points, legible on a phone as well
WIDE_in = 6.8  # a panel that shows many values, on the page
INK, MUTED, RULE = "#1c2326", "#667077", "#d5d9d8"
BLUE = "#22577a"
# Hue and lightness both change, so that people with a colour vision deficiency see the difference.
_COLOURS = (BLUE, "#d1495b", "#2a9d6f", "#7a5195", "#c98a1b", "#38a3a5", "#667077")
LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<")

# DejaVu comes with matplotlib; the others have Chinese letters, and are used where one is installed.
_CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
)
_CHINESE_FILES = re.compile(r"cjk|noto.*sc|sourcehan|wqy|pingfang|msyh", re.IGNORECASE)


@dataclass(frozen=True)
class Look:
    """A recipe's colour and marker."""

    colour: str
    marker: str


def looks(account: Account) -> dict[str, Look]:
    """Return each recipe's look, the same in all panels and figures."""
    names = dict.fromkeys(
        row.recipe for experiment in account.experiments.values() for row in experiment.comparison.recipes
    )
    return {
        name: Look(_COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]) for index, name in enumerate(names)
    }


def empty(said: str) -> Figure:
    """Return a figure that says why it shows nothing."""
    figure = Figure(figsize=(COLUMN_in, 1.0))
    figure.text(0.5, 0.5, said, ha="center", va="center", color=MUTED)
    return figure


def legend(figure: Figure, order: Callable[[str], Any] | None = None) -> None:
    """Put one legend above all panels: each label once, sorted by `order` where there is one, in columns that fit.

    The figure grows by the height of the legend.
    """
    entries = _entries(figure, order)
    _write(figure, entries, "outside upper left")
    figure.set_figheight(figure.get_figheight() + _height_in(figure.get_figwidth(), entries))


def _height_in(width_in: float, labels: Collection[str]) -> float:
    return 0.1 + 0.17 * math.ceil(len(labels) / _columns(width_in, labels)) if labels else 0.0


def legend_of(figure: Figure, order: Callable[[str], Any] | None = None) -> Figure | None:
    """Return the legend of a figure's panels as a figure, as wide as a wide panel; None where nothing has a label."""
    entries = _entries(figure, order)
    if not entries:
        return None
    alone = Figure(figsize=(WIDE_in, _height_in(WIDE_in, entries)))
    _write(alone, entries, "center left")
    return alone


def _entries(figure: Figure, order: Callable[[str], Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return {label: found[label] for label in sorted(found, key=order)} if order else found


def _columns(width_in: float, labels: Collection[str]) -> int:
    """Return how many labels fit beside each other; Chinese letters are twice as wide as others."""
    widths = [sum(2 if ord(letter) > 0x2E80 else 1 for letter in label) for label in labels]
    return max(1, min(len(widths), int(width_in * 16 / (max(widths) + 5))))


def _write(figure: Figure, entries: Mapping[str, Any], place: Literal["outside upper left", "center left"]) -> None:
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc=place,
            ncols=_columns(figure.get_figwidth(), entries),
            handlelength=1,
            handleheight=0.9,
            columnspacing=1.2,
            handletextpad=0.5,
            borderpad=0,
        )


def chinese_fonts() -> list[str]:
    """Return the names of the installed fonts that have Chinese letters.

    matplotlib's own list of fonts is not renewed when one is installed, so the files are looked for.
    """
    for path in font_manager.findSystemFonts():
        if _CHINESE_FILES.search(Path(path).name):
            font_manager.fontManager.addfont(path)
    installed = set(font_manager.get_font_names())
    return [name for name in _CHINESE if name in installed]


def settings() -> dict[str, Any]:
    """Return matplotlib's settings for all figures."""
    return {
        "font.family": ["DejaVu Sans", *chinese_fonts()],
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
