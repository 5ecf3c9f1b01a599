"""The energy log of one attempt. README.md in this folder documents the format."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from greenllm.files import require_replaceable_file, write_json
from greenllm.meter.component import SUMMED, Component
from greenllm.meter.estimate import Estimate, Parameter, total
from greenllm.meter.fingerprints import as_text
from greenllm.meter.ledger import LedgerWriter

SCHEMA = "greenllm/energy/1"


def energy_of(components: Sequence[Component]) -> Estimate | None:
    """Return the sum (J) of a job's components that are summed and known; None where there is none."""
    parts = [c.energy for c in components if c.component in SUMMED and c.energy is not None]
    return total(parts) if parts else None


def write_energy_log(
    path: Path,
    start: Mapping[str, Any],
    end: Mapping[str, Any],
    components: Sequence[Component],
    parameters: Mapping[str, Parameter],
    ledger: LedgerWriter,
) -> None:
    """Write the log of an attempt from its start and end record. Raises OSError where it cannot be written."""
    energy = energy_of(components)
    place = require_replaceable_file(path.absolute())
    log = {
        "schema": SCHEMA,
        **{name: start[name] for name in ("id", "parent", "run_id", "host", "boot_id", "job", "command")},
        **{name: start[name] for name in ("config_hash", "inputs", "started")},
        **{name: end[name] for name in ("outputs", "ended", "duration_s", "status", "exit_code")},
        "threads": start["threads"],
        "gpus": start["gpus"],
        # What is no regular file (a pipe) has no place that another could be told from.
        "ledger": as_text(os.path.relpath(ledger.path, place.parent) if place else str(ledger.path)),
        "energy_J": None if energy is None else energy.to_json(),
        "partial": any(c.energy is None for c in components) or bool(ledger.lost),
        "provisional": True,
        "components": end["components"],
        "parameters": {name: parameter.to_json() for name, parameter in parameters.items()},
        "cpu_s": end["cpu_s"],
        "waited_s": start["waited_s"],
        "lost_records": ledger.lost,
        "reason": f"ledger: {ledger.trouble}" if ledger.trouble else None,
        "work": end["work"],
    }
    write_json(path, log)
