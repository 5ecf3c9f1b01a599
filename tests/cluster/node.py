"""One node of the cluster: its identity, its simulated hardware, and the processes in namespaces of their own.

A node has a host name, a network, mounts and processes that are its own (namespaces(7)), and a control group, which
says how much CPU time its processes used. All nodes share the machine's kernel. The meter identifies a host by the boot
id and reads its sensors from sysfs and NVML, so each node has a boot id, a powercap tree and GPUs of its own, which its
jobs find through the variables that SLURM's task prolog sets.
"""

import shlex
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hardware.simulated import PowercapTree, SimulatedGpu, compile_nvml, gpu_environment, proc_tree

GPU_MODEL = "simulated"
IDLE_W, ACTIVE_W, DRAM_W = 20.0, 30.0, 4.0  # of a node; ACTIVE_W for each busy processor
TICKS_PER_S = 100  # of /proc/stat
# Its digits are as many as those of all later counts: a meter that reads meanwhile finds no half of a line.
FIRST_TICKS = 10**11


@dataclass(frozen=True)
class Node:
    """A node. `number` counts from 1; `group` is the folder of its control group."""

    number: int
    base: Path
    address: str
    group: Path
    cpus: int
    memory_MB: int
    gpus: int

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def folder(self) -> Path:
        return self.base / "nodes" / self.name

    def busy_s(self) -> float:
        """The CPU seconds that the node's processes have used."""
        fields = dict(line.split() for line in (self.group / "cpu.stat").read_text().splitlines())
        return int(fields["usage_usec"]) / 1e6

    def make(self, library: Path) -> None:
        """Make the node's folder and control group. `library` is the folder of the simulated NVML."""
        self.group.mkdir(parents=True, exist_ok=True)
        (self.folder / "dev").mkdir(parents=True, exist_ok=True)
        (self.folder / "hostname").write_text(f"{self.name}\n")
        for index in range(self.gpus):  # slurmd wants a character device
            device = self.folder / f"dev/nvidia{index}"
            device.unlink(missing_ok=True)
            device.symlink_to("/dev/null")
        proc = proc_tree(self.folder / "proc", cpus=self.cpus, busy_ticks=FIRST_TICKS)
        for name in ("self", "meminfo", "cpuinfo"):
            (proc / name).unlink(missing_ok=True)
            (proc / name).symlink_to(f"/proc/{name}")
        SimulatedCounters(self)
        gpus = gpu_environment(library, [SimulatedGpu(driven=True, idle_W=50 + 10 * n) for n in range(self.gpus)])
        variables = gpus | {
            "SIMULATED_NVML_STATE": f"{self.folder}/nvml-state",
            "SIMULATED_GPU_HOST": f"{self.number}",
            "GREENLLM_SYSFS": f"{self.folder}/sys",
            "GREENLLM_PROCFS": f"{self.folder}/proc",
            "GREENLLM_LOCKS": f"{self.folder}/locks",
        }
        self.set_variables(variables)

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """Set environment variables of the node's jobs, besides those that are set already."""
        with (self.folder / "environment").open("a") as file:
            file.writelines(f"export {name}={value}\n" for name, value in variables.items())

    def boot(self) -> list[str]:
        """Return the command that runs the node from now on. Its process ends with the node, and the node with it."""
        (self.folder / "proc/sys/kernel/random/boot_id").write_text(f"{uuid.uuid4()}\n")
        script = self.folder / "run"
        etc = self.base / "etc"
        mounts = [(etc, "/etc/slurm"), (etc / "hosts", "/etc/hosts"), (etc / "resolv.conf", "/etc/resolv.conf")]
        mounts.append((self.folder / "hostname", "/etc/hostname"))
        script.write_text(
            "set -e\n"
            f"hostname {self.name}\n"
            + "".join(f"[ ! -e {at} ] || mount --bind {shlex.quote(str(what))} {at}\n" for what, at in mounts)
            # the controller's side moves the interface into this namespace
            + "until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done\n"
            + f"ip link set lo up; ip address add {self.address}/24 dev eth0; ip link set eth0 up\n"
            + f"slurmd -D -N {self.name} -f {shlex.quote(str(etc / 'slurm.conf'))} &\n"
            # the first process of a process namespace: it waits for its orphans, and ends with the daemon
            + "wait $!\n"
        )
        # fmt: off
        return [
            "unshare", "--net", "--uts", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc",
            "--kill-child", "bash", str(script),
        ]
        # fmt: on


class SimulatedCounters:
    """A node's counters: the busy time of its processors, and the energy of its package and memory."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stat = node.folder / "proc/stat"
        self._powercap = PowercapTree(
            node.folder / "sys",
            {
                "intel-rapl:0": ("package-0", lambda t: IDLE_W * t + ACTIVE_W * node.busy_s()),
                "intel-rapl:0:0": ("dram", lambda t: DRAM_W * t),
            },
        )

    def update(self) -> None:
        """Set the counters to their present values."""
        self._powercap.update()
        ticks = FIRST_TICKS + int(self._node.busy_s() * TICKS_PER_S)
        with self._stat.open("r+b") as file:  # in place: a meter keeps the file open
            file.write(f"cpu  {ticks}".encode())


def simulated_gpus(folder: Path) -> Path:
    """Compile the simulated NVML once for all nodes; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return compile_nvml(folder)
