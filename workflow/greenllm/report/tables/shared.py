"""What tables share: the columns that name a row's recipe or model, and the recipes as rows."""

from dataclasses import replace
from typing import TypeVar

from greenllm.account.document import Account, ExperimentAccount
from greenllm.comparison.rows import RecipeRow
from greenllm.report.language import noted
from greenllm.report.table import Column

UNKNOWN = noted("unknown")
RECIPE = (Column("experiment", "Experiment"), Column("recipe", "Recipe"))
MODEL = (*RECIPE, Column("seed", "Seed", None, "number"))


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
