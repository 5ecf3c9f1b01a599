"""`greenllm doctor` on SLURM clusters of other kinds than the tests' own: programs answer in place of SLURM's."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from greenllm.cli import main

ROOT = Path(__file__).parents[2]
SINFO = """\
case "$*" in
*--version) echo slurm 24.05.0;;
*--Node*) cat "$folder/nodes";;
*) cat "$folder/partitions";;
esac
"""
SBATCH = 'echo "$@" >> "$folder/sbatch"\n'
# srun(1): its options, then the command, which runs here.
SRUN = """\
echo "$@" >> "$folder/srun"
while case "$1" in --*) true;; *) false;; esac; do shift; done
exec "$@"
"""


@dataclass
class StandIn:
    """A cluster of programs: its folder, and the profile that is checked."""

    folder: Path

    def has(self, nodes: list[str], partitions: str = "cpu*|up|infinite") -> None:
        """Set the lines of sinfo: nodes as `name|partition|state|processors|memory (MB)|gres`.

        Partitions are `name|state|time limit`, with a space between them.
        """
        (self.folder / "nodes").write_text("".join(f"{line}\n" for line in nodes))
        (self.folder / "partitions").write_text("".join(f"{line}\n" for line in partitions.split()))

    def program(self, name: str, script: str) -> None:
        """Write one of SLURM's programs."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\nfolder='{self.folder}'\n{script}")
        path.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """Return the options of each call of a program."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def doctor(self, study: Path = ROOT / "config/tiny.yaml", **profile: object) -> int:
        """Run the command with a profile of these keys."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"executor": "slurm", **profile}))
        options = ["--profile", f"{self.folder}/config.yaml", "--configfile", f"{study}", "--folder", f"{self.folder}"]
        return main(["doctor", *options])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=":")
    cluster = StandIn(tmp_path)
    for name, script in {"sinfo": SINFO, "sbatch": SBATCH, "srun": SRUN}.items():
        cluster.program(name, script)
    for name in ("scancel", "scontrol", "squeue"):
        cluster.program(name, "")
    return cluster


@pytest.mark.parametrize("state", ["idle~", "idle#", "idle%", "mixed~", "idle!"])
def test_nodes_that_power_saving_has_switched_off_take_jobs(cluster, capsys, state):
    cluster.has([f"node1|cpu*|{state}|8|16000|gpu:a100:2"])
    assert cluster.doctor() == 0
    said = capsys.readouterr().out
    assert f"nodes that save power until a job starts them, so they are not checked: node1 ({state})" in said
    assert "take no jobs" not in said
    assert cluster.calls("srun") == []  # a check wakes no node


@pytest.mark.parametrize("state", ["idle*", "down~", "drained", "draining", "down", "idle$", "fail"])
def test_nodes_that_take_no_jobs_are_a_fault(cluster, capsys, state):
    cluster.has([f"node1|cpu*|{state}|8|16000|gpu:a100:2"])
    assert cluster.doctor() == 2
    said = capsys.readouterr()
    assert f"nodes that take no jobs: node1 ({state})" in said.out + said.err
    assert "none of the 1 nodes takes jobs" in said.err


def test_a_list_of_partitions_is_checked_one_by_one(cluster, capsys):
    nodes = ["node1|cpu*|idle|8|16000|(null)", "node2|gpu|idle|8|16000|gpu:a100:2", "node3|big|idle|8|16000|(null)"]
    cluster.has(nodes, "cpu*|up|infinite gpu|up|1-00:00:00 big|up|infinite")
    cluster.program("srun", 'echo "$@" >> "$folder/srun"; echo "srun: error: nodes are busy" >&2; exit 1\n')
    assert cluster.doctor(**{"default-resources": {"slurm_partition": "gpu, cpu", "slurm_account": "mine"}}) == 0
    assert all(call.split()[1] == "--partition=gpu,cpu" for call in cluster.calls("sbatch"))
    # each node in its own partition, and none that the list leaves out
    places = {(call.split()[0], call.split("--immediate=20 ")[1].split()[0]) for call in cluster.calls("srun")}
    assert places == {("--nodelist=node1", "--partition=cpu"), ("--nodelist=node2", "--partition=gpu")}
    capsys.readouterr()
    assert cluster.doctor(**{"default-resources": {"slurm_partition": "gpu,cpux"}}) == 2
    assert "slurm_partition: cpux: the cluster has no such partition; did you mean 'cpu'?" in capsys.readouterr().err


def test_a_node_is_checked_in_the_partition_of_a_stage_that_uses_it(cluster):
    cluster.has(
        ["node1|cpu*|idle|8|16000|(null)", "node2|gpu|idle|8|16000|gpu:a100:2"], "cpu*|up|infinite gpu|up|infinite"
    )
    cluster.program("srun", 'echo "$@" >> "$folder/srun"; echo "srun: error: nodes are busy" >&2; exit 1\n')
    on_cpu = {name: {"slurm_partition": "cpu"} for name in ("collect", "preprocess", "deploy")}
    assert cluster.doctor(**{"default-resources": {"slurm_partition": "gpu"}, "set-resources": on_cpu}) == 0
    places = {(call.split()[0], call.split("--immediate=20 ")[1].split()[0]) for call in cluster.calls("srun")}
    assert places == {("--nodelist=node1", "--partition=cpu"), ("--nodelist=node2", "--partition=gpu")}


def test_a_study_that_uses_no_gpu_asks_for_none(cluster, capsys, tmp_path):
    cluster.has(["node1|cpu*|idle~|8|16000|(null)"])
    assert cluster.doctor() == 2
    assert "partition cpu: no node has a GPU, but measure asks for 1; " in capsys.readouterr().err
    study = yaml.safe_load((ROOT / "config/tiny.yaml").read_text()) | {"device": "cpu"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    assert cluster.doctor(tmp_path / "study.yaml") == 0
    assert cluster.calls("sbatch") != []
    assert not any("--gpus" in call for call in cluster.calls("sbatch"))


def test_slurm_is_asked_with_all_that_the_profile_asks_for(cluster):
    cluster.has(["node1|cpu*|idle|8|16000|gpu:a100:2"])
    cluster.program("srun", 'echo "$@" >> "$folder/srun"; echo "srun: error: nodes are busy" >&2; exit 1\n')
    resources = {"qos": "short", "constraint": "a100&ib", "mem_mb_per_cpu": 500, "slurm_account": "mine"}
    rule = {"measure": {"slurm_extra": "'--exclusive --comment=\"two words\"'", "qos": "long"}}
    keys = {"slurm-reservation": "course", "default-resources": resources, "set-resources": rule}
    assert cluster.doctor(**keys) == 0
    expected = ["--account=mine", "--reservation=course", "--constraint=a100&ib", "--mem-per-cpu=500"]
    calls = cluster.calls("sbatch")
    assert all(option in call.split() for option in expected for call in calls)
    assert not any("--mem=" in call for call in calls)
    alone = [call for call in calls if "--exclusive --comment=two words" in call]
    assert [("--qos=long" in call) for call in alone] == [True]
    assert all("--qos=short" in call for call in calls if call not in alone)
    (check,) = cluster.calls("srun")
    assert all(option in check.split() for option in ("--account=mine", "--qos=short", "--reservation=course"))


def test_an_option_of_sbatch_that_no_shell_can_read(cluster, capsys):
    cluster.has(["node1|cpu*|idle|8|16000|gpu:a100:2"])
    rule = {"measure": {"slurm_extra": "--comment='a b' --exclude='c d"}}
    assert cluster.doctor(**{"set-resources": rule}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "measure: slurm_extra: --comment='a b' --exclude='c d: No closing quotation; expected options" in line


def test_a_cluster_without_a_partition_for_the_user(cluster, capsys):
    cluster.has([], "")
    assert cluster.doctor() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "sinfo: lists no partition that you may use; ask the administrators" in line


@pytest.mark.parametrize(
    ("srun", "said"),
    [
        ("exit 0", "node1: the check there ran, but printed no findings; "),
        ("echo welcome to node1", "node1: the check there ran, but printed no findings; "),
        ("echo no module >&2; exit 1", f"node1: the environment of {sys.executable} fails there: no module; install"),
    ],
    ids=["silent", "only a greeting", "fails"],
)
def test_a_node_whose_check_has_no_findings(cluster, capsys, srun, said):
    cluster.has(["node1|cpu*|idle|8|16000|gpu:a100:2"])
    cluster.program("srun", srun)
    assert cluster.doctor() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_folder_that_takes_no_files(cluster, capsys):
    cluster.has(["node1|cpu*|idle|8|16000|gpu:a100:2"])
    cluster.doctor()
    capsys.readouterr()
    profile, study = f"{cluster.folder}/config.yaml", f"{ROOT}/config/tiny.yaml"
    assert main(["doctor", "--profile", profile, "--configfile", study, "--folder", "/proc"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "/proc: can't write to /proc" in line


GPU_NODE = "node1|cpu*|idle~|8|16000|gpu:a100:2"


@pytest.mark.parametrize(
    ("limit", "runtime", "said"),
    [
        ("1-00:00:00", 1440, None),
        ("1-00:00:00", 1441, "limit of partition cpu, 1440 min"),
        ("2:30:00", 151, "limit of partition cpu, 150 min"),
        ("30:00", 31, "limit of partition cpu, 30 min"),
        ("infinite", 100_000, None),
    ],
)
def test_a_run_time_above_the_partitions_limit_would_wait_for_ever(cluster, capsys, limit, runtime, said):
    cluster.has([GPU_NODE], f"cpu*|up|{limit}")
    stages = ("collect", "preprocess", "compress", "evaluate", "deploy", "measure")
    short = {stage: {"runtime": 20} for stage in stages}
    assert cluster.doctor(**{"set-resources": {**short, "train": {"runtime": runtime}}}) == (2 if said else 0)
    errors = capsys.readouterr().err.splitlines()
    if said:
        (line,) = errors
        assert (
            f"train: its run time of {runtime} min is above the {said}, so its jobs would wait for ever; lower " in line
        )


def test_of_several_partitions_the_longest_limit_counts(cluster, capsys):
    cluster.has([GPU_NODE, "node1|long|idle~|8|16000|gpu:a100:2"], "cpu*|up|30:00 long|up|infinite")
    assert cluster.doctor(**{"default-resources": {"slurm_partition": "cpu,long"}}) == 0
    assert "limit" not in capsys.readouterr().out


def test_a_retry_or_a_quality_of_service_with_more_time_than_the_partition_allows_is_told(cluster, capsys):
    cluster.has([GPU_NODE], "cpu*|up|2:00:00")
    assert cluster.doctor(retries=2) == 0  # 60 min, then twice and three times as much
    assert "train: its last retry asks for 180 min, more than the limit of partition cpu, 120 min" in (
        capsys.readouterr().out
    )
    assert cluster.doctor(**{"set-resources": {"train": {"runtime": 300, "qos": "long"}}}) == 0
    assert "limit of partition cpu, 120 min; whether QOS long allows more is not checked" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["set-threads", "cpus_per_task"])
def test_slurm_is_asked_with_the_processors_that_the_profile_sets(cluster, key):
    cluster.has([GPU_NODE])
    keys = {"set-threads": {"train": 64}} if key == "set-threads" else {"set-resources": {"train": {key: 64}}}
    assert cluster.doctor(**keys) == 0
    assert len([call for call in cluster.calls("sbatch") if "--cpus-per-task=64" in call]) == 1


def test_what_is_not_checked_is_told(cluster, capsys):
    cluster.has([GPU_NODE])
    assert cluster.doctor() == 0
    assert "nothing is wrong: the jobs can be submitted" in capsys.readouterr().out
    train = {"runtime": "5d", "mem_mb": "64GB", "gpu": 1}
    keys = {"set-resources": {"train": train, "deploy": {"mem": "8GB"}}, "set-threads": ["measure=attempt * 2"]}
    assert cluster.doctor(**keys) == 0
    said = capsys.readouterr().out
    for line in (
        "train: runtime: 5d: not checked (expected a whole number of minutes), the study's number is instead",
        "train: mem_mb: 64GB: not checked (expected a whole number of MB)",
        "deploy: mem: 8GB: not checked (expected mem_mb, a whole number of MB)",
        "measure: threads: attempt * 2: not checked (expected a whole number)",
        "nothing is wrong in what was checked",
    ):
        assert line in said
    assert said.count("not checked (") == 4
