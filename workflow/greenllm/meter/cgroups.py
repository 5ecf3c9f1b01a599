"""Claims control groups: CPU time of containers and services that work for a job outside its process tree."""

import contextlib
import errno
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenllm.errors import UserError
from greenllm.meter.console import warn
from greenllm.meter.host import sysfs
from greenllm.meter.process_tree import Process, ProcessTree

# Folders under the root that may hold a group: cgroup v2; v1, whose controllers are folders; v2 beside v1.
HIERARCHIES = ("", "cpuacct", "cpu,cpuacct", "unified")


def group_of(name: str) -> Path:
    """Return a group's path in its hierarchy, from a path under /sys/fs/cgroup, absolute or relative to that.

    A path elsewhere, such as under another mount, stays absolute.
    """
    path = Path(os.path.normpath(name))
    for root in (_root(), Path("/sys/fs/cgroup")):
        if path.is_relative_to(root):
            path = path.relative_to(root)
    return path.relative_to(path.parts[0]) if path.parts[:1] and path.parts[0] in HIERARCHIES else path


def places_of(group: Path) -> list[Path]:
    """Return the folders that a group may have."""
    return [_root() / hierarchy / group for hierarchy in HIERARCHIES]


def _root() -> Path:
    return sysfs() / "fs/cgroup"


def usage_s(folder: Path) -> float:
    """Return the CPU seconds of a group and all below it since it was made.

    Raises FileNotFoundError where there is no such group, or it counts no CPU time; OSError where it does not say.
    v2: `usage_usec` in cpu.stat (Documentation/admin-guide/cgroup-v2.rst); v1: cpuacct.usage, in nanoseconds
    (Documentation/admin-guide/cgroup-v1/cpuacct.rst).
    """
    try:
        return _number(folder / "cpuacct.usage", (folder / "cpuacct.usage").read_bytes()) / 1e9
    except FileNotFoundError:
        content = (folder / "cpu.stat").read_bytes()
        for line in content.splitlines():
            if line.startswith(b"usage_usec "):
                return _number(folder / "cpu.stat", line.partition(b" ")[2]) / 1e6
        if not content:
            raise OSError(errno.ENODATA, f"{folder / 'cpu.stat'}: empty") from None
        raise


def _number(path: Path, text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise OSError(errno.ENODATA, f"{path}: no number") from None


def check(name: str) -> None:
    """Raise UserError where a name neither is a group that counts CPU time nor could become one."""
    for place in places_of(group_of(name)):
        for folder in (place, place.parent):
            try:
                usage_s(folder)
                return
            except OSError as error:
                if error.errno == errno.ENODATA:
                    return
            if folder.exists():
                break  # but counts no CPU time, as in the hierarchies of v1's other controllers
    raise UserError(
        f"--cgroup {name}: neither it nor the folder around it is a control group that counts CPU time; expected a "
        f"path under {_root()}, such as system.slice/docker.service"
    )


def tree_of(names: Sequence[str], with_own: bool = False) -> ProcessTree:
    """Return the process tree of a job that claims these groups, or none."""
    return ClaimingTree(names, with_own) if names else ProcessTree(with_own)


class Cgroup:
    """The CPU time of a group since this object was made; from zero where the group appears only later."""

    def __init__(self, group: Path) -> None:
        """Take the first reading."""
        self._places = places_of(group)
        self._folder: Path | None = None
        self._last_s: float | None = 0.0
        self._grown_s = 0.0
        self.cpu_s()
        self._grown_s = 0.0
        if self._folder is None:
            warn(f"warning: --cgroup {group}: not there yet; its CPU time counts from when it appears")

    def cpu_s(self) -> float:
        """Return the group's CPU seconds so far; the last known number if it cannot be read or is gone."""
        for place in self._places:
            try:
                now_s = usage_s(place)
            except OSError as error:
                if error.errno != errno.ENODATA:
                    continue
                if place != self._folder:  # its earlier use is unknown
                    self._folder, self._last_s = place, None
                return self._grown_s
            before_s = now_s if self._last_s is None else self._last_s
            self._grown_s += now_s - before_s if now_s >= before_s else now_s
            self._folder, self._last_s = place, now_s
            return self._grown_s
        self._folder, self._last_s = None, 0.0  # a group that appears later is another one
        return self._grown_s

    def processes(self) -> Iterator[int]:
        """Yield the ids of the processes in the group and below it, if it existed at the last reading."""
        for below, _, _ in os.walk(self._folder) if self._folder is not None else ():
            with contextlib.suppress(OSError, ValueError):
                yield from map(int, Path(below, "cgroup.procs").read_bytes().split())


@dataclass
class _Member:
    """A process of the tree inside a claimed group: its CPU seconds on entering, and now."""

    parent: int
    started: int
    entered_s: float
    used_s: float


class ClaimingTree(ProcessTree):
    """A process tree that also claims groups. The CPU time of its processes inside them counts once, as the group's.

    Processes are listed when CPU time is read: if one ends inside a group but is waited for outside, its time since the
    last reading counts twice.
    """

    def __init__(self, names: Sequence[str], with_own: bool = False) -> None:
        """`names` of groups are as `group_of` takes them; one below another is part of that."""
        groups = {group_of(name) for name in names}
        self._groups = [Cgroup(group) for group in groups if groups.isdisjoint(group.parents)]
        self._members: dict[int, _Member] = {}
        self._outside_s: dict[tuple[int, int], float] = {}
        self._reaped: set[int] = set()  # members since the last reading
        self._left_s = 0.0
        self._inside: set[int] = set()
        super().__init__(with_own)

    def seen(self) -> Mapping[int, Process | None]:
        """Return the job's processes and those of the groups by id, as they were when CPU time was last read."""
        return dict.fromkeys(self._inside) | self._seen

    def reaped(self, pid: int, usage: resource.struct_rusage) -> None:
        """Add the usage of a child that this process waited for (with its waited-for descendants')."""
        if (member := self._members.pop(pid, None)) is not None:
            self._reaped.add(pid)
            self._left_s += usage.ru_utime + usage.ru_stime - member.entered_s
        super().reaped(pid, usage)

    def _total_s(self) -> float:
        unwaited_s = self._unwaited_s
        tree_s = super()._total_s()
        groups_s = sum(group.cpu_s() for group in self._groups)
        inside_s = self._inside_s(self._unwaited_s - unwaited_s)
        return (
            tree_s - inside_s + (groups_s or inside_s)
        )  # a group that cannot be read used at least its processes' time

    def _inside_s(self, unwaited_s: float) -> float:
        """CPU seconds that the tree used inside the groups; `unwaited_s` of it was new and never waited for."""
        inside = self._inside = {pid for group in self._groups for pid in group.processes()}
        before, self._members = self._members, {}
        outside_s, self._outside_s = self._outside_s, {}
        for pid, process in self._seen.items():
            used_s = process.own_s + process.waited_s
            if pid not in inside:
                self._outside_s[pid, process.started] = used_s
                continue
            known = before.get(pid)
            if known is not None and known.started == process.started:
                entered_s = known.entered_s
            else:
                entered_s = outside_s.get((pid, process.started), 0.0)
            self._members[pid] = _Member(process.parent, process.started, entered_s, used_s)
        for pid, member in before.items():
            if pid in self._members:
                continue
            used_s = member.used_s - member.entered_s
            if pid not in self._seen and self._was_waited_for(member, before):
                used_s = min(used_s, unwaited_s)
                unwaited_s -= used_s
            self._left_s += used_s
        self._reaped.clear()
        return self._left_s + sum(member.used_s - member.entered_s for member in self._members.values())

    def _was_waited_for(self, member: _Member, before: dict[int, _Member]) -> bool:
        """Whether the nearest member above one that ended is alive or was reaped: its time includes that one's."""
        above = member.parent
        while above in before and above not in self._members:
            above = before[above].parent
        return above in self._members or above in self._reaped
