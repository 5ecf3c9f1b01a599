"""A row of the table: each tool's figure for the same quantity, and the target for ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

TOOLS = ("greenllm", "CodeCarbon", "Zeus")


@dataclass(frozen=True)
class Row:
    """One line. `met` is None if nothing could be compared with the target; then `ours` says why."""

    what: str
    ours: str
    codecarbon: str
    zeus: str
    target: str
    met: bool | None

    def cells(self) -> list[str]:
        reported = {True: "met", False: "MISSED", None: "-"}[self.met]
        return [self.what, self.ours, self.codecarbon, self.zeus, self.target, reported]


def as_table(rows: Sequence[Row]) -> str:
    return tabulate([row.cells() for row in rows], ["what", *TOOLS, "target", ""], tablefmt="github")


def percent(part: float, digits: int = 2) -> str:
    return f"{100 * part:+.{digits}f} %"
