"""A job on several hosts: the meter of its part on each further host, and what these meters found."""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from greenllm.estimate import UNSEEN, UNSEEN_PARAMETER, Estimate, Parameter
from greenllm.ledger.energy_log import Component
from greenllm.ledger.file import read_ledger
from greenllm.ledger.records import PART, StartRecord
from greenllm.meter.host import host_name


def metered_elsewhere(command: Sequence[str], *, threads: int, gpus: int, device: str) -> list[str]:
    """Return the command line that runs a part of this process's job on another host, under a meter of its own.

    The part reserves as much memory there as the job does here. Without a meter around this process, which its
    environment names, it is the command itself.
    """
    job_id, folder = os.environ.get("GREENLLM_METER_ID"), os.environ.get("GREENLLM_LEDGER")
    if not job_id or not folder:
        return list(command)
    start: Mapping[str, Any] = {}
    with contextlib.suppress(OSError):
        start = read_ledger(Path(folder) / host_name() / f"{job_id}.jsonl")[0].start or {}
    job = start.get("job", {})
    words = [sys.executable, "-P", "-m", "greenllm", "meter", "--part-of", job_id, "--ledger", folder]
    if rule := job.get("rule"):
        words += ["--rule", f"{rule}{PART}"]
    for name, value in job.get("wildcards", {}).items():
        words += ["--wildcard", f"{name}={value}"]
    words += ["--attempt", str(job.get("attempt") or 1), "--threads", str(threads), "--device", device]
    if gpus:
        words += ["--gpus", str(gpus)]
    if start.get("reserved_memory_B"):
        words += ["--memory", str(round(start["reserved_memory_B"] / 1e6))]
    if start.get("exclusive"):
        words += ["--exclusive"]
    if limits := start.get("power_limits"):
        words += ["--power-limit", str(limits[0]["asked_W"])]
    return [*words, "--", *command]


def components_elsewhere(ledgers: Iterable[Path], start: StartRecord) -> list[Component]:
    """Return the components of a job's parts on other hosts that have ended.

    `ledgers` are those of the meters inside the job, on any host: their names begin with its id and a dot.
    A parameter that differs from this host's parameter of the same name has its boot appended to its name.
    """
    found: list[Component] = []
    for path in sorted(ledgers):
        with contextlib.suppress(OSError):
            ledger, _ = read_ledger(path)
            if ledger.start is not None and ledger.end is not None and ledger.start["boot_id"] != start.boot_id:
                found += _components(ledger.start, ledger.end, start.parameters)
    return found


def _components(
    start: Mapping[str, Any], end: Mapping[str, Any], known: Mapping[str, Parameter]
) -> Iterator[Component]:
    """Yield the components in an end record."""
    own = {name: Parameter.from_json(one) for name, one in start["parameters"].items()}
    suffix = f"~{start['boot_id'][:8]}"
    names = {name: f"{name}{suffix}" if known.get(name, one) != one else name for name, one in own.items()}
    for part in end["components"]:
        terms = {term["parameter"]: float(term["coefficient"]) for term in part["terms"]}
        energy = None
        if part["energy_J"] is not None:
            energy = Estimate(
                {names.get(name, name): coefficient for name, coefficient in terms.items()},
                {names.get(n, n): UNSEEN_PARAMETER if n.startswith(UNSEEN) else own[n] for n in terms},
            )
        fields = ("component", "host", "device", "reason", "method", "quality", "share", "coverage")
        yield Component(**{name: part[name] for name in fields}, energy=energy, used=part.get("used"))
