"""What `greenllm doctor` reads of a profile, and what it says where there is no cluster."""

from pathlib import Path

import pytest

from greenllm.checks.profile import read_profile, whole
from greenllm.cli import main
from greenllm.cluster.assignment import assigned_gpus

MAPPING = """
executor: slurm
default-resources: {mem_mb: 9, slurm_partition: "'long'"}
set-resources: {train: {gpu: 0, gres: "'gpu:1'", mem_mb: "attempt * 100"}}
"""
LIST = """
executor: slurm
default-resources: ["mem_mb=9", "slurm_partition='long'"]
set-resources: ["train:gpu=0", "train:gres='gpu:1'", "train:mem_mb=attempt * 100", "deploy:gpu=3"]
"""


@pytest.mark.parametrize("text", [MAPPING, LIST], ids=["mapping", "list"])
def test_a_profiles_resources_may_be_a_mapping_or_a_list(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    profile = read_profile(tmp_path)
    assert profile.resources("deploy")["slurm_partition"] == "long"
    train = profile.resources("train")
    assert (train["slurm_partition"], train["gres"], whole(train["gpu"], 5)) == ("long", "gpu:1", 0)
    # an expression of the attempt is not evaluated: the study's number is taken
    assert whole(train["mem_mb"], 500) == 500
    assert "mem_mb" not in profile.set_resources("deploy")


def test_of_a_folder_the_file_is_read_that_snakemake_reads(tmp_path):
    for name, executor in {"config.v9+.yaml": "slurm", "config.yaml": "lsf", "config_old.yaml": "kubernetes"}.items():
        (tmp_path / name).write_text(f"executor: {executor}\n")
    assert read_profile(tmp_path).executor == "slurm"
    (tmp_path / "config.v9+.yaml").rename(tmp_path / "config.v1000+.yaml")  # for a later Snakemake
    assert read_profile(tmp_path).executor == "lsf"
    assert read_profile(tmp_path / "config_old.yaml").executor == "kubernetes"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no profile; expected a folder with config.yaml"), ("- a\n", "expected keys such as executor")],
)
def test_what_is_no_profile(tmp_path, capsys, content, said):
    if content:
        (tmp_path / "config.yaml").write_text(content)
    study = Path(__file__).parents[2] / "config/tiny.yaml"
    assert main(["doctor", "--profile", str(tmp_path), "--configfile", str(study)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"greenllm doctor: error: {tmp_path}")
    assert said in line


def test_a_folder_that_is_not_there(tmp_path, capsys):
    root = Path(__file__).parents[2]
    options = ["--profile", f"{root}/profiles/slurm", "--configfile", f"{root}/config/tiny.yaml"]
    assert main(["doctor", *options, "--folder", f"{tmp_path}/none"]) == 2
    assert f"--folder {tmp_path}/none: no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "0"),
        ({"SLURM_JOB_ID": "7"}, ""),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "2"}, "2"),
        ({"LSB_JOBID": "7"}, ""),
        ({"LSB_JOBID": "7", "CUDA_VISIBLE_DEVICES": "2"}, "2"),
    ],
)
def test_a_clusters_job_may_use_the_gpus_that_it_was_assigned(environment, gpus):
    assert assigned_gpus(environment) == gpus
