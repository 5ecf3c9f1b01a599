"""The workflow itself on two nodes: the same results as on one machine, and each node's energy by its own counters."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from cluster.counted import counted_J
from cluster.slurm import SlurmCluster
from cluster.workflow import LONGEST_S, ROOT, SNAKEMAKE, Workflow, slurm_jobs
from hardware.simulated import clean_environment
from narrowing import known

from greenllm.attribution import Attribution, attribute
from greenllm.training.checkpoints import WHOLE

RESULTS = "results-tiny"
# Data, weights and predictions: what must not depend on where a job ran.
REPRODUCED = (
    "data/**/*.parquet",
    "data/**/tokenizer.json",
    "models/**/*.safetensors",
    "models/**/*.onnx",
    "models/**/*.onnx.data",
    "evaluations/**/*.predictions.jsonl",
)


def study(folder: Path) -> Path:
    """Write the tiny study with less data, a shorter training and a shorter measurement."""
    values = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    values["experiments"]["support"]["data"]["rows"] = 600
    values["recipes"]["baseline"]["train"]["epochs"] = 2
    values["evaluate"]["rows"] = 20
    values["deploy"] |= {"requests": 8, "warmup": 1, "starts": 1, "rounds": 4, "round_s": 0.1, "threads": 1}
    values["deploy"] |= {"idle_s": 1.0, "agreement": 0.0}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.fixture(scope="module")
def finished(cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The study, finished on the cluster."""
    workflow = Workflow(cluster, tmp_path_factory.mktemp("tiny"))
    workflow.run("--configfile", str(study(workflow.folder)))
    return workflow


@pytest.fixture(scope="module")
def attribution(finished: Workflow) -> Attribution:
    return attribute(finished.folder / RESULTS / "ledger")


def test_both_nodes_made_it(finished, attribution):
    assert {job.attempt.start.host for job in attribution.jobs} >= {"node1", "node2"}
    assert {job.status for job in attribution.jobs} == {"succeeded"}
    account = json.loads((finished.folder / RESULTS / "account/account.json").read_text())
    assert {host["host"] for host in account["hosts"]} >= {"node1", "node2"}


def test_data_weights_and_predictions_are_those_of_one_machine(finished, tmp_path):
    place = ["--snakefile", f"{ROOT}/Snakefile", "--directory", f"{tmp_path}", "--configfile", f"{study(tmp_path)}"]
    # the evaluations are the last that is compared
    targets = [
        str(path.relative_to(finished.folder)) for path in finished.folder.glob(f"{RESULTS}/evaluations/**/seed-1.json")
    ]
    subprocess.run(
        [SNAKEMAKE, *place, "--workflow-profile", f"{ROOT}/profiles/default", "--cores", "2", *targets],
        env=clean_environment(tmp_path), cwd=tmp_path, check=True, capture_output=True, timeout=LONGEST_S,
    )  # fmt: skip
    for pattern in REPRODUCED:
        here = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob(f"{RESULTS}/{pattern}")}
        there = {
            path.relative_to(finished.folder): path.read_bytes()
            for path in finished.folder.glob(f"{RESULTS}/{pattern}")
        }
        assert here
        assert there.keys() == here.keys()
        assert [path for path in here if here[path] != there[path]] == []


def test_the_energy_is_the_sum_of_both_nodes_counters(finished, attribution):
    assert attribution.troubles == []
    nodes = [host for host in attribution.hosts if host.name.startswith("node")]
    assert len(nodes) == 2
    for component in ("cpu", "dram", "gpu"):
        rows = [(host, row) for host in nodes for row in attribution.device_totals(host) if row.component == component]
        shared_J = sum(row.jobs_J + row.other_J + row.idle_J for _, row in rows)
        read_J = sum(
            counted_J(finished.folder / RESULTS / "ledger", host.boot_id, component, row.device) for host, row in rows
        )
        assert shared_J == pytest.approx(read_J, rel=1e-3)


def test_a_training_whose_node_dies_resumes_from_its_checkpoint(cluster, workflow):
    values = yaml.safe_load(study(workflow.folder).read_text())
    values["recipes"] = {"baseline": {"train": {"epochs": 12, "evaluations": 12}}}
    values["experiments"]["support"]["recipes"] = ["baseline"]
    (workflow.folder / "study.yaml").write_text(yaml.safe_dump(values))
    model = f"{RESULTS}/models/support/baseline/seed-1/model"
    checkpoints = workflow.folder / RESULTS / "models/support/baseline/seed-1/checkpoints"
    workflow.start(model, "--configfile", str(workflow.folder / "study.yaml"))
    workflow.wait_for(lambda: any(checkpoints.glob(f"checkpoint-*/{WHOLE}")))
    training = [job for job in slurm_jobs(cluster) if job.state == "RUNNING"][-1]
    node = next(node for node in cluster.nodes if node.name == training.node)
    cluster.kill(node)
    try:
        assert workflow.wait() == 0, workflow.log
    finally:
        cluster.start(node)
        cluster.wait_until_ready()
    found = attribute(workflow.folder / RESULTS / "ledger")
    lost, made = sorted(
        (job for job in found.jobs if job.rule == "train"), key=lambda job: known(job.attempt.start.job.attempt)
    )
    assert (lost.status, lost.waste, lost.attempt.start.host) == ("lost", "lost", node.name)
    assert (made.status, made.waste) == ("succeeded", None)
    assert known(found.waste["lost"]).value == known(lost.energy).value > 0
    assert found.troubles == []
    assert json.loads((workflow.folder / model / "training.json").read_text())["resumed_from_step"] > 0
