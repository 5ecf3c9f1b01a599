"""The energy log of one attempt. docs/reference/ledger.md documents the format."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.estimate import Estimate, Parameter, total
from greenllm.files import require_replaceable_file, write_json
from greenllm.ledger.file import LedgerWriter
from greenllm.ledger.records import EndRecord, StartRecord
from greenllm.paths import printable

SCHEMA = "greenllm/energy/1"
# A job's energy is the sum of these. The platform contains them, so it is never added to them.
SUMMED = ("gpu", "cpu", "dram")


@dataclass(frozen=True)
class Component:
    """A device's part in a job's energy; `energy` is None with a `reason` where it could not be read.

    `share`: the part of what the device counted meanwhile. `coverage`: the part of the job's time for which the energy
    is known. `used`: whether something computed on a GPU while the job held it; None where that is unknown.
    """

    component: str
    host: str
    device: str
    energy: Estimate | None
    reason: str | None
    method: str
    quality: str
    share: float | None
    coverage: float
    used: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the component as energy log and attribution write it."""
        return {
            "component": self.component,
            "host": self.host,
            "device": self.device,
            "energy_J": None if self.energy is None else self.energy.to_json(),
            "reason": self.reason,
            "method": self.method,
            "quality": self.quality,
            "share": self.share,
            "coverage": self.coverage,
            **({"used": self.used} if self.component == "gpu" else {}),
            "terms": []
            if self.energy is None
            else [{"parameter": name, "coefficient": c} for name, c in self.energy.terms.items()],
        }


def summed(components: Sequence[Component]) -> Estimate | None:
    """Return a job's energy (J), the sum of gpu, cpu and dram; None where none of them is known."""
    parts = [c.energy for c in components if c.component in SUMMED and c.energy is not None]
    return total(parts) if parts else None


def write_energy_log(
    path: Path,
    start: StartRecord,
    end: EndRecord,
    components: Sequence[Component],
    parameters: Mapping[str, Parameter],
    ledger: LedgerWriter,
) -> None:
    """Write the log of an attempt from its start and end record. Raises OSError where it cannot be written.

    `components` are those of the attempt's host and of its parts on other hosts; `parameters` those of its host.
    """
    energy = summed(components)
    known = {name: one for part in components if part.energy for name, one in part.energy.parameters.items()}
    place = require_replaceable_file(path.absolute())
    log = {
        "schema": SCHEMA,
        "id": start.id,
        "parent": start.parent,
        "run_id": start.run_id,
        "host": start.host,
        "boot_id": start.boot_id,
        "job": vars(start.job),
        "command": start.command,
        "config_hash": start.config_hash,
        "inputs": start.inputs,
        "started": start.started,
        "outputs": end.outputs,
        "ended": end.ended,
        "duration_s": end.duration_s,
        "status": end.status,
        "exit_code": end.exit_code,
        "threads": start.threads,
        "gpus": [vars(gpu) for gpu in start.gpus],
        # Only a regular file has a place to which the ledger's path can be relative (a pipe has none).
        "ledger": printable(os.path.relpath(ledger.path, place.parent) if place else str(ledger.path)),
        "energy_J": None if energy is None else energy.to_json(),
        "partial": any(c.energy is None for c in components) or bool(ledger.lost),
        "provisional": True,
        "components": [component.to_json() for component in components],
        "parameters": {name: parameter.to_json() for name, parameter in {**known, **parameters}.items()},
        "cpu_s": end.cpu_s,
        "waited_s": start.waited_s,
        "planned_s": start.planned_s,
        "planned_device": start.planned_device,
        "held_s": start.held_s,
        "lost_records": ledger.lost,
        "reason": f"ledger: {ledger.trouble}" if ledger.trouble else None,
        "work": end.work,
    }
    write_json(path, log)
