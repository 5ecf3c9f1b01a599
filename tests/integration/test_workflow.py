"""The workflow as a user calls it: plans, refusals, a failure that is still accounted for."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"


def snakemake(folder: Path, study: dict, *options: str, run_by: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder of its own on a study given as a dictionary."""
    (folder / "study.yaml").write_text(json.dumps(study))
    place = ["--snakefile", f"{ROOT}/Snakefile", "--directory", f"{folder}", "--configfile", f"{folder}/study.yaml"]
    command = [*run_by, f"{SNAKEMAKE}", *place, "--cores", "8", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture
def study() -> dict:
    return {
        "experiments": {
            "support": {
                "task": "customer-service",
                "data": {"source": "embedded"},
                "recipes": ["int8"],
                "seeds": [1, 2],
            }
        },
        "recipes": {"baseline": {"train": {}}, "int8": {"from": "baseline", "quantize": "int8"}},
    }


def test_parents_are_made_once_a_seed_and_only_what_is_asked_for_is_deployed(tmp_path, study):
    plan = snakemake(tmp_path, study, "--dry-run", "--quiet", "rules")
    assert plan.returncode == 0, plan.stderr
    counts = dict(line.split() for line in (plan.stdout + plan.stderr).splitlines() if len(line.split()) == 2)
    assert {
        rule: counts.get(rule)
        for rule in ("collect", "train", "compress", "evaluate", "deploy", "measure", "collect_model")
    } == {
        "collect": "1",
        "train": "2",
        "compress": "2",
        "evaluate": "2",
        "deploy": "2",
        "measure": "2",
        "collect_model": None,
    }


def test_the_two_named_targets_are_there(tmp_path, study):
    for target in ("efficiency", "impact"):
        assert snakemake(tmp_path, study, "--dry-run", target).returncode == 0


def test_a_trained_model_needs_no_training(tmp_path, study):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_bytes(save({"weight": np.zeros(2)}))
    study["experiments"]["support"].update(model={"init": str(model)}, recipes=["original", "small"])
    study["recipes"] = {"original": {}, "small": {"from": "original", "quantize": "int8"}}
    plan = snakemake(tmp_path, study, "--dry-run", "--quiet", "rules")
    assert plan.returncode == 0, plan.stderr
    rules = [line.split()[0] for line in (plan.stdout + plan.stderr).splitlines() if len(line.split()) == 2]
    assert "collect_model" in rules
    assert "compress" in rules
    assert "train" not in rules


def test_a_folder_of_results_that_is_read_only_is_refused_before_anything_runs(tmp_path, study):
    (tmp_path / "results").mkdir(mode=0o555)
    # Root may write everywhere, but for this capability.
    as_anyone = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    run = snakemake(tmp_path, study, run_by=as_anyone)
    assert run.returncode == 2
    assert "study.yaml: results: results: can't write to " in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "logs").exists()
    assert snakemake(tmp_path, study, "--dry-run").returncode == 0  # not locked


def test_a_gpu_request_above_the_limit_is_refused_before_anything_runs(tmp_path, study):
    study["resources"] = {"train": {"gpu": 9}}
    run = snakemake(tmp_path, study, "--resources", "gpu=2")
    assert run.returncode == 2
    assert "study.yaml: resources.train.gpu: 9 is more than the run's limit of 2" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "results").exists()


def test_the_console_reports_all_mistakes_of_a_study(tmp_path, study):
    study["recipes"]["int8"]["from"] = "basline"
    study["experiments"]["support"]["taks"] = study["experiments"]["support"].pop("task")
    run = snakemake(tmp_path, study)
    assert run.returncode == 2
    assert "recipes.int8.from: no recipe 'basline'; did you mean 'baseline'?" in run.stderr
    assert "experiments.support.taks: unknown key; did you mean 'task'?" in run.stderr
    assert "Traceback" not in run.stderr


def test_what_a_failed_workflow_has_spent_is_reported(tmp_path, study):
    (tmp_path / "questions.csv").write_text("question,intent\nwhere is my card,card\n")
    study["experiments"]["support"]["data"] = {
        "source": "file",
        "train": "questions.csv",
        "columns": {"prompt": "text"},
    }
    run = snakemake(tmp_path, study)
    assert run.returncode == 1
    assert "collect support: FAILED" in run.stderr
    assert "no column 'text'" in run.stderr, "the end of the job's log stands on the console"
    ledgers = list((tmp_path / "results/ledger").rglob("*.jsonl"))
    assert len(ledgers) == 1
    assert "failed" in run.stderr.split("FAILED")[1], "the energy of failed attempts is in the table at the end"
