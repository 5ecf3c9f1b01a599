"""The host, as its kernel describes it: boot, processors, busy time, memory."""

import contextlib
import os
from pathlib import Path

from greenllm.errors import UserError

LEAST_BUSY = (
    "/proc/stat says less than what the metered jobs used (gVisor's says nothing), so the host is taken to have been "
    "busy as long as they: of other processes nothing is known"
)
# The kernel counts busy time in ticks, other clocks in nanoseconds: the relative and absolute (s) difference allowed.
BUSY_TOLERANCE, BUSY_TOLERANCE_S = 0.1, 0.1

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def sysfs() -> Path:
    """Return the root of sysfs: `$GREENLLM_SYSFS`, else /sys. Raises UserError where the variable names no folder."""
    return _root("GREENLLM_SYSFS", "/sys")


def procfs() -> Path:
    """Return the root of the host's procfs: `$GREENLLM_PROCFS`, else /proc; raises as `sysfs` does."""
    return _root("GREENLLM_PROCFS", "/proc")


def _root(variable: str, usual: str) -> Path:
    named = os.environ.get(variable)
    if named and not Path(named).is_dir():
        raise UserError(f"{variable}={named}: no such folder; expected where the host's {usual} is mounted")
    return Path(named or usual)


def host_name() -> str:
    """Return the host's name."""
    return os.uname().nodename


def boot_id() -> str:
    """Return the id of this boot of the kernel, which containers on one kernel share."""
    for root in (procfs(), Path("/proc")):
        with contextlib.suppress(OSError, ValueError):
            if found := (root / "sys/kernel/random/boot_id").read_text().strip():
                return found
    return f"unknown-{host_name()}"


def online_processors() -> list[int]:
    """Return the numbers of the processors that are online (Documentation/admin-guide/cputopology.rst, `online`).

    They are listed as in `0-3,8`. Empty where the kernel does not say. Raises UserError as `sysfs` does.
    """
    numbers: list[int] = []
    path = sysfs() / "devices/system/cpu/online"
    with contextlib.suppress(OSError, ValueError):
        for part in path.read_text().strip().split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    return numbers


class BusyTimeError(Exception):
    """The busy time of the processors cannot be read; the message says why."""


def said_too_little(said_s: float | None, jobs_s: float) -> bool:
    """Whether the kernel's busy time of a host is less than that of its jobs alone (CPU seconds; None: unknown)."""
    return said_s is None or jobs_s - said_s > max(BUSY_TOLERANCE_S, BUSY_TOLERANCE * jobs_s)


class ProcessorTimes:
    """Reads /proc/stat's first line repeatedly through one descriptor, which is closed with this object."""

    def __init__(self) -> None:
        """Open the file. Raises UserError where $GREENLLM_PROCFS names a folder without it, which is no /proc."""
        self._path = procfs() / "stat"
        self._file, self._reason = None, ""
        try:
            self._file = self._path.open("rb", buffering=0)
        except OSError as error:
            self._reason = str(error.strerror)
            if isinstance(error, FileNotFoundError) and os.environ.get("GREENLLM_PROCFS"):
                raise UserError(
                    f"{self._path}: {error.strerror}; $GREENLLM_PROCFS names where the host's /proc is mounted"
                ) from None

    def read(self) -> tuple[float, float]:
        """Return busy and steal time of all processors since boot, in CPU seconds (proc(5), /proc/stat).

        Busy is user, nice, system, irq and softirq; guest time is part of user. Steal is what a hypervisor took.
        Raises BusyTimeError where the file cannot be read, is cut short, or says that no processor was ever busy, as
        in gVisor, whose /proc/stat holds zeros alone.
        """
        if self._file is None:
            raise BusyTimeError(f"{self._path}: {self._reason}")
        try:
            line, whole, _ = os.pread(self._file.fileno(), 512, 0).partition(b"\n")
        except OSError as error:
            raise BusyTimeError(f"{self._path}: {error.strerror}") from None
        name, *fields = line.split() or [b""]
        if name != b"cpu" or not whole or len(fields) < 8 or not all(field.isdigit() for field in fields):
            raise BusyTimeError(f"{self._path}: expected a line `cpu` with 8 times or more, found {line[:60]!r}")
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
        if not (busy := user + nice + system + irq + softirq):
            raise BusyTimeError(f"{self._path} says that no processor was ever busy")
        return busy / TICKS_PER_S, steal / TICKS_PER_S


def processor_count() -> int:
    """Return the number of the host's online processors, by /proc/stat; where that is cut short, by os.cpu_count."""
    try:
        *lines, rest = (procfs() / "stat").read_bytes().split(b"\n")
    except OSError:
        lines, rest = [], b""
    listed = [line for line in lines if line.startswith(b"cpu") and line[3:4].isdigit()]
    if (
        not listed or rest.startswith(b"cpu") or lines[-1].startswith(b"cpu")
    ):  # processors are not the last lines of a whole file
        return os.cpu_count() or 1
    return len(listed)


def processor_identity() -> dict[str, str]:
    """Return the first processor's fields of /proc/cpuinfo (vendor_id, cpu family, model, model name, …)."""
    identity: dict[str, str] = {}
    try:
        with (procfs() / "cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, colon, value = line.partition(":")
                if not colon:
                    break
                identity[name.strip()] = value.strip()
    except OSError:
        pass
    return identity


class Memory:
    """Reads the host's memory from /proc/meminfo, through one descriptor, which is closed with this object."""

    def __init__(self) -> None:
        """Open the file; `size_B` is the memory as the kernel sees it, None where the file does not say, or says 0."""
        self._file = None
        with contextlib.suppress(OSError):
            self._file = (procfs() / "meminfo").open("rb", buffering=0)
        self.size_B = self._fields().get(b"MemTotal:") or None

    def used_B(self) -> float | None:
        """Return the memory in use: what is not available to new processes (proc(5), MemAvailable); None if unknown."""
        fields = self._fields()
        size_B, available_B = fields.get(b"MemTotal:"), fields.get(b"MemAvailable:")
        return None if size_B is None or available_B is None else max(0.0, size_B - available_B)

    def _fields(self) -> dict[bytes, float]:
        """Return the file's first lines in bytes, by name: MemTotal, MemFree, MemAvailable, …"""
        fields: dict[bytes, float] = {}
        with contextlib.suppress(OSError, ValueError):
            content = os.pread(self._file.fileno(), 256, 0) if self._file is not None else b""
            for line in content.split(b"\n"):
                name, size_KiB, unit = (line.split() + [b""] * 3)[:3]
                if unit == b"kB":
                    fields[name] = int(size_KiB) * 1024.0
        return fields


def memory_GiB() -> float | None:
    """Return the host's memory as the kernel sees it, in GiB; None where /proc/meminfo does not say, or says 0."""
    size_B = Memory().size_B
    return None if size_B is None else size_B / 2**30
