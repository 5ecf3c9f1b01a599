"""The memory that a job's processes use."""

import os
import time
from collections.abc import Mapping

from greenllm.meter.process_tree import Process, read_file

PAGE_B = os.sysconf("SC_PAGE_SIZE")
# Processes that were forked share pages. Which part of a process's pages is its own, the kernel finds by a walk of its
# page tables, which takes some 17 ms for each gigabyte (a sample of everything else: 0.25 ms). So it is asked only if
# two processes are large, for one process at a time, and not again for COST times as long as the last answer took.
LARGE_B, COST = 64 * 2**20, 40_000.0


class HiddenMemoryError(Exception):
    """The memory of a process that runs cannot be read; the message says why."""


class TreeMemory:
    """The memory used by processes, without the pages of files, which the kernel can drop: MemAvailable has them, too.

    Of a process these are resident pages less shared ones (proc(5), /proc/pid/statm), times the part of them that is
    its own: Pss_Anon/Anonymous in /proc/pid/smaps_rollup, 1 where that has not been read. So a page that forked
    processes share counts once. Shared memory (shmem) counts as nobody's.
    """

    def __init__(self) -> None:
        """Begin without a reading."""
        self._private_B: dict[int, tuple[Process | None, int]] = {}
        self._own_parts: dict[int, tuple[float, float]] = {}  # pid → when it was read, own part
        self._next_s = 0.0

    def used_B(self, processes: Mapping[int, Process | None]) -> float:
        """Return the memory (B) that these processes use now. Raises HiddenMemoryError where one of them hides it.

        One that has not run since the last call (it is the same object) uses what it used then.
        """
        before, self._private_B = self._private_B, {}
        for pid, process in processes.items():
            earlier, used_B = before.get(pid, (None, 0))
            try:
                if process is None or process is not earlier:
                    _, resident, shared, *_ = read_file(f"/proc/{pid}/statm").split()
                    used_B = max(0, int(resident) - int(shared)) * PAGE_B
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            except (OSError, ValueError) as error:
                raise HiddenMemoryError(f"memory of process {pid}: {error}") from None
            self._private_B[pid] = process, used_B
        private = {pid: used_B for pid, (_, used_B) in self._private_B.items()}
        self._own_parts = {pid: part for pid, part in self._own_parts.items() if pid in private}
        large = [pid for pid, used_B in private.items() if used_B >= LARGE_B]
        if len(large) > 1 and (now_s := time.monotonic()) >= self._next_s:
            pid = min(large, key=lambda pid: self._own_parts.get(pid, (0.0, 1.0))[0])
            self._own_parts[pid] = now_s, _own_part(pid)
            self._next_s = now_s + COST * (time.monotonic() - now_s)
        return sum(used_B * self._own_parts.get(pid, (0.0, 1.0))[1] for pid, used_B in private.items())


def _own_part(pid: int) -> float:
    """Return the part of a process's anonymous pages that is its own; 1 where the kernel does not say."""
    sizes_KiB: dict[bytes, int] = {}
    try:
        for line in read_file(f"/proc/{pid}/smaps_rollup").split(b"\n"):
            name, _, size = line.partition(b":")
            if name in (b"Pss_Anon", b"Anonymous"):
                sizes_KiB[name] = int(size.split()[0])
        return min(1.0, sizes_KiB[b"Pss_Anon"] / sizes_KiB[b"Anonymous"])
    except (OSError, ValueError, IndexError, KeyError, ZeroDivisionError):
        return 1.0
