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
from tiny_models import make_fp32

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


def planned(folder: Path, study: dict) -> set[str]:
    """Return the rules of the jobs that would run."""
    plan = snakemake(folder, study, "--dry-run", "--quiet", "rules")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    return {line.split()[0] for line in (plan.stdout + plan.stderr).splitlines() if len(line.split()) == 2}


def test_a_data_file_is_collected_again_if_its_content_has_changed(tmp_path, study):
    file, older = tmp_path / "rows.csv", tmp_path / "older.csv"
    rows = "".join(f"question {n} about subject {n * 7919 % 997},label {n % 4}\n" for n in range(400))
    file.write_text("prompt,completion\n" + rows)
    older.write_text("prompt,completion\n" + rows.replace("label 0", "label 5"))
    os.utime(older, (1e9, 1e9))
    support = study["experiments"]["support"]
    support["data"] = {"source": "file", "train": "rows.csv"}
    # A study of another experiment that has no file of the user's.
    study["experiments"]["made"] = support | {"data": {"source": "embedded", "rows": 100}}
    run = snakemake(tmp_path, study, "--until", "collect")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "collect" not in planned(tmp_path, study)
    file.touch()
    assert "collect" not in planned(tmp_path, study), "the rows are the same"
    older.replace(file)
    assert "collect" in planned(tmp_path, study), "although the file is older than what was collected"
    done = snakemake(tmp_path, study, "--until", "collect")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "collect support" in done.stderr
    assert "collect made" not in done.stderr
    assert "collect" not in planned(tmp_path, study)


def test_a_model_is_collected_again_if_one_of_its_files_has_changed(tmp_path, study):
    model = make_fp32(tmp_path / "model")
    study["experiments"]["support"].update(model={"init": str(model)}, recipes=["original"])
    study["recipes"] = {"original": {}}
    run = snakemake(tmp_path, study, "--until", "collect_model")
    assert run.returncode == 0, run.stdout + run.stderr
    (model / "notes.txt").write_text("not taken\n")
    assert "collect_model" not in planned(tmp_path, study)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"rope_theta": 5e5}))
    assert "collect_model" in planned(tmp_path, study)


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
