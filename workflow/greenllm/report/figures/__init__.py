"""The figures, as matplotlib draws them. One file a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import matplotlib

from greenllm.report.figures import style
from greenllm.report.figures.batch_curve import batch_curve
from greenllm.report.figures.drawing import inline, write
from greenllm.report.figures.energy_by_stage import energy_by_stage
from greenllm.report.figures.power_over_time import power_over_time
from greenllm.report.figures.quality_energy import quality_energy

FIGURES = {
    "quality-energy": quality_energy,
    "batch-curve": batch_curve,
    "energy-by-stage": energy_by_stage,
    "power": power_over_time,
}


def draw_all(account: Mapping[str, Any], folder: Path) -> dict[str, dict[str, str]]:
    """Draw what there is to draw, write it to `folder`, and return each figure's {name, title, caption, inline SVG}."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(cast(Any, style.settings()))
        return {
            name: {
                "name": name,
                "title": drawing.title,
                "caption": drawing.caption,
                "inline": inline(name, write(name, drawing, folder), drawing.alt),
            }
            for name, draw in FIGURES.items()
            if (drawing := draw(account))
        }
