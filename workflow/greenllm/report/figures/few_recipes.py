"""The recipes that figures show: a dozen, since more in one panel can't be told apart and make the page heavy."""

from collections.abc import Iterable

from greenllm.account.document import Account, ExperimentAccount
from greenllm.comparison.rows import RecipeRow
from greenllm.report.language import text

MOST = 12  # recipes in one panel


def with_few_recipes(account: Account) -> tuple[Account, str]:
    """Return the account with at most a dozen recipes in each experiment, and a sentence on what is left out.

    The baseline, the recommended recipe and those that take the least energy per request stay; tables have all. The
    sentence is empty where nothing is left out.
    """
    kept = {name: _kept(experiment) for name, experiment in account.experiments.items()}
    left = {
        name: len(experiment.comparison.recipes) - len(kept[name]) for name, experiment in account.experiments.items()
    }
    if not any(left.values()):
        return account, ""
    experiments = {
        name: experiment.model_copy(
            update={"comparison": experiment.comparison.model_copy(update={"recipes": kept[name]})}
        )
        for name, experiment in account.experiments.items()
    }
    absent = {
        (name, row.recipe)
        for name, experiment in account.experiments.items()
        for row in experiment.comparison.recipes
        if row not in kept[name]
    }
    stages = [row for row in account.spent.stages if (row.experiment, row.recipe) not in absent]
    spent = account.spent.model_copy(update={"stages": stages})
    said = " ".join(
        text(
            "{kept} recipes of {experiment} are drawn, those of the least energy; {left} more are in the tables.",
            experiment=name, kept=len(kept[name]), left=count,
        )
        for name, count in left.items()
        if count
    )  # fmt: skip
    return account.model_copy(update={"experiments": experiments, "spent": spent}), said


def _kept(experiment: ExperimentAccount) -> list[RecipeRow]:
    rows = experiment.comparison.recipes
    if len(rows) <= MOST:
        return list(rows)
    first = [row for row in rows if row.is_baseline or row.recipe == experiment.recommendation.recipe]
    others = sorted((row for row in rows if row not in first), key=_energy_J)
    names = _names([*first, *others][:MOST])
    return [row for row in rows if row.recipe in names]


def _energy_J(row: RecipeRow) -> float:
    return float("inf") if row.energy_per_request_J is None else row.energy_per_request_J.value


def _names(rows: Iterable[RecipeRow]) -> set[str]:
    return {row.recipe for row in rows}
