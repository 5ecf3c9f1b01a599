"""The recipes that figures show: a dozen, since more in one panel can't be told apart and make the page heavy."""

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
    rows = {name: experiment.comparison.recipes for name, experiment in account.experiments.items()}
    absent = {(name, row.recipe) for name, own in rows.items() for row in own if row.recipe not in kept[name]}
    if not absent:
        return account, ""
    experiments = {}
    for name, experiment in account.experiments.items():
        few = [row for row in rows[name] if row.recipe in kept[name]]
        compared = experiment.comparison.model_copy(update={"recipes": few})
        experiments[name] = experiment.model_copy(update={"comparison": compared})
    stages = [row for row in account.spent.stages if (row.experiment, row.recipe) not in absent]
    spent = account.spent.model_copy(update={"stages": stages})
    said = " ".join(
        text(
            "{kept} recipes of {experiment} are drawn, those of the least energy; {left} more are in the tables.",
            experiment=name, kept=len(kept[name]), left=count,
        )
        for name, own in rows.items()
        if (count := len(own) - len(kept[name]))
    )  # fmt: skip
    return account.model_copy(update={"experiments": experiments, "spent": spent}), said


def _kept(experiment: ExperimentAccount) -> set[str]:
    """Return the names of the baseline, of the recommended recipe, and of those that take the least energy."""
    recommended = experiment.recommendation.recipe

    def order(row: RecipeRow) -> tuple[bool, float]:
        energy = row.energy_per_request_J
        return not (row.is_baseline or row.recipe == recommended), float("inf") if energy is None else energy.value

    return {row.recipe for row in sorted(experiment.comparison.recipes, key=order)[:MOST]}
