"""The report page: one self-contained HTML file, with its numbers in summary.json."""

import datetime
import importlib.resources
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from greenllm.account.document import Account
from greenllm.documents.verification import Verification
from greenllm.files import replacing, require_own, write_json
from greenllm.footprint.carbon import GridFactor
from greenllm.report import figures, tables
from greenllm.report.findings import findings
from greenllm.report.numbers import percent, quantity
from greenllm.report.table import Column
from greenllm.report.verified import verified_line


def write_report(account: Account, folder: Path, verification: Verification | None = None) -> None:
    """Write index.html, figures/, tables/ and summary.json into `folder`; other files there stay.

    `verification` is that of this account, None where none is recorded.

    Raises UserError if there is an index.html or summary.json that is not a report's.
    """
    require_own(folder / "index.html", "<title>GreenLLM report")
    require_own(folder / "summary.json", '"schema": "greenllm/')
    written = [make(account) for make in tables.PAGE]
    for table in written:
        table.write(folder / "tables" / table.name)
    drawings = figures.draw_all(account, folder / "figures")
    found = findings(account.experiments)
    write_json(
        folder / "summary.json",
        {"schema": "greenllm/summary/1", "findings": [asdict(one) for one in found]}
        | {name: value for name, value in account.to_json().items() if name not in ("schema", "power")},
    )
    named = [make(account) for make in tables.NAMED.values()]
    page = _template().render(
        account=account,
        css=_text("page.css"),
        js=_text("page.js"),
        tables={table.name: table for table in (*written, *named)},
        figures=drawings,
        findings=found,
        quantity=quantity,
        mark=_mark,
        until=_day(account.until),
        waste=_waste(account),
        known=_known(account),
        years=_years(account.grid),
        verified=verified_line(verification),
    )
    with replacing(folder / "index.html") as path:
        path.write_text(page, encoding="utf-8")


def _text(name: str) -> Any:
    """Return the content of one of the page's own files, inserted unescaped."""
    return Markup((importlib.resources.files("greenllm.report") / name).read_text(encoding="utf-8"))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("greenllm.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    return environment.get_template("page.html.jinja")


def _mark(column: Column, text: str) -> str:
    """Return the class of a cell that is shown as a label, empty for others."""
    if column.title == "Energy is":
        return {"measured": "measured", "modelled": "modelled", "partly modelled": "modelled"}.get(text, "")
    if column.key in ("verdict", "decision"):
        return {"saves": "saves", "recommended": "saves", "loss": "loss", "not resolvable": "open"}.get(
            text.split(":")[0], ""
        )
    return ""


def _day(moment: str | None) -> str:
    if moment is None:
        return ""
    return datetime.datetime.fromisoformat(moment).astimezone(datetime.UTC).strftime("%-d %B %Y, %H:%M UTC")


def _years(grid: GridFactor | None) -> str:
    if grid is None or not grid.years:
        return "year unknown"
    first, last = grid.years
    return f"year {first}" if first == last else f"most of it of {grid.year}, territories from {first} to {last}"


def _waste(account: Account) -> str:
    parts = [f"{spent.attempts} {standing}" for standing, spent in account.spent.waste.items() if spent.attempts]
    return ", ".join(parts) or "no attempt failed or was repeated"


def _known(account: Account) -> tuple[str, str]:
    """Return how much of the energy was measured: a headline and a line of detail."""
    energies = {"measured": 0.0, "modelled": 0.0}
    components: dict[str, set[str]] = {"measured": set(), "modelled": set()}
    unknown: set[str] = set()
    for row in account.methods:
        if row.component == "platform":
            continue
        if row.energy_J is None:
            unknown.add(row.component.upper())
        else:
            energies[row.quality] += row.energy_J
            components[row.quality].add(row.component.upper())
    total = sum(energies.values())
    unknown -= {name for names in components.values() for name in names}
    if not total:
        return "unknown", "no component of any host could be measured or modelled"
    share = energies["measured"] / total
    headline = "measured" if share == 1 else "modelled" if share == 0 else f"{percent(share)} measured"
    detail = "; ".join(
        [f"{', '.join(sorted(names))} {quality}" for quality, names in components.items() if names]
        + ([f"{', '.join(sorted(unknown))} unknown"] if unknown else [])
    )
    return headline, detail
