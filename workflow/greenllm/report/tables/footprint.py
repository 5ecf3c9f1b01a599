"""The table `impact` of a footprint: what each stage, recipe and experiment means at a site."""

from collections.abc import Mapping
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint, FootprintRow
from greenllm.footprint.factor import Factor
from greenllm.footprint.rows import ImpactRow
from greenllm.report.derivation import FOOTPRINT_FILES, MEASURED, Ledgers
from greenllm.report.language import noted, text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import UNKNOWN, currency_of
from greenllm.report.tables.spending import attempts_of


@dataclass(frozen=True)
class SiteRow:
    """A row of the account's table `impact`, with what it means at a site."""

    spent: ImpactRow
    found: FootprintRow
    grid: Factor | None
    pue: Factor | None
    outdated: bool | None


def _quantity(
    key: str, title: str, unit: str, field: str, formula: str, *entering: str, if_known: bool = False
) -> Column:
    factors = (*entering, *MEASURED)
    return Column(
        key, title, unit, "interval", UNKNOWN, field=f"found.{field}", formula=formula, factors=factors,
        if_known=if_known,
    )  # fmt: skip


def footprint_table(account: Account, footprint: Footprint) -> Table:
    """One row a stage, recipe and experiment: energy in scopes, and its consequences with 95 % intervals."""
    site = footprint.site
    by_key: Mapping[tuple[str, ...], FootprintRow] = {
        (row.experiment, row.recipe, row.stage): row for row in footprint.rows
    }
    grid = site.grid_carbon
    rows = [
        SiteRow(
            spent=row,
            found=by_key[row.experiment, row.recipe, row.stage],
            grid=grid,
            pue=site.pue,
            outdated=None if grid is None else grid.outdated(footprint.year),
        )
        for row in account.impact
    ]
    columns = [
        Column("experiment", "Experiment", field="spent.experiment"),
        Column("recipe", "Recipe", field="spent.recipe"),
        Column("stage", "Stage", field="spent.stage", words=True),
        Column("attempts", "Attempts", None, "number", field="spent.attempts"),
        Column("unknown", "Attempts of unknown energy", None, "number", field="spent.unknown", on_page=False),
        Column("energy_J", "Energy", "J", "interval", UNKNOWN, field="spent.energy_J", factors=MEASURED,
               formula=noted("sum of energy_J of the attempts")),
        Column("waste_J", "Wasted", "J", "interval", UNKNOWN, field="spent.waste_J", factors=MEASURED,
               formula=noted("sum of energy_J of those attempts that failed, were killed, lost or superseded")),
        Column("energy_kWh", "Energy", "kWh", "interval", UNKNOWN, field="spent.energy_kWh", on_page=False),
        _quantity("accelerator_J", noted("GPUs"), "J", "accelerator_J", noted("sum of the energy of the GPUs")),
        _quantity("idle_J", noted("Share of idle"), "J", "idle_J",
                  noted("idle energy of each host × the attempts' share of the energy of all attempts there")),
        _quantity("site_J", noted("Energy of the site"), "J", "site_J", noted("(energy + share of idle) × PUE"),
                  "site.pue"),
        _quantity("carbon_gCO2e", noted("Carbon, IT equipment"), "g CO₂e", "carbon_it_g",
                  noted("(energy + share of idle) / 3.6 MJ/kWh × carbon of the grid (of each attempt's hours, where a "
                        "series is given)"), "site.grid_carbon"),
        Column("pue", "PUE", "1", "number", UNKNOWN, field="pue.value", on_page=False),
        _quantity("carbon_site_gCO2e", noted("Carbon, site"), "g CO₂e", "carbon_g",
                  noted("carbon of the IT equipment × PUE"), "site.grid_carbon", "site.pue"),
        _quantity("carbon_market_gCO2e", noted("Carbon by contract"), "g CO₂e", "market_carbon_g",
                  noted("energy of the site / 3.6 MJ/kWh × carbon by contract"), "site.market_carbon", "site.pue",
                  if_known=True),
        _quantity("carbon_marginal_gCO2e", noted("Carbon, marginal"), "g CO₂e", "marginal_carbon_g",
                  noted("energy of the site / 3.6 MJ/kWh × marginal carbon of the grid"), "site.grid_carbon_marginal",
                  "site.pue", if_known=True),
        _quantity("embodied_gCO2e", noted("Embodied carbon"), "g CO₂e", "embodied_g",
                  noted("sum over the equipment: embodied carbon / life × time reserved × share reserved"),
                  "equipment"),
        _quantity("carbon_total_gCO2e", noted("Carbon with embodied"), "g CO₂e", "total_g",
                  noted("carbon of the site + embodied carbon"), "site.grid_carbon", "site.pue", "equipment"),
        _quantity("water_site_L", noted("Water on site"), "L", "water_site_L",
                  noted("(energy + share of idle) / 3.6 MJ/kWh × WUE"), "site.wue"),
        _quantity("water_grid_L", noted("Water of the grid"), "L", "water_grid_L",
                  noted("energy of the site / 3.6 MJ/kWh × water of the grid"), "site.grid_water", "site.pue"),
        _quantity("cost", noted("Cost"), currency_of(footprint), "cost",
                  noted("energy of the site / 3.6 MJ/kWh × price"), "site.price", "site.pue"),
        _quantity("heat_reused_kWh", noted("Reused heat"), "kWh", "heat_reused_kWh",
                  noted("energy of the site / 3.6 MJ/kWh × ERF"), "site.erf", "site.pue", if_known=True),
        Column("grid_gCO2e_per_kWh", "Grid factor", "g CO₂e/kWh", "number", UNKNOWN, field="grid.value", on_page=False),
        Column("grid_low", "Factor, low", "g CO₂e/kWh", "number", UNKNOWN, field="grid.low", on_page=False),
        Column("grid_high", "Factor, high", "g CO₂e/kWh", "number", UNKNOWN, field="grid.high", on_page=False),
        Column("grid_place", "Place", absent=UNKNOWN, field="grid.place", on_page=False),
        Column("grid_year", "Year", None, "number", UNKNOWN, field="grid.year", on_page=False),
        Column("grid_outdated", "Outdated", absent=UNKNOWN, field="outdated", on_page=False),
        Column("grid_source", "Source", absent=UNKNOWN, field="grid.source", on_page=False),
        Column("grid_licence", "Licence", absent=UNKNOWN, field="grid.licence", on_page=False),
    ]  # fmt: skip
    notes = [
        text("Every attempt is counted once. Wasted: by attempts that failed, were killed, lost or superseded."),
        text("Carbon, water and cost include the jobs' share of the hosts' idle energy."),
        *([text("Projection: {what}.", what="; ".join(footprint.projection))] if footprint.projection else []),
    ]
    ledgers = Ledgers(account)
    return Table(
        "impact",
        "Energy of everything that was run, and what it means",
        SiteRow,
        columns,
        rows,
        notes,
        lambda row: attempts_of(ledgers, row.spent, FOOTPRINT_FILES),
    )
