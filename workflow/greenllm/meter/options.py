"""The options of the meter."""

import argparse
import math
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from greenllm.cluster.assignment import scheduler_of
from greenllm.device_choice import CPU, DEVICE_CHOICES
from greenllm.errors import UserError
from greenllm.files import held, is_written_into
from greenllm.key_values import key_values
from greenllm.meter.cgroups import check
from greenllm.meter.planned_start import PlannedExecution, PlannedStretch, planned_job, unix_time

# The characters of a meter's id, which names its ledger.
METER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")


@dataclass(frozen=True)
class Options:
    """The meter's options. `gpus`, `threads`, `memory_MB`, `config`, `inputs`, `outputs`, `power_limit_W` and
    `part_of` and `gpu_model` are None where not given; `planned_device` is where a plan has put the job, if it has.

    Raises UserError where a number is out of its range, a control group or an id can be none, or `out` can be no file.
    """

    command: list[str]
    gpus: int | None = None
    threads: int | None = None
    memory_MB: int | None = None
    exclusive: bool = False
    device: str = "auto"
    rule: str | None = None
    wildcards: dict[str, str] = field(default_factory=dict)
    attempt: int = 1
    out: Path | None = None
    ledger: Path | None = None
    wait_s: float | None = None
    config: str | None = None
    inputs: list[str] | None = None
    outputs: list[str] | None = None
    cgroups: list[str] = field(default_factory=list)
    plan: Path | None = None
    not_before_s: float | None = None
    power_limit_W: float | None = None
    part_of: str | None = None
    gpu_model: str | None = None
    planned_device: str | None = None

    def __post_init__(self) -> None:
        for name, number, lowest in (
            ("gpus", self.gpus, 0),
            ("threads", self.threads, 1),
            ("memory", self.memory_MB, 0),
            ("attempt", self.attempt, 1),
            ("wait", self.wait_s, 0),
        ):
            if number is not None and not number >= lowest:
                raise UserError(f"--{name} {number}: expected a number of at least {lowest}")
        if self.power_limit_W is not None:
            if not 0 < self.power_limit_W < math.inf:
                raise UserError(f"--power-limit {self.power_limit_W:g}: expected watts, a number above 0")
            if self.gpus is None:
                raise UserError(f"--power-limit {self.power_limit_W:g}: the job asks for no GPU; add --gpus N")
        if self.gpu_model is not None and self.gpus is None:
            raise UserError(f"--gpu-model {self.gpu_model}: the job asks for no GPU; add --gpus N")
        for group in self.cgroups:
            check(group)
        if self.part_of is not None and not METER_ID.fullmatch(self.part_of):
            raise UserError(
                f"--part-of {self.part_of}: expected the id of a meter, such as 20261129T131343Z-a1b2c3d4e5"
            )
        if self.out is not None:  # whether it can be written is seen at the end: the job is not to stop for it
            is_written_into(self.out)

    def planned(self) -> PlannedExecution:
        """Return when and where the command is to run; without stretches: at once. Raises UserError if it is no plan.

        A cluster's scheduler has allocated a job's devices already, and a pause would keep them.
        """
        if self.not_before_s is not None:
            return PlannedExecution([PlannedStretch(self.not_before_s)])
        if self.plan is None:
            return PlannedExecution()
        found = planned_job(self.plan, self.rule, self.wildcards)
        if scheduler_of(os.environ) is not None:
            return PlannedExecution([PlannedStretch(one.start_s) for one in found.stretches[:1]])
        return found

    def placed(self, device: str | None) -> "Options":
        """Return the options with the device of a plan: `cpu`, or a GPU's model. None changes nothing."""
        if device is None or not self.gpus or "GREENLLM_METER_ID" in os.environ:  # the meter around it has the lease
            return self
        if device == CPU:
            return replace(self, device="cpu", planned_device=device)
        return replace(self, gpu_model=device, planned_device=device)

    @property
    def memory_B(self) -> float | None:
        """The memory that the job reserves, in bytes."""
        return None if self.memory_MB is None else self.memory_MB * 1e6


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return a path from the root: the job may leave or remove the working directory.

    Raises UserError where that is gone already.
    """
    try:
        path = Path(path)
        return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()
    except OSError:
        raise UserError(f"{os.fspath(path)}: the working directory is gone; go to another, or name it from /") from None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the meter's options to a parser."""
    parser.usage = "greenllm meter [options] -- COMMAND ..."
    add = parser.add_argument
    add("--gpus", type=int, metavar="N", help="GPUs to lease (default 0: the command sees none; nested: the outer's)")
    add(
        "--threads",
        type=int,
        metavar="N",
        help="processors to lease, at most as many as the host has; OMP_NUM_THREADS and the like are set to it "
        "(default: 1 is leased, and the environment stays as it is)",
    )
    add(
        "--memory",
        type=int,
        metavar="MB",
        help="memory that the job reserves, in megabytes (10^6 bytes): the job is charged for the energy of that much, "
        "or of what it uses where that is more; its use is not limited (default: 0)",
    )
    add("--exclusive", action="store_true", help="lease all processors of the host, to be alone on it")
    add(
        "--device",
        choices=DEVICE_CHOICES,
        default="auto",
        help="auto: use the CPU where there is no GPU; cpu: lease no GPU; require: refuse (exit 2) where --gpus is "
        "asked and there is no GPU (default auto)",
    )
    add(
        "--gpu-model",
        metavar="NAME",
        help="lease GPUs of this model alone, as `greenllm probe` names it (default: the first free ones)",
    )
    add(
        "--power-limit",
        type=float,
        metavar="W",
        help="power limit of each leased GPU while the command runs, in watts; refused (exit 2) where the driver does "
        "not permit it; the limit before is restored at the end, by the next meter if this one is killed (default: "
        "limits stay as they are)",
    )
    add("--rule", metavar="R", help="name of the rule, for the log")
    add(
        "--wildcard", action="append", default=[], metavar="K=V", help="a wildcard of the rule, for the log; repeatable"
    )
    add("--attempt", type=int, default=1, metavar="N", help="number of this attempt, from 1 (default 1)")
    add(
        "--input",
        action="extend",
        nargs="*",
        metavar="PATH",
        help="files and folders that the command reads, up to the next option or `--`: their SHA-256 (or size and "
        "time) is logged; repeatable; none after it says that there are none (default: unknown)",
    )
    add("--output", action="extend", nargs="*", metavar="PATH", help="what the command writes; as --input, at the end")
    add(
        "--config",
        metavar="TEXT",
        help="the settings that the result follows from, as text: their SHA-256 is the log's config_hash, by which an "
        "attempt supersedes an earlier one (default: the command line)",
    )
    add("--out", type=Path, metavar="FILE", help="energy log to write (JSON, joules) when the command has ended")
    add(
        "--ledger",
        type=Path,
        metavar="DIR",
        help="folder of the ledgers (default: $GREENLLM_LEDGER, else results/ledger)",
    )
    add(
        "--cgroup",
        action="append",
        default=[],
        metavar="PATH",
        help="a control group whose CPU time is the job's, too, for what works outside its process tree (a container, "
        "a service): a path under /sys/fs/cgroup, absolute or relative to it; repeatable",
    )
    add(
        "--part-of",
        metavar="ID",
        help="id of the meter on another host around this part of its job; this meter leases on its own host, and the "
        "energy is the job's",
    )
    add(
        "--wait",
        type=float,
        metavar="S",
        help="give up (exit 2) after waiting S seconds for the lease (default: never)",
    )
    add(
        "--plan",
        type=Path,
        metavar="FILE",
        help="plan.json of `greenllm plan`: wait, without a lease, until this rule and these wildcards are to start, "
        "and lease the device that it names; a command that exits with 75 at a planned pause is run again after it "
        "(default: start at once)",
    )
    add("--not-before", metavar="TIME", help="wait, without a lease, until then (with its zone: 2026-12-01T02:00Z)")
    add("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command to run, with its arguments")


def options_of(arguments: argparse.Namespace) -> Options:
    """Check the parsed arguments. Raises UserError with one line where something is wrong."""
    command = list(arguments.words)
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        raise UserError("no command given; expected `greenllm meter [options] -- COMMAND ...`")
    if command[0].startswith("-") and len(arguments.words) == len(command):
        raise UserError(f"unknown option {command[0]}; a command that begins with a dash comes after `--`")
    return Options(
        command=command,
        gpus=arguments.gpus,
        threads=arguments.threads,
        memory_MB=arguments.memory,
        exclusive=arguments.exclusive,
        device=arguments.device,
        rule=arguments.rule,
        wildcards=key_values("--wildcard", arguments.wildcard, "NAME=VALUE, such as seed=1", empty=True),
        attempt=arguments.attempt,
        out=None if arguments.out is None else held(absolute(arguments.out)),
        ledger=None if arguments.ledger is None else absolute(arguments.ledger),
        wait_s=arguments.wait,
        config=arguments.config,
        inputs=arguments.input,
        outputs=arguments.output,
        cgroups=arguments.cgroup,
        plan=None if arguments.plan is None else absolute(arguments.plan),
        not_before_s=None if arguments.not_before is None else unix_time(arguments.not_before, "--not-before"),
        power_limit_W=arguments.power_limit,
        part_of=arguments.part_of,
        gpu_model=arguments.gpu_model,
    )
