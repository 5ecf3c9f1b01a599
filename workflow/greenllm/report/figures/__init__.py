"""The figures, drawn by matplotlib. Each file draws one figure."""

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import matplotlib

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.report.figures import style
from greenllm.report.figures.batch_curve import batch_curve
from greenllm.report.figures.conservation import conservation
from greenllm.report.figures.drawing import Drawing, PagePanel, legend, panels, write
from greenllm.report.figures.energy_by_stage import energy_by_stage
from greenllm.report.figures.factors import factors
from greenllm.report.figures.few_recipes import with_few_recipes
from greenllm.report.figures.over_requests import over_requests
from greenllm.report.figures.power_over_time import power_over_time
from greenllm.report.figures.quality_energy import quality_energy
from greenllm.report.figures.requests_a_day import requests_a_day

FIGURES = {
    "quality-energy": quality_energy,
    "factors": factors,
    "energy-by-stage": energy_by_stage,
    "conservation": conservation,
    "power": power_over_time,
    "batch-curve": batch_curve,
    "over-requests": over_requests,
}


EMPTY = "<svg></svg>\n"  # with the end of line that drawn ones have


class Shown(NamedTuple):
    """A drawing, the SVG of its legend, and its panels on the page: the experiment of each, and its SVG."""

    drawing: Drawing
    legend: str
    panels: list[tuple[str, str]]


def draw_all(account: Account, footprint: Footprint | None, folder: Path | None) -> dict[str, Shown]:
    """Draw every figure that has something to show, write it to `folder`, and return it with its SVG for the page.

    Without a folder, the SVGs are empty: that takes a tenth of the time.
    """
    found = {}
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font may have no bold letters
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The page's letters are the browser's; where PDF and PNG lack some, the command says so once.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcParams.update(cast(Any, style.settings()))
        few, left_out = with_few_recipes(account)
        drawings = {name: draw(few) for name, draw in FIGURES.items()}
        for name, whole in (drawings | {"requests-a-day": requests_a_day(few, footprint)}).items():
            drawing = whole and replace(whole, caption=f"{whole.caption} {left_out}".strip())
            if drawing and folder is None:
                shown = drawing.panels or [PagePanel("", drawing.alt, drawing.figure)]
                found[name] = Shown(drawing, EMPTY if drawing.legend else "", [(one.name, EMPTY) for one in shown])
            elif drawing and folder:
                write(name, drawing, folder)
                found[name] = Shown(drawing, legend(name, drawing), panels(name, drawing))
    return found
