"""How figures look: size, letters, colours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib import font_manager
from matplotlib.figure import Figure

from greenllm.account.document import Account

COLUMN_in = 3.33  # a column of a paper with two; with letters of 8 points, legible on a phone as well
WIDE_in = 6.8  # a panel that shows many values, on the page
INK, MUTED, RULE = "#1c2326", "#667077", "#d5d9d8"
BLUE = "#22577a"
# Hue and lightness both change, so that people with a colour vision deficiency see the difference.
_COLOURS = (BLUE, "#d1495b", "#2a9d6f", "#7a5195", "#c98a1b", "#38a3a5", "#667077")
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<")

# Fonts with CJK glyphs, used where installed; DejaVu comes with matplotlib.
_FONTS = [
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
]


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


def legend(figure: Figure, key: Callable[[str], Any] | None = None) -> None:
    """Put one legend above all panels: each label once, sorted by `key` where there is one, in columns that fit."""
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    labels = sorted(found, key=key) if key else list(found)
    if not labels:
        return
    longest = max(sum(2 if ord(letter) > 0x2E80 else 1 for letter in label) for label in labels)
    figure.legend(
        [found[label] for label in labels],
        labels,
        loc="outside upper left",
        ncols=max(1, min(len(labels), int(figure.get_figwidth() * 16 / (longest + 5)))),
        handlelength=1,
        handleheight=0.9,
        columnspacing=1.2,
        handletextpad=0.5,
    )


def settings() -> dict[str, Any]:
    """Return matplotlib's settings for all figures."""
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
