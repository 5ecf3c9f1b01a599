"""What the decision depends on: for each experiment, whether it holds over each factor, and when a model is repaid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.account.footprint_document import DecisionOverFactors, Footprint, Measure, Repayment
from greenllm.account.ranking import PRICE
from greenllm.report.answer import Fact, Shown
from greenllm.report.language import text
from greenllm.report.numbers import bounds_text, value_text
from greenllm.report.robustness import at_the_site, outcome, range_text, short_name, together
from greenllm.report.site_words import FACTORS, why_unknown
from greenllm.report.table import Table


@dataclass(frozen=True)
class FactorLine:
    """A factor, the range over which it was varied, and where in it the recommendation holds."""

    factor: str
    range: str
    holds: Shown


@dataclass(frozen=True)
class DecisionBlock:
    """The block of an experiment: `said` is one or two sentences, `repaid` when the making of the model is even."""

    experiment: str
    recommended: str
    said: str
    lines: Sequence[FactorLine]
    repaid: Sequence[Fact]


def decision_blocks(footprint: Footprint | None, tables: Mapping[str, Table]) -> list[DecisionBlock]:
    """Return the block of each experiment; `tables` are those of the page, which the numbers are from."""
    return [_block(one, footprint, tables) for one in footprint.decisions] if footprint else []


def _block(decision: DecisionOverFactors, footprint: Footprint, tables: Mapping[str, Table]) -> DecisionBlock:
    recommended = decision.recommended or ""
    if decision.reason is not None:
        unknown = text("Whether the decision holds is unknown: {why}.", why=text(decision.reason))
        return DecisionBlock(decision.experiment, recommended, unknown, [], [])
    said = [at_the_site(decision), together(decision)]
    if not decision.embodied:
        said.append(text("Embodied carbon is unknown and is no part of this."))
    before = sum(len(one.sweeps) for one in footprint.decisions[: footprint.decisions.index(decision)])
    lines = []
    for index, sweep in enumerate(decision.sweeps, before):
        factor = short_name(sweep.factor)
        if sweep.measure != "carbon":
            factor = text("{factor} ({measure})", factor=factor, measure=text(sweep.measure))
        holds = Shown(outcome(sweep, recommended), "", "factor-ranges", index, "result")
        lines.append(FactorLine(factor, range_text(sweep), holds))
    if not any(sweep.factor == PRICE.factor for sweep in decision.sweeps):
        ranks = text("unknown ({key}); ranks as energy does", key=FACTORS["price"].key)
        lines.append(FactorLine(short_name(PRICE.factor), "", Shown(ranks)))
    return DecisionBlock(
        decision.experiment, recommended, " ".join(part for part in said if part), lines,
        _repaid(decision, footprint, tables["repaid"]),
    )  # fmt: skip


def _repaid(decision: DecisionOverFactors, footprint: Footprint, table: Table) -> list[Fact]:
    """Return after how many requests the making of the recommended recipe's model is repaid, and what it took more."""
    place = next(
        (
            index
            for index, row in enumerate(table.rows)
            if (getattr(row, "experiment", None), getattr(row, "recipe", None))
            == (decision.experiment, decision.recommended)
        ),
        None,
    )
    found: dict[str, Repayment] = {
        one.measure: one for one in decision.repayments if one.recipe == decision.recommended
    }
    if place is None:
        return []
    facts = []
    measures: tuple[tuple[Measure, str, str, tuple[str, ...]], ...] = (
        ("energy", text("in energy"), "requests_energy", ()),
        ("carbon", text("in carbon"), "requests_carbon", ("grid_carbon", "pue")),
        ("cost", text("in money"), "requests_money", ("price", "pue")),
    )
    for measure, name, column, needed in measures:
        one = found[measure]
        if one.requests is None:
            why = why_unknown(footprint.site, *needed) or text("not resolvable")
            known = measure == "cost" and footprint.site.price is None  # the line of the price says why
            facts.append(Fact(name, [], text("unknown") if known else text("unknown: {why}", why=why)))
        else:
            shown = Shown(value_text(one.requests), bounds_text(one.requests), "repaid", place, column)
            facts.append(Fact(name, [shown]))
    return facts
