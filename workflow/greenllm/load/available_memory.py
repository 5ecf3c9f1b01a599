"""The main memory that further processes can take: what the host has free, within the limits of control groups."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from greenllm.meter.host import procfs, sysfs

# A group's files: limit, use, and what its part of memory.stat has before each name. v2:
# Documentation/admin-guide/cgroup-v2.rst; v1: Documentation/admin-guide/cgroup-v1/memory.rst.
FILES = (
    ("memory.max", "memory.current", ""),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
)
# Pages of files, which the kernel drops before it ends a process.
DROPPED_FIRST = ("active_file", "inactive_file")


@dataclass(frozen=True)
class AvailableMemory:
    """The memory that is available, in bytes; `group` is the control group whose limit is below what the host has."""

    size_B: float
    group: Path | None = None


def available_memory() -> AvailableMemory:
    """Return the memory that this process and its children can take.

    Docker, Kubernetes, systemd and cluster schedulers limit the memory of a control group: that of the process, or one
    around it.
    """
    limited = [AvailableMemory(left_B, folder) for folder in _groups() if (left_B := _left_B(folder)) is not None]
    on_host = AvailableMemory(psutil.virtual_memory().available)
    return min([on_host, *limited], key=lambda one: one.size_B)


def _groups() -> Iterator[Path]:
    """Yield the folders of this process's control groups, and of all around them, that may limit its memory.

    In a container the path in /proc/self/cgroup may be the host's (cgroups(7)). Then only the root of the hierarchy is
    there, and it is the container's own group.
    """
    with contextlib.suppress(OSError):
        for line in (procfs() / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            group = Path(path.strip("/"))
            for hierarchy in (controllers,) if controllers else ("", "unified"):
                yield from (sysfs() / "fs/cgroup" / hierarchy / folder for folder in (group, *group.parents))


def _left_B(folder: Path) -> float | None:
    """Return what a control group's limit leaves, in bytes; None without a limit."""
    for limit, use, prefix in FILES:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            limit_B, used_B = (int((folder / name).read_text()) for name in (limit, use))
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return max(0, limit_B - used_B + sum(int(counts.get(prefix + name, 0)) for name in DROPPED_FIRST))
    return None
