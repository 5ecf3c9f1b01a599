"""Training over two nodes: one model, a meter on each node, and what happens when a node is lost."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from cluster.counted import counted_J
from cluster.slurm import SlurmCluster
from cluster.workflow import LONGEST_S, ROOT, Workflow, slurm_jobs
from hardware.simulated import clean_environment, gpu_uuid
from narrowing import known

from greenllm.attribution import Attribution, attribute
from greenllm.attribution.jobs import JobEnergy
from greenllm.training.checkpoints import WHOLE, step_of

RESULTS = "results-nodes"
MODEL = f"{RESULTS}/models/support/baseline/seed-1/model"
LOG = f"{RESULTS}/energy/train/support/baseline/seed-1.json"


def start(workflow: Workflow, **training: object) -> None:
    """Start a study's training on two nodes, each with one process and a GPU."""
    values = yaml.safe_load((ROOT / "config/tiny.yaml").read_text()) | {"results": RESULTS}
    values["experiments"]["support"]["data"]["rows"] = 600
    values["experiments"]["support"]["recipes"] = ["baseline"]
    values["recipes"] = {"baseline": {"train": {"epochs": 2, "nodes": 2, **training}}}
    values["resources"] = {"train": {"threads": 1, "gpu": 1, "memory_MB": 1500}}
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(values))
    workflow.start(MODEL, "--configfile", str(workflow.folder / "study.yaml"))


def trainings(attribution: Attribution) -> list[tuple[JobEnergy, JobEnergy]]:
    """Return each attempt at the training, in order, with its part on the other node."""
    attempts = [job for job in attribution.jobs if job.rule == "train"]
    return [(one, *one.children) for one in sorted(attempts, key=lambda job: known(job.number))]  # type: ignore[misc]


@pytest.fixture(scope="module")
def trained(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    workflow = Workflow(cluster, tmp_path_factory.mktemp("nodes"))
    start(workflow)
    assert workflow.wait() == 0, workflow.log
    return workflow


@pytest.fixture(scope="module")
def attribution(trained: Workflow) -> Attribution:
    return attribute(trained.folder / RESULTS / "ledger")


@pytest.fixture(scope="module")
def log(trained: Workflow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((trained.folder / LOG).read_text())
    return found


def test_two_nodes_train_the_weights_of_two_processes_on_one(trained, log, tmp_path):
    said = json.loads((trained.folder / MODEL / "training.json").read_text())
    assert (said["world_size"], said["wrapper"], said["backend"]) == (2, "DistributedDataParallel", "gloo")
    words = log["command"]
    changed = {"--threads": "2", "--out": f"{tmp_path}/model", "--checkpoints": f"{tmp_path}/checkpoints"}
    for option in ("--settings", "--recipe"):
        value = words[words.index(option) + 1]
        changed[option] = value.replace('"nodes":2', '"nodes":1').replace('"processes":1', '"processes":2')
    for option, value in changed.items():
        words[words.index(option) + 1] = value
    environment = clean_environment(tmp_path)
    subprocess.run(
        [sys.executable, *words[1:]],
        cwd=trained.folder,
        env=environment,
        check=True,
        timeout=LONGEST_S,
        stderr=subprocess.PIPE,
    )
    alone = (tmp_path / "model/model.safetensors").read_bytes()
    assert json.loads((tmp_path / "model/training.json").read_text())["world_size"] == 2
    assert (trained.folder / MODEL / "model.safetensors").read_bytes() == alone


def test_each_node_has_a_meter_and_the_gpu_that_slurm_assigned_there(trained, attribution):
    ((job, part),) = trainings(attribution)
    assert {job.host, part.host} == {"node1", "node2"}
    assert (job.status, part.status, part.parent) == ("succeeded", "succeeded", job.id)
    numbers = {node.name: node.number for node in trained.cluster.nodes}
    for one in (job, part):
        (gpu,) = one.attempt.start.gpus
        assert gpu.uuid == gpu_uuid(known(gpu.index), numbers[one.host])
        assert (one.attempt.start.reserved_cpus, one.attempt.start.reserved_memory_B) == (1, 1.5e9)
        assert known(one.cpu_s) > 1  # both nodes trained


def test_the_energy_log_has_a_component_of_each_node(log, attribution):
    ((job, part),) = trainings(attribution)
    devices = {(one["host"], one["component"]) for one in log["components"] if one["energy_J"] is not None}
    assert devices == {(host, component) for host in ("node1", "node2") for component in ("cpu", "dram", "gpu")}
    of_parts = [one["energy_J"]["value"] for one in log["components"] if one["component"] != "platform"]
    assert log["energy_J"]["value"] == pytest.approx(sum(of_parts))
    # provisional: of other jobs on its node a meter knows only that the node was busy
    assert log["energy_J"]["value"] == pytest.approx(known(job.energy_with_children).value, rel=0.1)
    assert known(part.energy).value > 0


def test_the_energy_of_each_node_is_what_its_own_counters_counted(trained, attribution):
    assert attribution.troubles == []
    nodes = [host for host in attribution.hosts if host.name.startswith("node")]
    assert {host.name for host in nodes} == {"node1", "node2"}
    for host in nodes:
        for row in attribution.device_totals(host):
            read_J = counted_J(trained.folder / RESULTS / "ledger", host.boot_id, row.component, row.device)
            assert row.jobs_J + row.other_J + row.idle_J == pytest.approx(read_J, rel=1e-3)


def newest_checkpoint(workflow: Workflow) -> int:
    """Return the step of the newest complete checkpoint, 0 without one."""
    checkpoints = workflow.folder / RESULTS / "models/support/baseline/seed-1/checkpoints"
    return max((step_of(path.parent) for path in checkpoints.glob(f"checkpoint-*/{WHOLE}")), default=0)


def running(cluster: SlurmCluster) -> str:
    """Return the number of the job that runs on both nodes; an empty text without one."""
    return next((job.id for job in slurm_jobs(cluster) if (job.state, job.node) == ("RUNNING", "node[1-2]")), "")


def test_a_training_that_fails_on_one_node_and_then_loses_it_resumes_from_its_checkpoint(cluster, trained, workflow):
    for made in ("data", "energy/collect", "energy/preprocess"):  # the data again would take as long as the training
        shutil.copytree(trained.folder / RESULTS / made, workflow.folder / RESULTS / made)
    start(workflow, epochs=12, evaluations=12)
    workflow.wait_for(lambda: newest_checkpoint(workflow) > 0)
    failed = running(cluster)
    # the step on the second node: the first node's is 0
    cluster.run("scancel", "--signal=KILL", f"{failed}.1")
    log = workflow.folder / "logs/train/support/baseline/seed-1.log"
    workflow.wait_for(lambda: "error: the training on node2 ended with exit status" in log.read_text())
    workflow.wait_for(lambda: running(cluster) not in ("", failed))
    reached = newest_checkpoint(workflow)
    workflow.wait_for(lambda: newest_checkpoint(workflow) > reached)
    lost = running(cluster)
    cluster.kill(cluster.nodes[1])
    try:
        # As NODE_FAIL, or as FAILED where the first node notices the lost one before SLURM does.
        workflow.wait_for(lambda: running(cluster) != lost)
    finally:
        cluster.start(cluster.nodes[1])
        cluster.wait_until_ready()
    assert workflow.wait() == 0, workflow.log
    found = attribute(workflow.folder / RESULTS / "ledger")
    each = [(one.host, one.status, one.waste) for pair in trainings(found) for one in pair]
    # Of the second attempt SLURM ends the first node, unless that notices the lost one before.
    ended = each[2][1]
    assert ended in ("killed", "failed")
    assert each == [
        ("node1", "failed", "failed"), ("node2", "lost", "lost"),
        ("node1", ended, ended), ("node2", "lost", "lost"),
        ("node1", "succeeded", None), ("node2", "succeeded", None),
    ]  # fmt: skip
    assert all(known(one.energy).value > 0 for pair in trainings(found) for one in pair)
    assert found.troubles == []
    assert json.loads((workflow.folder / MODEL / "training.json").read_text())["resumed_from_step"] > reached


def test_the_nodes_of_each_task_of_an_array_are_its_own(cluster, tmp_path):
    asks = f"{sys.executable} -c 'from greenllm.cluster import job_nodes as j; print(*j.launcher_of().names())'"
    # each task ends when both have asked: until then both are in the queue
    waits = "touch asked-$SLURM_ARRAY_TASK_ID; until [ -e asked-1 -a -e asked-2 ]; do sleep 0.1; done"
    job = ["--array=1-2", "--nodes=2", "--ntasks=2", f"--chdir={tmp_path}", "--output=%a"]
    cluster.run("sbatch", "--wait", *job, "--wrap", f"{asks}; {waits}")
    assert [(tmp_path / task).read_text() for task in ("1", "2")] == ["node1 node2\n"] * 2
