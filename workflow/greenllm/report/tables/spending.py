"""Where the energy went: by stage, by run, and into each model."""

from greenllm.report.names import moment
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import MODEL, RECIPE, UNKNOWN, Account, models

_STAGE = Column("stage", "Stage")
_ATTEMPTS = Column("attempts", "Attempts", None, "number")
_ENERGY = Column("energy_J", "Energy", "J", "interval", UNKNOWN)
_WASTE = Column("waste_J", "Of it waste", "J", "interval", UNKNOWN)


def impact(account: Account) -> Table:
    """One row a stage, recipe and experiment: joules, kilowatt-hours and grams, with the factor's origin."""
    pue = account["pue"]
    return Table(
        "impact",
        "Energy and location-based carbon of everything that was run",
        [
            *RECIPE,
            _STAGE,
            _ATTEMPTS,
            _ENERGY,
            _WASTE,
            Column("energy_kWh", "Energy", "kWh", "interval", UNKNOWN),
            Column("carbon_gCO2e", "Carbon, IT equipment", "g CO₂e", "interval", UNKNOWN),
            Column("pue", "PUE", "1", "number", UNKNOWN),
            Column("carbon_site_gCO2e", "Carbon, with PUE", "g CO₂e", "interval", UNKNOWN),
            Column("grid_gCO2e_per_kWh", "Grid factor", "g CO₂e/kWh", "number", UNKNOWN, on_page=False),
            Column("grid_low", "Factor, low", "g CO₂e/kWh", "number", UNKNOWN, on_page=False),
            Column("grid_high", "Factor, high", "g CO₂e/kWh", "number", UNKNOWN, on_page=False),
            Column("grid_place", "Place", absent=UNKNOWN, on_page=False),
            Column("grid_year", "Year", None, "number", UNKNOWN, on_page=False),
            Column("grid_outdated", "Outdated", absent=UNKNOWN, on_page=False),
            Column("grid_source", "Source", absent=UNKNOWN, on_page=False),
            Column("grid_licence", "Licence", absent=UNKNOWN, on_page=False),
        ],
        account["impact"],
        [
            "Every attempt is counted once; waste is what failed, was killed, got lost or was superseded. "
            + (f"The site's PUE is {pue}." if pue else "No PUE is given: the IT equipment alone is counted."),
            *([account["grid_reason"]] if account["grid_reason"] else []),
        ],
    )


def spent(account: Account) -> Table:
    """One row a run of the workflow."""
    return Table(
        "spent",
        "Spent in each run of the workflow",
        [
            Column("run_id", "Run"),
            Column("hosts", "Hosts"),
            Column("started", "Started (UTC)"),
            Column("ended", "Ended (UTC)"),
            _ATTEMPTS,
            _ENERGY,
            _WASTE,
            Column("carbon_g", "Carbon", "g CO₂e", "interval", UNKNOWN),
        ],
        [
            run | {"hosts": ", ".join(run["hosts"]), "started": moment(run["started"]), "ended": moment(run["ended"])}
            for run in account["spent"]["runs"]
        ],
    )


def produced(account: Account) -> Table:
    """One row a step in a model's making."""
    rows = []
    for named, model in models(account):
        cost = model["cost_to_produce"]
        rows += [
            named
            | {"step": step["rule"], "of": step["recipe"] or "shared", "energy_J": step["energy_J"]}
            | {"attempts": len(step["ids"])}
            for step in cost["steps"]
        ]
        rows.append(
            named
            | {"step": "total, at least" if cost["missing"] else "total", "energy_J": cost["energy_J"]}
            | {"attempts": sum(len(step["ids"]) for step in cost["steps"]), "carbon_g": cost["carbon_g"]}
            | {"missing": "; ".join(cost["missing"])}
        )
    return Table(
        "produced",
        "Cost to produce each model: its lineage, each ancestor once",
        [
            *MODEL,
            Column("step", "Step"),
            Column("of", "Of recipe"),
            _ATTEMPTS,
            _ENERGY,
            Column("carbon_g", "Carbon", "g CO₂e", "interval"),
            Column("missing", "Not counted, and why", if_known=True),
        ],
        rows,
        ["A training resumed from a checkpoint includes the attempts that were cut off before it."],
    )
