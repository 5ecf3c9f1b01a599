"""The files that SLURM's daemons read: slurm.conf, gres.conf, and what each node has in place of the machine's /etc."""

from collections.abc import Sequence
from pathlib import Path

from cluster.node import GPU_MODEL, Node

NODE_PORT = 16820

# No accounting daemon: the states of jobs come from the controller, which keeps them for MinJobAge. Short times: a lost
# node and a job's end are noticed within seconds. Memory is polled, since the test machine need not have
# the control groups that SLURM's own limit needs; a task above its request is killed as out of memory.
SLURM_CONF = """\
ClusterName=greenllm-test
SlurmctldHost={host}({address})
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/run/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
TaskProlog={folder}/task-prolog
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
MailProg=/bin/true
GresTypes=gpu
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=5
MinJobAge=300
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes=ALL MaxTime=1-0 State=UP
"""


def write_configuration(folder: Path, nodes: Sequence[Node], host: str, address: str, port: int) -> None:
    """Write the cluster's configuration into its folder. `host`, `address` and `port` are the controller's."""
    for name in ("etc", "run", "log", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    etc = folder / "etc"
    lines = [
        f"NodeName={node.name} NodeAddr={node.address} NodeHostname={node.name} Port={NODE_PORT} CPUs={node.cpus} "
        f"Boards=1 SocketsPerBoard=1 CoresPerSocket={node.cpus} ThreadsPerCore=1 RealMemory={node.memory_MB} "
        f"Gres=gpu:{GPU_MODEL}:{node.gpus} State=UNKNOWN"
        for node in nodes
    ]
    (etc / "slurm.conf").write_text(
        SLURM_CONF.format(host=host, address=address, controller_port=port, folder=folder, nodes="\n".join(lines))
    )
    (etc / "gres.conf").write_text(
        "".join(
            f"NodeName={node.name} Name=gpu Type={GPU_MODEL} File={node.folder}/dev/nvidia[0-{node.gpus - 1}] "
            "Flags=nvidia_gpu_env\n"
            for node in nodes
        )
    )
    names = [(address, host), *((node.address, node.name) for node in nodes)]
    (etc / "hosts").write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for ip, name in names))
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")  # no DNS on a node: a look-up fails at once
    prolog = folder / "task-prolog"
    prolog.write_text(f'#!/bin/sh\nexec cat "{folder}/nodes/$(hostname)/environment"\n')
    prolog.chmod(0o755)
