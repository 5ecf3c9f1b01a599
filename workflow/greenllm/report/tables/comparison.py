"""The recipes side by side: quality, energy, speed and cost to produce."""

from collections.abc import Iterator, Sequence

from greenllm.account.document import Account
from greenllm.estimate import Interval
from greenllm.report.causes import APART, UNSTEADY, is_mixed, parts_text, role, spread_text
from greenllm.report.derivation import Ledgers, Origin
from greenllm.report.language import listed, noted, text
from greenllm.report.names import metric_name
from greenllm.report.table import Column, Table
from greenllm.report.tables.shared import RECIPE, UNKNOWN, ComparedRow, evaluations, recipes

REGRESSION = noted(
    "least squares of the rounds' energies over their requests, input tokens and output tokens; interval: the spread "
    "between starts (jackknife) and the sensors' error"
)


class ComparisonRow(ComparedRow):
    """A row of the table."""

    @property
    def metric(self) -> str:
        """The experiment's primary metric."""
        return metric_name(self.within.primary)

    @property
    def role(self) -> str:
        """Whether it is the baseline or a control, and of what."""
        return role(self)

    @property
    def by_engine(self) -> Interval | None:
        """How many times less energy the engine takes by itself."""
        return self._by("engine")

    @property
    def by_device(self) -> Interval | None:
        """How many times less energy the device takes by itself."""
        return self._by("device")

    @property
    def by_numerics(self) -> Interval | None:
        """How many times less energy all else that the recipe changes takes; None where that is not one part."""
        others = [part for part in self.parts if part.change not in APART]
        return others[0].times_less if len(others) == 1 and not is_mixed(others[0]) else None

    @property
    def causes(self) -> str:
        """The factors by cause, in words."""
        return parts_text(self.parts)

    def _by(self, change: str) -> Interval | None:
        return next((part.times_less for part in self.parts if part.change == change), None)

    @property
    def verdict_text(self) -> str:
        """The verdict, with the reason where there is none."""
        if self.verdict == "not resolvable" and not self.within.comparison.steady:
            return text("not resolvable: {unsteady}", unsteady=text(UNSTEADY))
        if self.verdict != "unknown":
            return text(self.verdict)
        # Without the baseline's energy there is no ratio either.
        reason = self.reason or next(row.reason for row in self.within.comparison.recipes if row.is_baseline)
        return text("unknown: {why}", why=text(reason)) if reason else text(self.verdict)


def comparison(account: Account) -> Table:
    """One row a recipe: quality, energy, speed and cost to produce."""
    rows = recipes(account, ComparisonRow)
    notes = dict.fromkeys(spread_text(row.energy_spread) for row in rows if row.energy_spread)
    ledgers = Ledgers(account)
    measured = ("sensors", "policy")
    return Table(
        "comparison",
        "Recipes compared: quality, the server's energy per request and token, speed and cost to produce",
        ComparisonRow,
        [
            *RECIPE,
            Column("role", "Role", if_known=True),
            Column("metric", "Metric"),
            Column(
                "quality", "Quality", "1", "interval", UNKNOWN,
                formula=noted("the metric over all examples, mean over seeds; interval: bootstrap over the examples"),
            ),
            Column(
                "energy_per_request_J", "Per request", "J", "interval", UNKNOWN, factors=measured,
                formula=noted("energy of the server in its measured rounds / requests answered; mean over seeds"),
            ),
            Column(
                "energy_per_token_J", "Per token", "J", "interval", UNKNOWN, factors=measured,
                formula=noted("energy of the server in its measured rounds / tokens answered; mean over seeds"),
            ),
            Column(
                "prompt_token_J", "Per input token", "J", "interval", if_known=True, factors=measured,
                field="token_energy.prompt_token_J", formula=REGRESSION,
            ),
            Column(
                "cached_prompt_token_J", "Per cached input token", "J", "interval", if_known=True, factors=measured,
                field="token_energy.cached_prompt_token_J", formula=REGRESSION,
            ),
            Column(
                "generated_token_J", "Per output token", "J", "interval", if_known=True, factors=measured,
                field="token_energy.generated_token_J", formula=REGRESSION,
            ),
            Column("energy_quality", "Energy is", absent=UNKNOWN, words=True),
            Column(
                "times_less", "Times less", "×", "interval", factors=measured,
                formula=noted(
                    "energy per request of the baseline / energy per request of the recipe, in the same starts"
                ),
            ),
            Column("by_engine", "… by engine", "×", "interval", if_known=True),
            Column("by_device", "… by device", "×", "interval", if_known=True),
            Column("by_numerics", "… by numerics", "×", "interval", if_known=True),
            Column("causes", "Causes", on_page=False),
            Column("verdict", "Verdict", field="verdict_text"),
            Column("threads", "Threads", None, "number", on_page=False, field="threads.threads"),
            Column("latency_p50_s", "p50", "s", "number", UNKNOWN),
            Column("latency_p95_s", "p95", "s", "number", UNKNOWN),
            Column("requests_per_s", "Rate", "requests/s", "number", UNKNOWN),
            Column(
                "cost_to_produce_J", "To produce", "J", "interval", UNKNOWN, factors=measured,
                formula=noted("sum of the energy of each step that made the model, each once (table produced)"),
            ),
        ],
        rows,
        [
            text(
                "Energy per request and per token: of the server alone, while it answers. Times less: the baseline's "
                "energy per request divided by the recipe's, and its factors: what the engine, the device and all else "
                "(such as int8) take less by themselves. p50, p95: latency. To produce: the energy of every step that "
                "made the model. Intervals are 95 %."
            ),
            *([text("Intervals of energy: {notes}.", notes="; ".join(notes))] if notes else []),
            *_by_token(rows),
            *(
                text(
                    "To produce {recipe}: not compared with the baseline, as a plan put their jobs on different "
                    "devices ({devices}).",
                    recipe=row.recipe, devices=listed(row.placed_apart),
                )
                for row in rows
                if row.placed_apart
            ),
        ],
        lambda row: ledgers.served(row.experiment, row.seeds_measured, row.recipe),
        {
            "quality": lambda row: Origin(evaluations(row.within, row.experiment, row.recipe)),
            "times_less": lambda row: ledgers.served(
                row.experiment, row.seeds_measured, row.within.comparison.baseline, row.recipe
            ),
            "cost_to_produce_J": lambda row: ledgers.made(row.experiment, row.recipe),
        },
    )  # fmt: skip


def _by_token(rows: Sequence[ComparisonRow]) -> Iterator[str]:
    """Yield how the energy per input and output token was found, and why it is unknown where it is."""
    if is_known := any(row.token_energy for row in rows):
        yield text("Per input and output token: {regression}.", regression=text(REGRESSION))
    unknown: dict[str, list[str]] = {}
    for row in rows:
        if row.token_energy_reason:
            unknown.setdefault(row.token_energy_reason, []).append(row.recipe)
    if len(unknown) == 1 and not is_known:
        yield text("Per input and output token: unknown, {reason}.", reason=text(*unknown))
        return
    for reason, named in unknown.items():
        yield text(
            "Per input and output token of {recipe}: unknown, {reason}.",
            recipe=listed(list(dict.fromkeys(named))),
            reason=text(reason),
        )
