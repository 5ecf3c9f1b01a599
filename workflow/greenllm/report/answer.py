"""The first screen: for each experiment what to deploy, how much less energy, how sure, and what that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenllm.account.document import Account, ExperimentAccount
from greenllm.comparison.rows import RecipeRow
from greenllm.report.causes import parts_text, resolvable_share, role
from greenllm.report.equivalence import PHONE, said
from greenllm.report.findings import Finding, paid_back
from greenllm.report.language import text
from greenllm.report.names import metric_name
from greenllm.report.numbers import THIN, bounds_text, change, inverse, prefix_for, times, value_text
from greenllm.report.table import Table


@dataclass(frozen=True)
class Shown:
    """A number of the first screen: as shown, its interval, and the cell of a table that it is from.

    `why` is the reason where it is unknown.
    """

    value: str
    bounds: str = ""
    table: str = ""
    row: int = 0
    column: str = ""
    why: str = ""


@dataclass(frozen=True)
class Fact:
    """A line of a block: its name and its numbers. In a `note` what is to be known besides, or why there is none."""

    name: str
    numbers: Sequence[Shown]
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """The block of an experiment. `recipes` are those that `thousand` compares: the baseline and the one to deploy.

    `new` says what the numbers of the block don't: what the saving is made of, when it pays, or why there is none.
    """

    finding: Finding
    task: str
    heading: str
    saving: Shown | None
    saving_words: str
    facts: Sequence[Fact]
    recipes: Sequence[str]
    thousand: Sequence[Fact]
    known: str
    new: str


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
        [*_quality(found, chosen or baseline, experiment, tables), *_sure(experiment)],
        [row.recipe for row in compared],
        _thousand(found.experiment, compared, tables["thousand-requests"]),
        said(PHONE, (chosen or baseline).energy_per_request_J),
        _new(found, chosen, experiment),
    )


def _new(found: Finding, chosen: RecipeRow | None, experiment: ExperimentAccount) -> str:
    if chosen is None or chosen.is_baseline or chosen.verdict != "saves":
        return found.sentence[:1].upper() + found.sentence[1:]
    clauses = [
        text("the saving is made of {parts}", parts=parts) if (parts := parts_text(chosen.parts)) else "",
        role(chosen),
        paid_back(chosen, experiment.recommendation),
        text("energy is {how}", how=text(chosen.energy_quality or "unknown")),
    ]
    return " ".join(text("{clause}.", clause=one[:1].upper() + one[1:]) for one in clauses if one)


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


def _quality(found: Finding, row: RecipeRow, experiment: ExperimentAccount, tables: Mapping[str, Table]) -> list[Fact]:
    if row.quality is None:
        return [Fact(text("Quality"), [], text("unknown (not evaluated)"))]
    place = _place(tables["comparison"], found.experiment, row.recipe)
    number = Shown(value_text(row.quality), bounds_text(row.quality), "comparison", place, "quality")
    notes = []
    if row.quality_difference:
        value, bounds = change(row.quality_difference)
        notes.append(text("against the baseline: {value} ({bounds})", value=value, bounds=bounds))
    if (chance := experiment.comparison.chance) is not None:
        notes.append(text("a model that ignores its input: {chance}", chance=f"{chance:.2g}"))
    return [Fact(metric_name(row.quality.metric), [number], " · ".join(notes))]


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
    """Return energy, carbon, water and money of a thousand requests, with a number for each recipe in one unit."""
    columns = {column.key: column for column in table.columns}
    places = [_place(table, experiment, row.recipe) for row in compared]
    names = {
        "energy_J": text("Energy"),
        "carbon_g": text("Carbon"),
        "total_g": text("… with embodied"),
        "water_L": text("Water"),
        "cost": text("Money"),
    }
    reasons = {"energy_J": "energy_reason", "water_L": "water_reason", "cost": "cost_reason"}
    facts = []
    for key, name in names.items():
        column, reason = columns[key], reasons.get(key, "carbon_reason")
        values = [column.of(table.rows[place]) for place in places]
        whys = [
            (getattr(table.rows[place], reason) or text("unknown")) if value is None else ""
            for value, place in zip(values, places, strict=True)
        ]
        if key == "total_g" and any(whys):
            continue
        scale, unit = prefix_for(values, column.unit or "")
        numbers = [
            Shown(text("unknown"), why=why)
            if why
            else Shown(value_text(value, scale) + (THIN + text(unit) if unit else ""), bounds_text(value, scale),
                       table.name, place, key)
            for value, place, why in zip(values, places, whys, strict=True)
        ]  # fmt: skip
        # One reason for all is said once.
        facts.append(Fact(name, numbers, whys[0] if len(set(whys)) == 1 else ""))
    return facts


def _place(table: Table, experiment: str, recipe: str) -> int:
    """Return the index of a recipe's row."""
    return next(
        index
        for index, row in enumerate(table.rows)
        if (getattr(row, "experiment", None), getattr(row, "recipe", None)) == (experiment, recipe)
    )
