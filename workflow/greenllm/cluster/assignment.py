"""The cluster scheduler that started this process, if one did, and the GPUs that it assigned."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheduler:
    """A scheduler: its name, the variable that each of its jobs has, and the option by which a job asks for a GPU."""

    name: str
    job_variable: str
    gpu_option: str


# Both name a job's GPUs in CUDA_VISIBLE_DEVICES (Slurm, "Generic Resource (GRES) Scheduling"; IBM Spectrum LSF,
# "LSF_GPU_RESOURCE…: enabling GPU features"); Kubernetes shows a container no other devices, and needs no entry.
SCHEDULERS = (
    Scheduler("SLURM", "SLURM_JOB_ID", "--gpus=1"),
    Scheduler("LSF", "LSB_JOBID", '-gpu "num=1"'),
)


def scheduler_of(environment: Mapping[str, str]) -> Scheduler | None:
    """Return the scheduler whose job has this environment; None outside a cluster's jobs."""
    return next((one for one in SCHEDULERS if one.job_variable in environment), None)


def assigned_gpus(environment: Mapping[str, str]) -> str | None:
    """Return the GPUs that a process may use, in the form of CUDA_VISIBLE_DEVICES; None: all of the host's.

    A scheduler sets that variable for the jobs that it assigns GPUs to; its other jobs may use none.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    return "" if named is None and scheduler_of(environment) is not None else named
