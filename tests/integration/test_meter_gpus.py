"""`greenllm meter` with simulated GPUs: their energy, and their holders."""

import ctypes
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hardware.simulated import (
    SimulatedGpu,
    compile_nvml,
    gpu_environment,
    gpu_uuid,
    mig_uuid,
    proc_tree,
)
from metering import GREENLLM, meter, start
from narrowing import known

from greenllm.attribution import attribute

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")


def _nvidia_driver() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
    return True


def python(library: Path, script: str) -> list[str]:
    """A command that can control the GPUs, and wait until the meter has read them."""
    return [
        sys.executable,
        "-c",
        f"""
import ctypes, os, pathlib, time
nvml = ctypes.CDLL({str(library / "libnvidia-ml.so.1")!r})
nvml.nvmlInit_v2()
(ledger,) = pathlib.Path(os.environ["GREENLLM_LEDGER"]).glob("*/" + os.environ["GREENLLM_METER_ID"] + ".jsonl")
def samples():
    return sum(line.startswith("[") and not line.startswith("[null") for line in ledger.read_text().splitlines())
def let_sample(times):
    last = samples() + times
    while samples() < last: time.sleep(0.02)
{script}
""",
    ]


def drive(library: Path, gpus: Iterable[int], seconds: float) -> list[str]:
    """A job that keeps driven GPUs busy for a time."""
    return python(
        library,
        f"""
for i in {list(gpus)}: nvml.simulated_start(i)
time.sleep({seconds})
for i in {list(gpus)}: nvml.simulated_end(i)
""",
    )


@needs_compiler
def test_gpu_energy_is_the_integral_of_its_power(tmp_path, env):
    gpus = [SimulatedGpu(), SimulatedGpu(low_W=20, high_W=20), SimulatedGpu(low_W=50, high_W=50, processes=1)]
    environment = env | gpu_environment(compile_nvml(tmp_path), gpus)
    done = meter(
        "--gpus", 1, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER; sleep 2", env=environment
    )
    assert done.stdout == "0 PCI_BUS_ID\n"
    result = attribute(tmp_path / "ledger")
    (job,) = result.jobs
    truth_J = gpus[0].energy_J(job.attempt.last_s) - gpus[0].energy_J(job.attempt.first_s)
    (component,) = (c for c in job.components if c.component == "gpu")
    assert known(component.energy).value == pytest.approx(truth_J, rel=0.005)
    assert (component.method, component.quality, component.device) == ("nvml-energy-counter", "measured", gpu_uuid(0))
    assert {sensor.limit_W for sensor in job.attempt.sensors if sensor.component == "gpu"} == {1000.0}
    rows = {row.device: row for row in result.device_totals(result.hosts[0])}
    assert rows[gpu_uuid(1)].idle_J == pytest.approx(40, rel=0.1)
    assert rows[gpu_uuid(2)].other_J == pytest.approx(100, rel=0.1)


@needs_compiler
def test_a_counter_that_ticks_is_read_at_its_ticks(tmp_path, env):
    """A load that begins and ends with the job: the counter's readings are up to 0.1 s late at each end."""
    gpus = [SimulatedGpu(low_W=400, high_W=400, tick_s=0.1, tick_phase=i / 5, driven=True) for i in range(5)]
    library = compile_nvml(tmp_path)
    environment = env | gpu_environment(library, gpus) | {"SIMULATED_NVML_STATE": str(tmp_path / "state")}
    log_file = tmp_path / "log.json"
    done = meter("--gpus", 5, "--out", log_file, "--", *drive(library, range(5), seconds=2), env=environment)
    assert done.returncode == 0, done.stderr
    (job,) = attribute(tmp_path / "ledger").jobs
    idle_J = 70 * (job.attempt.last_s - job.attempt.first_s)
    provisional = {c["device"]: c["energy_J"] for c in json.loads(log_file.read_text())["components"]}
    found = [c for c in job.components if c.component == "gpu"]
    assert len(found) == 5
    for component in found:
        truth_J = idle_J + 330 * 2
        assert known(component.energy).value == pytest.approx(truth_J, rel=0.02)
        assert known(component.energy).low < truth_J < known(component.energy).high
        assert provisional[component.device]["low"] < truth_J < provisional[component.device]["high"]


@needs_compiler
def test_a_gpu_without_a_counter_is_polled_and_says_how_much_it_may_have_missed(tmp_path, env):
    gpu = SimulatedGpu(low_W=100, high_W=300, period_s=0.9, counter=0, refresh_s=0.1, window_s=0.025)
    environment = env | gpu_environment(compile_nvml(tmp_path), [gpu])
    meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "sleep", "3", env=environment)
    (job,) = attribute(tmp_path / "ledger").jobs
    truth_J = gpu.energy_J(job.attempt.last_s) - gpu.energy_J(job.attempt.first_s)
    (component,) = (c for c in job.components if c.component == "gpu")
    assert component.method == "nvml-power"
    assert known(component.energy).value == pytest.approx(truth_J, rel=0.1)
    assert known(component.energy).low < truth_J < known(component.energy).high
    missed = {name: c for name, c in known(component.energy).terms.items() if name.startswith(f"unseen@{job.id}/")}
    assert 0 < sum(missed.values()) < 0.2 * truth_J
    (provisional,) = (
        c for c in json.loads((tmp_path / "log.json").read_text())["components"] if c["component"] == "gpu"
    )
    assert provisional["energy_J"]["low"] < truth_J < provisional["energy_J"]["high"]


@needs_compiler
def test_of_a_mean_and_an_instant_power_the_instant_one_is_read(tmp_path, env):
    """A card from Ampere on shows the mean of a second, which at a job's start is half a second late."""
    gpu = SimulatedGpu(
        driven=True, low_W=400, high_W=400, counter=0, refresh_s=0.1, window_s=1.0, instant_window_s=0.025
    )
    library = compile_nvml(tmp_path)
    environment = env | gpu_environment(library, [gpu]) | {"SIMULATED_NVML_STATE": str(tmp_path / "state")}
    done = meter("--gpus", 1, "--", *drive(library, [0], seconds=2), env=environment)
    assert done.returncode == 0, done.stderr
    (job,) = attribute(tmp_path / "ledger").jobs
    (component,) = (c for c in job.components if c.component == "gpu")
    truth_J = 70 * (job.attempt.last_s - job.attempt.first_s) + 330 * 2
    assert known(component.energy).value == pytest.approx(truth_J, rel=0.05)  # the mean would miss a fifth
    assert known(component.energy).low < truth_J < known(component.energy).high


@needs_compiler
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors for two jobs at once")
def test_gpus_are_leased_within_what_is_visible_and_one_job_has_each(tmp_path, env):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * 3)
    visible = environment | {"CUDA_VISIBLE_DEVICES": f"2,{gpu_uuid(1)[:14]}"}
    none = meter("--", "sh", "-c", "echo [$CUDA_VISIBLE_DEVICES]", env=visible)
    assert none.stdout == "[]\n"
    show = ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES; read line"]
    first = start("--gpus", 1, "--", *show, env=visible)
    second = start("--gpus", 1, "--", *show, env=visible)
    assert sorted([first.stdout.readline(), second.stdout.readline()]) == ["1\n", "2\n"]
    third = start("--gpus", 1, "--", *show, env=visible)
    assert "waiting for 1 of 2 GPUs" in third.stderr.readline()
    for one in (first, second, third):
        one.communicate("line\n", timeout=60)
        assert one.returncode == 0
    refused = meter("--gpus", 3, "--", "true", env=visible)
    assert refused.returncode == 2
    assert "--gpus 3: there are only 2" in refused.stderr


@needs_compiler
def test_a_job_shorter_than_a_tick_is_not_taken_for_one_without_energy(tmp_path, env):
    gpu = SimulatedGpu(low_W=300, high_W=300, tick_s=0.1)
    meter("--gpus", 1, "--", "true", env=env | gpu_environment(compile_nvml(tmp_path), [gpu]))
    (job,) = attribute(tmp_path / "ledger").jobs
    (component,) = (c for c in job.components if c.component == "gpu")
    assert known(component.energy).value == pytest.approx(300 * (job.attempt.last_s - job.attempt.first_s), rel=0.2)


@needs_compiler
def test_a_gpu_that_is_lost_counts_up_to_its_last_reading(tmp_path, env):
    library = compile_nvml(tmp_path)
    environment = env | gpu_environment(library, [SimulatedGpu(low_W=100, high_W=100)])
    loses = python(library, "let_sample(5); nvml.simulated_loss(0); let_sample(2)")
    done = meter("--gpus", 1, "--", *loses, env=environment | {"GREENLLM_METER_INTERVAL_S": "0.1"})
    assert done.returncode == 0, done.stderr
    (job,) = attribute(tmp_path / "ledger").jobs
    (component,) = (c for c in job.components if c.component == "gpu")
    assert 0 < component.coverage < 1
    watched_s = (job.attempt.last_s - job.attempt.first_s) * component.coverage
    assert known(component.energy).value == pytest.approx(100 * watched_s, rel=0.05)
    assert "lost" in known(component.reason).lower()


@needs_compiler
def test_a_counter_that_begins_anew_makes_and_loses_no_energy_unseen(tmp_path, env):
    library, log_file = compile_nvml(tmp_path), tmp_path / "log.json"
    environment = env | gpu_environment(library, [SimulatedGpu(low_W=100, high_W=100)])
    resets = python(library, "let_sample(4); nvml.simulated_reset(0); let_sample(4)")
    environment |= {"GREENLLM_METER_INTERVAL_S": "0.3"}
    done = meter("--gpus", 1, "--out", log_file, "--", *resets, env=environment)
    assert done.returncode == 0, done.stderr
    result = attribute(tmp_path / "ledger")
    (job,) = result.jobs
    (component,) = (c for c in job.components if c.component == "gpu")
    (gap,) = (gap for gap in result.hosts[0].gaps if gap.device == gpu_uuid(0))
    known_s = job.attempt.last_s - job.attempt.first_s - gap.duration_s
    assert known(component.energy).value == pytest.approx(100 * known_s, rel=0.02)
    assert component.coverage < 1
    assert "was reset" in gap.reason
    (provisional,) = (c for c in json.loads(log_file.read_text())["components"] if c["component"] == "gpu")
    assert provisional["energy_J"]["value"] == pytest.approx(100 * known_s, rel=0.02)
    assert provisional["coverage"] == pytest.approx(component.coverage, rel=0.01)
    assert "was reset" in provisional["reason"]


@needs_compiler
def test_a_mig_instance_is_null_with_its_reason_and_its_card_counts(tmp_path, env):
    gpus = [SimulatedGpu(low_W=100, high_W=100, mig=2, processes=1)]
    instance = gpu_uuid(0).replace("GPU-", "MIG-")[:-1] + "1"
    environment = env | gpu_environment(compile_nvml(tmp_path), gpus) | {"CUDA_VISIBLE_DEVICES": instance}
    done = meter(
        "--gpus", 1, "--out", tmp_path / "log.json", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; sleep 0.3",
        env=environment,
    )  # fmt: skip
    assert done.stdout == f"{instance}\n"
    log = json.loads((tmp_path / "log.json").read_text())
    (component,) = (c for c in log["components"] if c["component"] == "gpu")
    assert (component["energy_J"], component["device"], log["partial"]) == (None, instance, True)
    assert "MIG" in component["reason"]
    result = attribute(tmp_path / "ledger")
    (row,) = (row for row in result.device_totals(result.hosts[0]) if row.device == gpu_uuid(0))
    assert row.counted_J == row.other_J > 0


@needs_compiler
def test_a_mig_instance_that_nvml_does_not_know_satisfies_nobody_and_one_counts_once(tmp_path, env):
    with_driver = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu(mig=1)])
    known, unknown = mig_uuid(0, 0), mig_uuid(0, 7)
    for environment, instances, wanted, expected in [
        (with_driver, unknown, 1, "--device require: --gpus 1 asked"),
        (env, known, 1, "--device require: --gpus 1 asked"),
        (with_driver, f"{known},{known}", 2, "there is only 1"),
    ]:
        refused = meter(
            "--gpus", wanted, "--device", "require", "--", "true", env=environment | {"CUDA_VISIBLE_DEVICES": instances}
        )
        assert refused.returncode == 2
        assert expected in refused.stderr


@needs_compiler
def test_no_gpu_ever_has_two_holders_and_none_starves(tmp_path, env):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * 2)
    wanted = [1, 2, 1, 1, 2, 1, 2, 1]
    jobs = [start("--gpus", n, "--", "sleep", "0.1", env=environment) for n in wanted]
    for running in jobs:
        running.communicate(timeout=60)
        assert running.returncode == 0
    held = []
    for job in attribute(tmp_path / "ledger").jobs:
        held += [(uuid, job.attempt.first_s, job.attempt.last_s) for uuid in job.attempt.gpus]
    assert len(held) == sum(wanted)
    held.sort()
    for (uuid, _, ended), (next_uuid, began, _) in itertools.pairwise(held):
        assert uuid != next_uuid or ended <= began


@needs_compiler
def test_a_job_in_a_cluster_leases_the_gpu_that_the_scheduler_assigned(tmp_path, env):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * 2)
    environment |= {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"}
    done = meter(
        "--gpus", 1, "--out", tmp_path / "log.json", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES", env=environment
    )
    assert done.stdout == "1\n"
    assert json.loads((tmp_path / "log.json").read_text())["gpus"] == [
        {"uuid": gpu_uuid(1), "index": 1, "name": "Simulated GPU"}
    ]
    assert sorted(path.name for path in (tmp_path / "locks").glob("gpu-*")) == [f"gpu-{gpu_uuid(1)}"]


@needs_compiler
def test_jobs_in_one_allocation_share_its_gpus_by_lease(tmp_path, env):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * 4)
    environment |= {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1,3"}
    show = ["--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"]
    holder = start("--gpus", 1, "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; read end", env=environment)
    try:
        assert holder.stdout.readline() == "1\n"
        assert meter("--gpus", 1, "--wait", 0, *show, env=environment).stdout == "3\n"
        refused = meter("--gpus", 2, "--wait", 0, *show, env=environment)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "2 of 2 GPUs: not free" in refused.stderr
    finally:
        holder.communicate("\n", timeout=60)


@needs_compiler
@pytest.mark.parametrize("options", [[], ["--gpus", 1]], ids=["none asked", "one asked"])
def test_a_slurm_job_that_was_given_no_gpus_claims_none(tmp_path, env, options):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()] * 2) | {"SLURM_JOB_ID": "7"}
    assert meter(*options, "--out", tmp_path / "log.json", "--", "true", env=environment).returncode == 0
    assert [gpu["index"] for gpu in json.loads((tmp_path / "log.json").read_text())["gpus"]] == []


@needs_compiler
def test_a_driver_whose_python_binding_is_missing_is_told_and_the_job_runs(tmp_path, env):
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing/pynvml.py").write_text("raise ImportError('no pynvml')\n")
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()])
    environment |= {"PYTHONPATH": str(tmp_path / "missing"), "CUDA_VISIBLE_DEVICES": mig_uuid(0, 0)}
    done = meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "echo", "ran", env=environment)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    log = json.loads((tmp_path / "log.json").read_text())
    (component,) = (c for c in log["components"] if c["component"] == "gpu")
    assert (component["energy_J"], log["partial"]) == (None, True)
    assert "pip install nvidia-ml-py" in component["reason"]


@needs_compiler
def test_a_driver_that_does_not_match_is_not_taken_for_a_host_without_gpus(tmp_path, env):
    environment = env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()]) | {"SIMULATED_NVML_ERROR": "18"}
    meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "true", env=environment)
    log = json.loads((tmp_path / "log.json").read_text())
    (component,) = (c for c in log["components"] if c["component"] == "gpu")
    assert component["energy_J"] is None
    assert "version mismatch" in component["reason"]
    assert log["partial"]
    refused = meter("--gpus", 1, "--device", "require", "--", "true", env=environment)
    assert refused.returncode == 2
    assert "--device require" in refused.stderr


def pci_bus(root: Path, *devices: tuple[str, str, str]) -> dict[str, str]:
    """A host with these devices (address, vendor, class) on its bus."""
    for address, vendor, kind in devices:
        device = root / "bus/pci/devices" / address
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{kind}\n")
    root.mkdir(exist_ok=True)
    return {"GREENLLM_SYSFS": str(root)}


NVIDIA = ("0000:01:00.0", "0x10de", "0x030200")
OTHERS = [("0000:01:00.1", "0x10de", "0x040300"), ("0000:02:00.0", "0x8086", "0x030000")]  # a card's sound; Intel's GPU
no_driver = pytest.mark.skipif(_nvidia_driver(), reason="this host has NVIDIA's driver")


@needs_compiler
@no_driver
@pytest.mark.parametrize("error", [0, 3, 4, 6, 9, 12, 13, 17, 999])
def test_a_library_on_a_host_without_a_card_is_no_broken_card(tmp_path, env, error):
    environment = env | gpu_environment(compile_nvml(tmp_path), []) | {"SIMULATED_NVML_ERROR": str(error)}
    environment |= pci_bus(tmp_path / "sys", *OTHERS)
    done = meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "true", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    log = json.loads((tmp_path / "log.json").read_text())
    assert ([c for c in log["components"] if c["component"] == "gpu"], log["partial"]) == ([], False)
    assert not attribute(tmp_path / "ledger").jobs[0].partial
    probed = subprocess.run([*GREENLLM, "probe"], env=environment, capture_output=True, text=True, check=True)
    assert "none: jobs run on the processors" in probed.stdout
    assert "nvidia" not in probed.stdout.lower()


@needs_compiler
@no_driver
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (0, "it finds no GPU"),
        (4, "Insufficient Permissions"),
        (9, "driver is not loaded: install it or load it"),
        (12, "driver is not loaded: install it or load it"),
        (18, "version mismatch"),
        (999, "Unknown Error"),
    ],
)
def test_a_card_that_nvml_does_not_reach_is_told(tmp_path, env, error, reason):
    environment = env | gpu_environment(compile_nvml(tmp_path), []) | {"SIMULATED_NVML_ERROR": str(error)}
    environment |= pci_bus(tmp_path / "sys", NVIDIA, *OTHERS)
    probed = subprocess.run([*GREENLLM, "probe"], env=environment, capture_output=True, text=True, check=True)
    assert reason in probed.stdout
    meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "true", env=environment)
    log = json.loads((tmp_path / "log.json").read_text())
    (card,) = (c for c in log["components"] if c["component"] == "gpu")
    assert (card["energy_J"], log["partial"], reason in card["reason"]) == (None, True, True)


@needs_compiler
@no_driver
@pytest.mark.parametrize("error", [4, 999])
def test_a_driver_that_is_loaded_tells_of_a_card_that_no_bus_shows(tmp_path, env, error):
    environment = env | gpu_environment(compile_nvml(tmp_path), []) | {"SIMULATED_NVML_ERROR": str(error)}
    version = proc_tree(tmp_path / "proc") / "driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.00\n")
    environment |= pci_bus(tmp_path / "sys") | {"GREENLLM_PROCFS": str(tmp_path / "proc")}
    meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "true", env=environment)
    log = json.loads((tmp_path / "log.json").read_text())
    (card,) = (c for c in log["components"] if c["component"] == "gpu")
    assert (card["energy_J"], "a reboot often mends it" in card["reason"]) == (None, True)


@no_driver
def test_a_card_without_its_driver_is_told_with_what_to_do(tmp_path, env):
    environment = env | pci_bus(tmp_path / "sys", NVIDIA, *OTHERS)
    probed = subprocess.run([*GREENLLM, "probe"], env=environment, capture_output=True, text=True, check=True)
    assert "NVIDIA card at PCI 0000:01:00.0, but NVIDIA's driver is not loaded" in probed.stdout
    assert "sudo modprobe nvidia" in probed.stdout
    meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "true", env=environment)
    (gpu,) = (c for c in json.loads((tmp_path / "log.json").read_text())["components"] if c["component"] == "gpu")
    assert (gpu["energy_J"], "driver is not loaded" in gpu["reason"]) == (None, True)


def test_without_a_gpu_a_job_runs_on_the_processors_unless_one_is_required(tmp_path, env):
    environment = env | {"CUDA_VISIBLE_DEVICES": ""}
    assert meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "true", env=environment).returncode == 0
    assert json.loads((tmp_path / "log.json").read_text())["gpus"] == []
    refused = meter("--gpus", 1, "--device", "require", "--", "echo", "ran", env=environment)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)


@needs_compiler
def test_a_gpu_that_its_holder_never_used_is_named_and_one_that_it_used_is_not(tmp_path, env):
    """By its memory, since NVML lists no processes in a container. Without a holder there is no statement."""
    library = compile_nvml(tmp_path)
    gpus = [SimulatedGpu(driven=True), SimulatedGpu(driven=True), SimulatedGpu(processes=1)]
    environment = env | gpu_environment(library, gpus) | {"GREENLLM_METER_INTERVAL_S": "0.1"}
    drives = python(library, "nvml.simulated_start(0); let_sample(5); nvml.simulated_end(0)")
    done = meter("--gpus", 2, "--out", tmp_path / "log.json", "--", *drives, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("never used") == 1
    assert f"warning: {gpu_uuid(1)} was leased, but never used" in done.stderr
    (job,) = attribute(tmp_path / "ledger").jobs
    used = {c.device: c.used for c in job.components if c.component == "gpu"}
    assert used == {gpu_uuid(0): True, gpu_uuid(1): False}
    logged = json.loads((tmp_path / "log.json").read_text())["components"]
    assert {c["device"]: c["used"] for c in logged if c["component"] == "gpu"} == used
    table = subprocess.run(
        [*GREENLLM, "attribute", tmp_path / "ledger"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert f"never used {gpu_uuid(1)}" in table.stdout


@needs_compiler
def test_a_job_too_short_to_see_it_is_not_said_to_have_left_its_gpu_idle(tmp_path, env):
    done = meter("--gpus", 1, "--", "true", env=env | gpu_environment(compile_nvml(tmp_path), [SimulatedGpu()]))
    assert "never used" not in done.stderr
    (job,) = attribute(tmp_path / "ledger").jobs
    assert [c.used for c in job.components if c.component == "gpu"] == [None]
