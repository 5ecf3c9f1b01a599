"""What a scheduler is asked when a job is submitted: its nodes, and to start it as planned and hold nothing before."""

import time
from collections.abc import Callable, Mapping
from typing import Any

# The longest time after which Snakemake notices a job's end and submits those behind it (s): the longest wait between
# two questions for the jobs' states (snakemake-executor-plugin-slurm 2.8, `max_sleep_time` of check_active_jobs).
NOTICED_WITHIN_S = 180.0


def sbatch_begin(start_s: float) -> str:
    """Return the option of sbatch(1) for a start (Unix time, s): it reads local time, in whole seconds.

    An hour in autumn comes twice. Where sbatch would take the second one for the first, the option is the hour before:
    the meter waits for the rest.
    """
    later_s = time.mktime((*time.localtime(start_s)[:8], -1)) - int(start_s)
    return time.strftime("--begin=%Y-%m-%dT%H:%M:%S", time.localtime(start_s - max(0.0, later_s)))


# By the resource in which an executor of Snakemake takes further options of its submit command.
START_OPTIONS: Mapping[str, Callable[[float], str]] = {"slurm_extra": sbatch_begin}


def with_start(
    profiles: Callable[..., Any], start_of: Callable[[Mapping[str, str]], float | None], option: Callable[[float], str]
) -> Callable[..., str | None]:
    """Return the function that Snakemake calls for the submit options of a rule's job.

    They are those of `profiles`, which evaluates what the profile asks for, and the `option` for the planned start
    (Unix time, s) that `start_of` returns for the job's wildcards, if that is still to come.
    """

    def options(wildcards: Mapping[str, str], **known: Any) -> str | None:
        start_s = start_of({name: str(value) for name, value in wildcards.items()})
        begin = None if start_s is None or start_s <= time.time() else option(start_s)
        return " ".join(filter(None, (profiles(wildcards, **known).value, begin))) or None

    return options


def over_several_nodes(
    nodes: Callable[[Any], int], gpus: Callable[[Any], int]
) -> dict[str, Callable[[Any], int | str]]:
    """Return the resources of a rule whose jobs run on one node or on several, each with one task of the job.

    `nodes` and `gpus` return the nodes of a job with these wildcards, and the GPUs of each. The names are those of
    snakemake-executor-plugin-slurm, whose `gpu` is the number of GPUs of all nodes together, shared out by SLURM.
    """

    def gpu(wildcards: Any) -> int:
        return gpus(wildcards) if nodes(wildcards) == 1 else 0

    def gres(wildcards: Any) -> str:
        of_each = gpus(wildcards)
        return f"gpu:{of_each}" if nodes(wildcards) > 1 and of_each else ""

    return {"nodes": nodes, "tasks": nodes, "gpu": gpu, "gres": gres}


def refusal(settings: Any) -> str | None:
    """Return why jobs can't be submitted with a start each, by the settings of Snakemake's executor; None: they can."""
    if not (together := getattr(settings, "array_jobs", None)):
        return None
    return (
        f"slurm-array-jobs: {together}: the jobs of an array start together, but the plan has a start for each; leave "
        "that key out, or set policy.objective to null"
    )
