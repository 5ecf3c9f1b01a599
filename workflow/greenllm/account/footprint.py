"""Puts a study's footprint together: what its energy means at a site, from its account alone."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from greenllm.account.consumed import Consumed
from greenllm.account.document import JobRow
from greenllm.account.footprint_document import (
    Elsewhere,
    Footprint,
    FootprintJob,
    FootprintRow,
    Indicators,
    Method,
    ProductionFootprint,
    RequestsFootprint,
    SourceFile,
    Widening,
)
from greenllm.account.over_factors import decision_over_factors
from greenllm.account.scores import per_unit, scores
from greenllm.estimate import PartialInterval
from greenllm.footprint import formulas
from greenllm.footprint.consequences import OPEN, SPREAD, Consumption, ImpactModel, name_of, together
from greenllm.footprint.draws import Drawn, Draws
from greenllm.footprint.embodied import factors_of
from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import SiteFactors
from greenllm.footprint.widening import widening

THOUSAND = 1000
JOB_DRAWS = 2000  # for each single attempt; a bound then varies by some percent of the interval's half-width
INTERVAL = (
    "95 %, by Monte Carlo: lognormals of two halves with the value as median and the bounds as 2.5 % and 97.5 % "
    "quantiles; a constant is drawn once for all that share it"
)
UNITS = ("requests", "tokens", "samples")  # of work, as jobs report it
# Of each consequence: the site's factors that it needs.
NEEDS = {
    "site_J": ("pue",),
    "carbon_it_g": ("grid_carbon",),
    "carbon_g": ("grid_carbon", "pue"),
    "market_carbon_g": ("market_carbon", "pue"),
    "marginal_carbon_g": ("grid_carbon_marginal", "pue"),
    "total_g": ("grid_carbon", "pue"),
    "water_site_L": ("wue",),
    "water_grid_L": ("grid_water", "pue"),
    "water_L": ("wue", "grid_water", "pue"),
    "cost": ("price", "pue"),
    "heat_reused_kWh": ("erf", "pue"),
    "heat_displaced_g": ("erf", "heat_carbon", "pue"),
}
NAMES = {
    "pue": "PUE", "grid_carbon": "carbon of the grid", "market_carbon": "carbon by contract",
    "grid_carbon_marginal": "marginal carbon of the grid", "wue": "WUE", "grid_water": "water of the grid",
    "price": "price of electricity", "erf": "ERF", "heat_carbon": "carbon of the heating that is displaced",
}  # fmt: skip


def footprint(
    consumed: Consumed,
    model: ImpactModel,
    year: int,
    sources: Sequence[SourceFile],
    projection: Sequence[str] = (),
    elsewhere: Sequence[SiteFactors] = (),
) -> Footprint:
    """Return the footprint of a study at the model's site; `elsewhere` are sites that its total is projected to."""
    account = consumed.account
    rows = _rows(consumed)
    total = rows[-1][1]
    return Footprint(
        until=account.until,
        sources=list(sources),
        projection=list(projection),
        year=year,
        method=Method(draws=model.draws.count, seed=model.draws.seed, interval=INTERVAL),
        site=model.site,
        equipment=list(model.equipment),
        outdated=[name_of(factor) for factor in _factors(model) if factor.outdated(year)],
        unknown=_unknown(model.site),
        unbounded=[name_of(factor) for factor in _factors(model) if factor.low is None or factor.high is None],
        covered=consumed.covered,
        indicators=_indicators(model, total),
        rows=[
            FootprintRow(
                experiment=experiment,
                recipe=recipe,
                stage=stage,
                attempts=attempts,
                unknown=list(consumption.unknown),
                **dict(found),
            )
            for ((experiment, recipe, stage, attempts), consumption), found in zip(
                rows, model.consequences(consumption for _, consumption in rows), strict=True
            )
        ],
        requests=list(_requests(consumed, model)),
        production=list(_production(consumed, model)),
        scores=list(scores(consumed, model)),
        widening=_widening(consumed, model, total),
        decisions=[
            decision_over_factors(name, experiment, consumed, model) for name, experiment in account.experiments.items()
        ],
        elsewhere=[_elsewhere(site, total, model) for site in elsewhere],
        jobs=list(_jobs(consumed, model)),
    )


def source_file(folder: Path, path: Path) -> SourceFile:
    """Return a file that a footprint was computed from."""
    return SourceFile(path=str(path.relative_to(folder)), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _factors(model: ImpactModel) -> list[Factor]:
    site = [getattr(model.site, field.name) for field in fields(model.site)]
    return [*(factor for factor in site if isinstance(factor, Factor)), *factors_of(model.equipment)]


def _unknown(site: SiteFactors) -> dict[str, str]:
    """Return why quantities are unknown, whatever was measured: the factors that are."""
    missing = {
        quantity: [NAMES[name] for name in needed if getattr(site, name) is None] for quantity, needed in NEEDS.items()
    }
    return {quantity: f"unknown: {', '.join(names)}" for quantity, names in missing.items() if names}


Key = tuple[str, str, str, int]  # experiment, recipe, stage, attempts


def _rows(consumed: Consumed) -> list[tuple[Key, Consumption]]:
    """Return the stages, then the sums over recipes, experiments and the study, as in the table `impact`."""
    order = {name: place for place, name in enumerate(consumed.account.experiments)}

    def row(experiment: str, recipe: str, stage: str, members: list[Consumption]) -> tuple[Key, Consumption]:
        return (experiment, recipe, stage, len(members)), together(members)

    def grouped(
        key: Callable[[JobRow], tuple[str | None, ...]], wanted: Callable[[JobRow], bool] = lambda row: True
    ) -> Mapping[tuple[str | None, ...], list[Consumption]]:
        groups: dict[tuple[str | None, ...], list[Consumption]] = {}
        for job, consumption in consumed.jobs:
            if wanted(job):
                groups.setdefault(key(job), []).append(consumption)
        return dict(sorted(groups.items(), key=lambda item: order.get(item[0][0] or "", len(order))))

    stages = grouped(lambda job: (job.experiment, job.recipe, job.rule))
    recipes = grouped(lambda job: (job.experiment, job.recipe), lambda job: job.recipe is not None)
    experiments = grouped(lambda job: (job.experiment,), lambda job: job.experiment is not None)
    return [
        *(row(name or "none", recipe or "shared", str(rule), own) for (name, recipe, rule), own in stages.items()),
        *(row(name or "none", str(recipe), "all", own) for (name, recipe), own in recipes.items()),
        *(row(str(name), "all", "all", own) for (name,), own in experiments.items()),
        row("all", "all", "all", [consumption for _, consumption in consumed.jobs]),
    ]


def _indicators(model: ImpactModel, total: Consumption) -> Indicators:
    site = model.site
    pue, erf = model.constant(site.pue), model.constant(site.erf)
    columns = model.columns([total])
    carbon, it = columns["carbon_g"].drawn, columns["it_J"].drawn
    cue = None
    if carbon is not None and it is not None and it.value[0] > 0:
        cue = formulas.carbon_usage_effectiveness(carbon / 1000, it / formulas.J_PER_kWh)
    return Indicators(
        pue=_first(pue),
        ere=None if pue is None or erf is None else _first(formulas.energy_reuse_effectiveness(pue, erf)),
        erf=_first(erf),
        ref=_first(model.constant(site.renewable)),
        wue=_first(model.constant(site.wue)),
        cue=_first(cue),
    )


def _first(drawn: Drawn | None) -> PartialInterval | None:
    return None if drawn is None else drawn.intervals()[0]


def _elsewhere(site: SiteFactors, total: Consumption, model: ImpactModel) -> Elsewhere:
    """Return the study's total at another site; a recorded course of the grid is not that place's."""
    found = next(replace(model, site=site).consequences([replace(total, timed=None)]))
    return Elsewhere(place=site.place, year=site.grid_carbon and site.grid_carbon.year, **dict(found))


def _jobs(consumed: Consumed, model: ImpactModel) -> Iterator[FootprintJob]:
    """Yield each attempt's footprint, by the first draws alone: there may be very many attempts."""
    few = replace(model, draws=Draws(min(model.draws.count, JOB_DRAWS), model.draws.seed))
    consequences = few.consequences(consumption for _, consumption in consumed.jobs)
    for (row, consumption), found in zip(consumed.jobs, consequences, strict=True):
        units = [(unit, float(amount)) for unit in UNITS if (amount := row.work.get(unit))]
        sci = [per_unit(found, consumption.unknown, unit, amount) for unit, amount in units]
        yield FootprintJob(id=row.id, sci=sci, unknown=list(consumption.unknown), **dict(found))


def _requests(consumed: Consumed, model: ImpactModel) -> Iterator[RequestsFootprint]:
    for name, experiment in consumed.account.experiments.items():
        for recipe in experiment.comparison.recipes:
            request = consumed.request(name, recipe)
            if request is None:
                continue
            found = next(model.consequences([request.scaled(THOUSAND)]))
            yield RequestsFootprint(
                experiment=name,
                recipe=recipe.recipe,
                sci=per_unit(found, request.unknown, "requests", THOUSAND),
                unknown=list(request.unknown),
                **dict(found),
            )


def _production(consumed: Consumed, model: ImpactModel) -> Iterator[ProductionFootprint]:
    for name, experiment in consumed.account.experiments.items():
        for recipe in experiment.comparison.recipes:
            made = consumed.production(name, recipe.recipe)
            if made is None:
                continue
            found = next(model.consequences([made]))
            yield ProductionFootprint(experiment=name, recipe=recipe.recipe, unknown=list(made.unknown), **dict(found))


WIDENED = ("it_J", "carbon_it_g", "carbon_g", "embodied_g", "total_g", "water_L", "cost")


def _widening(consumed: Consumed, model: ImpactModel, total: Consumption) -> list[Widening]:
    """Return what widens most the intervals of the study's total, and of a request to each recommended recipe."""
    wanted: list[tuple[str | None, Consumption]] = [(None, total)]
    for name, experiment in consumed.account.experiments.items():
        chosen = [one for one in experiment.comparison.recipes if one.recipe == experiment.recommendation.recipe]
        wanted += [(name, found) for row in chosen if (found := consumed.request(name, row))]
    factors = [name_of(factor) for factor in _factors(model) if factor.low != factor.high]
    rows = []
    for experiment_name, consumption in wanted:
        columns = model.columns([consumption])
        names = dict.fromkeys([*(consumption.host.terms if consumption.host else ()), *factors, OPEN, SPREAD])
        for quantity in WIDENED:
            drawn = columns[quantity].drawn if columns[quantity].known[0] else None
            if drawn is not None and (quantity != "carbon_it_g" or columns["carbon_g"].drawn is None):
                shares = widening(drawn.draws[0], (one for one in names if not one.startswith("unseen@")), model.draws)
                rows += [
                    Widening(experiment=experiment_name, quantity=quantity, constant=one, share=share)
                    for one, share in shares
                ]
    return rows
