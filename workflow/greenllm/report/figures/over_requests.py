"""What the decision depends on: the energy of a request, its share of the making included, over their number."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from greenllm.account.document import Account, ExperimentAccount
from greenllm.comparison.rows import RecipeRow
from greenllm.report.figures.drawing import Drawing
from greenllm.report.figures.multiples import Panel, multiples
from greenllm.report.figures.style import INK, LINES, MUTED, Look, looks
from greenllm.report.language import text
from greenllm.report.numbers import about, plain, prefix_for, quantity


def over_requests(account: Account) -> Drawing | None:
    """Draw each recipe's energy per request over the number of requests, a panel an experiment; None without any."""
    look = looks(account)
    panels = []
    for name, experiment in account.experiments.items():
        rows = [row for row in experiment.comparison.recipes if row.energy_per_request_J and row.cost_to_produce_J]
        if rows:
            draw = partial(_draw, rows=rows, experiment=experiment, look=look)
            panels.append(Panel(name, _words(name, rows, experiment), 2.3, draw, name))
    if not panels:
        return None
    caption = text(
        "The energy of a request plus that of making the model, divided by the number of requests: with few requests "
        "the making decides, with many the request. Dotted: the requests expected (decision.requests). A ring: from "
        "there the recommended recipe has paid back its making. Shaded: the 95 % interval of the recommended recipe."
    )
    return multiples(text("Energy in all, by the number of requests"), caption, panels)


def _words(name: str, rows: Sequence[RecipeRow], experiment: ExperimentAccount) -> str:
    expected = experiment.recommendation.requests
    said = ", ".join(
        text("{recipe} {energy}", recipe=row.recipe, energy=quantity(row.total_energy_per_request_J, "J"))
        for row in rows
    )
    return text(
        "{experiment}, with {requests} requests: {recipes}", experiment=name, requests=about(expected), recipes=said
    )


def _draw(axis: Axes, rows: Sequence[RecipeRow], experiment: ExperimentAccount, look: dict[str, Look]) -> None:
    expected = float(experiment.recommendation.requests)
    requests = np.logspace(2, max(7, np.log10(expected) + 1), 60)
    best = experiment.recommendation.recipe
    known = [(row, row.energy_per_request_J, row.cost_to_produce_J) for row in rows]
    scale, unit = prefix_for([energy for _, energy, _ in known], "J")
    for index, (row, energy, making) in enumerate(known):
        if energy is None or making is None:
            continue
        middle, low, high = ((one + made / requests) / scale for one, made in zip(energy, making, strict=True))
        recommended = row.recipe == best
        axis.plot(
            requests, middle, color=look[row.recipe].colour, linestyle=LINES[index % len(LINES)],
            linewidth=1.8 if recommended else 1.1, label=row.recipe, marker=look[row.recipe].marker, markevery=12,
            markersize=3.5,
        )  # fmt: skip
        if recommended:
            axis.fill_between(
                requests, np.maximum(low, 1e-12), high, color=look[row.recipe].colour, alpha=0.15, linewidth=0
            )
            paid = row.break_even_requests
            if paid is not None and paid != "never" and paid.value >= requests[0]:
                at = (energy.value + making.value / paid.value) / scale
                axis.plot(paid.value, at, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK)
    axis.axvline(expected, color=MUTED, linestyle=":", linewidth=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(requests[0], requests[-1])
    axis.xaxis.set_major_locator(LogLocator(subs=(1,), numticks=6))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(lambda value, _: plain(value, 0 if value >= 1 else 2))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(text("requests in all"))
    axis.set_ylabel(text("energy per request ({unit})", unit=unit))
