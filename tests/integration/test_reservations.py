"""GPUs that a study reserves and can't use are reported before anything runs, and are not leased."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hardware.simulated import SimulatedGpu, compile_nvml, gpu_environment, mig_uuid
from narrowing import known
from torch_stand_in import torch_of

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")

TOO_OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version (Triggered internally at /pytorch/c10/cuda/CUDAFunctions.cpp:1)"
)
NO_CODE = "no code for Simulated GPU (sm_37): it is built for sm_75, sm_80, compute_120"


@pytest.fixture
def host(tmp_path, env):
    """The environment of a host with two cards."""
    return env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * 2)


def study(**sections):
    return {
        "experiments": {
            "support": {
                "task": "customer-service",
                "data": {"source": "embedded"},
                "recipes": ["baseline", "int8", "sparse"],
            }
        },
        "recipes": {
            "baseline": {"train": {}},
            "int8": {"from": "baseline", "quantize": "int8"},
            "sparse": {"from": "baseline", "sparsify": {"share": 0.5}},
        },
        **sections,
    }


def snakemake(folder, values, env, *options):
    (folder / "study.yaml").write_text(json.dumps(values))
    command = [Path(sys.executable).with_name("snakemake"), "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--configfile", folder / "study.yaml", "--cores", "8", "--resources", "gpu=2", *options]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)


def leases(planned):
    """Return the GPUs that each planned job is to lease, by stage and recipe."""
    assert planned.returncode == 0, planned.stderr
    commands = re.findall(r"meter --rule (\w+) (.*)", planned.stdout + planned.stderr)
    found = {}
    for stage, rest in commands:
        recipe = re.search(r"--wildcard recipe=(\S+)", rest)
        found[stage, recipe and recipe[1]] = int(known(re.search(r"--gpus (\d+)", rest))[1])
    return found


def plan(folder, values, env):
    return snakemake(folder, values, env, "--dry-run", "--printshellcmds")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        ({"version": "2.13.0+cpu", "cuda": None}, "PyTorch 2.13.0+cpu is built without CUDA; install a build"),
        ({"available": False, "warning": TOO_OLD}, "the driver, for CUDA 11.4, is too old for PyTorch 2.13.0, built"),
        ({"card": (3, 7)}, NO_CODE),
        ({"available": False}, "PyTorch 2.13.0 finds none; see what `nvidia-smi` says"),
    ],
)
def test_a_gpu_that_pytorch_cannot_use_is_not_leased_and_one_line_says_why(tmp_path, host, build, said):
    env = host | {"PYTHONPATH": str(torch_of(tmp_path / "site", **build))}
    planned = plan(tmp_path, study(), env)
    assert set(leases(planned).values()) == {0}
    (line,) = (line for line in planned.stderr.splitlines() if "no GPU is leased" in line)
    assert said in line
    assert line.startswith("study.yaml: train, evaluate, measure: no GPU is leased, the CPU computes: ")


@pytest.mark.parametrize(("card", "usable"), [((7, 5), 1), ((8, 9), 1), ((9, 0), 0), ((12, 1), 1), ((7, 0), 0)])
def test_a_gpu_is_leased_where_pytorch_has_code_for_it(tmp_path, host, card, usable):
    """Binary code runs on later cards of its generation, intermediate code on all later ones."""
    env = host | {"PYTHONPATH": str(torch_of(tmp_path / "site", card=card))}
    assert leases(plan(tmp_path, study(), env))["train", "baseline"] == usable


def test_only_what_computes_on_a_gpu_leases_one_and_no_more_than_it_uses(tmp_path, host):
    env = host | {"PYTHONPATH": str(torch_of(tmp_path / "site"))}
    asked = {stage: {"gpu": 2} for stage in ("collect", "preprocess", "train", "compress", "evaluate", "measure")}
    parallel = {"parallel": {"train": {"processes": 2}}}
    values = study(resources=asked)
    values["recipes"] |= parallel
    planned = plan(tmp_path, values, env)
    found = leases(planned)
    assert found["train", "baseline"] == found["evaluate", "sparse"] == found["measure", None] == 1
    assert {found[key] for key in found if key[1] in (None, "int8") and key[0] != "measure"} == {0}
    assert found["compress", "sparse"] == 0
    for stage, reason in (
        ("collect", "collect uses no GPU and leases none"),
        ("train", "each process of a training (train.processes) uses one: its jobs lease 1 at most"),
        ("measure", "the engine uses one: its jobs lease 1 at most"),
    ):
        assert f"study.yaml: resources.{stage}.gpu: 2, but {reason}" in planned.stderr
    values["experiments"]["support"]["recipes"].append("parallel")
    planned = plan(tmp_path, values, env)
    assert leases(planned)["train", "parallel"] == 2
    assert leases(planned)["train", "baseline"] == 1
    assert "resources.train.gpu" not in planned.stderr


def test_with_auto_a_gpu_adds_the_control_on_the_cpu(tmp_path, host):
    site = torch_of(tmp_path / "site")
    found = leases(plan(tmp_path, study(), host | {"PYTHONPATH": str(site)}))
    assert found["compress", "baseline-cpu"] == found["evaluate", "baseline-cpu"] == 0
    assert found["measure", None] == 1
    planned = plan(tmp_path, study(), host | {"PYTHONPATH": str(site)})
    (measure,) = re.findall(r"meter --rule measure .*", planned.stdout + planned.stderr)
    assert re.findall(r"--bundle (\S+)=", measure) == [
        "baseline", "baseline-cpu", "baseline-onnxruntime", "int8", "sparse",
    ]  # fmt: skip
    assert re.findall(r"--on-cpu (\S+)", measure) == ["baseline-cpu", "baseline-onnxruntime", "int8"]
    for without in ({"device": "cpu"}, {"deploy": {"controls": False}}):
        assert ("evaluate", "baseline-cpu") not in leases(plan(tmp_path, study(**without), host))
    assert ("evaluate", "baseline-cpu") not in leases(plan(tmp_path, study(), host | {"CUDA_VISIBLE_DEVICES": ""}))


def test_a_name_that_the_control_on_the_cpu_needs_is_refused_in_one_line(tmp_path, host):
    values = study()
    values["recipes"]["baseline-cpu"] = {"train": {"epochs": 1}}
    env = host | {"PYTHONPATH": str(torch_of(tmp_path / "site"))}
    run = snakemake(tmp_path, values, env)
    assert run.returncode == 2
    (line,) = (line for line in run.stderr.splitlines() if "baseline-cpu" in line)
    assert line.startswith("study.yaml: recipes.baseline-cpu: ")
    assert "needs the control {from: baseline, device: cpu} of this name; rename this recipe" in line
    assert not (tmp_path / "results").exists()


def test_another_servers_environment_is_asked_itself(tmp_path, host):
    """vLLM has a separate PyTorch; nothing is known of a server that is not a Python program."""
    env = host | {"PYTHONPATH": str(torch_of(tmp_path / "site"))}
    (tmp_path / "venv").mkdir()
    python = tmp_path / "venv/python"
    build = torch_of(tmp_path / "other", version="2.9.1+cpu", cuda=None)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={build} exec {sys.executable} "$@"\n')
    server = tmp_path / "venv/vllm"
    for file in (python, server):
        file.touch()
        file.chmod(0o755)
    values = study(deploy={"server": f"{server} serve {{model}} --port {{port}}"})
    planned = plan(tmp_path, values, env)
    assert leases(planned)["train", "baseline"] == 1
    assert leases(planned)["measure", None] == 0
    assert "study.yaml: measure: no GPU is leased, the CPU computes: PyTorch 2.9.1+cpu is built" in planned.stderr
    python.unlink()
    assert leases(plan(tmp_path, values, env))["measure", None] == 1


@pytest.mark.parametrize(
    ("cards", "more", "said"),
    [
        (2, {}, "device: require, but no GPU for train, evaluate, measure: PyTorch 2.13.0+cpu is built"),
        (2, {"CUDA_VISIBLE_DEVICES": ""}, "device: require, but CUDA_VISIBLE_DEVICES= allows none of this host's 2"),
        (2, {"CUDA_VISIBLE_DEVICES": mig_uuid(0, 3)}, f"CUDA_VISIBLE_DEVICES={mig_uuid(0, 3)} allows none"),
        (0, {}, "device: require, but this host has no GPU that can be leased"),
    ],
)
def test_a_gpu_that_is_required_and_cannot_be_used_is_refused_before_any_job(tmp_path, env, cards, more, said):
    env |= gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * cards) | more
    env |= {"PYTHONPATH": str(torch_of(tmp_path / "site", version="2.13.0+cpu", cuda=None))}
    run = snakemake(tmp_path, study(device="require"), env)
    assert run.returncode == 2
    assert sum(said in line for line in run.stderr.splitlines()) == 1
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "results").exists()
    assert snakemake(tmp_path, study(device="require"), env, "--dry-run").returncode == 0  # not locked


def test_a_training_of_more_processes_than_gpus_is_refused_before_any_job(tmp_path, host):
    env = host | {"PYTHONPATH": str(torch_of(tmp_path / "site"))}
    run = snakemake(tmp_path, study(train={"processes": 2}), env)
    assert run.returncode == 2
    assert "recipes.baseline: in experiments.support: train.processes: 2 processes need a GPU each; set gpu: 2 in " in (
        run.stderr
    )
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_host_without_gpus_is_not_asked_and_nothing_is_reported(tmp_path, env, device):
    site = tmp_path / "site"
    torch_of(site)
    (site / "torch/version.py").write_text("raise SystemExit('asked')\n")
    env |= gpu_environment(compile_nvml(tmp_path), []) | {"PYTHONPATH": str(site)}
    assert "GPU" not in plan(tmp_path, study(device=device), env).stderr


def test_on_a_cluster_the_host_that_submits_is_not_asked(tmp_path, env):
    env |= {"PYTHONPATH": str(torch_of(tmp_path / "site", version="2.13.0+cpu", cuda=None))}
    planned = snakemake(
        tmp_path, study(device="require"), env, "--dry-run", "--printshellcmds", "--jobs", "4", "--executor", "slurm"
    )
    assert "device: require, but" not in planned.stderr
    assert leases(planned)["train", "baseline"] == 1


def test_a_training_over_several_nodes_is_refused_on_one_host(tmp_path, env):
    run = snakemake(tmp_path, study(train={"nodes": 2}), env)
    assert run.returncode == 2
    (line,) = [line for line in run.stderr.splitlines() if "train.nodes" in line]
    assert "recipes.baseline: in experiments.support: train.nodes: 2 nodes, but this is one host; " in line
    assert "run it by a cluster's profile" in line
    assert not (tmp_path / "results").exists()


def test_threads_beyond_the_processors_are_named_and_processes_that_cannot_share_them_refused(tmp_path, env):
    processors = len(os.sched_getaffinity(0))
    values = study(resources={"train": {"threads": processors + 1}})
    said = plan(tmp_path, values, env).stderr
    assert f"resources: threads of train ({processors + 1}): more than the {processors} processor(s)" in said
    values["train"] = {"processes": processors + 1, "batch": 2 * (processors + 1)}
    run = snakemake(tmp_path, values, env)
    assert run.returncode == 2
    assert f"recipes.baseline: in experiments.support: train.processes: {processors + 1} processes can't share" in (
        run.stderr
    )
    assert not (tmp_path / "results").exists()


def test_a_stage_limits_the_power_of_its_gpus_within_what_they_permit(tmp_path, env):
    gpu = SimulatedGpu(limit_W=700, min_limit_W=200, max_limit_W=700)
    env |= gpu_environment(compile_nvml(tmp_path), [gpu]) | {"PYTHONPATH": str(torch_of(tmp_path / "site"))}
    planned = plan(tmp_path, study(resources={"train": {"gpu": 1, "power_limit_W": 300}}), env)
    assert planned.returncode == 0, planned.stderr
    limited = re.findall(r"meter --rule (\w+) .*--power-limit (\S+)", planned.stdout + planned.stderr)
    assert set(limited) == {("train", "300")}
    refused = snakemake(tmp_path, study(resources={"train": {"gpu": 1, "power_limit_W": 150}}), env)
    assert refused.returncode != 0
    assert "study.yaml: resources.train.power_limit_W: 150, but GPU-" in refused.stderr
    assert "permits 200 to 700 W" in refused.stderr
    assert not (tmp_path / "results/ledger").exists()
