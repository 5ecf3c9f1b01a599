"""`greenllm plan`: when to start which job, and where, by the grid's carbon, the price of electricity, or joules."""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenllm.config.models import Training
    from greenllm.scheduling.devices import HostDevices
    from greenllm.scheduling.document import JobPlan, SchedulePlan, SharedLimits
    from greenllm.scheduling.expectations import EarlierRun
    from greenllm.scheduling.forecast import Signal
    from greenllm.scheduling.workflow_jobs import WorkflowJob
    from greenllm.study.models import Config

# More processors than a job asks for: on a cluster those of the host that plans are no limit.
CLUSTER_CORES = 1_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.usage = "greenllm plan [options] [-- SNAKEMAKE OPTIONS ...]"
    add = parser.add_argument
    add(
        "--configfile", type=Path, default=Path("config/config.yaml"), metavar="FILE",
        help="the study, with its section policy (default: config/config.yaml)",
    )  # fmt: skip
    add("--cores", type=int, metavar="N", help="processors that jobs share (default: those of this host)")
    add("--gpus", type=int, metavar="N", help="GPUs that jobs share (default: those of this host)")
    add("--cluster", action="store_true", help="jobs share nothing: a cluster has room for all; trainings do not pause")
    add(
        "--handover", type=float, metavar="SECONDS",
        help="longest time (s) from the end of a job to the start of one behind it (default: 0; with --cluster 180, "
        "the longest wait between two questions for the states of the cluster's jobs)",
    )  # fmt: skip
    add(
        "--earlier", action="append", type=Path, default=[], metavar="LEDGER",
        help="folder of earlier ledgers, for run times (s) and energies (J); repeatable (default: the study's own)",
    )  # fmt: skip
    add("--begin", metavar="TIME", help="earliest start, with its zone: 2026-12-01T02:00Z (default: now)")
    add("--out", type=Path, metavar="FILE", help="plan.json to write (default: plan/ in the results folder); a table "
        "(.csv, .md, .tex, .parquet) and a figure (.svg, .pdf, .png) are written beside it")  # fmt: skip
    add("words", nargs=argparse.REMAINDER, metavar="-- OPTIONS", help="options of snakemake, such as targets")


def run(arguments: argparse.Namespace) -> int:
    """Write the plan, its table and its figure, and print what it is expected to save."""
    from greenllm.checks.study import check_config
    from greenllm.config.read import read_yaml
    from greenllm.errors import UserError
    from greenllm.files import require_own, require_replaceable_file, write_json
    from greenllm.scheduling.workflow_jobs import dry_run
    from greenllm.study import layout

    _require_counts(arguments)
    config = check_config(read_yaml(arguments.configfile), str(arguments.configfile))
    out = arguments.out or layout.located(layout.PLAN, config.results)
    require_own(out, '"schema": "greenllm/plan/')
    require_replaceable_file(out)
    if (reason := _no_policy(config)) is not None:
        out.unlink(missing_ok=True)  # an earlier plan would still hold jobs back
        print(f"{arguments.configfile}: {reason}: jobs start at once", file=sys.stderr)
        return 0
    try:
        begin_s, signal = _signal(arguments, config)
        allowed = _devices(arguments, config)
        words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
        jobs = dry_run(["--configfile", str(arguments.configfile), *_room(arguments), *words])
        if not jobs:  # an earlier plan stays: the account says what it saved
            print(f"{arguments.configfile}: all results are there: no job to plan", file=sys.stderr)
            return 0
        found = _plan(arguments, config, jobs, signal, begin_s, allowed)
    except UserError as error:
        raise UserError(f"{error}{_of_earlier_plan(config)}") from None
    write_json(out, found.model_dump(mode="json", by_alias=True))
    _show(found, signal, begin_s, out)
    options = _cluster_options(found) if arguments.cluster else _local_options(found)
    print(f"{out}: jobs that wait for their start {options}", file=sys.stderr)
    return 0


def _require_counts(arguments: argparse.Namespace) -> None:
    """Raise UserError for a number of processors or GPUs that no host has."""
    from greenllm.errors import UserError

    for option, count, least in (("--cores", arguments.cores, 1), ("--gpus", arguments.gpus, 0)):
        if count is not None and count < least:
            raise UserError(f"{option} {count}: expected a whole number, {least} or more")


def _of_earlier_plan(config: "Config") -> str:
    """Return a sentence about an earlier plan that is still in force; empty if there is none."""
    from greenllm.scheduling.starts import StartTimes
    from greenllm.study import layout

    earlier = StartTimes.of_study(config)
    if not earlier.to_come and earlier.fault is None:
        return ""
    return f". The earlier plan still holds; remove {layout.located(layout.PLAN, config.results)} to start jobs at once"


def _no_policy(config: "Config") -> str | None:
    """Return why there is nothing to plan by; None if there is."""
    if config.policy.objective is None:
        return "policy.objective is null"
    return None if config.policy.signal or config.policy.objective == "energy" else "policy.signal names no file"


def _room(arguments: argparse.Namespace) -> list[str]:
    """Return the options of snakemake by which jobs ask for as many processors as they will when they run."""
    if arguments.cluster:  # `--jobs`: not this host's GPUs decide what jobs ask for
        return ["--cores", str(CLUSTER_CORES), "--jobs", "1"]
    return ["--cores", str(max(arguments.cores or 0, os.cpu_count() or 1))]


def _signal(arguments: argparse.Namespace, config: "Config") -> "tuple[float, Signal]":
    """Return the earliest start (Unix time, s) and the signal, checked before Snakemake is asked for the jobs."""
    from greenllm.errors import UserError
    from greenllm.meter.planned_start import unix_time
    from greenllm.scheduling.forecast import signal_of
    from greenllm.scheduling.planner import require_future

    now_s = time.time()
    begin_s = now_s if arguments.begin is None else unix_time(arguments.begin, "--begin")
    if begin_s < now_s:
        raise UserError(f"--begin {arguments.begin}: is in the past; name a later time, or leave it out to start now")
    if config.policy.deadline is not None:
        require_future(config.policy.deadline, begin_s)
    signal = signal_of(config.policy)
    assert signal is not None
    signal.course(begin_s, begin_s + 1)
    return begin_s, signal


def _plan(
    arguments: argparse.Namespace,
    config: "Config",
    jobs: "list[WorkflowJob]",
    signal: "Signal",
    begin_s: float,
    allowed: "list[str]",
) -> "SchedulePlan":
    from greenllm.scheduling.devices import modes_of
    from greenllm.scheduling.expectations import expected
    from greenllm.scheduling.planner import Planned, plan

    earlier = _earlier(arguments, config)
    trainings = _trainings(config, jobs)
    parallel = {name for name, settings in trainings.items() if settings.all_processes > 1}
    host = _host()
    modes = modes_of(jobs, earlier, host, allowed, parallel) if allowed else {}
    pieces = {}
    if config.policy.interrupt and not arguments.cluster:  # there is a checkpoint at each validation
        pieces = {name: settings.evaluations for name, settings in trainings.items() if name not in parallel}
    cards = host.cards if modes else ()
    planned = Planned(jobs, expected(jobs, earlier), pieces, _handover_s(arguments), modes=modes, cards=cards)
    return plan(planned, config.policy, signal, _limits(arguments, config, allowed), begin_s)


def _devices(arguments: argparse.Namespace, config: "Config") -> "list[str]":
    """Return the devices that jobs may be moved to. Raises UserError for one that is not there, or not allowed."""
    from greenllm.device_choice import CPU
    from greenllm.errors import UserError

    asked = config.policy.devices
    if arguments.cluster:
        if asked:
            print("policy.devices: a cluster assigns devices itself, so jobs stay where they are", file=sys.stderr)
        return []
    if config.device == "require" and not isinstance(asked, bool) and CPU in asked:
        raise UserError("policy.devices: has cpu, but device is require; leave one of them out")
    allowed = _host().chosen(asked)
    return [name for name in allowed if name != CPU or config.device != "require"]


def _host() -> "HostDevices":
    from greenllm.cluster.assignment import assigned_gpus
    from greenllm.meter.gpus import visible
    from greenllm.meter.host import host_name
    from greenllm.meter.sensors import nvml
    from greenllm.scheduling.devices import HostDevices

    return HostDevices(host_name(), [gpu.name for gpu in visible(nvml.find()[0], assigned_gpus(os.environ))])


def _trainings(config: "Config", jobs: "list[WorkflowJob]") -> "dict[str, Training]":
    """Return the settings of the trainings among the jobs, by the job's name."""
    from greenllm.study.plan import Plan

    study = Plan(config)
    return {
        job.name: study.training(job.wildcards["experiment"], job.wildcards["recipe"])
        for job in jobs
        if job.rule == "train"
    }


def _handover_s(arguments: argparse.Namespace) -> float:
    """Return the longest time between the end of a job and the start of one behind it (s)."""
    from greenllm.cluster.submission import NOTICED_WITHIN_S
    from greenllm.errors import UserError

    if arguments.handover is None:
        return NOTICED_WITHIN_S if arguments.cluster else 0.0
    if not 0 <= arguments.handover < math.inf:
        raise UserError(f"--handover {arguments.handover:g}: expected seconds, 0 or more")
    return float(arguments.handover)


def _earlier(arguments: argparse.Namespace, config: "Config") -> "list[EarlierRun]":
    from greenllm.attribution import attribute
    from greenllm.scheduling.expectations import earlier_runs
    from greenllm.study import layout

    own = layout.located(layout.LEDGER, config.results)
    folders = arguments.earlier or ([own] if own.is_dir() else [])
    found = []
    for folder in folders:
        found += earlier_runs(attribute(folder, policy=config.meter.policy, courses=False).jobs)
    return found


def _limits(arguments: argparse.Namespace, config: "Config", allowed: "list[str]") -> "SharedLimits":
    from greenllm.meter.leases import usable_cpus
    from greenllm.meter.sensors import nvml
    from greenllm.scheduling.document import SharedLimits

    power_W = config.policy.power_budget_W
    if arguments.cluster:
        return SharedLimits(power_W=power_W)
    gpus = len(nvml.find()[0]) if arguments.gpus is None else arguments.gpus
    cores = len(usable_cpus()) if arguments.cores is None else arguments.cores
    models = _host().models if allowed else {}
    return SharedLimits(cores=float(cores), gpus=float(gpus) if gpus else None, power_W=power_W, models=models)


def _show(found: "SchedulePlan", signal: "Signal", begin_s: float, out: Path) -> None:
    from greenllm.report.figures.schedule import write_schedule
    from greenllm.report.language import language, speaking
    from greenllm.report.schedule_text import plan_text
    from greenllm.report.tables.schedule import schedule_table

    end_s = datetime.fromisoformat(found.deadline).timestamp()
    with speaking(language("en")):
        schedule_table(found).write(out.with_suffix(""))
        write_schedule(found, signal.course(begin_s, end_s), signal.bounds(begin_s, end_s), out.with_suffix(""))
        print(plan_text(found))


def _local_options(found: "SchedulePlan") -> str:
    gpus = _held(found, lambda job: job.gpus)
    options = f"--cores {_held(found, lambda job: job.threads)}" + (f" --resources gpu={gpus}" if gpus else "")
    return f"hold cores of snakemake, so run it with {options}"


def _cluster_options(found: "SchedulePlan") -> str:
    """Return the options for a cluster. Jobs without input, such as collect, run and wait on the host that submits."""
    first = _held(found, lambda job: 0 if job.after else job.threads)
    return f"count as jobs of snakemake, so run it with --jobs {_held(found, lambda job: 1)} --local-cores {first}"


def _held(plan: "SchedulePlan", amount: "Callable[[JobPlan], int]") -> int:
    """Return how much of a resource Snakemake needs so that no job that waits for its start holds up another one.

    A job holds it from the end of the jobs before it to its own end. The meter's leases keep jobs off each other.
    """
    ended = {job.name: job.runs[-1].end for job in plan.jobs}
    changes = []
    for job in plan.jobs:
        changes += [
            (max((ended[name] for name in job.after), default=""), amount(job)),
            (ended[job.name], -amount(job)),
        ]
    return max(accumulate(change for _, change in sorted(changes)), default=0)
