"""The figures, drawn by matplotlib. Each file draws one figure."""

from pathlib import Path
from typing import Any, cast

import matplotlib

from greenllm.account.document import Account
from greenllm.report.figures import style
from greenllm.report.figures.batch_curve import batch_curve
from greenllm.report.figures.drawing import Drawing, inline, write
from greenllm.report.figures.energy_by_stage import energy_by_stage
from greenllm.report.figures.factors import factors
from greenllm.report.figures.power_over_time import power_over_time
from greenllm.report.figures.quality_energy import quality_energy

FIGURES = {
    "factors": factors,
    "quality-energy": quality_energy,
    "batch-curve": batch_curve,
    "energy-by-stage": energy_by_stage,
    "power": power_over_time,
}


def draw_all(account: Account, folder: Path) -> dict[str, tuple[Drawing, str]]:
    """Draw every figure that has something to show, write it to `folder`, and return it with its SVG for the page."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(cast(Any, style.settings()))
        return {
            name: (drawing, inline(name, write(name, drawing, folder), drawing.alt))
            for name, draw in FIGURES.items()
            if (drawing := draw(account))
        }
