"""Data-parallel training by torchrun: processes divide each batch and average their gradients."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from greenllm.accelerator import uses_gpu
from greenllm.device_choice import DeviceChoice
from greenllm.errors import UserError
from greenllm.meter.process_tree import end_with_parent
from greenllm.training.nodes import Node, OtherNodes, joined

if TYPE_CHECKING:
    import torch
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure
    from torch.distributed.launcher.api import LaunchConfig

    from greenllm.config.models import Training

Value = TypeVar("Value")

# Signals that end a job; they are passed on to all of its processes.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
USERS_MISTAKE = 2
# Delay before a process fails that lost its peer: the launcher then sees the peer's failure first (s).
AFTER_PEER_S = 3.0
# The same for a peer on another node, whose meter and scheduler end first (s).
AFTER_NODE_S = 15.0
# How long the nodes may take to meet (s): each imports PyTorch from a shared file system.
MEETING_S = 600
# How long a process waits for the others in one exchange, after which one of them is taken for lost; NCCL's default.
LONGEST_STEP = timedelta(minutes=10)


@dataclass(frozen=True)
class Rank:
    """This process among the `count` that train together; a single one by default."""

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.index == 0

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()

    def sum(self, values: "torch.Tensor") -> "torch.Tensor":
        """Return the sum over all processes, bit-identical in each."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.all_reduce(values)
        return values

    def first(self, make: Callable[[], Value]) -> Value:
        """Call `make` in the first process only, and return its result in all."""
        if self.count == 1:
            return make()
        import torch.distributed

        made: list[Any] = [make() if self.is_first else None]
        torch.distributed.broadcast_object_list(made, device=torch.device("cpu"))
        value: Value = made[0]
        return value

    def leave_to_first(self) -> None:
        """Exit, unless this is the first process: what follows is done once."""
        if not self.is_first:
            import torch.distributed

            torch.distributed.destroy_process_group()
            sys.exit(0)


ALONE = Rank()


def this_rank() -> Rank:
    """Return this process's rank among those that `launch` started; `ALONE` without `launch`."""
    import torch.distributed as dist

    return Rank(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE


def rank_of(processes: int) -> Rank:
    """Return this process's rank; raise RuntimeError if not as many as `processes` train together."""
    rank = this_rank()
    if rank.count != processes:
        raise RuntimeError(f"one of {rank.count} process(es), but {processes} are to train together")
    return rank


def backend() -> str | None:
    """Return the library that exchanges gradients, nccl or gloo; None in a single process."""
    import torch.distributed as dist

    if not dist.is_initialized():
        return None
    return "nccl" if "nccl" in dist.get_backend_config() else "gloo"


def require_divisible(training: "Training", threads: int) -> None:
    """Raise UserError if a node's threads or a batch's rows can't be divided evenly among the processes."""
    processes = training.processes
    if threads % processes:
        raise UserError(
            f"train.processes: {processes} processes can't share {threads} thread(s) evenly; "
            "set a number that divides the stage's threads (in resources.train or resources.compress, at most as "
            "many as the host's processors)"
        )
    if training.batch % training.all_processes:
        raise UserError(
            f"train.batch: {training.batch} rows can't be divided among {training.all_processes} processes; "
            f"set a multiple of {training.all_processes}"
        )


def launch(
    work: Callable[[], None], training: "Training", *, threads: int, device: DeviceChoice, join: str | None = None
) -> int:
    """Run `work` in several processes by torchrun's agents, one on each node; return their common exit status.

    Args:
        work: run in each process; it is pickled.
        training: number of nodes and processes, and the batch that they divide; on GPUs each process has its own.
        threads: CPU threads of all processes of a node together.
        device: `cpu` uses no GPU.
        join: `INDEX@HOST:PORT`, the number of this node and where the first one waits; None: this is the first one,
            and starts this process's command on the others.

    The first process that fails ends all others, and its error is reported in one line. A signal that ends this
    process ends them too. Raises UserError for a user's mistake, also if it is found in one of the processes.
    """
    require_divisible(training, threads)
    if training.nodes == 1:
        return _train_together(work, training, Node(), threads=threads, device=device)
    if join is not None:
        return _train_together(work, training, joined(join, training.nodes), threads=threads, device=device)
    others = OtherNodes(training.nodes)
    return _train_together(work, training, others.first, threads=threads, device=device, others=others)


def _train_together(
    work: Callable[[], None],
    training: "Training",
    node: Node,
    *,
    threads: int,
    device: DeviceChoice,
    others: OtherNodes | None = None,
) -> int:
    """Run `work` in the processes of this node, and have the others do so; return their common exit status."""
    processes = training.processes
    os.environ["OMP_NUM_THREADS"] = str(threads // processes)
    os.environ["PYTHONSAFEPATH"] = "1"  # like `python -P`: nothing is imported from the current folder
    os.environ.setdefault("GLOO_SOCKET_IFNAME", node.interface)
    if node.count > 1:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", node.interface)
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # or it warns of each address without a name
    import logging

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    def end(number: int, _: object) -> None:
        raise SignalException(f"ended by signal {number}", signal.Signals(number))

    uses_gpus = _uses_gpus(processes, device)
    logging.disable(logging.ERROR)  # the agent's own report of what we say in one line
    before = {number: signal.getsignal(number) for number in ENDING}
    passed_on = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    ended_by = failure = not_met = None
    with tempfile.TemporaryDirectory(prefix="greenllm-train-") as folder:
        try:
            for number in passed_on:  # the agent handles them only once its processes run
                signal.signal(number, end)
            if others is not None:
                others.start(threads, device)
            elastic_launch(_agent(node, processes, folder, passed_on), _run_rank)(work, uses_gpus, node, processes)
            if others is not None:
                others.wait()
        except SignalException as error:
            ended_by = error.sigval
        except ChildFailedError as error:
            failure = error.get_first_failure()[1]
        except RendezvousError as error:
            not_met = error
        finally:
            if others is not None:
                for number in passed_on:
                    signal.signal(number, signal.SIG_IGN)
                others.end()
            logging.disable(logging.NOTSET)
            for number, handler in before.items():
                signal.signal(number, handler)
    if others is not None and others.failure is not None:
        print(f"greenllm: error: {others.failure}; the other nodes were stopped", file=sys.stderr)
        return others.status
    if not_met is not None:
        print(f"greenllm: error: the nodes did not meet at {node.endpoint} ({not_met})", file=sys.stderr)
        return 1
    if ended_by is not None:
        signal.raise_signal(ended_by)
        return 128 + ended_by
    return 0 if failure is None else _report_failure(failure, node, training)


def _agent(node: Node, processes: int, folder: str, signals: Sequence[signal.Signals]) -> "LaunchConfig":
    """Return the configuration of this node's agent: its processes write to `folder`, and these signals end them."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    return LaunchConfig(
        min_nodes=node.count,
        max_nodes=node.count,
        nproc_per_node=processes,
        run_id=Path(folder).name if node.count == 1 else node.endpoint,
        rdzv_backend="c10d",
        rdzv_endpoint=node.endpoint,
        rdzv_configs={"is_host": node.is_first, "join_timeout": MEETING_S},
        local_addr=node.address,
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=folder),
        signals_to_handle=",".join(number.name for number in signals),
    )


def _uses_gpus(processes: int, device: DeviceChoice) -> bool:
    import torch

    if not uses_gpu(device):
        return False
    if (gpus := torch.cuda.device_count()) < processes:
        raise UserError(
            f"train.processes: {processes} processes need a GPU each, but this job has {gpus}; "
            f"set gpu: {processes} in resources.train or resources.compress, or fewer processes, or device: cpu"
        )
    return True


def _run_rank(work: Callable[[], None], uses_gpus: bool, node: Node, processes: int) -> None:
    """Do the work of one process; an error is passed on to the launcher."""
    # torch has the kernel send SIGINT when the launcher ends, which a job in the background of a shell ignores.
    end_with_parent(signal.SIGKILL)
    for number in ENDING:  # the launcher reports them, once
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    import torch
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    # By the number of the node: the agents number their nodes in the order of their addresses.
    os.environ["RANK"] = str(node.index * processes + int(os.environ["LOCAL_RANK"]))
    if uses_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if uses_gpus else "gloo", timeout=None if node.count == 1 else LONGEST_STEP
    )
    try:
        work()
    except UserError as error:
        if not node.is_first:  # which has the same inputs, and reports it
            time.sleep(AFTER_NODE_S)
        get_error_handler().record_exception(error)
        sys.exit(USERS_MISTAKE)
    except Exception:
        time.sleep(AFTER_PEER_S if node.count == 1 else AFTER_NODE_S)
        raise
    torch.distributed.destroy_process_group()


def _report_failure(failure: "ProcessFailure", node: Node, training: "Training") -> int:
    """Print in one line why a process failed, and return the exit status; raise UserError for a user's mistake."""
    said = failure.message["message"] if isinstance(failure.message, dict) else failure.message
    if failure.exitcode == USERS_MISTAKE:
        raise UserError(said.removeprefix("UserError: "))
    if isinstance(failure.message, dict):  # an error in the program: show where
        sys.stderr.write(failure.message["extraInfo"]["py_callstack"])
    how = (
        f"was ended by {failure.signal_name()}" if failure.exitcode < 0 else f"failed ({' '.join(said.split())[:300]})"
    )
    number = node.index * training.processes + failure.local_rank + 1
    print(
        f"greenllm: error: process {number} of {training.all_processes} {how}; the others were stopped",
        file=sys.stderr,
    )
    return 1
