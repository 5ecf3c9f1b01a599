"""A block of work under the meter, on one GPU."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpu_parts.records import Settings
from greenllm.ledger.file import read_ledger
from greenllm.meter import Meter

LEASE_s = 10.0
SAMPLE_s = 0.2


@dataclass(frozen=True)
class Metered:
    """What the GPU used (J, with 95 % bounds), how that is known, when (CLOCK_MONOTONIC, s); what the work returned."""

    energy_J: float
    low_J: float
    high_J: float
    method: str
    begin_s: float
    end_s: float
    amount: int

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s


def metered(settings: Settings, what: str, work: Callable[[], int]) -> Metered:
    """Do the work under a meter that holds the GPU.

    Raises RuntimeError where the GPU's energy cannot be read, UserError where another job holds the GPU.
    """
    log = settings.out / "energy" / f"{what.replace(' ', '-')}-{time.monotonic_ns()}.json"
    with Meter(
        rule=what,
        gpus=1,
        device="require",
        wait_s=LEASE_s,
        interval_s=SAMPLE_s,
        ledger=settings.out / "ledger",
        out=log,
    ):
        amount = work()
    return _read(log, amount)


def _read(log: Path, amount: int) -> Metered:
    found = json.loads(log.read_text(encoding="utf-8"))
    (gpu,) = (component for component in found["components"] if component["component"] == "gpu")
    if gpu["energy_J"] is None:
        raise RuntimeError(f"the GPU's energy is unknown: {gpu['reason']}")
    energy = gpu["energy_J"]
    ledger, _ = read_ledger(log.parent / found["ledger"])
    assert ledger.start is not None
    assert ledger.end is not None
    begin_s, end_s = ledger.start["monotonic_s"], ledger.end["monotonic_s"]
    return Metered(energy["value"], energy["low"], energy["high"], gpu["method"], begin_s, end_s, amount)
