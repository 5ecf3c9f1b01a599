"""A decision over its factors: is the recommended recipe still best on other grids, at other loads and prices?

Ratios of recipes are drawn from their own intervals: recipes that were measured side by side share errors. Where a
ratio is known by cause, each cause is drawn: two recipes on the same engine share its factor.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from greenllm.account.consumed import Consumed
from greenllm.account.document import ExperimentAccount
from greenllm.account.footprint_document import (
    DecisionOverFactors,
    Measure,
    Repayment,
    RequestsPerDay,
    Sweep,
)
from greenllm.account.ranking import (
    EMBODIED,
    GRID,
    LOAD,
    PRICE,
    PUE,
    SECONDS_PER_DAY,
    FactorRange,
    Option,
    Point,
    Ranking,
)
from greenllm.comparison.rows import BreakEven, RecipeRow
from greenllm.estimate import Interval, PartialInterval
from greenllm.footprint import formulas
from greenllm.footprint.consequences import Consumption, ImpactModel
from greenllm.footprint.draws import Drawn, distributed

MEASURES: tuple[Measure, ...] = ("energy", "carbon", "cost")
PER_DAY = (100.0, 1e3, 1e4, 1e5, 1e6, 1e7)  # requests a day, as far as one server can answer them


def decision_over_factors(
    name: str, experiment: ExperimentAccount, consumed: Consumed, model: ImpactModel
) -> DecisionOverFactors:
    """Return whether an experiment's recommendation holds over the factors' ranges, and when its making is repaid."""
    advice, rows = experiment.recommendation, experiment.comparison.recipes
    good = [row for row in rows if row.qualifies == "yes" or row.recipe == advice.recipe]
    found = {row.recipe: _option(name, row, rows, consumed, model) for row in rows}
    options = [option for row in good if (option := found[row.recipe]) is not None]
    embodied = all(option.embodied_g is not None and option.made_g is not None for option in options)
    ranking = Ranking(
        options=options,
        requests=float(advice.requests),
        grid=model.constant(model.site.grid_carbon),
        pue=model.constant(model.site.pue),
        price=model.constant(model.site.price),
        with_embodied=embodied and bool(options),
        resolvable=(experiment.comparison.twin and experiment.comparison.twin.resolvable) or 0.0,
    )
    reason = _why_not(advice.recipe, advice.reason, ranking)
    known = None if reason else advice.recipe
    loads: list[float | None] = [None, *(load.low for load in [_loads(options)] if load)]
    return DecisionOverFactors(
        experiment=name,
        recommended=advice.recipe,
        candidates=[option.recipe for option in options],
        reason=reason,
        embodied=ranking.with_embodied,
        first={
            measure: list(best)
            for measure in MEASURES
            if known and (best := ranking.first(measure, Point())) is not None
        },
        everywhere=known and ranking.everywhere(known, loads),
        combinations=known and ranking.combinations(known, (GRID, PUE, EMBODIED), model.draws.seed),
        sweeps=_sweeps(ranking, known) if known else [],
        per_day=_per_day(ranking),
        repayments=_repayments(ranking, [(row, one) for row in rows if (one := found[row.recipe])]),
    )


def _why_not(recommended: str | None, reason: str | None, ranking: Ranking) -> str | None:
    if recommended is None:
        return reason or "no recipe is recommended"
    if recommended not in [option.recipe for option in ranking.options]:
        return f"the energy of a request to {recommended} is not known by parameter"
    if any(option.made_J is None for option in ranking.options):
        return "what a model took to be made is unknown"
    if len(ranking.options) == 1:
        return f"{recommended} is the only recipe whose quality is as asked and whose energy is known"
    return None


def _option(
    experiment: str, row: RecipeRow, rows: Sequence[RecipeRow], consumed: Consumed, model: ImpactModel
) -> Option | None:
    """Return what is drawn of a recipe; None where the energy of a request to it is unknown."""
    request = consumed.request(experiment, row)
    if request is None:
        return None
    baseline = next(one for one in rows if one.is_baseline)
    made = None if row.placed_apart else consumed.production(experiment, row.recipe)
    held = consumed.reserved_in_service(experiment, row.recipe)
    idle_W, embodied_g = consumed.idle_power(experiment, row.recipe), _embodied(request, model)
    own, spread = model.energy([request.host], [request.spread]), _ratio(experiment, row, model)
    first = consumed.request(experiment, baseline)
    if spread is not None and first is not None and own.value[0] > 0:
        # The errors of a request are those of the baseline's and those of the ratio of the two.
        drawn = model.energy([first.host], [first.spread])
        own = Drawn(own.value, own.value[0] * (drawn.draws / drawn.value[0]) / spread.draws, own.unbounded)
        # The time of a request was measured in the same rounds: its spread is taken to be that of the energy.
        embodied_g = embodied_g and Drawn(embodied_g.value, embodied_g.draws / spread.draws, embodied_g.unbounded)
    return Option(
        recipe=row.recipe,
        request_J=own,
        embodied_g=embodied_g,
        idle_W=None if idle_W is None else model.energy([idle_W]),
        busy_s=1 / row.requests_per_s if row.requests_per_s else None,
        held_g_per_s=None if held is None else model.embodied([held]).drawn,
        made_J=None if made is None or made.host is None else model.energy([made.host]),
        made_g=None if made is None else _embodied(made, model),
    )


def _embodied(consumption: Consumption, model: ImpactModel) -> Drawn | None:
    return None if consumption.reserved is None else model.embodied([consumption.reserved]).drawn


def _ratio(experiment: str, row: RecipeRow, model: ImpactModel) -> Drawn | None:
    """Return how far the draws of the baseline's energy, divided by a recipe's, are from its value; None: no ratio."""
    known = [part for part in row.parts if part.times_less is not None]
    whole = [(f"{row.recipe}", row.times_less)]
    parts = [(f"{part.before} to {part.after}", part.times_less) for part in known]
    found = Drawn(np.ones(1), np.ones((1, model.draws.count)))
    for name, ratio in parts if parts and len(known) == len(row.parts) else whole:
        if ratio is None or ratio.low <= 0:
            return None
        normal = model.draws.normal(f"ratio of {experiment}/{name}")
        found = Drawn(found.value, found.draws * distributed(normal, *ratio) / ratio.value)
    return found


def _loads(options: Sequence[Option]) -> FactorRange | None:
    """Return the range of requests a day: from 10 to what the slowest server can answer."""
    busy_s = [option.busy_s for option in options if option.busy_s is not None]
    if len(busy_s) < len(options) or not options or any(option.idle_W is None for option in options):
        return None
    return FactorRange(
        LOAD, "1/day", 10, max(20.0, SECONDS_PER_DAY / max(busy_s)), "to one server, up to all that the slowest can do"
    )


def _sweeps(ranking: Ranking, recipe: str) -> list[Sweep]:
    wanted: list[tuple[Measure, FactorRange | None, Callable[[float], Point]]] = [
        ("carbon", GRID, lambda value: Point(grid=value)),
        ("carbon", PUE, lambda value: Point(pue=value)),
        ("carbon", EMBODIED if ranking.with_embodied else None, lambda value: Point(embodied=value)),
        ("carbon", _loads(ranking.options), lambda value: Point(per_day=value)),
        ("energy", _loads(ranking.options), lambda value: Point(per_day=value)),
        ("cost", PRICE, lambda value: Point(price=value)),
    ]
    found = [ranking.sweep(measure, factor, at, recipe) for measure, factor, at in wanted if factor is not None]
    return [one for one in found if one is not None]


def _per_day(ranking: Ranking) -> list[RequestsPerDay]:
    """Return energy, carbon and cost of a request by the number of requests a day that one server can answer."""
    rows = []
    for option in ranking.options:
        for per_day in PER_DAY:
            if option.busy_s is None or option.idle_W is None or per_day * option.busy_s > SECONDS_PER_DAY:
                continue
            point = Point(per_day=per_day)
            energy, carbon, cost = (
                _interval(function(option, point, made=False))
                for function in (ranking.energy_J, ranking.carbon_g, ranking.cost)
            )
            rows.append(
                RequestsPerDay(
                    recipe=option.recipe, requests_per_day=per_day, energy_J=energy, carbon_g=carbon, cost=cost
                )
            )
    return rows


def _repayments(ranking: Ranking, rows: Sequence[tuple[RecipeRow, Option]]) -> list[Repayment]:
    """Return, for each recipe but the baseline, its extra making and what a request saves: in energy, carbon, cost.

    After how many requests the energy is repaid is what the account says.
    """
    first = next((option for row, option in rows if row.is_baseline), None)
    if first is None:
        return []
    found = []
    for row, option in rows:
        if option is first:
            continue
        for measure in MEASURES:
            function = ranking.of(measure)
            before, after = (function(one, Point(), made=False) for one in (first, option))
            made = [_made(ranking, one, measure) for one in (first, option)]
            saved = None if before is None or after is None else before - after
            extra = None if made[0] is None or made[1] is None else made[1] - made[0]
            found.append(
                Repayment(
                    recipe=option.recipe,
                    measure=measure,
                    extra=_interval(extra),
                    saved_per_request=_interval(saved),
                    requests=row.break_even_requests if measure == "energy" else _repaid(extra, saved),
                )
            )
    return found


def _made(ranking: Ranking, option: Option, measure: Measure) -> Drawn | None:
    """Return the energy, carbon or cost of making a recipe's model."""
    if option.made_J is None:
        return None
    if measure == "energy":
        return option.made_J
    site_kWh = formulas.site_energy(option.made_J, 1.0 if ranking.pue is None else ranking.pue) / formulas.J_PER_kWh
    if measure == "cost":
        return None if ranking.price is None else formulas.cost(site_kWh, ranking.price)
    if ranking.grid is None:
        return None
    carbon = formulas.operational_g(site_kWh, ranking.grid)
    return carbon + option.made_g if ranking.with_embodied and option.made_g is not None else carbon


def _repaid(extra: Drawn | None, saved: Drawn | None) -> BreakEven | None:
    """Return after how many requests the extra is saved; None where it is unknown or can't be resolved."""
    if extra is None or saved is None:
        return None
    positive = float(np.mean(saved.draws > 0))
    if positive < 0.025:  # what took less to make has nothing to repay
        return "never" if np.quantile(extra.draws, 0.025) > 0 else None
    if positive < 0.975 or saved.value[0] <= 0:
        return None
    with np.errstate(divide="ignore"):
        draws = np.where(saved.draws > 0, np.maximum(0.0, extra.draws) / saved.draws, np.inf)
    low, high = (float(bound) for bound in np.quantile(draws, [0.025, 0.975], method="inverted_cdf"))
    value = max(0.0, float(extra.value[0])) / float(saved.value[0])
    return Interval(value, min(low, value), max(high, value)) if math.isfinite(high) else None


def _interval(found: Drawn | None) -> PartialInterval | None:
    return None if found is None else found.intervals()[0]
