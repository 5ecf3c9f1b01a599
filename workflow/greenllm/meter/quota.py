"""The number of processors that a control group's quota allows a container or a service."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path


def quota_cpus() -> int | None:
    """Return the number of processors that this process's quota allows, rounded up; None where it has none.

    It is the least quota of the group and of those around it (Documentation/admin-guide/cgroup-v2.rst, `cpu.max`;
    Documentation/scheduler/sched-bwc.rst, `cpu.cfs_quota_us`).
    """
    return min((max(1, math.ceil(quota)) for folder in _folders() for quota in _quota(folder)), default=None)


def _folders() -> Iterator[Path]:
    """Yield the folders of this process's groups and of those around them; in a container its own is the root."""
    groups = ["/"]
    with contextlib.suppress(OSError):
        groups += [line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    # A root that does not exist has no quota; the meter refuses it.
    for root in {Path(os.environ.get("GREENLLM_SYSFS") or "/sys"), Path("/sys")}:
        for hierarchy in ("", "cpu", "cpu,cpuacct"):
            for group in dict.fromkeys(groups):
                place = Path(group.lstrip("/"))
                for around in (place, *place.parents):
                    yield root / "fs/cgroup" / hierarchy / around


def _quota(folder: Path) -> Iterator[float]:
    """Yield the number of processors that a group's quota allows, if it has one."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        if quota_us > 0:
            yield quota_us / int((folder / "cpu.cfs_period_us").read_text())
