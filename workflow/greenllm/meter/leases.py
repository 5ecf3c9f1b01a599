"""Leases of GPUs and processors: kernel locks that the command's processes inherit, shared by all users of a host.

A lease is an flock(2) on a file `gpu-<uuid>` or `cpu-<number>` in one folder. The kernel drops it when the last
process that inherited the descriptor ends: a killed meter does not free a busy GPU, and a dead job frees its
own at once. A job draws a numbered ticket (one queue for GPUs, one for processors), takes what it needs one by one when
it is first, and then lets the next job in, so that jobs with one GPU do not starve one with two. Every job takes GPUs
before processors, so there is no deadlock.
"""

import contextlib
import fcntl
import json
import os
import pwd
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenllm.meter.console import warn
from greenllm.meter.host import online_processors
from greenllm.meter.quota import quota_cpus

FOLDERS = ("/run/lock/greenllm", "/tmp/greenllm-locks")
POLL_S = 0.1
# A wait is reported after the first of these times, and again whenever the second has passed (s).
REPORT_AFTER_S, REPORT_AGAIN_S = 1.0, 300.0


class LeaseTimeoutError(Exception):
    """The devices did not become free within the time allowed."""


class NoLocksError(Exception):
    """No folder can hold the locks."""


def _folders() -> list[Path]:
    chosen = os.environ.get("GREENLLM_LOCKS")
    return [Path(name) for name in ((chosen,) if chosen else FOLDERS)]


def existing_folders() -> list[Path]:
    """Return the folders in which meters of this host keep lock files, as far as they exist."""
    return [folder for folder in _folders() if folder.is_dir()]


def lock_folder() -> Path:
    """Return the folder of the lock files, made if need be and open to all users.

    It is `$GREENLLM_LOCKS`, else in /run/lock or /tmp. Raises NoLocksError where none can be made.
    """
    troubles = []
    for folder in _folders():
        try:
            if not folder.is_dir():
                folder.parent.mkdir(parents=True, exist_ok=True)
                with _open_to_all():
                    folder.mkdir(mode=0o1777, exist_ok=True)
            return folder
        except OSError as error:
            troubles.append(f"{folder}: {error.strerror}")
    raise NoLocksError("; ".join(troubles))


@contextlib.contextmanager
def _open_to_all() -> Iterator[None]:
    """Create files and folders with exactly the mode asked for."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def open_lock(path: Path) -> int:
    """Open a lock file, made if need be. Raises NoLocksError where that fails.

    First without O_CREAT: fs.protected_regular forbids to open another user's file with it in a folder like /tmp.
    """
    try:
        for flags in (os.O_RDWR, os.O_RDONLY):
            try:
                return os.open(path, flags | os.O_CLOEXEC)
            except PermissionError:
                continue
            except FileNotFoundError:
                break
        try:
            with _open_to_all():
                return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:  # another was faster
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NoLocksError(f"{path}: {error.strerror}") from None


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass
class Lease:
    """Takes locks. Unless released, they are held as long as this process or one that inherited them lives."""

    folder: Path
    holder: dict[str, Any]
    waited_s: float = 0.0
    _held: list[int] = field(default_factory=list)

    def take(
        self,
        kind: str,
        names: Sequence[str],
        count: int,
        what: str,
        deadline: float | None = None,
    ) -> list[str]:
        """Take `count` of the locks `names`, waiting in the queue of their kind for as long as it takes.

        `what` names them to a person; `deadline` is a CLOCK_MONOTONIC time. Returns the names taken, in order.
        Raises LeaseTimeoutError after the deadline, NoLocksError where locks cannot be kept.
        """
        waiting = _Waiting(self, what, names, count, deadline)
        taken: dict[str, int] = {}
        with _Ticket(self.folder, kind) as ticket:
            while not ticket.is_first():
                waiting.sleep()
            free = {name: open_lock(self.folder / name) for name in names}
            try:
                while len(taken) < count:
                    for name in list(free):
                        if len(taken) < count and _try(free[name]):
                            taken[name] = free.pop(name)
                    if len(taken) < count:
                        waiting.sleep()
            except BaseException:
                for descriptor in taken.values():
                    os.close(descriptor)
                raise
            finally:
                for descriptor in free.values():
                    os.close(descriptor)
        for descriptor in taken.values():
            _sign(descriptor, self.holder)
            os.set_inheritable(descriptor, True)
            self._held.append(descriptor)
        self.waited_s += waiting.waited_s
        return [name for name in names if name in taken]

    def release(self) -> None:
        """Drop the locks, for the processes that inherited them, too."""
        for descriptor in self._held:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        self.leave()

    def leave(self) -> None:
        """Leave the locks to the processes that inherited them: they end with the last of these."""
        while self._held:
            os.close(self._held.pop())


class _Ticket:
    """A place in the queue of one kind: a locked file with the next number."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._stem = folder / f"queue-{kind}"

    def __enter__(self) -> "_Ticket":
        door = open_lock(self._stem)
        try:
            fcntl.flock(door, fcntl.LOCK_EX)  # held for a moment only, while a number is drawn
            numbers = self._numbers()
            for number in numbers:
                if not _is_held(self._path(number)):  # of a waiter that was killed
                    with contextlib.suppress(OSError):
                        self._path(number).unlink()
            self._number = max(numbers, default=0) + 1
            self._descriptor = open_lock(self._path(self._number))
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(door)
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._path(self._number).unlink()
        os.close(self._descriptor)

    def _path(self, number: int) -> Path:
        return self._stem.with_name(f"{self._stem.name}-{number}")

    def _numbers(self) -> list[int]:
        names = (path.name.rpartition("-")[2] for path in self._stem.parent.glob(f"{self._stem.name}-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def is_first(self) -> bool:
        """Return whether no earlier ticket is waiting."""
        return not any(_is_held(self._path(n)) for n in self._numbers() if n < self._number)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass
class _Waiting:
    lease: Lease
    what: str
    names: Sequence[str]
    count: int
    deadline: float | None
    began_s: float = field(default_factory=time.monotonic)
    reported_s: float | None = None

    @property
    def waited_s(self) -> float:
        return time.monotonic() - self.began_s

    def sleep(self) -> None:
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            raise LeaseTimeoutError(f"{self.what}: not free after {now - self.began_s:.0f} s")
        due_s = self.began_s + REPORT_AFTER_S if self.reported_s is None else self.reported_s + REPORT_AGAIN_S
        if now >= due_s:
            self.reported_s = now
            holders = [f"{h.name}: {h.describe()}" for h in holders_of(self.lease.folder, self.names) if h.held]
            more = "" if len(holders) <= 4 else f" and {len(holders) - 4} more"
            warn(f"waiting for {self.what} (held: {'; '.join(holders[:4]) or 'nothing, but others wait first'}{more})")
        time.sleep(POLL_S)


@dataclass(frozen=True)
class Holder:
    """A lock file: whether it is held, and the record that its holder wrote into it."""

    name: str
    held: bool
    record: dict[str, Any]

    def describe(self) -> str:
        """Return one phrase for a message."""
        if not self.record:
            return "unknown"
        return "{rule} of {user}, meter's process {pid}, since {since}".format(
            **{"rule": "?", "user": "?", "pid": "?", "since": "?"} | self.record
        )


def holders_of(folder: Path, names: Sequence[str]) -> list[Holder]:
    """Return the holder of each of the locks; a lock file that does not exist is free."""
    holders = []
    for name in names:
        try:
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            holders.append(Holder(name, False, {}))
            continue
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                holders.append(Holder(name, False, {}))
            except BlockingIOError:
                record: dict[str, Any] = {}
                with contextlib.suppress(ValueError):
                    record = dict(json.loads(os.pread(descriptor, 4096, 0) or b"{}"))
                holders.append(Holder(name, True, record))
        finally:
            os.close(descriptor)
    return holders


def holder_record(job_id: str, rule: str) -> dict[str, Any]:
    """Return the record that a holder writes into its locks."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"id": job_id, "rule": rule, "user": user, "pid": os.getpid(), "since": since}


def usable_cpus() -> list[int]:
    """Return the processors on which this process may run (sched_getaffinity(2)), no more than its quota allows."""
    return sorted(os.sched_getaffinity(0))[: quota_cpus()]


def cpu_locks(exclusive: bool) -> list[str]:
    """Return the names of the processor locks that a job may take: the usable ones; `exclusive`: all of the host's.

    The host's are all that any of its jobs may take. Their numbers may have gaps, where some processors are offline;
    those that a container runs on may be larger than the number of processors that it sees.
    """
    if not exclusive:
        return [f"cpu-{number}" for number in usable_cpus()]
    numbers = {*range(os.cpu_count() or 1), *os.sched_getaffinity(0), *online_processors()}
    return [f"cpu-{number}" for number in sorted(numbers)]


def _sign(descriptor: int, record: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # another user's file, which may only be read
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)
