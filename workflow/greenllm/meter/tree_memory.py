"""The memory that a job's processes use."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from greenllm.meter.process_tree import read_file

PAGE_B = os.sysconf("SC_PAGE_SIZE")
# The kernel walks a process's page tables for its PSS: about a millisecond for each gigabyte. So the last PSS holds
# while the resident set, which costs some microseconds, is within this part of what it was …
STEADY = 1 / 16
# … but no longer than this (s), since pages may come to be shared meanwhile; and a process whose PSS took t seconds is
# not read again for COST · t.
LONGEST_S, COST = 10.0, 1000.0


class HiddenMemoryError(Exception):
    """The memory of a process that runs cannot be read; the message says why."""


@dataclass
class _Reading:
    """A process's PSS and resident set when that was read, and when it may be and must be read again."""

    pss_B: float
    resident_B: float
    earliest_s: float
    latest_s: float


class TreeMemory:
    """The memory used by processes: the sum of their PSS, so that a page that several share counts once.

    PSS is the proportional set size (proc(5), /proc/pid/smaps_rollup). Where it cannot be read, the resident set
    without its shared pages takes its place, which is less.
    """

    def __init__(self) -> None:
        """Begin without a reading."""
        self._readings: dict[int, _Reading] = {}

    def used_B(self, pids: Iterable[int]) -> float:
        """Return the memory (B) that these processes use now. Raises HiddenMemoryError where one of them hides it."""
        before, self._readings = self._readings, {}
        total_B = 0.0
        for pid in dict.fromkeys(pids):
            try:
                total_B += self._process_B(pid, before.get(pid))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended
            except (OSError, ValueError, IndexError) as error:
                raise HiddenMemoryError(f"memory of process {pid}: {error}") from None
        return total_B

    def _process_B(self, pid: int, earlier: _Reading | None) -> float:
        _, resident, shared, *_ = (int(field) * PAGE_B for field in read_file(f"/proc/{pid}/statm").split())
        if not resident:
            return 0.0  # a zombie
        now_s = time.monotonic()
        if earlier is not None:
            change_B = abs(resident - earlier.resident_B)
            steady = change_B <= STEADY * earlier.resident_B and now_s < earlier.latest_s
            if steady or now_s < earlier.earliest_s:
                self._readings[pid] = earlier
                return earlier.pss_B + (0.0 if steady else resident - earlier.resident_B)
        pss_B = _pss_B(pid)
        if pss_B is None:
            return float(resident - shared)
        took_s = time.monotonic() - now_s
        earliest_s = now_s + COST * took_s
        self._readings[pid] = _Reading(pss_B, resident, earliest_s, max(now_s + LONGEST_S, earliest_s))
        return pss_B


def _pss_B(pid: int) -> float | None:
    """Return a process's PSS; None where the kernel has none, or does not show it."""
    try:
        for line in read_file(f"/proc/{pid}/smaps_rollup").split(b"\n"):
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024.0
    except (OSError, ValueError, IndexError):
        pass
    return None
