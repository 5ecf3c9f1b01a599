"""The workflow profiles: each plans a study, and rules ask for what a scheduler needs."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir() if path.is_dir())


def plan(folder: Path, profile: str, *options: str) -> str:
    place = ["--snakefile", f"{ROOT}/Snakefile", "--directory", f"{folder}", "--configfile", f"{ROOT}/config/tiny.yaml"]
    done = subprocess.run(
        [SNAKEMAKE, *place, "--workflow-profile", f"{ROOT}/profiles/{profile}", "--dry-run", *options],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_plans_every_stage(tmp_path, profile):
    executor = yaml.safe_load((ROOT / f"profiles/{profile}/config.yaml").read_text()).get("executor", "slurm")
    if importlib.util.find_spec(f"snakemake_executor_plugin_{executor}") is None:
        pytest.skip(f"needs snakemake-executor-plugin-{executor}")
    cores = ["--cores", "2"] if profile == "default" else []
    planned = plan(tmp_path, profile, *cores)
    for stage in ("collect", "preprocess", "train", "compress", "evaluate", "deploy", "measure"):
        assert any(line.split()[:1] == [stage] for line in planned.splitlines())


def test_a_profile_may_ask_for_gpus_under_another_name(tmp_path):
    """The meter leases what the study asks for, whatever the scheduler is asked for."""
    by_gres = ["--set-resources", "train:gpu=0", "train:gres='gpu:1'", "--printshellcmds"]
    (command,) = (line for line in plan(tmp_path, "slurm", *by_gres).splitlines() if "meter --rule train " in line)
    assert " --gpus 1 " in command
