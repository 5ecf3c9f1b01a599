"""The CPU time of a command's whole process tree, including short-lived, orphaned and never waited-for children."""

import ctypes
import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from greenllm.meter.host import TICKS_PER_S

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
# /proc has the waited-for children's times in ticks, user and system apart: two ticks may be missing.
TICKS_TOLERANCE_S = 2.0 / TICKS_PER_S


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl(2), PR_SET_CHILD_SUBREAPER), so none gets lost."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(signal_number: int) -> None:
    """Have the kernel send this signal to this process when its parent ends, in whatever way (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


@dataclass
class Process:
    """A live process: its parent, start (ticks) and name, own CPU time and that of waited-for children (s)."""

    parent: int
    started: int
    name: str
    threads: int
    own_s: float
    waited_s: float


def read_file(path: str) -> bytes:
    """Read a file of /proc; with pathlib or open() it takes twice as long, and this runs for each process each time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = part = os.read(descriptor, 4096)
        while len(part) == 4096:
            part = os.read(descriptor, 4096)
            content += part
        return content
    finally:
        os.close(descriptor)


def read_process(pid: int) -> Process | None:
    """Read a process of our own PID namespace; None where it is gone, or its file is cut short."""
    try:
        process = parse_process(read_file(f"/proc/{pid}/stat"))
    except (OSError, ValueError):
        return None
    own_s = own_cpu_s(pid)
    return process if own_s is None else replace(process, own_s=own_s)


def parse_process(stat: bytes) -> Process:
    """Read what /proc/<pid>/stat holds (proc(5)). Raises ValueError where it is cut short."""
    name, bracket, rest = stat.partition(b"(")[2].rpartition(b")")
    fields = rest.split()
    if not bracket or len(fields) < 21:  # the last one that is needed, and one more: that may be cut short
        raise ValueError("/proc/<pid>/stat is cut short")
    user, system, waited_user, waited_system = (int(field) for field in fields[11:15])
    return Process(
        parent=int(fields[1]),
        started=int(fields[19]),
        name=name.decode(errors="replace"),
        threads=int(fields[17]),
        own_s=(user + system) / TICKS_PER_S,
        waited_s=(waited_user + waited_system) / TICKS_PER_S,
    )


def own_cpu_s(pid: int) -> float | None:
    """Return a process's CPU time by its own clock, which has nanoseconds where /proc has ticks; None where it is gone.

    The clock's number is that of clock_getcpuclockid(3): CPUCLOCK_SCHED in the kernel's posix-timers_types.h.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def children_of(pid: int, threads: int = 1) -> list[int]:
    """Return the ids of a process's children, those of all its threads (proc(5), /proc/pid/task/tid/children)."""
    tasks = [str(pid)]
    children: list[int] = []
    try:
        if threads > 1:
            tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are all we want
        for task in tasks:
            children += map(int, read_file(f"/proc/{pid}/task/{task}/children").split())
    except (OSError, ValueError):
        pass
    return children


# Programs that this process runs for itself, such as to read a sensor: they are not part of any tree.
helpers: set[int] = set()


class ProcessTree:
    """All descendants of this process but those in `ignored`, and the CPU time they used since it was made."""

    def __init__(self, with_own: bool = False) -> None:
        """`with_own`: this process, with all its threads, is part of the tree."""
        self.ignored: set[int] = set(helpers)
        self._with_own = with_own
        self._reaped_s = 0.0
        self._unwaited_s = 0.0
        self._highest_s = 0.0
        self._seen: dict[int, Process] = {}
        self._children: dict[int, list[int]] = {}
        self._before_s = self._total_s()  # used before the job began

    def reaped(self, pid: int, usage: resource.struct_rusage) -> None:
        """Add the usage of a child that this process waited for (with its waited-for descendants')."""
        self._reaped_s += usage.ru_utime + usage.ru_stime
        self._seen.pop(pid, None)

    def processes(self) -> list[int]:
        """Return the ids of the tree's live processes but this one, parents before children."""
        return [pid for pid in self._walk()[0] if pid != os.getpid()]

    def seen(self) -> Mapping[int, Process | None]:
        """Return the job's processes by id, as they were when its CPU time was last read.

        One that has not run since the reading before is the same object as then; None where nothing is known of it.
        """
        return self._seen

    def cpu_s(self) -> float:
        """Return the CPU seconds that the tree has used; the number never falls."""
        self._highest_s = max(self._highest_s, self._total_s() - self._before_s)
        return self._highest_s

    def _total_s(self) -> float:
        before, children_before = self._seen, self._children
        self._seen, self._children = self._walk()
        # A child that vanished was waited for by its parent, and is part of the parent's waited time; unless the parent
        # ignores SIGCHLD: then the kernel drops its time, and its last known time is kept here.
        for pid, process in self._seen.items():
            earlier = before.get(pid)
            if earlier is None or earlier.started != process.started:
                continue
            gone = self._gone_below(pid, before, children_before)
            if gone:
                # Read again: the parent's time may not yet include a child that ended during this walk.
                waited_s = (read_process(pid) or process).waited_s - earlier.waited_s
                missing = sum(c.own_s + c.waited_s for c in gone) - waited_s
                if missing > TICKS_TOLERANCE_S * len(gone):
                    self._unwaited_s += missing
        live = sum(process.own_s + process.waited_s for process in self._seen.values())
        return self._reaped_s + self._unwaited_s + live

    def _gone_below(self, pid: int, before: dict[int, Process], children: dict[int, list[int]]) -> list[Process]:
        """The children of a process that are no longer in the tree."""
        pids = [child for child in children.get(pid, []) if child in before and child not in self._seen]
        gone = [before[child] for child in pids]
        if self._with_own:  # such a process is no subreaper: the descendants of gone children left the tree with them
            gone += [below for child in pids for below in self._gone_below(child, before, children)]
        return gone

    def _walk(self) -> tuple[dict[int, Process], dict[int, list[int]]]:
        seen: dict[int, Process] = {}
        kin: dict[int, list[int]] = {}
        me = os.getpid()
        waiting = [(me, os.getppid())] if self._with_own else [(pid, me) for pid in children_of(me)]
        while waiting:
            pid, parent = waiting.pop()
            if pid in seen or pid in self.ignored:
                continue
            earlier = self._seen.get(pid)
            if earlier is not None and earlier.parent == parent and earlier.own_s == own_cpu_s(pid):
                process = earlier  # most processes: it has not run since the last walk, and so has not waited
            elif (found := read_process(pid)) is not None:
                process = found
            else:
                continue
            if process.parent == parent:  # otherwise the id belongs to another process now
                # Parents are read before their children: a child that ends in between is missed in one walk, not
                # counted twice. A process that has not run may have new children: orphans, if it is a subreaper.
                seen[pid], kin[pid] = process, children_of(pid, process.threads)
                waiting += [(child, pid) for child in kin[pid]]
        return seen, kin
