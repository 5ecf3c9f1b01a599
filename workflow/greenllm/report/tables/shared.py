"""What tables share: the columns that say which recipe or model a row is of, and the rows to put behind them."""

from collections.abc import Iterator, Mapping
from typing import Any

from greenllm.report.table import Column

Account = Mapping[str, Any]
Row = dict[str, Any]

UNKNOWN = "unknown"
RECIPE = (Column("experiment", "Experiment"), Column("recipe", "Recipe"))
MODEL = (*RECIPE, Column("seed", "Seed", None, "number"))


def recipes(account: Account) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """Yield each experiment's recipes: a compared row with its experiment's name, and the experiment."""
    for name, experiment in account["experiments"].items():
        for row in experiment["comparison"]["recipes"]:
            yield {**row, "experiment": name}, experiment


def models(account: Account) -> Iterator[tuple[Row, Mapping[str, Any]]]:
    """Yield each model: what names it, and what is known of it."""
    for model in account["models"]:
        yield {column.key: model[column.key] for column in MODEL}, model


def only(found: Mapping[str, Any] | None, *names: str) -> Row:
    """Return some of what was found; what is not there is left out."""
    return {name: found[name] for name in names if name in found} if found else {}
