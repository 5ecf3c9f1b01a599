"""Whether a recommendation survives its factors, in words: for every value, above or below one, or not."""

from collections.abc import Sequence

from greenllm.account.footprint_document import DecisionOverFactors, Measure, Stretch, Sweep
from greenllm.account.ranking import EMBODIED, GRID, LOAD, PRICE, PUE
from greenllm.report.language import listed, noted, text
from greenllm.report.numbers import THIN, percent, plain

# Of each factor: its name, and the unit that follows its values.
_FACTORS = {
    GRID.factor: (noted("grid carbon"), "g CO₂e/kWh"),
    PUE.factor: ("PUE", ""),
    EMBODIED.factor: (noted("embodied carbon"), noted("times")),
    LOAD: (noted("number of requests a day"), ""),
    PRICE.factor: (noted("price of electricity"), noted("times")),
}
_SHORT = {
    GRID.factor: noted("grid"),
    PUE.factor: "PUE",
    EMBODIED.factor: noted("embodied"),
    LOAD: noted("requests a day"),
    PRICE.factor: noted("price"),
}
_LEAST: dict[Measure, str] = {
    "energy": noted("the least energy"),
    "carbon": noted("the least carbon"),
    "cost": noted("the least cost"),
}
_LESS: dict[Measure, str] = {
    "energy": noted("less energy"),
    "carbon": noted("less carbon"),
    "cost": noted("less cost"),
}


def factor_name(factor: str) -> str:
    """Return a factor's name."""
    return text(_FACTORS[factor][0])


def short_name(factor: str) -> str:
    """Return a factor's name where there is little room."""
    return text(_SHORT[factor])


def range_text(sweep: Sweep) -> str:
    """Return the range over which a factor was varied, with its unit."""
    return text("{low} to {high}", low=_value(sweep.low), high=_with_unit(sweep, sweep.high))


def _value(number: float) -> str:
    """Return a number to three significant digits, without zeros at its end."""
    digits = f"{float(f'{number:.3g}'):.10g}"
    return plain(float(digits), len(digits.partition(".")[2]))


def _with_unit(sweep: Sweep, value: float) -> str:
    unit = text(_FACTORS[sweep.factor][1]) if _FACTORS[sweep.factor][1] else ""
    return _value(value) + (THIN + unit if unit else "")


def _where(sweep: Sweep, low: float, high: float) -> str:
    """Return a part of a factor's range: above or below a value, or between two."""
    if low == sweep.low and high == sweep.high:
        return text("for every value")
    if low == sweep.low:
        return text("below {value}", value=_with_unit(sweep, high))
    if high == sweep.high:
        return text("above {value}", value=_with_unit(sweep, low))
    return text("from {low} to {high}", low=_value(low), high=_with_unit(sweep, high))


def _joined(stretches: Sequence[Stretch]) -> list[tuple[float, float]]:
    """Return the bounds of stretches, those that follow each other as one."""
    found: list[tuple[float, float]] = []
    for one in stretches:
        if found and found[-1][1] == one.low:
            found[-1] = found[-1][0], one.high
        else:
            found.append((one.low, one.high))
    return found


def outcome(sweep: Sweep, recommended: str) -> str:
    """Return where in a factor's range the recommended recipe has the least, alone or shared, in a few words."""
    own = [one for one in sweep.best if recommended in one.recipes]
    if sweep.holds:
        return text("for every value")
    others = "; ".join(_stretch(sweep, one) for one in sweep.best if one not in own)
    if not own:
        return text("no: {others}", others=others)
    where = listed([_where(sweep, low, high) for low, high in _joined(own)])
    return text("only {where}; {others}", where=where, others=others)


def _stretch(sweep: Sweep, stretch: Stretch) -> str:
    return text("{recipes} {where}", recipes=listed(stretch.recipes), where=_where(sweep, stretch.low, stretch.high))


def sentence(sweep: Sweep, recommended: str) -> str:
    """Return where in a factor's range the recommended recipe has the least, and what has it elsewhere."""
    values = {
        "recipe": recommended,
        "least": text(_LEAST[sweep.measure]),
        "factor": factor_name(sweep.factor),
        "range": range_text(sweep),
    }
    own = [one for one in sweep.best if recommended in one.recipes]
    alone = all(len(one.recipes) == 1 for one in own)
    if sweep.holds:
        found = text("{recipe} has {least} for every {factor} in range ({range})", **values)
        if alone:
            return found
        if len(sweep.best) == 1:
            return text(
                "{recipes}, which can't be told apart, have {least} for every {factor} in range ({range})",
                recipes=listed(sweep.best[0].recipes), **values,
            )  # fmt: skip
        shared = "; ".join(_stretch(sweep, one) for one in sweep.best if len(one.recipes) > 1)
        return text("{said}; not told apart: {shared}", said=found, shared=shared)
    others = "; ".join(_stretch(sweep, one) for one in sweep.best if one not in own)
    if not own:
        return text(
            "{recipe} does not have {least} for any {factor} in range ({range}): {others}", others=others, **values
        )
    where = listed([_where(sweep, low, high) for low, high in _joined(own)])
    return text("{recipe} has {least} by {factor} only {where}; {others}", where=where, others=others, **values)


def measure_of(decision: DecisionOverFactors) -> Measure | None:
    """Return what the recipes are ranked by at the site: carbon, or energy where carbon is unknown."""
    measures: tuple[Measure, ...] = ("carbon", "energy")
    return next((one for one in measures if decision.first.get(one)), None)


def at_the_site(decision: DecisionOverFactors) -> str:
    """Return which recipes have the least carbon at the site, and whether the recommended one is among them."""
    recommended, measure = decision.recommended or "", measure_of(decision)
    if measure is None:
        return text("What a request takes in all is unknown.")
    best = decision.first[measure]
    rest = [one for one in decision.candidates if one not in best]
    least = text(_LEAST[measure])
    if recommended not in best:
        return text(
            "{best} has {less} than {recipe}, which is recommended for its energy.",
            best=listed(best), less=text(_LESS[measure]), recipe=recommended,
        )  # fmt: skip
    if len(best) == 1:
        return text("{recipe} has {least}.", recipe=recommended, least=least)
    if not rest:
        return text("{recipes} can't be told apart.", recipes=listed(best))
    return text(
        "{recipes} can't be told apart; each has {less} than {others}.",
        recipes=listed(best), less=text(_LESS[measure]), others=listed(rest),
    )  # fmt: skip


def together(decision: DecisionOverFactors) -> str:
    """Return whether the recommendation holds where grid, PUE and embodied carbon change at once; "" if unknown."""
    if decision.everywhere is None:
        return ""
    if decision.everywhere:
        return text("It holds at all bounds of the factors at once.")
    if decision.combinations is None:
        return text("It does not hold at all bounds of the factors at once.")
    holds = (
        noted("It holds at {share} of random combinations of grid carbon, PUE and embodied carbon.")
        if decision.embodied
        else noted("It holds at {share} of random combinations of grid carbon and PUE.")
    )
    return text(holds, share=percent(decision.combinations))
