"""The devices that a job gets: leased from those that a cluster's scheduler or the meter around it leaves it."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from greenllm.cluster.assignment import assigned_gpus, scheduler_of
from greenllm.errors import UserError, listed
from greenllm.meter.console import warn
from greenllm.meter.gpus import visible
from greenllm.meter.leases import (
    Lease,
    LeaseTimeoutError,
    NoLocksError,
    cpu_locks,
    holder_record,
    lock_folder,
    usable_cpus,
)
from greenllm.meter.options import Options
from greenllm.meter.sensors.nvml import Gpu
from greenllm.paths import printable

# Variables that set the size of the thread pools of the common numeric libraries.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass
class Slots:
    """The devices that a job holds, and the environment variables that its command needs for them.

    `reserved_cpus` are the processors whose idle time is the job's.
    """

    gpus: list[Gpu]
    threads: int
    reserved_cpus: float
    environment: dict[str, str] = field(default_factory=dict)
    waited_s: float = 0.0
    lease: Lease | None = None

    def release(self) -> None:
        """Release the lease."""
        if self.lease is not None:
            self.lease.release()

    def leave(self) -> None:
        """Leave the lease to the job's processes: it ends with the last of these."""
        if self.lease is not None:
            self.lease.leave()


def take_slots(
    options: Options, gpus: Sequence[Gpu], job_id: str, environment: Mapping[str, str], nested: bool
) -> Slots:
    """Return the devices that the options ask for; `nested`: inside another meter, which has leased them.

    Raises UserError where the host does not have them, or they do not become free in time.
    """
    usable = len(usable_cpus())
    threads = min(options.threads or 1, usable)
    exports = {name: str(threads) for name in THREAD_VARIABLES} if options.threads else {}
    allowed = _of_model(options, visible(gpus, assigned_gpus(environment)))
    wanted = _gpus_wanted(options, gpus, allowed)

    if nested:
        # A nested job reserves nothing unless it names a number, which is then part of its parent's reservation.
        if options.gpus is not None:
            exports |= _cuda(allowed[:wanted])
        return Slots(allowed[:wanted], threads, float(threads) if options.threads else 0.0, exports)

    deadline = None if options.wait_s is None else time.monotonic() + options.wait_s
    count = os.cpu_count() or 1 if options.exclusive else threads
    # A job in a cluster that names no number has all GPUs that the scheduler assigned it: that is their lease.
    assigned = options.gpus is None and scheduler_of(environment) is not None
    slots = Slots(allowed if assigned else allowed[:wanted], threads, float(count), exports)
    try:
        slots.lease = lease = Lease(lock_folder(), holder_record(job_id, printable(options.rule or options.command[0])))
        if wanted:
            by_name = {f"gpu-{gpu.uuid}": gpu for gpu in allowed}
            what = f"{wanted} of {len(allowed)} GPU{'s' if len(allowed) > 1 else ''}"
            slots.gpus = [by_name[name] for name in lease.take("gpu", list(by_name), wanted, what, deadline)]
        names = cpu_locks(options.exclusive)
        what = "the whole host" if options.exclusive else f"{count} of {len(names)} processors"
        lease.take("cpu", names, len(names) if options.exclusive else count, what, deadline)
        slots.waited_s = lease.waited_s
    except LeaseTimeoutError as error:
        slots.release()
        raise UserError(f"{error}; wait longer (--wait) or see `greenllm probe` for who holds it") from None
    except NoLocksError as error:
        warn(
            f"warning: no locks can be kept ({error}); running without a lease: GPUs and processors may be shared. "
            "Set GREENLLM_LOCKS to a folder that all users may write to."
        )
    except BaseException:  # a signal while waiting
        slots.release()
        raise
    if not assigned:
        slots.environment |= _cuda(slots.gpus)
    return slots


def _of_model(options: Options, allowed: list[Gpu]) -> list[Gpu]:
    """Return the GPUs of the model that is asked for. Raises UserError where there is none."""
    if options.gpu_model is None or not options.gpus or options.device == "cpu":
        return allowed
    if not (found := [gpu for gpu in allowed if gpu.name == options.gpu_model]):
        names = listed(sorted({gpu.name for gpu in allowed})) if allowed else "none"
        planned = "; the plan was made for another host: run `greenllm plan` again" if options.planned_device else ""
        raise UserError(f"--gpu-model {options.gpu_model}: no such GPU may be used here; there are: {names}{planned}")
    return found


def _gpus_wanted(options: Options, gpus: Sequence[Gpu], allowed: Sequence[Gpu]) -> int:
    asked = 0 if options.device == "cpu" else options.gpus or 0
    if asked and not allowed:
        if options.device == "require":
            found = "CUDA_VISIBLE_DEVICES allows none" if gpus else "none is found; `greenllm probe` says why"
            raise UserError(f"--device require: --gpus {asked} asked, but {found}")
        return 0  # the job runs on the processors, and its log shows that it has no GPU
    if asked > len(allowed):
        raise UserError(
            f"--gpus {asked}: there {'is' if len(allowed) == 1 else 'are'} only {len(allowed)} on this host (as far "
            "as CUDA_VISIBLE_DEVICES allows); ask for fewer"
        )
    return asked


def _cuda(gpus: Sequence[Gpu]) -> dict[str, str]:
    # Indices, since some engines refuse UUIDs; they count in the order of the PCI bus, as NVML does.
    names = ",".join(gpu.uuid if gpu.index < 0 else str(gpu.index) for gpu in gpus)
    return {"CUDA_VISIBLE_DEVICES": names, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
