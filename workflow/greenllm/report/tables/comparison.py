"""The recipes side by side: quality, energy, speed and cost to produce."""

from greenllm.account.document import Account
from greenllm.report.names import metric_name
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, ComparedRow, recipes


class ComparisonRow(ComparedRow):
    """A row of the table."""

    @property
    def metric(self) -> str:
        """The experiment's primary metric."""
        return metric_name(self.within.primary)

    @property
    def verdict_text(self) -> str:
        """The verdict, with the reason where it is unknown."""
        return f"unknown: {self.reason}" if self.verdict == "unknown" and self.reason else self.verdict


def comparison(account: Account) -> Table:
    """One row a recipe: quality, energy, speed and cost to produce."""
    rows = recipes(account, ComparisonRow)
    notes = dict.fromkeys(row.energy_spread.note for row in rows if row.energy_spread)
    return Table(
        "comparison",
        "Recipes compared: quality, the server's energy per request and token, speed and cost to produce",
        ComparisonRow,
        [
            *RECIPE,
            Column("metric", "Metric"),
            Column("quality", "Quality", "1", "interval", UNKNOWN),
            Column("energy_per_request_J", "Per request", "J", "interval", UNKNOWN),
            Column("energy_per_token_J", "Per token", "J", "interval", UNKNOWN),
            Column("energy_quality", "Energy is", absent=UNKNOWN),
            Column("times_less", "Times less", "×", "interval"),
            Column("verdict", "Verdict", field="verdict_text"),
            Column("latency_p50_s", "p50", "s", "number", UNKNOWN),
            Column("latency_p95_s", "p95", "s", "number", UNKNOWN),
            Column("requests_per_s", "Rate", "requests/s", "number", UNKNOWN),
            Column("cost_to_produce_J", "To produce", "J", "interval", UNKNOWN),
        ],
        rows,
        [
            "Energy per request and per token: of the server alone, while it answers. Times less: the baseline's "
            "energy per request divided by the recipe's. p50, p95: latency. To produce: the energy of every step that "
            "made the model. Intervals are 95 %.",
            *([f"Intervals of energy: {'; '.join(notes)}."] if notes else []),
        ],
    )
