"""The settings of the parts of `benchmarks/gpu.py`, and the records that they write: one JSON object a line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Record):
    """The settings of a part. In a rehearsal it computes on the CPU, with a tiny network in short windows."""

    out: Path
    rehearse: bool
    deadline_s: float
    """On CLOCK_MONOTONIC, which all processes share: no window begins that would end later."""

    @property
    def device(self) -> str:
        return "cpu" if self.rehearse else "cuda"

    @property
    def window_s(self) -> float:
        """A counter is renewed every 20 to 100 ms, so that a window has many renewals."""
        return 0.2 if self.rehearse else 5.0

    @property
    def rounds(self) -> int:
        return 2 if self.rehearse else 5


class Agreement(Record):
    """One load under the meter, beside a reader of the card's own counter and powers (all J)."""

    kind: Literal["agreement"] = "agreement"
    load: str
    seconds: float
    method: str
    meter_J: float
    meter_low_J: float
    meter_high_J: float
    counter_J: float | None
    mean_power_J: float | None
    """The power that nvidia-smi shows, added up reading by reading."""
    instant_power_J: float | None
    corrected_J: float | None
    """The instantaneous power, corrected as attribution does for a card without a counter."""
    counter_renewed_s: float | None
    power_renewed_s: float | None


class Window(Record):
    """A setting that did some work, and what the card used meanwhile."""

    kind: Literal["window"] = "window"
    part: str
    setting: str
    batch: int
    round: int
    tokens: int
    seconds: float
    energy_J: float
    peak_memory_B: int


class Missing(Record):
    """What was not measured, and why."""

    kind: Literal["missing"] = "missing"
    part: str
    setting: str
    reason: str
    optional: bool
    """An extra package is not there, or time was short: no failure."""


class Network(Record):
    """The network that a part made."""

    kind: Literal["network"] = "network"
    parameters: int


AnyRecord = Annotated[Agreement | Window | Missing | Network, Field(discriminator="kind")]
_ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


class Journal:
    """The records of one part, which are in the file as soon as they are written."""

    def __init__(self, settings: Settings, part: str) -> None:
        self.path = settings.out / f"{part}.jsonl"

    def write(self, record: Record) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json() + "\n")

    def read(self) -> Sequence[AnyRecord]:
        if not self.path.exists():
            return []
        return [_ADAPTER.validate_json(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
