"""Tables: one model of a table, written as CSV, Parquet, Markdown and LaTeX, and shown on the page."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pandas as pd
from tabulate import tabulate

from greenllm.comparison.rows import Difference
from greenllm.errors import UserError
from greenllm.files import replacing, require_own
from greenllm.report.derivation import Origin
from greenllm.report.language import LOCALES, language, speaking, text
from greenllm.report.numbers import THIN, bounds_text, change, prefix_for, split, value_text, with_bounds

ENDINGS = (".csv", ".parquet", ".md", ".tex")


@dataclass(frozen=True)
class Column:
    """A column: `key` in the files, its title, and for quantities the unit of the raw values.

    `field` is the row's field that it shows, where the key is not its name; dots lead into a field's own fields.
    `absent` is shown for a missing value: "unknown" where there must be one, "–" where there can't be.
    `like` names a field whose prefix this column shares. A column that is not `on_page` is in the files only, and so is
    one to be shown `if_known` where no row has a value. `words` have translations (`names.WORDS`).
    `formula` says how a number is computed, and `factors` names what else enters it (`derivation.factors`).
    Where `own_unit`, each cell has its own prefixed unit, for values that differ by many powers of ten.
    """

    key: str
    title: str
    unit: str | None = None
    kind: Literal["text", "number", "interval"] = "text"
    absent: str = "–"
    like: str | None = None
    on_page: bool = True
    if_known: bool = False
    field: str = ""
    words: bool = False
    formula: str = ""
    factors: tuple[str, ...] = ()
    own_unit: bool = False

    def of(self, row: object) -> Any:
        """Return a row's value; None where there is none, a list of words as text."""
        value = functools.reduce(
            lambda found, name: None if found is None else getattr(found, name), self.path.split("."), row
        )
        return ", ".join(text(one) for one in value) if isinstance(value, list) else value

    @property
    def path(self) -> str:
        """The row's field, with dots where it is one of a field's own fields."""
        return self.field or self.key


@dataclass(frozen=True)
class Cell:
    """A cell as shown: text, interval below it, the raw value that rows are sorted by, and the raw bounds."""

    text: str
    bounds: str = ""
    sort: float | str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Table:
    """A table: rows of one type, and how to show their columns. Quantities of one column share a prefixed unit.

    `caption` is the key of its text. `origin` returns what a row is computed from, `origins` the same for columns, by
    key, that are computed from something else. `blank` says of a row and a column's key whether nothing can be there:
    the cell is then a dash, though the column's `absent` is "unknown".

    Raises AttributeError for a column of a field that `row_type` does not have.
    """

    name: str
    caption: str
    row_type: type
    columns: Sequence[Column]
    rows: Sequence[object]
    notes: Sequence[str] = ()
    origin: Callable[[Any], Origin] | None = None
    origins: Mapping[str, Callable[[Any], Origin]] = field(default_factory=dict)
    blank: Callable[[Any, str], bool] | None = None

    @property
    def title(self) -> str:
        """The caption in the page's language."""
        return text(self.caption)

    def __post_init__(self) -> None:
        for column in self.columns:
            for path in (column.path, column.like or column.path):
                functools.reduce(_type_of_field, path.split("."), self.row_type)

    def _scale(self, column: Column) -> tuple[float, str]:
        sized = replace(column, field=column.like or column.path)
        return prefix_for([sized.of(row) for row in self.rows], column.unit or "")

    def is_shown(self, column: Column) -> bool:
        """Return whether the page shows a column."""
        return column.on_page and not (column.if_known and all(column.of(row) in (None, "") for row in self.rows))

    def headings(self) -> list[tuple[str, str]]:
        """Return each column's title and prefixed unit (empty where it has none)."""
        return [
            (text(column.title), text(self._scale(column)[1]) if column.unit and not column.own_unit else "")
            for column in self.columns
        ]

    def cells(self) -> list[list[Cell]]:
        """Return the cells as shown, row by row."""
        scales = [self._scale(column)[0] if column.unit else 1.0 for column in self.columns]
        return [
            [
                Cell("–")
                if self.blank and self.blank(row, column.key)
                else _cell_with_unit(row, column)
                if column.own_unit
                else _cell(column.of(row), column, scale)
                for column, scale in zip(self.columns, scales, strict=True)
            ]
            for row in self.rows
        ]

    def frame(self) -> pd.DataFrame:
        """Return the raw values; an interval `x` becomes the columns `x`, `x_low` and `x_high`."""
        data: dict[str, list[Any]] = {}
        for column in self.columns:
            values = [column.of(row) for row in self.rows]
            if column.kind == "interval":
                for index, ending in enumerate(("", "_low", "_high")):
                    data[column.key + ending] = [split(value)[index] for value in values]
            else:
                data[column.key] = values
        frame = pd.DataFrame(data)
        for column in self.columns:
            if column.kind != "text":
                for name in (column.key, f"{column.key}_low", f"{column.key}_high"):
                    if name in frame:
                        frame[name] = frame[name].astype("Float64")
        return frame

    def require_own(self, prefix: Path) -> None:
        """Raise UserError if one of the four files that `write` makes exists and is not such a table.

        The user names one of them; the others must not replace files of other content.
        """
        csv, parquet, markdown, latex = (prefix.with_name(prefix.name + ending) for ending in ENDINGS)
        require_own(csv, f"{self.columns[0].key},")
        if parquet.exists() and not csv.exists():
            raise UserError(f"{parquet}: exists without {csv.name}; move it away, or name another file")
        for path, mark in ((markdown, "**"), (latex, "% ")):
            require_own(path, *(f"{mark}{caption[:20]}" for caption in self._captions()))

    def _captions(self) -> list[str]:
        """Return the caption in each language: a table of a report in another language is the same table."""
        found = []
        for code in LOCALES:
            with speaking(language(code)):
                found.append(self.title)
        return found

    def write(self, prefix: Path) -> list[Path]:
        """Write `prefix`.csv and .parquet (raw, SI units) and .md and .tex (as shown); return the paths."""
        paths = [prefix.with_name(prefix.name + ending) for ending in ENDINGS]
        frame = self.frame()
        headings = [f"{title} ({unit})" if unit else title for title, unit in self.headings()]
        shown = [[with_bounds(cell.text, cell.bounds) for cell in row] for row in self.cells()]
        with replacing(paths[0]) as path:
            frame.to_csv(path, index=False, lineterminator="\n")
        with replacing(paths[1]) as path:
            frame.to_parquet(path, index=False)
        with replacing(paths[2]) as path:
            body = tabulate(shown, headings, tablefmt="github", disable_numparse=True)
            path.write_text("\n\n".join([f"**{self.title}**", body, *self.notes]) + "\n", encoding="utf-8")
        with replacing(paths[3]) as path:
            tex = tabulate(shown, headings, tablefmt="latex_booktabs", disable_numparse=True)
            comment = "".join(f"% {line}\n" for line in (self.title, *self.notes))
            path.write_text(comment + _latex(tex) + "\n", encoding="utf-8")
        return paths


def _latex(tex: str) -> str:
    """Replace what pdfLaTeX can't set: narrow spaces, dashes, signs."""
    for character, command in {
        "\u202f": r"\,",
        "–": "--",
        "−": "$-$",
        "µ": r"$\mu$",
        "×": r"$\times$",
        "⁸": "$^{8}$",
        "₂": "$_2$",
    }.items():
        tex = tex.replace(character, command)
    return tex


def _cell(value: Any, column: Column, scale: float) -> Cell:
    if column.kind == "text":
        if value is None or value == "":
            return Cell(text(column.absent))
        if isinstance(value, bool):
            value = text("yes") if value else text("no")
        shown = text(str(value)) if column.words else str(value)
        return Cell(shown, sort=shown)
    middle, low, high = split(value)
    if middle is None:
        return Cell(text(column.absent))
    if math.isinf(middle):
        return Cell(value_text(middle), sort="Infinity")
    if column.unit is None:  # a count or a year: all its digits
        return Cell(f"{middle:.0f}", sort=middle)
    if isinstance(value, Difference):
        return Cell(*change(value), middle, low, high)
    limit = 1.0 if column.unit == "×" else None
    return Cell(value_text(value, scale, limit), bounds_text(value, scale, limit=limit), middle, low, high)


def _cell_with_unit(row: object, column: Column) -> Cell:
    value, like = column.of(row), replace(column, field=column.like or column.path).of(row)
    scale, unit = prefix_for([value if like is None else like], column.unit or "")
    shown = _cell(value, column, scale)
    return replace(shown, text=f"{shown.text}{THIN}{text(unit)}") if split(value)[0] is not None and unit else shown


def _type_of_field(kind: type, name: str) -> type:
    """Return the type of a field or property, None left out; raise AttributeError where a type has no such field."""
    own = getattr(kind, name, None)
    found: type | None = (
        get_type_hints(own.fget)["return"] if isinstance(own, property) else get_type_hints(kind).get(name)
    )
    if found is None:
        raise AttributeError(f"{kind.__name__} has no field {name!r}")
    known: list[type] = [one for one in get_args(found) if one is not NoneType]
    return known[0] if get_origin(found) in (UnionType, Union) and len(known) == 1 else found
