"""A plan, carried out by SLURM: jobs wait in its queue, start as planned, and the ledgers say what that saved."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.slurm import SlurmCluster
from cluster.workflow import ROOT, Workflow
from compressed_signal import CompressedSignal, read, rfc3339, two_experiments, unix

GREENLLM = Path(sys.executable).with_name("greenllm")
LOW_S = (60.0, 105.0)  # after the call of `greenllm plan`, which a busy machine delays
HANDOVER_S = 15
TARGET = ("--until", "preprocess")
# Both nodes at once, and beside the planned start an option that the profile asks for.
ALONE = ("--set-resources", "preprocess:slurm_extra='--exclusive'")
WAITING = "%T %r %S %h %N|"  # of squeue: state, its reason, start, whether a node is shared (NO: --exclusive), node


@dataclass
class Done:
    """A workflow that ran by a plan; `queue` is what squeue showed of its jobs before their start."""

    workflow: Workflow
    signal: CompressedSignal
    queue: list[str]

    @property
    def results(self) -> Path:
        return self.workflow.folder / "results"


@pytest.fixture(scope="module")
def done(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two experiments whose data are collected on this host and prepared on both nodes, by a plan."""
    workflow = Workflow(cluster, tmp_path_factory.mktemp("schedule"))
    study = two_experiments(workflow.folder, max_delay="80s")
    signal = CompressedSignal(time.time(), *LOW_S)
    signal.write(workflow.folder / "signal.csv")
    place = ("--snakefile", f"{ROOT}/Snakefile", "--directory", f"{workflow.folder}")
    options = ("--cluster", "--handover", f"{HANDOVER_S}", "--configfile", f"{study}")
    greenllm(workflow, "plan", *options, "--", *place, "--workflow-profile", f"{ROOT}/profiles/slurm", *TARGET)
    assert time.time() < signal.begin_s + LOW_S[0], "the machine is too busy for this test"
    workflow.start("--configfile", f"{study}", *TARGET, *ALONE)

    def waiting() -> list[str]:
        shown = cluster.run("squeue", "--noheader", "--states=PENDING", f"--format={WAITING}")
        return [" ".join(line.split()) for line in shown.split("|") if line.strip()]

    workflow.wait_for(lambda: len(waiting()) == 2)
    queue = waiting()
    assert workflow.wait() == 0, workflow.log
    greenllm(workflow, "account", "--config", f"{study}", "--out", f"{workflow.folder}/results/account")
    return Done(workflow, signal, queue)


def greenllm(workflow: Workflow, *words: str) -> None:
    done = subprocess.run([GREENLLM, *words], cwd=workflow.folder, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr


def test_a_job_waits_in_the_queue_without_a_node_and_keeps_the_profiles_options(done):
    starts = {job["name"]: unix(job["runs"][0]["start"]) for job in read(done.results / "plan/plan.json")["jobs"]}
    shown = {
        f"PENDING BeginTime {time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(start_s))} NO"
        for name, start_s in starts.items()
        if name.startswith("preprocess")
    }
    assert set(done.queue) == shown


def test_jobs_start_within_15_seconds_of_the_plan_on_both_nodes(done):
    jobs = {job["name"]: job for job in read(done.results / "account/schedule.json")["jobs"]}
    planned = {job["name"]: job for job in read(done.results / "plan/plan.json")["jobs"]}
    assert jobs.keys() == planned.keys()
    for name, job in jobs.items():
        assert 0 <= job["delay_s"] < 15, name
        assert unix(planned[name]["runs"][0]["start"]) - unix(planned[name]["at_once"]["start"]) > 20, name
    logs = [read(path) for path in sorted(done.results.glob("energy/preprocess/*.json"))]
    assert {log["host"] for log in logs} == {"node1", "node2"}
    assert all(log["held_s"] < 2 for log in logs)


def test_the_saving_is_the_ledgers_energy_times_the_signal(done):
    found = read(done.results / "account/schedule.json")
    assert found["saving"]["value"] > 0
    assert found["saving"]["value"] == pytest.approx(done.signal.saving(done.results / "account"), rel=1e-3)
    assert found["late_s"] == 0


def test_jobs_with_a_start_each_are_not_submitted_as_an_array(done):
    workflow = Workflow(done.workflow.cluster, done.workflow.folder)
    plan = read(done.results / "plan/plan.json")
    plan["jobs"][0]["runs"][0]["start"] = rfc3339(time.time() + 3600)  # one start is to come
    (done.results / "plan/plan.json").write_text(json.dumps(plan))
    again = ("--forcerun", "preprocess", *TARGET)
    workflow.start("--configfile", f"{workflow.folder}/study.yaml", *again, "--slurm-array-jobs", "all")
    assert workflow.wait() == 2
    assert "slurm-array-jobs: all: the jobs of an array start together, but the plan has a start for each" in (
        workflow.log
    )
