"""`greenllm tune`: real probes of a tiny model's training and serving, under the meter."""

import csv
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hardware.simulated import SimulatedGpu, compile_nvml, gpu_environment
from metering import GREENLLM
from tiny_models import PROMPTS

from greenllm.attribution import attribute


def tune(*arguments: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = [*GREENLLM, "tune", *map(str, arguments)]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=600)


def probes(folder: Path) -> list[dict[str, str]]:
    with (folder / "probes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_server_is_tuned_and_the_tuning_is_metered(tmp_path, env, fp32):
    prompts = tmp_path / "predictions.jsonl"
    prompts.write_text("".join(json.dumps({"id": str(i), "prompt": one}) + "\n" for i, one in enumerate(PROMPTS)))
    out = tmp_path / "tuned"
    done = tune(
        *("--bundle", fp32, "--predictions", prompts, "--max-tokens", 8, "--requests", 8, "--device", "cpu"),
        *("--threads", 2, "--batch", "1,8", "--seconds", 0.3, "--probes", 6, "--out", out),
        env=env,
    )
    assert done.returncode == 0, done.stderr
    found = probes(out)
    assert {(row["batch"], row["threads"]) for row in found} == {("1", "1"), ("1", "2"), ("8", "1"), ("8", "2")}
    energy_J = {row["batch"]: float(row["energy_per_request_J"]) for row in found if row["threads"] == "1"}
    assert energy_J["8"] < energy_J["1"]  # what a batch shares is not computed for each request
    tuned = yaml.safe_load((out / "tuned.yaml").read_text())
    threads = int(next(row["threads"] for row in found if row["best"] == "1"))
    assert tuned == {"deploy": {"batch": 8, "threads": threads}, "resources": {"measure": {"threads": threads}}}
    assert {path.suffix for path in out.glob("curve.*")} == {".svg", ".pdf", ".png"}
    jobs = attribute(out / "ledger").jobs
    assert {job.rule for job in jobs} == {"tune"}
    assert sum(job.attempt.end.work.get("requests", 0) for job in jobs if job.attempt.end) > 0


def test_a_training_is_tuned(tmp_path, env, data):
    out = tmp_path / "tuned"
    done = tune(
        *("--data", data, "--model", "{size: tiny, context: 32}", "--device", "cpu", "--threads", 1),
        *("--batch", "2,32", "--precision", "fp32", "--seconds", 0.5, "--probes", 4, "--out", out),
        env=env,
    )
    assert done.returncode == 0, done.stderr
    energy_J = {row["batch"]: float(row["energy_per_sample_J"]) for row in probes(out)}
    assert energy_J["32"] < energy_J["2"]
    for row in probes(out):
        low_J, high_J = (float(row[f"energy_per_sample_J_{bound}"]) for bound in ("low", "high"))
        assert low_J < float(row["energy_per_sample_J"]) < high_J
    tuned = yaml.safe_load((out / "tuned.yaml").read_text())
    assert tuned == {"train": {"batch": 32, "precision": "fp32"}, "resources": {"train": {"threads": 1}}}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "either --data, to tune a training, or --bundle"),
        (["--bundle", "x"], "--predictions: is missing"),
        (["--data", "none"], "none/train.parquet: no such file"),
        (["--data", "x", "--batch", "1,zwei"], "--batch 1,zwei: expected whole numbers"),
        (["--data", "x", "--batch", "0"], "--batch 0: expected whole numbers"),
        (["--data", "x", "--precision", "fp8"], "--precision fp8: expected of fp32,bf16"),
        (["--data", "x", "--power-limit", "300"], "--power-limit: needs GPUs"),
        (["--data", "x", "--power-limit", "300", "--gpus", "1"], "--power-limit: this process may use no GPU here"),
        (["--data", "x", "--longest-s", "0"], "--longest-s 0: expected seconds"),
        (["--data", "x", "--probes", "0"], "--probes 0: expected at least 1"),
        (["--data", "x", "--batch", "2,2"], "--batch 2,2: expected whole numbers such as 1,2,4, each once"),
        (["--data", "x", "--batch", ""], "--batch: expected at least one whole number"),
        (["--data", "x", "--threads", "0"], "--threads 0: expected at least 1"),
        (["--data", "x", "--settings", "{epochz: 3}"], "--settings: epochz: unknown key; did you mean 'epochs'?"),
        (["--data", "x", "--model", "{size: huge}"], "--model: size: 'huge' is not one of the choices"),
        (["--data", "x", "--from", "none"], "none/config.json: no such file"),
        (["--data", "x", "--predictions", "none"], "--predictions: is for --bundle"),
        (["--bundle", "x", "--predictions", "none"], "x/greenllm.json: no such file"),
        (["--bundle", "x", "--settings", "{epochs: 3}"], "--settings, --model and --from are for --data"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, env, data, options, reason):
    options = [data if word == "x" and "--data" in options else word for word in options]
    done = tune(*options, "--out", tmp_path / "out", env=env)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert reason in done.stderr


def test_a_mistake_that_only_the_probed_process_sees_ends_the_search_at_once(tmp_path, env, data):
    (tmp_path / "prepared").mkdir()
    shutil.copy(data / "train.parquet", tmp_path / "prepared")
    done = tune("--data", tmp_path / "prepared", "--batch", "1,2", "--out", tmp_path / "out", env=env)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("tokenizer.json: no such file") == 1
    assert "its message is above" in done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")
def test_power_limits_that_may_not_be_set_are_refused_before_the_first_probe(tmp_path, env, data):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu(may_set_limit=False)])
    done = tune("--data", data, "--gpus", 1, "--power-limit", "300,400", "--out", tmp_path / "out", env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the driver lets only root do so" in done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")
@pytest.mark.parametrize(
    ("count", "limit", "said"),
    [(1, "inf", "--power-limit inf: expected watts"), (1, "nan", "expected watts"), (0, "300", "may use no GPU here")],
)
def test_a_power_limit_that_makes_no_sense_is_refused_while_another_job_has_the_host(
    tmp_path, env, data, count, limit, said
):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * count)
    holding = [*GREENLLM, "meter", "--exclusive", "--ledger", tmp_path / "holds", "--", "sh", "-c", "echo holds; cat"]
    with subprocess.Popen(holding, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        options = ["--data", data, "--gpus", 1, "--power-limit", limit, "--out", tmp_path / "out"]
        done = subprocess.run(
            [*GREENLLM, "tune", *map(str, options)], env=environment, capture_output=True, text=True, timeout=60
        )
        holder.stdin.close()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
