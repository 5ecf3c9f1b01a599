"""What decides which recipe to deploy."""

from greenllm.account.document import Account
from greenllm.report.derivation import Ledgers, Origin
from greenllm.report.language import noted, text
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, ComparedRow, evaluations, inside, recipes


class RecommendationRow(ComparedRow):
    """A row of the table."""

    @property
    def decision(self) -> str | None:
        """Whether it is recommended, or a loss."""
        if self.recipe == self.within.recommendation.recipe:
            return "recommended"
        return "loss" if self.recipe in self.within.recommendation.losses else None


def _origin(ledgers: Ledgers, row: RecommendationRow) -> Origin:
    chain = ledgers.chain(row.experiment, row.recipe, row.within.comparison.baseline)
    return ledgers.where(
        row.experiment,
        lambda job: job.recipe is None or job.recipe in chain,
        [f"measurements/{row.experiment}/seed-{seed}.json" for seed in row.seeds_measured],
        text("attempts of experiment {experiment}: shared, of {recipe}, of the baseline, and of the models that these "
             "are made from", experiment=row.experiment, recipe=row.recipe),
    )  # fmt: skip


def recommendation(account: Account) -> Table:
    """One row a recipe: whether it is good enough, its total energy, and when the energy to make it is paid back."""
    ledgers = Ledgers(account)
    return Table(
        "recommendation",
        "What to deploy: the least total energy among recipes that are good enough",
        RecommendationRow,
        [
            *RECIPE,
            Column("decision", "Decision", words=True),
            Column("qualifies", "Good enough", absent=UNKNOWN, words=True),
            Column("needed", "Quality needed", "1", "number", field="within.recommendation.quality_bound"),
            Column(
                "quality_difference", "Quality against baseline", "1", "interval",
                formula=noted("quality - quality of the baseline on the same examples; interval: paired bootstrap"),
            ),
            Column("p_value", "p of the difference", "1", "number", field="quality_difference.p_value"),
            Column("on_front", "On Pareto front", absent=UNKNOWN),
            Column(
                "total_energy_per_request_J", "Total per request", "J", "interval", UNKNOWN,
                formula=noted("energy per request + energy to produce / requests expected"),
                factors=("sensors", "policy"),
            ),
            *inside(
                "within.recommendation",
                Column("requests", "Requests expected", "requests", "number", on_page=False),
                Column("confidence", "Confidence", "1", "number", on_page=False),
            ),
            Column(
                "break_even_requests", "Paid back after", "requests", "interval", factors=("sensors", "policy"),
                formula=noted("(energy to produce - that of the baseline) / energy saved per request"),
            ),
        ],
        recipes(account, RecommendationRow),
        [
            text(
                "Good enough: the quality needed is reached, with the confidence asked for. p: of a paired test on the "
            "same examples. Pareto front: no other recipe is both better and more frugal. Total: the energy per "
            "request plus that of making the model, spread over the requests expected. Paid back after: the requests "
            "after which the extra energy to make it has been saved; never where it saves none."
            )
        ],
        lambda row: _origin(ledgers, row),
        {
            "quality_difference": lambda row: Origin(
                evaluations(row.within, row.experiment, row.within.comparison.baseline, row.recipe)
            )
        },
    )  # fmt: skip
