"""The table `impact` of a footprint: what each stage, recipe and experiment means at a site."""

from collections.abc import Mapping
from dataclasses import dataclass

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint, FootprintRow
from greenllm.footprint.factor import Factor
from greenllm.footprint.rows import ImpactRow
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import UNKNOWN


@dataclass(frozen=True)
class SiteRow:
    """A row of the account's table `impact`, with what it means at a site."""

    spent: ImpactRow
    found: FootprintRow
    grid: Factor | None
    pue: Factor | None
    outdated: bool | None


def _quantity(key: str, title: str, unit: str, field: str) -> Column:
    return Column(key, title, unit, "interval", UNKNOWN, field=f"found.{field}")


def footprint_table(account: Account, footprint: Footprint) -> Table:
    """One row a stage, recipe and experiment: energy in scopes, and its consequences with 95 % intervals."""
    site = footprint.site
    by_key: Mapping[tuple[str, ...], FootprintRow] = {
        (row.experiment, row.recipe, row.stage): row for row in footprint.rows
    }
    grid = site.grid_carbon
    currency = site.price.unit.removesuffix("/kWh") if site.price else ""
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
        Column("stage", "Stage", field="spent.stage"),
        Column("attempts", "Attempts", None, "number", field="spent.attempts"),
        Column("energy_J", "Energy", "J", "interval", UNKNOWN, field="spent.energy_J"),
        Column("waste_J", "Wasted", "J", "interval", UNKNOWN, field="spent.waste_J"),
        Column("energy_kWh", "Energy", "kWh", "interval", UNKNOWN, field="spent.energy_kWh"),
        _quantity("accelerator_J", "GPUs", "J", "accelerator_J"),
        _quantity("idle_J", "Share of idle", "J", "idle_J"),
        _quantity("site_J", "Energy of the site", "J", "site_J"),
        _quantity("carbon_gCO2e", "Carbon, IT equipment", "g CO₂e", "carbon_it_g"),
        Column("pue", "PUE", "1", "number", UNKNOWN, field="pue.value"),
        _quantity("carbon_site_gCO2e", "Carbon, site", "g CO₂e", "carbon_g"),
        _quantity("carbon_market_gCO2e", "Carbon by contract", "g CO₂e", "market_carbon_g"),
        _quantity("carbon_marginal_gCO2e", "Carbon, marginal", "g CO₂e", "marginal_carbon_g"),
        _quantity("embodied_gCO2e", "Embodied carbon", "g CO₂e", "embodied_g"),
        _quantity("carbon_total_gCO2e", "Carbon with embodied", "g CO₂e", "total_g"),
        _quantity("water_site_L", "Water on site", "L", "water_site_L"),
        _quantity("water_grid_L", "Water of the grid", "L", "water_grid_L"),
        _quantity("cost", "Cost", currency, "cost"),
        _quantity("heat_reused_kWh", "Reused heat", "kWh", "heat_reused_kWh"),
        Column("grid_gCO2e_per_kWh", "Grid factor", "g CO₂e/kWh", "number", UNKNOWN, field="grid.value"),
        Column("grid_low", "Factor, low", "g CO₂e/kWh", "number", UNKNOWN, field="grid.low"),
        Column("grid_high", "Factor, high", "g CO₂e/kWh", "number", UNKNOWN, field="grid.high"),
        Column("grid_place", "Place", absent=UNKNOWN, field="grid.place"),
        Column("grid_year", "Year", None, "number", UNKNOWN, field="grid.year"),
        Column("grid_outdated", "Outdated", absent=UNKNOWN, field="outdated"),
        Column("grid_source", "Source", absent=UNKNOWN, field="grid.source"),
        Column("grid_licence", "Licence", absent=UNKNOWN, field="grid.licence"),
    ]
    notes = [
        "Every attempt is counted once. Wasted: by attempts that failed, were killed, lost or superseded.",
        "Carbon, water and cost include the jobs' share of the hosts' idle energy.",
        *([f"Projection: {'; '.join(footprint.projection)}."] if footprint.projection else []),
    ]
    return Table("impact", "Energy of everything that was run, and what it means", SiteRow, columns, rows, notes)
