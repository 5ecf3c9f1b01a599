"""The nodes of a cluster that train together: the first one starts its command on the others, each under a meter."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from greenllm.cluster.assignment import assigned_gpus
from greenllm.cluster.job_nodes import Launch, launcher_of
from greenllm.errors import UserError, listed
from greenllm.meter.other_hosts import metered_elsewhere

# The option by which the first node starts the same command on the others.
JOIN = "--join"
# How long the others may take to end after they were asked to (s): a meter writes its last records.
END_S = 20.0
# Variables that are of this node's process alone.
OWN_VARIABLES = ("GREENLLM_METER_ID", "GREENLLM_WORK", "GREENLLM_PAUSE_AT")


@dataclass(frozen=True)
class Node:
    """This process's node among the `count` that train together, the first one by default.

    `endpoint` is where the first node waits for the others (HOST:PORT; port 0: any that is free); `address` and
    `interface` are this node's own, in the network that connects them.
    """

    index: int = 0
    count: int = 1
    endpoint: str = "127.0.0.1:0"
    address: str = "127.0.0.1"
    interface: str = "lo"  # needs no name server and passes any firewall

    @property
    def is_first(self) -> bool:
        """Whether this node starts the others."""
        return self.index == 0


def joined(text: str, count: int) -> Node:
    """Return the node that `--join INDEX@HOST:PORT` names, of `count` nodes. Raises UserError if there is none."""
    found = re.fullmatch(r"(\d+)@(.+):(\d+)", text)
    if not found or not 1 <= int(found[1]) < count:
        raise UserError(
            f"{JOIN} {text}: expected NODE@HOST:PORT, where NODE is at least 1 and less than train.nodes ({count})"
        )
    address = _address_towards(found[2])
    return Node(int(found[1]), count, f"{found[2]}:{found[3]}", address, _interface_of(address))


class OtherNodes:
    """The other nodes of a training, from its first one: they train from `start` until they end, or `end`.

    If one of them fails before, this process gets a SIGTERM. `failure` then says which, `status` is its exit status.
    """

    def __init__(self, count: int) -> None:
        """Find the job's nodes. Raises UserError where it has fewer than `count`."""
        self._launcher = launcher_of()
        names = self._launcher.names() if self._launcher else []
        if len(names) < count:
            found = f"its job has {listed(names)}" if names else "this process is in no job of a cluster that has nodes"
            raise UserError(f"train.nodes: {count}, but {found}; run it by a cluster's profile, or set train.nodes: 1")
        self._names = names[1:count]
        address = _address_towards(self._names[0])
        endpoint = f"{address}:{_free_port(address)}"
        self.first = Node(0, count, endpoint, address, _interface_of(address))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._watching: list[threading.Thread] = []
        self._ending = threading.Event()
        self.failure: str | None = None
        self.status = 0

    def start(self, threads: int, device: str) -> None:
        """Start this process's command on each of the others, with as many threads and GPUs as here."""
        gpus = len([name for name in (assigned_gpus(os.environ) or "").split(",") if name])
        for index, name in enumerate(self._names, 1):
            again = [sys.executable, *sys.orig_argv[1:], JOIN, f"{index}@{self.first.endpoint}"]
            launch = self._launch(
                name, metered_elsewhere(again, threads=threads, gpus=gpus, device=device), threads, gpus
            )
            environment = {key: value for key, value in launch.environment.items() if key not in OWN_VARIABLES}
            process = subprocess.Popen(
                launch.command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
            )
            self._processes.append(process)
            self._watching.append(threading.Thread(target=self._watch, args=(name, process), daemon=True))
            self._watching[-1].start()

    def _launch(self, name: str, command: Sequence[str], threads: int, gpus: int) -> Launch:
        assert self._launcher is not None
        return self._launcher.launch(name, command, threads, gpus)

    def _watch(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        status = process.wait()
        status = status if status >= 0 else 128 - status  # as a shell reports a signal
        if status and not self._ending.is_set() and self.failure is None:
            self.status = status
            self.failure = f"the training on {name} ended with exit status {status}"
            os.kill(os.getpid(), signal.SIGTERM)

    def wait(self) -> None:
        """Wait for the end of the others, which have nothing left to do."""
        for thread in self._watching:
            thread.join()

    def end(self) -> None:
        """End the others, as far as they still run."""
        self._ending.set()
        running = [process for process in self._processes if process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address_towards(host: str) -> str:
    """Return this host's address in the network by which it reaches another. Raises UserError where there is none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.connect((host, 9))  # sends nothing
            address: str = datagrams.getsockname()[0]
            return address
    except OSError as error:
        raise UserError(f"train.nodes: {host} cannot be reached from {socket.gethostname()} ({error})") from None


def _interface_of(address: str) -> str:
    """Return the name of the network interface with an address of this host."""
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, addresses in interfaces if address in [one.address for one in addresses])


def _free_port(address: str) -> int:
    with socket.socket() as listening:
        listening.bind((address, 0))
        return int(listening.getsockname()[1])
