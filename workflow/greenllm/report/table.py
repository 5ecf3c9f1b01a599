"""Tables: one model of a table, written as CSV, Parquet, Markdown and LaTeX, and shown on the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from tabulate import tabulate

from greenllm.errors import UserError
from greenllm.files import replacing, require_own
from greenllm.report.numbers import bounds_text, prefix_for, split, value_text

ENDINGS = (".csv", ".parquet", ".md", ".tex")


@dataclass(frozen=True)
class Column:
    """A column: `key` in the rows, its title, and for quantities the unit of the raw values.

    `absent` stands in a cell without a value: "unknown" where there must be one, "–" where there can't be.
    `like` names a column whose prefix this one shares; a column that is not `on_page` is in the files only, and so is
    one to be shown `if_known` where no row has a value.
    """

    key: str
    title: str
    unit: str | None = None
    kind: Literal["text", "number", "interval"] = "text"
    absent: str = "–"
    like: str | None = None
    on_page: bool = True
    if_known: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell as shown: text, interval below it, and the raw value that rows are sorted by."""

    text: str
    bounds: str = ""
    sort: float | str = ""


@dataclass(frozen=True)
class Table:
    """A table: raw rows, and how to show their columns. Quantities of one column share a prefixed unit.

    A row may lack a key that it has no value for.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = field(default_factory=tuple)

    def _scale(self, column: Column) -> tuple[float, str]:
        return prefix_for([row.get(column.like or column.key) for row in self.rows], column.unit or "")

    def is_shown(self, column: Column) -> bool:
        """Return whether the page shows a column."""
        return column.on_page and not (column.if_known and all(row.get(column.key) in (None, "") for row in self.rows))

    def headings(self) -> list[tuple[str, str]]:
        """Return each column's title and prefixed unit (empty where it has none)."""
        return [(column.title, self._scale(column)[1] if column.unit else "") for column in self.columns]

    def cells(self) -> list[list[Cell]]:
        """Return the cells as shown, row by row."""
        scales = [self._scale(column)[0] if column.unit else 1.0 for column in self.columns]
        return [
            [_cell(row.get(c.key), c, scale) for c, scale in zip(self.columns, scales, strict=True)]
            for row in self.rows
        ]

    def frame(self) -> pd.DataFrame:
        """Return the raw values; an interval `x` becomes the columns `x`, `x_low` and `x_high`."""
        data: dict[str, list[Any]] = {}
        for column in self.columns:
            values = [row.get(column.key) for row in self.rows]
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
        """Raise UserError where one of the four files that `write` makes is there and no such table.

        The user names one of them: the others must not take the place of files of that name.
        """
        csv, parquet, markdown, latex = (prefix.with_name(prefix.name + ending) for ending in ENDINGS)
        require_own(csv, f"{self.columns[0].key},")
        if parquet.exists() and not csv.exists():
            raise UserError(f"{parquet}: is there without {csv.name}; move it away, or name another file")
        require_own(markdown, f"**{self.caption[:20]}")
        require_own(latex, f"% {self.caption[:20]}")

    def write(self, prefix: Path) -> list[Path]:
        """Write `prefix`.csv and .parquet (raw, SI units) and .md and .tex (as shown); return the paths."""
        paths = [prefix.with_name(prefix.name + ending) for ending in ENDINGS]
        frame = self.frame()
        headings = [f"{title} ({unit})" if unit else title for title, unit in self.headings()]
        shown = [[f"{cell.text} ({cell.bounds})" if cell.bounds else cell.text for cell in row] for row in self.cells()]
        with replacing(paths[0]) as path:
            frame.to_csv(path, index=False, lineterminator="\n")
        with replacing(paths[1]) as path:
            frame.to_parquet(path, index=False)
        with replacing(paths[2]) as path:
            body = tabulate(shown, headings, tablefmt="github", disable_numparse=True)
            path.write_text("\n\n".join([f"**{self.caption}**", body, *self.notes]) + "\n", encoding="utf-8")
        with replacing(paths[3]) as path:
            tex = tabulate(shown, headings, tablefmt="latex_booktabs", disable_numparse=True)
            comment = "".join(f"% {line}\n" for line in (self.caption, *self.notes))
            path.write_text(comment + _latex(tex) + "\n", encoding="utf-8")
        return paths


def _latex(text: str) -> str:
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
        text = text.replace(character, command)
    return text


def _cell(value: Any, column: Column, scale: float) -> Cell:
    if column.kind == "text":
        if value is None or value == "":
            return Cell(column.absent)
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        return Cell(text, sort=text)
    middle = split(value)[0]
    if middle is None:
        return Cell(column.absent)
    if math.isinf(middle):
        return Cell(value_text(middle), sort="Infinity")
    if column.unit is None:  # a count or a year: digits as they stand
        return Cell(f"{middle:.0f}", sort=middle)
    return Cell(value_text(value, scale), bounds_text(value, scale), middle)
