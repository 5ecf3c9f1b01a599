"""The energy of a job that a meter inside ours watches, read from its ledger while it runs."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenllm.ledger.file import ledger_paths

if TYPE_CHECKING:
    from greenllm.attribution import Estimate

SAMPLING_s = 0.2
"""Time between two samples: several in a window of a second, at less than 0.1 % of a processor."""
PATIENCE_s = 10
"""How long a sample is waited for."""
MODIFIED_s = 60
"""What a file server's clock may differ by from ours."""
UNKNOWN = "the sensors were not read within the window, or there are none"


def closely_sampled() -> dict[str, str]:
    """Return the environment in which a meter samples often enough for short windows."""
    name = "GREENLLM_METER_INTERVAL_S"
    return {**os.environ, name: str(min(SAMPLING_s, float(os.environ.get(name) or SAMPLING_s)))}


class JobEnergy:
    """The energy of the job of a rule within our meter."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._folder = Path(os.environ["GREENLLM_LEDGER"])
        self._since_s = time.time() - MODIFIED_s

    def between(self, windows: Sequence[dict[str, Any]]) -> "list[Estimate | None]":
        """Return the job's energy in each window, None where it is unknown.

        Waits until the ledger holds samples up to the end of the last window.
        """
        from greenllm.attribution import attribute_attempts, read_attempts

        path = self._path()
        if path is None or not windows:
            return [None] * len(windows)
        end_s = max(window["monotonic_end_s"] for window in windows)
        deadline_s = time.monotonic() + PATIENCE_s
        while True:
            (attempt,), _ = read_attempts(self._folder, [path])
            if attempt.end is not None or attempt.last_s >= end_s or time.monotonic() >= deadline_s:
                break
            time.sleep(SAMPLING_s / 4)
        # What had ended before this job began has no part in its energy.
        recent = [path for path in ledger_paths(self._folder) if path.stat().st_mtime >= self._since_s]
        attribution = attribute_attempts(read_attempts(self._folder, recent)[0])
        return [
            attribution.energy_between(attempt.id, window["monotonic_start_s"], window["monotonic_end_s"])
            for window in windows
        ]

    def _path(self) -> Path | None:
        """Return the job's ledger: that of a meter whose id begins with our meter's, and of the rule."""
        for path in self._folder.glob(f"*/{os.environ['GREENLLM_METER_ID']}.*.jsonl"):
            with path.open(encoding="utf-8") as file:
                if json.loads(file.readline())["job"]["rule"] == self._rule:
                    return path
        return None
