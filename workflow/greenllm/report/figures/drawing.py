"""Writing a figure: SVG for the page, PDF for papers, PNG for slides.

Files hold no date and no random ids: the same account makes the same bytes.
"""

import io
import re
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from greenllm.files import replacing
from greenllm.report.figures.style import BLUE, INK, MUTED, RULE


@dataclass(frozen=True)
class Drawing:
    """A figure with its title, what it shows in words (for those who can't see it), and its caption."""

    figure: Figure
    title: str
    alt: str
    caption: str


def write(name: str, drawing: Drawing, folder: Path) -> str:
    """Write a drawing to `folder` in all formats; return its SVG."""
    FigureCanvasAgg(drawing.figure)
    nothing = {"Creator": None, "Date": None}
    metadata = {
        "svg": nothing,
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    written: dict[str, bytes] = {}
    for kind, without in metadata.items():
        content = io.BytesIO()
        paper = "white" if kind == "png" else "none"
        drawing.figure.savefig(content, format=kind, metadata=without, dpi=200, facecolor=paper)
        written[kind] = content.getvalue()
        with replacing(folder / f"{name}.{kind}") as path:
            path.write_bytes(written[kind])
    return written["svg"].decode()


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
