"""The curve of a tuning: energy over time of a unit of work, for every setting that was probed."""

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.style import BLUE, INK, MUTED
from greenllm.tuning.search import Found


def tuning_curve(found: Found, unit: str, bound_s: float | None) -> Drawing:
    """Draw what was probed, with the settings that no other beats in both energy and time, and the best."""
    figure = Figure(figsize=(5.2, 3.4), layout="constrained")
    axis = figure.add_subplot()
    known = [(probe.setting, probe.cost) for probe in found.probes if probe.cost is not None]
    axis.scatter([c.time_s for _, c in known], [c.energy_J for _, c in known], s=16, color=MUTED, label="probes")
    front = [found.typical(one) for one in found.front]
    axis.plot([c.time_s for c in front], [c.energy_J for c in front], color=INK, linewidth=1, label="front (medians)")
    best = found.typical(found.best)
    axis.scatter(best.time_s, best.energy_J, s=40, marker="D", color=BLUE, zorder=3, label=str(found.best))
    if bound_s is not None:
        axis.axvline(bound_s, color=INK, linestyle=":", linewidth=1, label=f"bound, {bound_s:g} s")
    axis.set_xscale("log")
    axis.set_yscale("log")
    for part, name in ((axis.xaxis, "s"), (axis.yaxis, "J")):
        part.set_major_locator(LogLocator(subs=(1, 2, 5)))
        part.set_major_formatter(EngFormatter(name))
        part.set_minor_formatter(NullFormatter())
    axis.set_xlabel(f"time per {unit}")
    axis.set_ylabel(f"energy per {unit}")
    axis.legend(fontsize=7)
    title = f"Energy and time per {unit}"
    return Drawing(figure, title, f"{title}: {found.best} is best of {len(known)} probes", title)
