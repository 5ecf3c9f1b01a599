"""The report page: one self-contained HTML file, with its numbers in summary.json."""

import importlib.resources
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.documents.verification import Verification
from greenllm.files import replacing, require_own, write_json
from greenllm.report import figures, paper, tables
from greenllm.report.answer import Shown, answers
from greenllm.report.decision_section import decision_blocks
from greenllm.report.derivation import Origin, factors
from greenllm.report.equivalence import sources
from greenllm.report.findings import findings
from greenllm.report.grid_notes import impact_notes
from greenllm.report.language import ENGLISH, Language, current, language, listed, noted, plural, speaking, text
from greenllm.report.names import day
from greenllm.report.numbers import THIN, bounds_text, percent, prefix_for, quantity, value_text
from greenllm.report.schedule_text import outcome_text
from greenllm.report.table import Column, Table
from greenllm.report.tables.footprint import footprint_table
from greenllm.report.tables.scopes import main_scores
from greenllm.report.verified import verified_line
from greenllm.scheduling.document import ScheduleOutcome

MOST_ROWS = 100  # of a table on the page; its files have all


def write_report(
    account: Account,
    folder: Path,
    spoken: Language | None = None,
    *,
    footprint: Footprint | None = None,
    verification: Verification | None = None,
    schedule: ScheduleOutcome | None = None,
    drawn: bool = True,
) -> None:
    """Write index.html, figures/, tables/, paper/ and summary.json into `folder`; other files there stay.

    Without `spoken`, the language is that of the configuration (`report.language`), else English. `footprint`,
    `verification` and `schedule` are those of this account, None where none was made. Where it is not `drawn`, there
    are no files of figures, and those of the page are empty. Raises UserError if there is an index.html or
    summary.json that is not a report's.
    """
    with speaking(spoken or language_of(account)):
        _write(account, folder, footprint, verification, schedule, drawn)


def language_of(account: Account, code: str | None = None) -> Language:
    """Return the language of a report: that of `code`, else of the account's configuration, else English."""
    return language(code or account.config.get("report", {}).get("language", ENGLISH))


def _write(
    account: Account,
    folder: Path,
    footprint: Footprint | None,
    verification: Verification | None,
    schedule: ScheduleOutcome | None,
    drawn: bool,
) -> None:
    require_own(folder / "index.html", "<title>GreenLLM")
    require_own(folder / "summary.json", '"schema": "greenllm/')
    written = [*(make(account, footprint) for make in tables.FOOTPRINT), *(make(account) for make in tables.PAGE)]
    for table in written:
        table.write(folder / "tables" / table.name)
    drawings = figures.draw_all(account, footprint, folder / "figures" if drawn else None)
    found = findings(account.experiments)
    write_json(
        folder / "summary.json",
        {"schema": "greenllm/summary/1", "findings": [asdict(one) for one in found]}
        | {name: value for name, value in account.to_json().items() if name not in ("schema", "power")},
    )
    paper.write(account, found, folder / "paper")
    shown = {table.name: table for table in (*written, *(make(account) for make in tables.NAMED.values()))}
    if footprint is not None:
        shown["impact"] = footprint_table(account, footprint)  # as the rule `impact` writes it
    page = _template(current()).render(
        account=account,
        language=current().code,
        css=_file("page.css"),
        js=_file("page.js"),
        tables=shown,
        most_rows=MOST_ROWS,
        figures=drawings,
        answers=answers(account, found, shown),
        equivalences=sources(),
        notes=impact_notes(account, footprint),
        main_scores=main_scores(account, shown["scores"]),
        decisions=decision_blocks(footprint, shown),
        spent=_spent(shown["impact"]),
        derivations=Markup(_script(asdict(_derivations(account, footprint, shown)))),
        texts=Markup(_script(_texts())),
        until=day(account.until) if account.until else "",
        waste=_waste(account),
        known=_known(account),
        verified=verified_line(verification),
        schedule=outcome_text(schedule) if schedule else [],
    )
    with replacing(folder / "index.html") as path:
        path.write_text(page, encoding="utf-8")


def _file(name: str) -> Any:
    """Return the content of one of the page's own files, inserted unescaped."""
    return Markup((importlib.resources.files("greenllm.report") / name).read_text(encoding="utf-8"))


def _script(value: Any) -> str:
    """Return a value as JSON that can be inside a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _rich(message: str, /, **values: object) -> Markup:
    """Return a message as HTML, in which values may be HTML themselves."""
    return Markup(text(message)).format(**values)


def _template(chosen: Language) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("greenllm.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    environment.filters["digits"] = lambda value: "" if value is None else f"{value:.6g}"
    environment.globals |= {"text": text, "plural": plural, "rich": _rich, "quantity": quantity, "mark": _mark}
    return environment.get_template("page.html.jinja")


RowOrigin = tuple[list[int], int, str]  # places of files in `Derivations.files`, how many more, which in words


@dataclass(frozen=True)
class ColumnDerivation:
    """How the numbers of a column are computed: its title and unit, its formula, the names of its factors."""

    title: str
    unit: str | None
    formula: str
    factors: list[str]


@dataclass(frozen=True)
class TableDerivation:
    """The derivations of a table: by column, by row; `own` has the rows of columns with other files."""

    columns: dict[str, ColumnDerivation]
    rows: list[RowOrigin]
    own: dict[str, list[RowOrigin]]


@dataclass(frozen=True)
class Derivations:
    """How each number of the tables is derived, as the page's script reads it."""

    tables: dict[str, TableDerivation]
    files: list[str]
    factors: dict[str, str]


def _derivations(account: Account, footprint: Footprint | None, shown: Mapping[str, Table]) -> Derivations:
    files: dict[str, int] = {}

    def origins(table: Table, of: Callable[[Any], Origin] | None) -> list[RowOrigin]:
        found = [of(row) for row in table.rows[:MOST_ROWS]] if of else []
        return [([files.setdefault(path, len(files)) for path in one.files], one.more, one.chosen) for one in found]

    found: dict[str, TableDerivation] = {}
    entering = factors(account, footprint)
    for table in shown.values():
        columns = {
            column.key: ColumnDerivation(
                title, column.unit, text(column.formula), [name for name in column.factors if name in entering]
            )
            for column, (title, _) in zip(table.columns, table.headings(), strict=True)
            if column.formula
        }
        if columns:
            own = {key: origins(table, of) for key, of in table.origins.items()}
            found[table.name] = TableDerivation(columns, origins(table, table.origin), own)
    return Derivations(found, list(files), entering)


def _texts() -> dict[str, str]:
    """Return what the script says."""
    return {
        "copy": text("Copy"),
        "copied": text("Copied"),
        "experiment": text("Experiment"),
        "all": text("all"),
        "formula": text("Formula"),
        "files": text("Computed from"),
        "more": text("and {count} more: rows of tables/ledgers.csv"),
        "factors": text("Factors"),
        "close": text("Close"),
        "interval": text("95 % interval"),
    }


_LABELS = {
    "measured and modelled": "measured", "measured": "measured", "modelled": "modelled", "partly modelled": "modelled",
    "saves": "saves", "recommended": "saves", "loss": "loss", "not resolvable": "open",
}  # fmt: skip


def _mark(column: Column, shown: str) -> str:
    """Return the class of a cell that is shown as a label, empty for others."""
    if column.title != "Energy is" and column.key not in ("verdict", "decision"):
        return ""
    return next((label for word, label in _LABELS.items() if shown.startswith(text(word))), "")


def _spent(impact: Table) -> dict[str, Shown]:
    """Return the energy of the whole study, and what of it was wasted, with the cells of the table `impact`."""
    row = len(impact.rows) - 1 if impact.rows else None  # the last row is the whole study
    found = {}
    for column in impact.columns:
        if column.key in ("energy_J", "waste_J") and row is not None:
            value = column.of(impact.rows[row])
            scale, unit = prefix_for([value], "J")
            shown = value_text(value, scale) + (f"{THIN}{unit}" if value is not None else "")
            found[column.key] = Shown(shown, bounds_text(value, scale), impact.name, row, column.key)
    return found


def _waste(account: Account) -> str:
    parts = [f"{spent.attempts} {text(standing)}" for standing, spent in account.spent.waste.items() if spent.attempts]
    return ", ".join(parts) or text("no attempt failed or was repeated")


def _known(account: Account) -> tuple[str, str]:
    """Return how much of the energy was measured: a headline and a line of detail."""
    energies = {"measured": 0.0, "modelled": 0.0}
    components: dict[str, set[str]] = {"measured": set(), "modelled": set()}
    for row in account.methods:
        if row.component != "platform" and row.energy_J is not None:
            energies[row.quality] += row.energy_J
            components[row.quality].add(row.component.upper())
    total = sum(energies.values())
    unknown = Counter(name for row in account.jobs for name in {reason.partition(":")[0] for reason in row.unknown})
    if not total:
        return text("unknown"), text("no component of any host could be measured or modelled")
    share = energies["measured"] / total
    headline = text("{share} measured", share=percent(share))
    if share in (0, 1):
        headline = text("measured") if share else text("modelled")
    detail = [f"{listed(sorted(names))} {text(quality)}" for quality, names in components.items() if names]
    for name, attempts in sorted(unknown.items()):
        everywhere = attempts == len(account.jobs)
        of = (
            noted("{component} unknown")
            if everywhere
            else noted("{component} unknown in {count} of {attempts} attempts")
        )
        detail.append(text(of, component=name.upper(), count=attempts, attempts=len(account.jobs)))
    return headline, "; ".join(detail)
