"""What a request takes by the number of requests a day: energy, carbon and money, the server's idle time included."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from greenllm.account.document import Account
from greenllm.account.footprint_document import DecisionOverFactors, Footprint, RequestsPerDay
from greenllm.estimate import PartialInterval
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.style import LINES, Look, looks
from greenllm.report.language import noted, text
from greenllm.report.numbers import about, plain, prefix_for, quantity
from greenllm.report.tables.shared import currency_of

_UNITS = {"energy_J": "J", "carbon_g": "g CO₂e", "cost": ""}
_TITLES = {
    "energy_J": noted("{experiment}: energy of a request"),
    "carbon_g": noted("{experiment}: carbon of a request"),
    "cost": noted("{experiment}: money of a request"),
}
Lines = Mapping[str, Sequence[tuple[float, PartialInterval]]]  # recipe → its points: requests a day, and the value


def requests_a_day(account: Account, footprint: Footprint | None) -> Drawing | None:
    """Draw energy, carbon and money of a request over requests a day, a panel an experiment and measure; None without.

    The panels of one measure are next to each other, or those of one experiment where there are more measures.
    """
    decisions = footprint.decisions if footprint else []
    look = looks(account)
    units = dict(_UNITS, cost=currency_of(footprint))
    rows = [
        [panel for decision in decisions if (panel := _panel_of(decision, measure, unit, look))]
        for measure, unit in units.items()
    ]
    rows = [row for row in rows if row]
    columns = max(map(len, rows), default=0)
    if len(rows) > columns and len({len(row) for row in rows}) == 1:
        rows, columns = [list(column) for column in zip(*rows, strict=True)], len(rows)
    panels = [panel for row in rows for panel in row]
    if not panels:
        return None
    caption = text(
        "With few requests a day the server's idle power between them, and what it holds all day, decide; with many "
        "the request itself. Without the making of the model. Carbon is with embodied carbon, where that is known. "
        "Shaded: the 95 % interval of the recommended recipe."
    )
    drawing = multiples(text("A request by the number of requests a day"), caption, panels)
    return replace(drawing, columns=columns)


def _panel_of(decision: DecisionOverFactors, measure: str, unit: str, look: dict[str, Look]) -> Panel | None:
    name = decision.experiment
    lines = {recipe: points for recipe, points in _lines(decision.per_day, measure).items() if recipe in look}
    if not any(len(points) > 1 for points in lines.values()):
        return None
    scale, prefixed = prefix_for([value for points in lines.values() for _, value in points], unit)
    title = text(_TITLES[measure], experiment=name) + (f" ({text(prefixed)})" if prefixed else "")
    draw = partial(_draw, lines=lines, scale=scale, decision=decision, look=look)
    return Panel(title, _words(decision, lines, unit), 1.0, draw, name)


def _lines(rows: Sequence[RequestsPerDay], measure: str) -> Lines:
    found: dict[str, list[tuple[float, PartialInterval]]] = {}
    for row in rows:
        if (value := getattr(row, measure)) is not None:
            found.setdefault(row.recipe, []).append((float(row.requests_per_day), value))
    return found


def _words(decision: DecisionOverFactors, lines: Lines, unit: str) -> str:
    said = ", ".join(
        text(
            "{recipe} {least} at {few} a day, {most} at {many}",
            recipe=recipe, least=quantity(points[0][1], unit), few=about(points[0][0]),
            most=quantity(points[-1][1], unit), many=about(points[-1][0]),
        )
        for recipe, points in lines.items()
    )  # fmt: skip
    return text("{experiment}: {recipes}", experiment=decision.experiment, recipes=said)


def _draw(axis: Axes, lines: Lines, scale: float, decision: DecisionOverFactors, look: dict[str, Look]) -> None:
    for index, (recipe, points) in enumerate(lines.items()):
        requests, recommended = [one for one, _ in points], recipe == decision.recommended
        axis.plot(
            requests, [value.value / scale for _, value in points], color=look[recipe].colour,
            linestyle=LINES[index % len(LINES)], linewidth=1.8 if recommended else 1.1, label=recipe,
            marker=look[recipe].marker, markersize=3.5,
        )  # fmt: skip
        bounds = [(value.low, value.high) for _, value in points]
        if recommended and all(low is not None and high is not None for low, high in bounds):
            low, high = ([float(one or 0) / scale for one in side] for side in zip(*bounds, strict=True))
            axis.fill_between(requests, low, high, color=look[recipe].colour, alpha=0.15, linewidth=0)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1,), numticks=7))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(subs=(1,), numticks=5))
    axis.yaxis.set_major_formatter(lambda value, _: plain(value, max(0, -math.floor(math.log10(value) + 1e-9))))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(text("requests a day"))
