"""`greenllm doctor`: what would make jobs fail is found before one is submitted, one line each."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster.node import Node
from cluster.slurm import SlurmCluster
from cluster.workflow import ROOT
from hardware.simulated import clean_environment, clock_environment
from metering import GREENLLM

STUDY = ROOT / "config/tiny.yaml"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The project's profile, to be changed."""
    return Path(shutil.copytree(ROOT / "profiles/slurm", tmp_path / "profile"))


def change(profile: Path, section: str, **keys: object) -> None:
    file = profile / "config.yaml"
    values = yaml.safe_load(file.read_text())
    values[section] |= keys
    file.write_text(yaml.safe_dump(values))


def doctor(
    cluster: SlurmCluster, profile: Path, folder: Path, study: Path = STUDY, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(folder, **cluster.environment) | more
    options = ["--profile", f"{profile}", "--configfile", f"{study}", "--folder", f"{folder}"]
    return subprocess.run([*GREENLLM, "doctor", *options], env=environment, capture_output=True, text=True, timeout=200)


def faults(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr.removeprefix("greenllm doctor: error: ").splitlines()


def test_a_sound_cluster_has_no_fault_and_each_nodes_sensors_are_named(cluster, profile, tmp_path):
    done = doctor(cluster, profile, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for node in cluster.nodes:
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{node.name}: sensors: ")]
        assert "gpu measured by nvml-energy-counter" in line
        assert "cpu measured by rapl" in line
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".greenllm")] == []


def test_a_list_of_partitions_is_sound(cluster, profile, tmp_path):
    change(profile, "default-resources", slurm_partition="gpu,cpu")
    done = doctor(cluster, profile, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"{node.name}: sensors: " in done.stdout for node in cluster.nodes)


def test_without_slurms_commands(cluster, profile, tmp_path):
    path = tmp_path / "path"
    path.mkdir()
    for name in ("bash", "which"):  # Snakemake itself needs them
        (path / name).symlink_to(str(shutil.which(name)))
    (line,) = faults(doctor(cluster, profile, tmp_path, PATH=str(path)))
    assert line.startswith("sbatch, scancel, scontrol, sinfo, squeue, srun: not on the path; ")


def test_a_controller_that_does_not_answer(cluster, profile, tmp_path):
    port = "SlurmctldPort=1\n"  # where nothing listens
    own = Path(cluster.environment["SLURM_CONF"]).read_text()
    (tmp_path / "slurm.conf").write_text(own.replace("SlurmctldPort=", f"{port}#"))
    (line,) = faults(doctor(cluster, profile, tmp_path, SLURM_CONF=str(tmp_path / "slurm.conf")))
    assert "SLURM's controller does not answer" in line


@pytest.mark.parametrize(
    ("section", "keys", "expected"),
    [
        (
            "default-resources",
            {"slurm_partition": "cpux"},
            ["slurm_partition: cpux: the cluster has no such partition", "did you mean 'cpu'?"],
        ),
        (
            "set-resources",
            {"train": {"slurm_partition": "night"}},
            ["slurm_partition: night: the cluster has no such", "known: cpu, gpu"],
        ),
        (
            "set-resources",
            {"train": {"gpu_model": "a100"}},
            ["gpu_model: a100: no node of partition cpu has such a GPU", "known: simulated"],
        ),
        (
            "set-resources",
            {"train": {"mem_mb": 9_000_000}},
            ["train: SLURM refuses its jobs (", "Requested node configuration is not available"],
        ),
        ("set-resources", {"train": {"gpu": 0, "gres": "gpu:3"}}, ["train: SLURM refuses its jobs (", "--gres=gpu:3"]),
        (
            "set-resources",
            {"train": {"runtime": 7200}},
            ["train: its run time of 7200 min is above the limit", "1440 min"],
        ),
        ("set-resources", {"train": {"cpus_per_task": 64}}, ["train: SLURM refuses its jobs (", "--cpus-per-task=64"]),
        ("set-resources", {"train": {"constraint": "ib"}}, ["train: SLURM refuses", "--constraint=ib", "feature"]),
        ("set-resources", {"train": {"slurm_extra": "--nodelist=node9"}}, ["train: SLURM refuses", "--nodelist=node9"]),
    ],
    ids=[
        "no such partition",
        "of one stage",
        "no such GPU",
        "too much memory",
        "too many GPUs by gres",
        "too long",
        "too many processors",
        "no such feature",
        "no such node",
    ],
)
def test_what_the_cluster_has_not_is_one_line(cluster, profile, tmp_path, section, keys, expected):
    change(profile, section, **keys)
    (line,) = faults(doctor(cluster, profile, tmp_path))
    assert line.startswith(f"{profile}/config.yaml: ")
    assert all(part in line for part in expected)


def test_a_reservation_that_the_cluster_does_not_know(cluster, profile, tmp_path):
    with (profile / "config.yaml").open("a") as file:
        file.write("slurm-reservation: course\n")
    lines = faults(doctor(cluster, profile, tmp_path))
    assert lines != []
    assert all("SLURM refuses its jobs (" in line and "--reservation=course" in line for line in lines)


def test_a_training_over_more_nodes_than_there_are(cluster, profile, tmp_path):
    values = yaml.safe_load(STUDY.read_text())
    values["recipes"]["baseline"]["train"] |= {"nodes": 3, "batch": 48}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    (line,) = faults(doctor(cluster, profile, tmp_path, tmp_path / "study.yaml"))
    assert "train: SLURM refuses its jobs (" in line
    assert "--nodes=3" in line


@contextlib.contextmanager
def empty_on(cluster: SlurmCluster, node: Node, folder: Path) -> Iterator[None]:
    """Mount an empty folder over one, on a single node."""
    cluster.run_inside(node, "mount", "-t", "tmpfs", "none", str(folder))
    try:
        yield
    finally:
        cluster.run_inside(node, "umount", str(folder))


def test_a_folder_that_one_node_cannot_see(cluster, profile, tmp_path):
    node = cluster.nodes[1]
    with empty_on(cluster, node, tmp_path):
        (line,) = faults(doctor(cluster, profile, tmp_path))
    assert line.startswith(f"{node.name}: {tmp_path} there is not the folder of this host")


def test_a_folder_that_one_node_lacks(cluster, profile, tmp_path):
    node, folder = cluster.nodes[0], tmp_path / "shared"
    folder.mkdir()
    with empty_on(cluster, node, tmp_path):
        (line,) = faults(doctor(cluster, profile, folder))
    assert line.startswith(f"{node.name}: cannot enter {folder}; ")


def test_an_environment_that_one_node_lacks(cluster, profile, tmp_path):
    node = cluster.nodes[1]
    programs = Path(GREENLLM[0]).parent
    with empty_on(cluster, node, programs):
        (line,) = faults(doctor(cluster, profile, tmp_path))
    assert line.startswith(f"{node.name}: has no {GREENLLM[0]}; ")


@pytest.mark.parametrize(("ahead_s", "said"), [(90, "ahead of"), (-90, "behind")])
def test_clocks_that_are_90_s_apart(cluster, profile, tmp_path, ahead_s, said):
    node = cluster.nodes[1]
    variables = (node.folder / "environment").read_text()
    node.set_variables(clock_environment(tmp_path, ahead_s))
    try:
        (line,) = faults(doctor(cluster, profile, tmp_path))
    finally:
        (node.folder / "environment").write_text(variables)
    assert line.startswith(f"{node.name}: its clock is ")
    assert said in line
    assert 88 <= int(line.split()[4]) <= 90


def test_a_profile_for_one_machine_is_refused(cluster, tmp_path):
    (line,) = faults(doctor(cluster, ROOT / "profiles/default", tmp_path))
    assert "executor: local; expected slurm" in line
