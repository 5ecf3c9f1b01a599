"""What goes wrong on a cluster: each lost attempt is noticed, tried again with more, and its energy is counted."""

import pytest
from cluster.counted import counted_J
from cluster.slurm import SlurmCluster
from cluster.workflow import JOBS, Workflow, slurm_jobs, started
from hardware.simulated import gpu_uuid
from narrowing import known

from greenllm.attribution import Attribution, attribute
from greenllm.meter.leases import holders_of


@pytest.fixture(scope="module")
def troubled(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A workflow after its end. First attempts were out of memory, over their time limit and cancelled."""
    workflow = Workflow(cluster, tmp_path_factory.mktemp("troubled"))
    workflow.start("--config", "jobs=large+long+cancelled+gpu-a+gpu-b", snakefile=JOBS)
    cluster.run("scancel", started(workflow, "cancelled")[1])
    assert workflow.wait() == 0, workflow.log
    return workflow


@pytest.fixture(scope="module")
def attribution(troubled: Workflow) -> Attribution:
    return attribute(troubled.folder / "ledger")


@pytest.mark.parametrize(
    ("job", "state", "said"),
    [
        ("large", "FAILED", "exceeded memory limit"),
        ("long", "TIMEOUT", "DUE TO TIME LIMIT"),
        ("cancelled", "CANCELLED", "CANCELLED AT"),
    ],
)
def test_a_failed_attempt_is_submitted_again_with_more_memory_and_time(troubled, job, state, said):
    first, second = [one for one in slurm_jobs(troubled.cluster) if one.comment == job]
    assert (first.state, first.memory_MB, first.minutes) == (state, 700, 1)
    assert (second.state, second.memory_MB, second.minutes) == ("COMPLETED", 1400, 2)
    assert said in (troubled.folder / f".snakemake/slurm_logs/rule_work/{job}/{first.id}.log").read_text()


def test_each_attempt_is_in_the_ledger_and_the_failed_ones_are_waste(attribution):
    attempts = sorted((job.rule, job.attempt.start.job.attempt, job.status) for job in attribution.jobs)
    assert attempts == [
        ("cancelled", 1, "killed"),
        ("cancelled", 2, "succeeded"),
        ("gpu-a", 1, "succeeded"),
        ("gpu-b", 1, "succeeded"),
        ("large", 1, "lost"),  # SLURM kills what is out of memory without a warning
        ("large", 2, "succeeded"),
        ("long", 1, "killed"),
        ("long", 2, "succeeded"),
    ]
    for job in attribution.jobs:
        assert (job.waste is None) == (job.status == "succeeded")
        assert known(job.energy).value > 0


def test_a_jobs_gpu_is_the_one_that_slurm_assigned(troubled, attribution):
    for job in attribution.jobs:
        numbers = {node.name: node.number for node in troubled.cluster.nodes}
        if job.status != "succeeded":
            continue
        host, *gpus = (troubled.folder / f"{job.rule}.txt").read_text().split()
        assert job.attempt.start.host == host
        assert [(gpu.index, gpu.uuid) for gpu in job.attempt.start.gpus] == [
            (int(index), gpu_uuid(int(index), numbers[host])) for index in gpus
        ]
        assert len(gpus) == (1 if str(job.rule).startswith("gpu") else 0)


def test_each_nodes_energy_is_what_its_own_counters_counted(troubled, attribution):
    assert attribution.troubles == []
    assert {host.name for host in attribution.hosts} == {"node1", "node2"}
    for host in attribution.hosts:
        for row in attribution.device_totals(host):
            read_J = counted_J(troubled.folder / "ledger", host.boot_id, row.component, row.device)
            assert row.jobs_J + row.other_J + row.idle_J == pytest.approx(read_J, rel=1e-3)


def test_a_node_that_dies_in_mid_job_is_noticed_and_its_attempt_is_wasted(cluster, workflow):
    workflow.start("--config", "jobs=lost", snakefile=JOBS)
    node, _ = started(workflow, "lost")
    (ledger,) = workflow.folder.glob("ledger/*/*.jsonl")
    workflow.wait_for(lambda: len(ledger.read_bytes().splitlines()) > 5)  # a second or two of samples
    cluster.kill(node)
    try:
        assert workflow.wait() == 0, workflow.log
        first, second = slurm_jobs(cluster)[-2:]
        assert (first.state, first.node, second.state) == ("NODE_FAIL", node.name, "COMPLETED")
        assert second.node not in ("", node.name)
    finally:
        cluster.start(node)
        cluster.wait_until_ready()
    found = attribute(workflow.folder / "ledger")
    lost, made = sorted(found.jobs, key=lambda job: known(job.attempt.start.job.attempt))
    assert (lost.status, lost.waste, lost.attempt.start.host) == ("lost", "lost", node.name)
    assert (made.status, made.waste, made.attempt.start.host) == ("succeeded", None, second.node)
    assert known(found.waste["lost"]).value == known(lost.energy).value > 0
    assert found.troubles == []


def test_ctrl_c_cancels_the_jobs_and_their_energy_is_counted(cluster, workflow):
    workflow.start("--config", "jobs=waiting-a+waiting-b", "threads=2", snakefile=JOBS)
    nodes = {job: started(workflow, job)[0] for job in ("waiting-a", "waiting-b")}
    for job, node in nodes.items():  # each job leases its processors on its node
        leases = holders_of(node.folder / "locks", [f"cpu-{number}" for number in range(cluster.cpus)])
        assert [lease.record["rule"] for lease in leases if lease.held].count(job) == 2
    workflow.interrupt()
    assert workflow.wait() != 0
    cluster.wait_until_idle()
    assert [job.state for job in slurm_jobs(cluster)[-2:]] == ["CANCELLED"] * 2
    found = attribute(workflow.folder / "ledger")
    assert [(job.status, job.waste) for job in found.jobs] == [("killed", "killed")] * 2
    assert all(known(job.energy).value > 0 for job in found.jobs)


def test_two_workflows_at_once_share_the_nodes(cluster, tmp_path):
    both = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        both.append(Workflow(cluster, tmp_path / name))
        both[-1].start("--config", f"jobs={name}-a+gpu-{name}", "threads=2", snakefile=JOBS)
    for name, workflow in zip(("one", "other"), both, strict=True):
        assert workflow.wait() == 0, workflow.log
        jobs = attribute(workflow.folder / "ledger").jobs
        assert sorted((job.rule, job.status) for job in jobs) == [
            (f"gpu-{name}", "succeeded"),
            (f"{name}-a", "succeeded"),
        ]
        assert len({job.run_id for job in jobs}) == 1


def test_the_jobs_of_a_rule_are_one_array_where_the_profile_asks_for_it(cluster, workflow):
    workflow.run("--config", "jobs=a+b+c+d", "--slurm-array-jobs", "all", snakefile=JOBS)
    array = [job.id.partition("_") for job in slurm_jobs(cluster)[-4:]]
    assert len({number for number, _, _ in array}) == 1
    assert sorted(task for _, _, task in array) == ["1", "2", "3", "4"]
    assert {job.status for job in attribute(workflow.folder / "ledger").jobs} == {"succeeded"}
