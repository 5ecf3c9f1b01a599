"""A real SLURM cluster on one machine: munge, the controller and a daemon for each node, brought up and taken down."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.configuration import write_configuration
from cluster.node import Node, SimulatedCounters, simulated_gpus

# Debian keeps the daemons outside the path of most users.
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "ip", "unshare", "cc")
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # where version 2 is mounted
UP_S, END_S = 120.0, 3.0  # longest wait for the cluster, and for a daemon that was asked to end
REFRESH_S = 0.02  # between two values of the simulated counters
READY = ("idle", "mixed", "allocated")


class ClusterError(Exception):
    """The cluster cannot be brought up; the message says why."""


def lacking() -> str | None:
    """Return why this machine can have no cluster; None if it can."""
    if os.geteuid() != 0:
        return "a SLURM cluster needs root"
    if missing := [name for name in PROGRAMS if shutil.which(name, path=SEARCH_PATH) is None]:
        return f"no SLURM cluster without {', '.join(missing)} (packages slurm-wlm, munge, iproute2, util-linux, gcc)"
    if not any((root / "cgroup.procs").exists() and os.access(root, os.W_OK) for root in CGROUPS):
        return "a SLURM cluster needs control groups of version 2 (/sys/fs/cgroup)"
    return None


@dataclass
class SlurmCluster:
    """The cluster whose files are in a folder. Several can be up at once, each in another folder."""

    folder: Path
    size: int = 2
    cpus: int = field(default_factory=lambda: max(2, os.cpu_count() or 2))
    memory_MB: int = 8000
    gpus: int = 2

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        number = zlib.crc32(str(self.folder).encode())  # two folders, two networks
        self._subnet, self._bridge = f"10.77.{number % 256}", f"gl{number:08x}"
        # below 32768: there the kernel takes none for outgoing connections (net.ipv4.ip_local_port_range)
        self._port = 17000 + number % 15000
        root = next(root for root in reversed(CGROUPS) if (root / "cgroup.procs").exists())
        self.nodes = [
            Node(n, self.folder, f"{self._subnet}.{10 + n}", root / self._bridge / f"node{n}", *self._each)
            for n in range(1, self.size + 1)
        ]

    @property
    def _each(self) -> tuple[int, int, int]:
        return self.cpus, self.memory_MB, self.gpus

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which SLURM's commands find this cluster."""
        return {"SLURM_CONF": f"{self.folder}/etc/slurm.conf", "PATH": SEARCH_PATH}

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's commands; return what it printed."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, check=check, capture_output=True, text=True).stdout

    def up(self) -> None:
        """Bring the cluster up. Raises ClusterError where that fails; then nothing is left running."""
        if reason := lacking():
            raise ClusterError(reason)
        if running := [name for name, (pid, started) in self._daemons().items() if _started(pid) == started]:
            raise ClusterError(f"{self.folder}: the cluster is up ({', '.join(running)}); take it down first")
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            self._start()
        except BaseException:
            self.down()
            raise

    def _start(self) -> None:
        host = os.uname().nodename
        write_configuration(self.folder, self.nodes, host, f"{self._subnet}.1", self._port)
        Path("/etc/slurm").mkdir(exist_ok=True)  # a node mounts its configuration here
        library = simulated_gpus(self.folder / "nvml")
        for node in self.nodes:
            node.make(library)
        if not self._has_network():
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("address", "add", f"{self._subnet}.1/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
        key, run = self.folder / "etc/munge.key", self.folder / "run"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        script = Path(__file__).parents[1] / "slurm_cluster.py"
        self._daemon("counters", [sys.executable, str(script), "counters", str(self.folder), str(self.size)])
        options = {"socket": run / "munge.sock", "key-file": key, "pid-file": run / "munged.pid"}
        options |= {"log-file": self.folder / "log/munged.log", "seed-file": run / "seed"}
        self._daemon("munged", ["munged", "--foreground", "--force", *(f"--{k}={v}" for k, v in options.items())])
        _wait(lambda: (run / "munge.sock").exists(), "munged", self.folder)
        self._daemon("slurmctld", ["slurmctld", "-D", "-f", self.environment["SLURM_CONF"]])
        for node in self.nodes:
            self.start(node)
        _wait(self._is_ready, f"{self.size} nodes", self.folder)

    def start(self, node: Node) -> None:
        """Start a node that does not run: a boot of its own, with the counters as they were."""
        joined = ["sh", "-c", 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"', "sh", str(node.group), *node.boot()]
        pid = self._daemon(node.name, joined)
        own = Path("/proc/self/ns/net").readlink()
        # the process is still in this network until it has become `unshare`
        _wait(lambda: _namespace(pid) not in (own, None), f"network of {node.name}", self.folder)
        outside = f"{self._bridge[:10]}.{node.number}"
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("link", "set", outside, "master", self._bridge, "up")

    def kill(self, node: Node) -> None:
        """End a node in an instant, with all its processes, as a loss of power would."""
        self._end(node.name, signal.SIGKILL)
        _wait(lambda: not (node.group / "cgroup.procs").read_text(), f"end of {node.name}", self.folder)

    def run_inside(self, node: Node, *command: str) -> None:
        """Run a command as root in a node's namespaces."""
        parent, _ = self._daemons()[node.name]
        (first,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        subprocess.run(["nsenter", f"--target={first}", "--all", *command], check=True)

    def wait_until_ready(self) -> None:
        """Wait until all nodes accept jobs."""
        _wait(self._is_ready, f"{self.size} nodes", self.folder)

    def wait_until_idle(self) -> None:
        """Wait until no job runs or waits."""
        _wait(lambda: not self.run("squeue", "--noheader"), "end of all jobs", self.folder)

    def down(self) -> None:
        """End the cluster and all that runs in it; its folder stays."""
        if "slurmctld" in self._daemons() and self.run("squeue", "--noheader", check=False):
            self.run("scancel", "--state=PENDING", f"--user={os.geteuid()}", check=False)
            self.run("scancel", f"--user={os.geteuid()}", check=False)
            until_s = time.monotonic() + END_S
            while self.run("squeue", "--noheader", check=False) and time.monotonic() < until_s:
                time.sleep(0.1)
        for node in self.nodes:
            self._end(node.name, signal.SIGKILL)
        for name in ("slurmctld", "munged", "counters"):
            self._end(name, signal.SIGTERM)
        if self._has_network():
            _ip("link", "delete", self._bridge)
        for node in self.nodes:
            if node.group.exists():
                _wait(lambda group=node.group: _removed(group), f"end of {node.name}", self.folder)  # type: ignore[misc]
        if self.nodes and self.nodes[0].group.parent.exists():
            self.nodes[0].group.parent.rmdir()

    def simulate_counters(self) -> None:
        """Keep the nodes' counters up to date until this process is ended."""
        counters = [SimulatedCounters(node) for node in self.nodes]
        os.setpriority(os.PRIO_PROCESS, 0, -20)  # hardware does not wait for a processor
        while True:
            for one in counters:
                one.update()
            time.sleep(REFRESH_S)

    def _is_ready(self) -> bool:
        states = self.run("sinfo", "--noheader", "--Node", "--format=%N %T", "--partition=cpu", check=False)
        return sum(line.split()[-1] in READY for line in states.splitlines()) == self.size

    def _has_network(self) -> bool:
        return Path("/sys/class/net", self._bridge).exists()

    def _daemon(self, name: str, command: Sequence[str]) -> int:
        """Start a process that outlives this one; return its id."""
        with (self.folder / f"log/{name}.out").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._record({**self._daemons(), name: (process.pid, _started(process.pid) or 0)})
        return process.pid

    def _daemons(self) -> dict[str, tuple[int, int]]:
        """The processes by name: their ids and their starts, by which a number that was used again is recognised."""
        try:
            found = json.loads((self.folder / "daemons.json").read_text())
        except FileNotFoundError:
            return {}
        return {name: (pid, started) for name, (pid, started) in found.items()}

    def _record(self, daemons: Mapping[str, tuple[int, int]]) -> None:
        (self.folder / "daemons.json").write_text(json.dumps(daemons))

    def _end(self, name: str, number: signal.Signals) -> None:
        daemons = self._daemons()
        if name not in daemons:
            return
        pid, started = daemons.pop(name)
        until_s = time.monotonic() + END_S
        while _started(pid) == started:
            os.kill(pid, number)
            number = signal.SIGKILL if time.monotonic() > until_s else number
            time.sleep(0.05)
            _reap(pid)
        self._record(daemons)


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot (proc(5)); None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # another process started it
        os.waitpid(pid, os.WNOHANG)


def _namespace(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink()
    except OSError:
        return None


def _removed(group: Path) -> bool:
    """Remove a control group; return whether it is gone. It cannot be removed while a process in it is ending."""
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], env=os.environ | {"PATH": SEARCH_PATH}, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _wait(condition: Callable[[], bool], what: str, folder: Path) -> None:
    until_s = time.monotonic() + UP_S
    while not condition():
        if time.monotonic() > until_s:
            raise ClusterError(f"no {what} after {UP_S:.0f} s; see {folder}/log")
        time.sleep(0.05)
