"""The main memory of a metered command, with all its processes."""

import psutil

from greenllm.meter.signals import SENTINEL_NAME


def processes_of(meter_pid: int) -> list[psutil.Process]:
    """Return the processes of a meter's command, without the meter itself and its sentinel."""
    found = []
    for process in psutil.Process(meter_pid).children(recursive=True):
        try:
            if process.name() != SENTINEL_NAME:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def resident_bytes(meter_pid: int) -> tuple[int | None, str | None]:
    """Return the resident memory of a meter's command in bytes, or None and the reason.

    Pages that processes share count once: the value is the sum of their proportional set sizes
    (docs.kernel.org/filesystems/proc.html, smaps_rollup).
    """
    total = 0
    try:
        for process in processes_of(meter_pid):
            total += process.memory_full_info().pss
    except (psutil.Error, OSError) as error:
        return None, f"/proc/PID/smaps_rollup cannot be read ({type(error).__name__})"
    return (total, None) if total else (None, "the kernel reports no proportional set sizes")
