"""Factors in tables: CSV files with one row a factor, ours (factors/*.csv) or the user's, and how one is found in them.

The columns are those of `Factor`. Empty `low` and `high` mean that no source has bounds; `interval` says in words what
the bounds are, or why there are none.
"""

import csv
import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from greenllm.config.read import nearest
from greenllm.errors import UserError, listed
from greenllm.footprint.factor import Factor
from greenllm.footprint.factor_kinds import KINDS, require_plausible

FOLDER = Path(__file__).with_name("factors")
REMEDY = "mend the row, or remove it"


def _none_if_empty(given: Any) -> Any:
    return None if given == "" else given


def _iso_date(given: str) -> str:
    return date.fromisoformat(given).isoformat()


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
OptionalText = Annotated[Text | None, BeforeValidator(_none_if_empty)]
Bound = Annotated[float | None, BeforeValidator(_none_if_empty)]


class FactorRow(BaseModel):
    """A row of a table."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: Text
    place: Text
    value: float
    low: Bound
    high: Bound
    interval: Text
    unit: Text
    year: Annotated[int | None, BeforeValidator(_none_if_empty), Field(ge=1990, le=2100)]
    source: Text
    licence: OptionalText
    retrieved: Annotated[str, AfterValidator(_iso_date)]
    note: OptionalText


COLUMNS = tuple(FactorRow.model_fields)


def read_factors(path: Path) -> list[Factor]:
    """Return the factors of a CSV file.

    Raises UserError, one line that names the file and the row, if the file is not such a table, a row has no source or
    unit, a value is not plausible or outside its bounds, or a factor is there twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_factors(csv.DictReader(file, strict=True), path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a table of factors (CSV)") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no CSV file in UTF-8 ({error})") from None


def _factors(rows: "csv.DictReader[str]", path: Path) -> Iterator[Factor]:
    missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: the header lacks {listed(missing)}; expected the columns {', '.join(COLUMNS)}")
    lines: dict[tuple[str, str, int | None], int] = {}
    for cells in rows:
        where = f"{path}: row {rows.line_num}"
        factor = _factor(cells, where)
        key = (factor.name, factor.place, factor.year)
        if key in lines:
            year = "without a year" if factor.year is None else f"of {factor.year}"
            raise UserError(
                f"{where}: {factor.name} of {factor.place} {year} is already in row {lines[key]}; remove one of them"
            )
        lines[key] = rows.line_num
        yield factor


def _factor(cells: dict[str, Any], where: str) -> Factor:
    """Return the factor of a row. Raises UserError, which starts with `where`, if the row is not valid."""
    if None in cells or None in cells.values():
        raise UserError(f"{where}: expected {len(COLUMNS)} cells, as many as the header has; {REMEDY}")
    try:
        row = FactorRow.model_validate(cells)
    except ValidationError as error:
        first = error.errors()[0]
        column, given = ".".join(map(str, first["loc"])), first["input"]
        problem = "is empty" if given == "" else f"{given!r} is not valid ({first['msg']})"
        raise UserError(f"{where}: {column} {problem}; {REMEDY}") from None
    if row.name not in KINDS:
        raise UserError(f"{where}: name {row.name!r} is no kind of factor{nearest(row.name, list(KINDS))}")
    if row.unit != KINDS[row.name].unit:
        raise UserError(f"{where}: unit {row.unit!r}: expected {KINDS[row.name].unit!r} for a {row.name}; {REMEDY}")
    require_plausible(row.name, row.value, where)
    if (row.low is None) != (row.high is None):
        raise UserError(f"{where}: low and high belong together: expected both or neither; {REMEDY}")
    if row.low is not None and row.high is not None and not row.low <= row.value <= row.high:
        raise UserError(
            f"{where}: expected low <= value <= high, got {row.low:g}, {row.value:g} and {row.high:g}; {REMEDY}"
        )
    return Factor(**row.model_dump())


class FactorTables:
    """Factors by name and place.

    They are in layers: where one layer has a factor of a place, for whatever year, later layers are not asked.
    """

    def __init__(self, layers: Iterable[Sequence[Factor]]) -> None:
        self._layers: list[dict[tuple[str, str], list[Factor]]] = []
        for layer in layers:
            found: dict[tuple[str, str], list[Factor]] = defaultdict(list)
            for factor in layer:
                rows = found[factor.name, factor.place]
                if all(factor.year != other.year for other in rows):  # the first of two of one year counts
                    rows.append(factor)
            self._layers.append(found)

    def find(self, name: str, place: str, year: int) -> Factor | None:
        """Return the newest factor that is not newer than `year`, else the oldest; None if there is none."""
        return newest(self.all_of(name, place), year)

    def all_of(self, name: str, place: str) -> list[Factor]:
        """Return the factors of all years of a place, the newest first."""
        rows: list[Factor] = next((layer[name, place] for layer in self._layers if (name, place) in layer), [])
        return sorted(rows, key=lambda factor: -(factor.year or 0))

    def places(self, name: str) -> list[str]:
        """Return the places that have a factor of a kind."""
        return sorted(set().union(*self.places_by_layer(name)))

    def places_by_layer(self, name: str) -> list[list[str]]:
        """Return the places that have a factor of a kind in each layer."""
        return [sorted(place for kind, place in layer if kind == name) for layer in self._layers]


def newest(factors: Sequence[Factor], year: int) -> Factor | None:
    """Return the newest factor that is not newer than `year`, else the oldest; None if there is none."""
    dated = [factor for factor in factors if factor.year is not None]
    past = [factor for factor in dated if factor.year is not None and factor.year <= year]
    if past:
        return max(past, key=lambda factor: factor.year or 0)
    return min(dated, key=lambda factor: factor.year or 0) if dated else next(iter(factors), None)


@functools.cache
def shipped_factors() -> tuple[Factor, ...]:
    """Return the factors of our own tables."""
    return tuple(factor for path in sorted(FOLDER.glob("*.csv")) for factor in read_factors(path))
