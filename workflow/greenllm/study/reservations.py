"""Reservations that a study's jobs can't use on this host are found before anything runs, and are left out."""

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from greenllm import accelerator
from greenllm.cluster.assignment import assigned_gpus, scheduler_of
from greenllm.config.models import Needs
from greenllm.config.read import ConfigError
from greenllm.errors import UserError
from greenllm.meter.gpu_power_limit import GpuPowerLimit, PowerLimitError
from greenllm.meter.gpus import visible
from greenllm.meter.leases import usable_cpus
from greenllm.meter.sensors import Sensor, nvml
from greenllm.study.plan import USES_NO_GPU, GpuJobs, Plan
from greenllm.training.parallel import require_divisible

# Importing PyTorch from a cold disk may take this long.
ANSWER_S = 120


@dataclass(frozen=True)
class Reservations:
    """`plan` leases no GPU that can't be used; `lines` say why and how to mend it. If `refused`, nothing may run."""

    plan: Plan
    lines: Sequence[str] = ()
    refused: bool = False


def checked(plan: Plan, environment: Mapping[str, str] = os.environ) -> Reservations:
    """Return the study's reservations that jobs on this host can use, and the controls that it needs if there is a GPU.

    Refused are trainings over several nodes, `device: require` if a job can use no GPU, trainings with more processes
    than GPUs, or with processes that can't share the available processors evenly, power limits that a GPU does not
    permit, and a control whose name another recipe has.
    """
    jobs = list(plan.all_gpu_jobs())
    processors = len(usable_cpus())
    if spread := list(_over_several_nodes(plan)):
        return Reservations(plan, spread, refused=True)
    if undivided := list(_undivided(plan, processors)):
        return Reservations(plan, undivided, refused=True)
    lines = [*_more_than_there_are(plan, processors), *_more_than_used(plan, jobs)]
    asking = [one for one in jobs if min(one.asked, one.usable)]
    if not asking:
        return Reservations(plan, lines)
    required = plan.config.device == "require"
    gpus, sensors = nvml.find()
    if (reason := _none_allowed(gpus, sensors, environment)) is not None:
        if required:
            return Reservations(plan, [*lines, f"device: require, but {reason}"], refused=True)
        return Reservations(plan, [*lines, f"no GPU is leased, the CPU computes: {reason}"] if gpus else lines)
    computing = {one.stage for one in asking}
    if outside := list(_limits_outside(plan, computing, visible(gpus, environment.get("CUDA_VISIBLE_DEVICES")))):
        return Reservations(plan, [*lines, *outside], refused=True)
    pythons = dict.fromkeys(one.python for one in asking if one.python is not None)
    reasons = {python: reason for python in pythons if (reason := _asked(python, environment))}
    for python, reason in reasons.items():
        stages = ", ".join(dict.fromkeys(one.stage for one in asking if one.python == python))
        effect = (
            f"device: require, but no GPU for {stages}" if required else f"{stages}: no GPU is leased, the CPU computes"
        )
        lines.append(f"{effect}: {reason}")
    too_few = list(_too_few(one for one in asking if one.python not in reasons))
    if sys.executable not in reasons:
        try:
            plan = replace(plan, config=plan.config.on_gpu())
        except ConfigError as error:
            return Reservations(plan, [*lines, *error.problems], refused=True)
    return Reservations(
        replace(plan, without_gpu=frozenset(reasons)),
        [*lines, *too_few],
        refused=bool(too_few or (required and reasons)),
    )


def _more_than_there_are(plan: Plan, processors: int) -> Iterator[str]:
    """Yield a line that names the stages that ask for more threads than there are processors."""
    if stages := [f"{stage} ({needs.threads})" for stage, needs in plan.config.resources if needs.threads > processors]:
        yield (
            f"resources: threads of {', '.join(stages)}: more than the {processors} processor(s) that this process may "
            "use; jobs lease and use no more than these"
        )


def _over_several_nodes(plan: Plan) -> Iterator[str]:
    """Yield the recipes that are trained by several nodes of a cluster."""
    for experiment in plan.config.experiments:
        for recipe in plan.recipes(experiment):
            step = plan.recipe(recipe).step
            if step is not None and (nodes := plan.nodes(step.stage, experiment, recipe)) > 1:
                yield (
                    f"recipes.{recipe}: in experiments.{experiment}: train.nodes: {nodes} nodes, but this is one host; "
                    f"run it by a cluster's profile (--workflow-profile), or set nodes: 1 and processes: {nodes}"
                )


def _undivided(plan: Plan, processors: int) -> Iterator[str]:
    """Yield the recipes whose processes can't share the available processors evenly."""
    for experiment in plan.config.experiments:
        for recipe in plan.recipes(experiment):
            step = plan.recipe(recipe).step
            if step is None or step.trains_by is None:
                continue
            needs: Needs = getattr(plan.config.resources, step.stage)
            try:
                require_divisible(plan.training(experiment, recipe), min(needs.threads, processors))
            except UserError as error:
                yield f"recipes.{recipe}: in experiments.{experiment}: {error}"


def _more_than_used(plan: Plan, jobs: Sequence[GpuJobs]) -> Iterator[str]:
    """Yield a line for each stage that asks for more GPUs than any of its jobs uses."""
    for stage, needs in plan.config.resources:
        if stage in USES_NO_GPU:
            if needs.gpu:
                yield f"resources.{stage}.gpu: {needs.gpu}, but {stage} uses no GPU and leases none; leave it out"
            continue
        most = max((one.usable for one in jobs if one.stage == stage), default=0)
        if needs.gpu > max(1, most) and any(one.stage == stage for one in jobs):
            trains = stage in ("train", "compress")
            who = "each process of a training (train.processes)" if trains else "the engine"
            yield f"resources.{stage}.gpu: {needs.gpu}, but {who} uses one: its jobs lease {most} at most"


def _too_few(jobs: Iterator[GpuJobs]) -> Iterator[str]:
    for one in jobs:
        if one.usable > one.asked and one.stage in ("train", "compress"):
            yield (
                f"recipes.{one.recipe}: in experiments.{one.experiment}: train.processes: {one.usable} processes "
                f"need a GPU each; set gpu: {one.usable} in resources.{one.stage}, or fewer processes, or device: cpu"
            )


def _limits_outside(plan: Plan, stages: Collection[str], gpus: Sequence[nvml.Gpu]) -> Iterator[str]:
    """Yield the power limits of these stages that one of these GPUs does not permit. Whether they may be set at all
    is seen when the meter sets them.
    """
    for stage, needs in plan.config.resources:
        limit_W: float | None = needs.power_limit_W
        for gpu in gpus:
            if limit_W is None or stage not in stages or gpu.index < 0:
                continue
            try:
                least_W, most_W = (limit_mW / 1000 for limit_mW in GpuPowerLimit(gpu.uuid).range_mW())
            except PowerLimitError as error:
                yield f"resources.{stage}.power_limit_W: {gpu.uuid} has none that can be set: {error}; leave it out"
                continue
            if not least_W <= limit_W <= most_W:
                yield (
                    f"resources.{stage}.power_limit_W: {limit_W:g}, but {gpu.uuid} permits {least_W:g} to {most_W:g} W"
                )


def _none_allowed(gpus: Sequence[nvml.Gpu], sensors: Sequence[Sensor], environment: Mapping[str, str]) -> str | None:
    """Return why jobs can lease none of the host's GPUs; None if they can lease one."""
    if not gpus:
        known = "; ".join(sensor.reason for sensor in sensors if sensor.reason)
        return f"this host has no GPU that can be leased ({known or 'NVML finds none'}); `greenllm probe` says more"
    named, scheduler = environment.get("CUDA_VISIBLE_DEVICES"), scheduler_of(environment)
    if scheduler is not None and not assigned_gpus(environment):
        return f"{scheduler.name} assigned this job no GPU; ask for one ({scheduler.gpu_option})"
    if not visible(gpus, named):
        return f"CUDA_VISIBLE_DEVICES={named} allows none of this host's {len(gpus)}; unset it, or name GPUs in it"
    return None


def _asked(python: str, environment: Mapping[str, str]) -> str | None:
    """Return why a Python's PyTorch can't compute on a GPU.

    None if it can, and if that Python fails: its jobs report that.
    """
    source = Path(accelerator.__file__).read_text(encoding="utf-8")
    try:
        done = subprocess.run(
            [python, "-c", source],
            # GPUs are numbered as by NVML and the meter; nothing is imported from the working folder.
            env={**environment, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
