"""The first screen: for each experiment what to deploy, how much less energy, how sure, and what that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.account.document import Account, ExperimentAccount
from greenllm.comparison.rows import RecipeRow
from greenllm.report.causes import resolvable_share
from greenllm.report.equivalence import PHONE, said
from greenllm.report.findings import Finding
from greenllm.report.language import text
from greenllm.report.names import metric_name
from greenllm.report.numbers import bounds_text, change, inverse, times, value_text
from greenllm.report.table import Table


@dataclass(frozen=True)
class Shown:
    """A number of the first screen: as shown, its interval, and the cell of a table that it is from."""

    value: str
    bounds: str = ""
    table: str = ""
    row: int = 0
    column: str = ""


@dataclass(frozen=True)
class Fact:
    """A line of a block: its name and its numbers, in words where there is none."""

    name: str
    numbers: Sequence[Shown]
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """The block of an experiment. `recipes` are those that `thousand` compares: the baseline and the one to deploy."""

    finding: Finding
    task: str
    heading: str
    saving: Shown | None
    saving_words: str
    facts: Sequence[Fact]
    recipes: Sequence[str]
    thousand: Sequence[Fact]
    known: str


def answers(account: Account, found: Sequence[Finding], tables: Mapping[str, Table]) -> list[Answer]:
    """Return the block of each experiment; `tables` are those of the page, which the numbers are from."""
    return [_answer(account.experiments[one.experiment], one, tables) for one in found]


def _answer(experiment: ExperimentAccount, found: Finding, tables: Mapping[str, Table]) -> Answer:
    rows = {row.recipe: row for row in experiment.comparison.recipes}
    baseline = rows[experiment.comparison.baseline]
    chosen = rows.get(found.recipe or "")
    compared = [baseline] if chosen in (None, baseline) else [baseline, rows[found.recipe or ""]]
    saving, words = _saving(found, chosen, baseline, tables)
    return Answer(
        found,
        text(experiment.task),
        _heading(chosen, baseline),
        saving,
        words,
        [*_quality(found, chosen or baseline, baseline, tables), *_sure(experiment)],
        [row.recipe for row in compared],
        _thousand(found.experiment, compared, tables["thousand-requests"]),
        said(PHONE, (chosen or baseline).energy_per_request_J),
    )


def _heading(chosen: RecipeRow | None, baseline: RecipeRow) -> str:
    if chosen is None:
        return text("Nothing to deploy yet")
    if chosen is baseline:
        return text("Keep {recipe}", recipe=chosen.recipe)
    return text("Deploy {recipe}", recipe=chosen.recipe)


def _saving(
    found: Finding, chosen: RecipeRow | None, baseline: RecipeRow, tables: Mapping[str, Table]
) -> tuple[Shown | None, str]:
    """Return by how much less energy a request takes, and the words after the number."""
    if chosen is None or chosen is baseline or chosen.times_less is None:
        return None, text("No saving is shown.")
    place = _place(tables["comparison"], found.experiment, chosen.recipe)
    if chosen.verdict == "loss":
        ratio, bounds = times(inverse(chosen.times_less))
        return Shown(ratio, bounds, "comparison", place, "times_less"), text("times the energy per request")
    words = text("times less energy per request")
    if chosen.verdict == "not resolvable":
        words = text("times less energy per request, which is not resolvable")
    ratio, bounds = times(chosen.times_less)
    return Shown(ratio, bounds, "comparison", place, "times_less"), words


def _quality(found: Finding, row: RecipeRow, baseline: RecipeRow, tables: Mapping[str, Table]) -> list[Fact]:
    if row.quality is None:
        return [Fact(text("Quality"), [], text("unknown (not evaluated)"))]
    place = _place(tables["comparison"], found.experiment, row.recipe)
    number = Shown(value_text(row.quality), bounds_text(row.quality), "comparison", place, "quality")
    note = ""
    if row is not baseline and row.quality_difference and baseline.quality:
        value, bounds = change(row.quality_difference)
        note = text("against the baseline: {value} ({bounds})", value=value, bounds=bounds)
    return [Fact(metric_name(row.quality.metric), [number], note)]


def _sure(experiment: ExperimentAccount) -> list[Fact]:
    twin = experiment.comparison.twin
    name = text("The same model twice")
    if twin is None or twin.times_less is None:
        return [Fact(name, [], text("not measured, so it is unknown what can be resolved"))]
    if not twin.steady:
        return [Fact(name, [Shown(*times(twin.times_less))], text("the host was not steady: nothing is resolvable"))]
    share = resolvable_share(twin)
    note = text("below about {share} nothing can be resolved", share=share) if share else ""
    return [Fact(name, [Shown(*times(twin.times_less))], note)]


def _thousand(experiment: str, compared: Sequence[RecipeRow], table: Table) -> list[Fact]:
    """Return energy, carbon, water and money of a thousand requests, with a number for each recipe."""
    keys = {column.key: index for index, column in enumerate(table.columns)}
    places = [_place(table, experiment, row.recipe) for row in compared]
    headings, cells = table.headings(), table.cells()
    facts = []
    for key in ("energy_J", "carbon_g", "water_L", "cost"):
        title, unit = headings[keys[key]]
        row: object = table.rows[places[-1]]
        reason = getattr(row, {"water_L": "water_reason", "cost": "cost_reason"}.get(key, "carbon_reason"))
        numbers = []
        for place in places:
            cell = cells[place][keys[key]]
            numbers.append(Shown(cell.text, cell.bounds, table.name, place, key))
        known = all(getattr(table.rows[place], key) is not None for place in places)
        facts.append(Fact(f"{title} ({unit})" if unit else title, numbers, "" if known else reason))
    return facts


def _place(table: Table, experiment: str, recipe: str) -> int:
    """Return the index of a recipe's row."""
    return next(
        index
        for index, row in enumerate(table.rows)
        if (getattr(row, "experiment", None), getattr(row, "recipe", None)) == (experiment, recipe)
    )
