"""What the kernel says of the host: its boot, its processors, their busy time, its memory."""

import os
from pathlib import Path

from greenllm.errors import UserError

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def sysfs() -> Path:
    """Return the root of sysfs: `$GREENLLM_SYSFS`, else /sys. Raises UserError where the variable names no folder."""
    return _root("GREENLLM_SYSFS", "/sys")


def procfs() -> Path:
    """Return the root of procfs that tells of the host: `$GREENLLM_PROCFS`, else /proc; raises as `sysfs` does."""
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
        try:
            return (root / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            continue
    return f"unknown-{host_name()}"


class ProcessorTimes:
    """Reads /proc/stat's first line again and again through one descriptor, which is closed with this object."""

    def __init__(self) -> None:
        """Open the file. Raises UserError where that fails."""
        path = procfs() / "stat"
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise UserError(
                f"{path}: {error.strerror}; $GREENLLM_PROCFS names where the host's /proc is mounted"
            ) from None

    def read(self) -> tuple[float, float]:
        """Return busy and steal time of all processors since boot, in CPU seconds (proc(5), /proc/stat).

        Busy is user, nice, system, irq and softirq; guest time is part of user. Steal is what a hypervisor took.
        """
        fields = os.pread(self._file.fileno(), 512, 0).split(b"\n", 1)[0].split()
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(x) for x in fields[1:9])
        return (user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S


def processor_count() -> int:
    """Return how many processors of the host are online, as /proc/stat lists them."""
    try:
        lines = (procfs() / "stat").read_bytes().split(b"\n")
    except OSError:
        return os.cpu_count() or 1
    return sum(1 for line in lines if line.startswith(b"cpu") and line[3:4].isdigit()) or os.cpu_count() or 1


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


def memory_GiB() -> float | None:
    """Return the host's memory as the kernel sees it, in GiB; None where /proc/meminfo does not say."""
    try:
        with (procfs() / "meminfo").open() as file:
            for line in file:
                if line.startswith("MemTotal:"):
                    return int(line.split()[1]) / 2**20
    except (OSError, ValueError, IndexError):
        pass
    return None
