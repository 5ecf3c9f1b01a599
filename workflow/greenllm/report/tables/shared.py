"""What tables share: the columns that name a row's recipe or model, and the recipes as rows."""

from dataclasses import replace
from typing import TypeVar

from greenllm.account.document import Account, ExperimentAccount
from greenllm.account.footprint_document import Footprint
from greenllm.comparison.rows import RecipeRow
from greenllm.report.language import noted
from greenllm.report.table import Column

UNKNOWN = noted("unknown")
NO_FOOTPRINT = noted("no footprint of this account was made (`greenllm footprint`)")
RECIPE = (Column("experiment", "Experiment"), Column("recipe", "Recipe"))
MODEL = (*RECIPE, Column("seed", "Seed", None, "number"))


def currency_of(footprint: Footprint | None) -> str:
    """Return the currency of a footprint's price; "" without a price."""
    price = footprint.site.price if footprint else None
    return price.unit.removesuffix("/kWh") if price else ""


class ComparedRow(RecipeRow):
    """A recipe with its experiment: the name, and what the account says of it."""

    experiment: str
    within: ExperimentAccount


Compared = TypeVar("Compared", bound=ComparedRow)


def recipes(account: Account, kind: type[Compared]) -> list[Compared]:
    """Return each experiment's recipes as rows of a kind."""
    return [
        kind(**vars(row), experiment=name, within=experiment)
        for name, experiment in account.experiments.items()
        for row in experiment.comparison.recipes
    ]


def inside(field: str, *columns: Column) -> list[Column]:
    """Return columns whose fields are those of a row's `field`."""
    return [replace(column, field=f"{field}.{column.path}") for column in columns]


def evaluations(within: ExperimentAccount, experiment: str, *names: str) -> list[str]:
    """Return the files, below the results folder, with the quality of some recipes' models."""
    seeds = within.comparison.seeds
    return [f"evaluations/{experiment}/{name}/seed-{seed}.json" for name in dict.fromkeys(names) for seed in seeds]
