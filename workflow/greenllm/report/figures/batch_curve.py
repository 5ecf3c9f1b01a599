"""The batch curve: the energy of a request when several are under way at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from greenllm.account.document import Account
from greenllm.comparison.rows import RecipeRow
from greenllm.estimate import Interval
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.style import Look, looks
from greenllm.report.language import text
from greenllm.report.numbers import plain, prefix_for, quantity


@dataclass(frozen=True)
class AtConcurrency:
    """The energy per request (J) at one concurrency."""

    concurrency: float
    energy: Interval


Curves = Mapping[str, Sequence[AtConcurrency]]  # recipe → its points by concurrency


def batch_curve(account: Account) -> Drawing | None:
    """Draw energy per request over concurrency, a panel an experiment; None where one concurrency was measured."""
    look = looks(account)
    panels = [
        Panel(name, _words(name, curves), 2.2, partial(_panel, curves=curves, look=look), name)
        for name, experiment in account.experiments.items()
        if (curves := _curves(experiment.comparison.recipes))
    ]
    if not panels:
        return None
    caption = text(
        "The server's energy per request by the number of requests under way at once: requests that are answered "
        "together share the reading of the weights and the idle power. Bars are 95 % intervals; recipes on one host "
        "share most of that error."
    )
    return multiples(text("Energy per request and concurrency"), caption, panels)


def _words(name: str, curves: Curves) -> str:
    return "; ".join(
        f"{name}, {recipe}: "
        + ", ".join(
            text("{energy} at {concurrency}", energy=quantity(point.energy, "J"), concurrency=point.concurrency)
            for point in points
        )
        for recipe, points in curves.items()
    )


def _curves(rows: Sequence[RecipeRow]) -> Curves:
    """Return each recipe's points of known energy; empty where no recipe has several."""
    curves = {}
    for row in rows:
        points = [
            AtConcurrency(point.concurrency, point.energy_per_request_J)
            for point in row.curve
            if point.energy_per_request_J and point.concurrency
        ]
        if points:
            curves[row.recipe] = sorted(points, key=lambda point: point.concurrency)
    return curves if any(len(points) > 1 for points in curves.values()) else {}


def _panel(axis: Axes, curves: Curves, look: dict[str, Look]) -> None:
    energies = [point.energy for points in curves.values() for point in points]
    scale, unit = prefix_for(energies, "J")
    for recipe, points in curves.items():
        bounds = np.array([(point.energy.low, point.energy.value, point.energy.high) for point in points]).T / scale
        axis.errorbar(
            [point.concurrency for point in points], bounds[1], yerr=np.diff(bounds, axis=0), label=recipe,
            marker=look[recipe].marker, color=look[recipe].colour, markersize=4, linewidth=1.2, elinewidth=0.8,
        )  # fmt: skip
    concurrencies = sorted({point.concurrency for points in curves.values() for point in points})
    axis.set_xscale("log", base=2)
    axis.set_xticks(concurrencies, [str(one) for one in concurrencies])
    axis.xaxis.set_minor_locator(NullLocator())
    lowest, highest = min(energy.low for energy in energies), max(energy.high for energy in energies)
    if lowest > 0 and highest / lowest > 5:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(lambda value, _: plain(value, 0 if value >= 1 else 2))
        axis.yaxis.set_minor_locator(NullLocator())
    else:
        axis.set_ylim(0, highest / scale * 1.08)
    axis.set_xlabel(text("requests under way at once"))
    axis.set_ylabel(text("energy per request ({unit})", unit=unit))
