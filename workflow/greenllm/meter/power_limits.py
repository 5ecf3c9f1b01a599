"""Power limits of a job's GPUs: set before it, restored after it, or by the next meter where its meter was killed.

Each limit that is set has a file `power-limit-<uuid>` in the folder of the leases. It is locked, and the job's
processes inherit the lock: it is free when the meter and all of them have ended, in whatever way. The limit before is
recorded in the file before another is set, and the record is removed after the limit is restored. So a record in a
file that nobody has locked is of a job that was killed. Only records of root or of this user are believed.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.ledger.records import PowerLimit
from greenllm.meter.console import warn
from greenllm.meter.gpu_power_limit import GpuPowerLimit, PowerLimitError
from greenllm.meter.host import boot_id
from greenllm.meter.leases import Holder, NoLocksError, existing_folders, lock_folder
from greenllm.meter.sensors.nvml import Gpu

# Another meter that restores a limit holds its lock for a few milliseconds (s).
RESTORING_S, POLL_S = 2.0, 0.02
FILE = "power-limit-"


@dataclass(frozen=True)
class _Record:
    """The limit that a GPU had before, the one that was asked for, and who asked; `boot_id` is the host's."""

    boot_id: str
    before_mW: int
    asked_mW: int
    holder: dict[str, Any]


class PowerLimits:
    """The power limits that a job has set; `limits` are for its ledger."""

    def __init__(self) -> None:
        self.limits: list[PowerLimit] = []
        self._held: list[tuple[GpuPowerLimit, int]] = []
        self._after_W: dict[str, float] = {}

    def set(self, gpus: Sequence[Gpu], limit_W: float, holder: dict[str, Any]) -> None:
        """Set the limit of each GPU, with `holder` as the record of who asked.

        Raises UserError, with all limits as they were, where one is not permitted, or another job has set one.
        """
        if not gpus:
            warn(f"warning: --power-limit {limit_W:g}: the job has no GPU, so no limit is set")
        asked_mW = round(limit_W * 1000)
        try:
            cards = [_checked(gpu, asked_mW) for gpu in gpus]
            for card in cards:
                self._set(card, asked_mW, holder)
        except BaseException:
            self.restore()
            raise

    def _set(self, card: GpuPowerLimit, asked_mW: int, holder: dict[str, Any]) -> None:
        try:
            descriptor = _open(lock_folder() / f"{FILE}{card.uuid}")
        except (NoLocksError, OSError) as error:
            raise _refused(
                card, asked_mW, f"no record can be kept by which it is restored ({error}); set GREENLLM_LOCKS"
            ) from None
        try:
            _lock(card, descriptor, asked_mW)
            _restore_killed(card, descriptor)
            before_mW = card.read_mW()
            _write(descriptor, asdict(_Record(boot_id(), before_mW, asked_mW, holder)))
            self._held.append((card, descriptor))
        except PowerLimitError as error:
            os.close(descriptor)
            raise _refused(card, asked_mW, str(error)) from None
        except BaseException:
            os.close(descriptor)
            raise
        try:
            card.set(asked_mW)
            _write(descriptor, {"set_mW": card.read_mW()})
            self.limits.append(PowerLimit(card.uuid, before_mW / 1000, asked_mW / 1000, card.in_effect_mW() / 1000))
        except PowerLimitError as error:
            needs = (
                "; the driver lets only root do so: run as root, or leave the limit out" if error.needs_right else ""
            )
            raise _refused(card, asked_mW, f"{error}{needs}") from None
        os.set_inheritable(descriptor, True)

    def restore(self) -> dict[str, float]:
        """Restore the limits; return those in force afterwards (W), by GPU. A second call changes nothing.

        Never raises: what fails is reported, and left to the next meter.
        """
        while self._held:
            card, descriptor = self._held.pop()
            try:
                self._after_W[card.uuid] = _restore(card, descriptor) / 1000
            except (PowerLimitError, OSError) as error:
                warn(
                    f"warning: {card.uuid}: its power limit could not be restored ({error}); the next meter tries again"
                )
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # for the processes that inherited it, too
                os.close(descriptor)
        return self._after_W


def restore_limits_of_killed_jobs(gpus: Iterable[Gpu]) -> None:
    """Restore the power limits of these GPUs that killed jobs had set. Never raises: failures are reported."""
    for gpu in gpus:
        for folder in existing_folders():
            with contextlib.suppress(OSError), _opened(folder / f"{FILE}{gpu.uuid}") as descriptor:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_size:
                    try:
                        _restore_killed(GpuPowerLimit(gpu.uuid), descriptor)
                    except PowerLimitError as error:
                        _report_kept(gpu.uuid, descriptor, error)


def _checked(gpu: Gpu, asked_mW: int) -> GpuPowerLimit:
    """Return the GPU's limit. Raises UserError where the one that is asked for is not permitted."""
    if gpu.index < 0:
        raise UserError(f"--power-limit: {gpu.uuid} is a MIG instance; only its whole GPU has a power limit")
    try:
        card = GpuPowerLimit(gpu.uuid)
        least_mW, most_mW = card.range_mW()
    except PowerLimitError as error:
        raise UserError(f"--power-limit: {gpu.uuid}: {error}; it has no limit that can be set, leave it out") from None
    if not least_mW <= asked_mW <= most_mW:
        raise _refused(card, asked_mW, f"its driver permits {least_mW / 1000:g} to {most_mW / 1000:g} W")
    return card


def _refused(card: GpuPowerLimit, asked_mW: int, reason: str) -> UserError:
    return UserError(f"--power-limit {asked_mW / 1000:g}: the limit of {card.uuid} cannot be set: {reason}")


def _open(path: Path) -> int:
    """Open the file of a limit, made if need be. Raises OSError where that fails, or another user owns it."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o644)
    if not _is_believed(descriptor):
        os.close(descriptor)
        raise OSError(f"{path} belongs to another user; remove it")
    return descriptor


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file that exists, to write if that is permitted, else to read. Raises OSError where that fails."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except PermissionError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if _is_believed(descriptor):
            yield descriptor
        else:
            raise PermissionError
    finally:
        os.close(descriptor)


def _is_believed(descriptor: int) -> bool:
    return os.fstat(descriptor).st_uid in (0, os.geteuid())


def _lock(card: GpuPowerLimit, descriptor: int, asked_mW: int) -> None:
    """Lock the file. Raises UserError where another job has set a limit of the GPU that is in force."""
    until_s = time.monotonic() + RESTORING_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until_s:
                time.sleep(POLL_S)
                continue
        record, _ = _read(descriptor)
        whose = (
            f"{record.asked_mW / 1000:g} W, by {Holder('', True, record.holder).describe()}" if record else "unknown"
        )
        raise _refused(card, asked_mW, f"another job has set it ({whose}); leave it out, or wait for that job")


def _write(descriptor: int, record: dict[str, Any]) -> None:
    """Append a record. What a kill leaves of one is no JSON, and is then as if it had not been written."""
    os.lseek(descriptor, 0, os.SEEK_END)
    os.write(descriptor, json.dumps(record).encode() + b"\n")


def _read(descriptor: int) -> tuple[_Record | None, int | None]:
    """Return the file's record, None where there is none, and the limit that was set (mW), None before it was."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    lines = os.read(descriptor, 1 << 16).splitlines()
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):
        record = _Record(**json.loads(lines[0]))
        set_mW = None
        with contextlib.suppress(ValueError, TypeError, KeyError, IndexError):
            set_mW = int(json.loads(lines[1])["set_mW"])
        return record, set_mW
    return None, None


def _restore(card: GpuPowerLimit, descriptor: int) -> int:
    """Restore the limit that the file has recorded, remove the record, and return the limit in force (mW).

    Raises PowerLimitError where that fails.
    """
    record, set_mW = _read(descriptor)
    now_mW = card.read_mW()
    if record is not None and record.boot_id == boot_id() and now_mW != record.before_mW:
        if set_mW is not None and now_mW != set_mW:
            warn(
                f"warning: {card.uuid}: its power limit is left at {now_mW / 1000:g} W, which somebody else set while "
                f"the job ran with {set_mW / 1000:g} W (before: {record.before_mW / 1000:g} W)"
            )
        else:
            card.set(record.before_mW)
            now_mW = card.read_mW()
    os.ftruncate(descriptor, 0)
    return now_mW


def _restore_killed(card: GpuPowerLimit, descriptor: int) -> None:
    """Restore the limit of a job that was killed, if the file has a record of it. Raises PowerLimitError."""
    record, _ = _read(descriptor)
    before_mW = card.read_mW()
    now_mW = _restore(card, descriptor)
    if record is not None and now_mW != before_mW:
        warn(
            f"{card.uuid}: its power limit is restored to {now_mW / 1000:g} W; a job that was killed had set "
            f"{before_mW / 1000:g} W ({Holder('', True, record.holder).describe()})"
        )


def _report_kept(uuid: str, descriptor: int, error: PowerLimitError) -> None:
    record, _ = _read(descriptor)
    if record is not None:
        warn(
            f"warning: {uuid}: the power limit of {record.asked_mW / 1000:g} W of a job that was killed is still in "
            f"force ({error}); an administrator restores it with `sudo nvidia-smi -i {uuid} -pl "
            f"{record.before_mW / 1000:g}`"
        )
