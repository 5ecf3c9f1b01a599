"""Writing a figure: SVG for the page, PDF for papers, PNG for slides.

Files hold no date and no random ids: the same account makes the same bytes.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from greenllm.files import replacing
from greenllm.report.figures.style import BLUE, INK, MUTED, RULE
from greenllm.report.language import text


@dataclass(frozen=True)
class PagePanel:
    """A panel as the page shows it, by itself: the experiment that it is about, what it shows in words, its figure."""

    name: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Drawing:
    """A figure with its title, what it shows in words (for those who can't see it), and its caption.

    `figure` has all panels in one column of a paper; the page lays out `panels` in a grid, with `legend` above them.
    `wide` panels need more room than a column. `columns` is how many panels the page has beside each other at most; 0:
    all of them.
    """

    figure: Figure
    title: str
    alt: str
    caption: str
    panels: Sequence[PagePanel] = ()
    wide: bool = False
    legend: Figure | None = None
    columns: int = 0


_NOTHING = {"Creator": None, "Date": None}


def write(name: str, drawing: Drawing, folder: Path) -> None:
    """Write a drawing to `folder` in all formats."""
    FigureCanvasAgg(drawing.figure)
    metadata = {
        "svg": _NOTHING,
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    for kind, without in metadata.items():
        content = io.BytesIO()
        paper = "white" if kind == "png" else "none"
        drawing.figure.savefig(content, format=kind, metadata=without, dpi=200, facecolor=paper)
        with replacing(folder / f"{name}.{kind}") as path:
            path.write_bytes(content.getvalue())


def panels(name: str, drawing: Drawing) -> list[tuple[str, str]]:
    """Return the panels for the page: the experiment of each, and its SVG."""
    shown = drawing.panels or [PagePanel("", drawing.alt, drawing.figure)]
    return [(one.name, inline(f"{name}{index}", _svg(one.figure), one.alt)) for index, one in enumerate(shown)]


def legend(name: str, drawing: Drawing) -> str:
    """Return the SVG of the legend that the page's panels share; "" where each has its own, or needs none."""
    if drawing.legend is None:
        return ""
    return inline(f"{name}-legend", _svg(drawing.legend), text("Legend: {title}", title=drawing.title))


def _svg(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata=_NOTHING)
    return content.getvalue().decode()


def inline(name: str, svg: str, alt: str) -> str:
    """Return a figure's SVG for the page: unique ids, the page's own ink colours, a label for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'xlink:href="#{name}-')
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (RULE, "rule"), (BLUE, "blue")):
        svg = svg.replace(colour, f"var(--{variable})")
    opening = re.compile(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>")
    label = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return opening.sub(
        lambda found: f'<svg {spaces} viewBox="{found[1]}" role="img" aria-label="{label}">', svg, count=1
    )
