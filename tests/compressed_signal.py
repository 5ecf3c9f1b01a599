"""A signal whose hours are seconds, for plans that are carried out within a test; and what a plan saved by it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

STEP_S = 5.0
STEPS = 60
FIRST_S = -60.0  # of the signal, after its begin


def rfc3339(unix_s: float) -> str:
    """Return a time (Unix time, s) as files have it."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


def unix(text: str) -> float:
    """Return a time of a file as Unix time (s)."""
    return datetime.fromisoformat(text).timestamp()


def read(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text())


class CompressedSignal:
    """Carbon (gCO2e/kWh) that is lowest between two times (s) after its begin (Unix time, s), and rises slowly."""

    def __init__(self, begin_s: float, low_from_s: float, low_until_s: float) -> None:
        self.begin_s, self.low_from_s, self.low_until_s = begin_s, low_from_s, low_until_s

    def value(self, after_begin_s: float) -> float:
        """Return the carbon of the step that begins at a time (s) after the signal's begin."""
        return 100.0 if self.low_from_s <= after_begin_s < self.low_until_s else 400.0 + after_begin_s

    def write(self, path: Path) -> None:
        """Write it as a CSV file."""
        after = [FIRST_S + STEP_S * step for step in range(STEPS)]
        rows = [f"{rfc3339(self.begin_s + one)},{self.value(one)}" for one in after]
        path.write_text("\n".join(["time,value (gCO2e/kWh)", *rows]))

    def mean(self, run: dict[str, str]) -> float:
        """Return the mean over a run, from a fine sum that knows nothing of the project's integral."""
        start, end = unix(run["start"]) - self.begin_s, unix(run["end"]) - self.begin_s
        parts = 20_000
        times = (start + (end - start) * (part + 0.5) / parts for part in range(parts))
        return sum(self.value(STEP_S * (one // STEP_S)) for one in times) / parts

    def saving(self, account: Path) -> float:
        """Return what the jobs of an account saved (gCO2e): the ledgers' energies times this signal."""
        attributed = read(account / "attribution.json")["jobs"]
        saving = 0.0
        for job in read(account / "schedule.json")["jobs"]:
            rule, name = job["name"].split()
            (run,) = job["runs"]
            (energy_J,) = (
                one["energy_with_children_J"]["value"]
                for one in attributed
                if (one["rule"], one["wildcards"]) == (rule, {"experiment": name})
                and unix(one["started"]) == unix(run["start"])
            )
            saving += energy_J / 3.6e6 * (self.mean(job["at_once"]) - self.mean(run))
        return saving


def two_experiments(folder: Path, **policy: object) -> Path:
    """Write a study of two experiments with little data, planned by signal.csv; return its file."""
    study = {
        "results": str(folder / "results"),
        "experiments": {
            name: {"task": task, "data": {"source": "embedded", "rows": 300}, "recipes": ["baseline"]}
            for name, task in (("support", "customer-service"), ("dates", "translation"))
        },
        "recipes": {"baseline": {"train": {"epochs": 1}}},
        "resources": {stage: {"runtime_min": 1} for stage in ("collect", "preprocess")},
        "policy": {"objective": "carbon", "signal": str(folder / "signal.csv"), **policy},
    }
    file = folder / "study.yaml"
    file.write_text(json.dumps(study))
    return file
