"""When and where a job is to run. The meter waits before it leases anything, so the job is charged for nothing."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenllm.errors import UserError, shortened
from greenllm.meter.console import warn
from greenllm.timestamps import YEARS, read_time, rfc3339

# The exit status by which a command says that it has paused and goes on when it is run again (sysexits.h, EX_TEMPFAIL).
PAUSED = 75
# Names the time (Unix time, s) at which a command that can be interrupted is to pause.
PAUSE_VARIABLE = "GREENLLM_PAUSE_AT"

# The longest sleep: the wall clock may be set, and a suspended host wakes up.
LONGEST_SLEEP_S = 30.0


@dataclass(frozen=True)
class PlannedStretch:
    """A time (Unix time, s) in which a job is to run; `pause_s` is None for the last one, which has no end."""

    start_s: float
    pause_s: float | None = None


def unix_time(text: str, option: str) -> float:
    """Return a time (RFC 3339 with its zone, or Unix time in s) as Unix time. Raises UserError for another text."""
    try:
        return read_time(text)
    except ValueError:
        raise UserError(
            f"{option} {shortened(text)}: expected a time with its zone, such as 2026-12-01T02:00Z, in the years "
            f"{YEARS.start} to {YEARS.stop - 1}"
        ) from None


@dataclass(frozen=True)
class PlannedExecution:
    """When a job is to run, and on which device: `cpu`, or GPUs of this model; None: where it would run anyway."""

    stretches: Sequence[PlannedStretch] = ()
    device: str | None = None


def planned_job(plan: Path, rule: str | None, wildcards: Mapping[str, str]) -> PlannedExecution:
    """Return what a plan of `greenllm plan` has for a job: nothing where there is no plan, or it lacks the job.

    Raises UserError if the file is not such a plan.
    """
    try:
        jobs = json.loads(plan.read_text(encoding="utf-8"))["jobs"]
        own = next((job for job in jobs if job["rule"] == rule and job["wildcards"] == dict(wildcards)), None)
        if own is None:
            return PlannedExecution()
        times = [(read_time(run["start"]), read_time(run["end"])) for run in own["runs"]]
        device = own.get("device")
        if device is not None and not isinstance(device, str):
            raise TypeError("device: expected a text")
    except FileNotFoundError:
        return PlannedExecution()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{plan}: is no plan ({error}); run `greenllm plan` again, or remove the file") from None
    stretches = [
        PlannedStretch(start_s, end_s if number < len(times) - 1 else None)
        for number, (start_s, end_s) in enumerate(times)
    ]
    return PlannedExecution(stretches, device)


def wait_until(start_s: float) -> float:
    """Wait until a time (Unix time, s); return how long that took (s)."""
    began_s = time.monotonic()
    if (left_s := start_s - time.time()) <= 0:
        return 0.0
    warn(f"waiting until {rfc3339(start_s)}, as planned ({_duration(left_s)})")
    while (left_s := start_s - time.time()) > 0:
        time.sleep(min(left_s, LONGEST_SLEEP_S))
    return time.monotonic() - began_s


def not_passed(stretches: Sequence[PlannedStretch]) -> list[PlannedStretch]:
    """Return the stretches that have not passed: a late job skips those in which it should have paused already."""
    now_s = time.time()
    return [one for one in stretches if one.pause_s is None or one.pause_s > now_s]


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
