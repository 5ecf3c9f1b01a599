"""Sensors that exist but report nothing: their energy is modelled or unknown, with the reason, and never 0 J."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from hardware.simulated import PowercapTree, SimulatedGpu, clean_environment, compile_nvml, gpu_environment, proc_tree
from metering import BURN, GREENLLM, meter
from narrowing import known

from greenllm.attribution import attribute
from greenllm.meter.process_tree import parse_process

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")
CPUS = 4


@pytest.fixture
def env(tmp_path):
    (tmp_path / "sys").mkdir()
    return clean_environment(tmp_path, GREENLLM_SYSFS=str(tmp_path / "sys"), GREENLLM_METER_INTERVAL_S="0.1")


def burnt(tmp_path, env, seconds=0.6, command=()):
    """Burn CPU time under the meter; return the log's components and attribution's, by component."""
    command = command or [sys.executable, "-S", "-c", BURN.format(seconds=seconds)]
    done = meter("--out", tmp_path / "log.json", "--", *command, env=env)
    assert done.returncode == 0, done.stderr
    log = json.loads((tmp_path / "log.json").read_text())
    said = attribute(tmp_path / "ledger").to_json()["jobs"][0]
    return log, said, [{c["component"]: c for c in one["components"]} for one in (log, said)]


ZEROS = (
    "cpu  0 0 0 0 0 0 0 0 0 0\n" + "".join(f"cpu{i} 0 0 0 0 0 0 0 0 0 0\n" for i in range(CPUS)) + "intr 0\nctxt 0\n"
)
STATS = {
    "zeros": ZEROS,  # gVisor's
    "still": ZEROS.replace("cpu  0", "cpu  1000"),
    "columns missing": ZEROS.replace("cpu  0 0 0 0 0 0 0 0 0 0", "cpu  100 0 3"),
    "no line of all": ZEROS.partition("\n")[2],
    "cut short": "cpu  100 0 30 4",
    "no number": ZEROS.replace("cpu  0", "cpu  x"),
    "empty": "",
}


@pytest.mark.parametrize("stat", STATS.values(), ids=STATS)
def test_the_host_was_busy_at_least_as_long_as_its_job(tmp_path, env, stat):
    proc = proc_tree(tmp_path / "proc", cpus=CPUS)
    (proc / "stat").write_text(stat)
    log, said, both = burnt(tmp_path, env | {"GREENLLM_PROCFS": str(proc)})
    assert (log["partial"], said["partial"]) == (False, False)
    cpus = CPUS if stat.endswith("ctxt 0\n") else known(os.cpu_count())  # a list that is cut short is not used
    for found in both:
        terms = {t["parameter"].partition("@")[0]: t["coefficient"] for t in found["cpu"]["terms"]}
        # the model's busy time is all the job's, which gets its part of the host: as many of its processors as it used
        part = terms["cpu.idle_W_per_core"] / (cpus * log["duration_s"])
        assert terms["cpu.active_W_per_core"] == pytest.approx(part * log["cpu_s"], rel=0.15)
        assert part >= 0.9 / cpus
        assert "/proc/stat" in found["cpu"]["reason"]
        assert "busy" in found["cpu"]["reason"]


def test_a_host_whose_busy_time_is_told_has_no_reason_to_doubt_it(tmp_path, env):
    _, _, both = burnt(tmp_path, env)
    assert [found["cpu"]["reason"] for found in both] == [None, None]


def test_jobs_side_by_side_and_nested_make_the_host_busy_once(tmp_path, env):
    proc = proc_tree(tmp_path / "proc", cpus=CPUS)
    (proc / "stat").write_text(ZEROS)
    inner = [*GREENLLM, "meter", "--", sys.executable, "-S", "-c", BURN.format(seconds=0.5)]
    assert meter("--", *inner, env=env | {"GREENLLM_PROCFS": str(proc)}).returncode == 0
    result = attribute(tmp_path / "ledger")
    (device,) = (device for device in result.hosts[0].devices if device.component == "cpu")
    outer = max(known(job.cpu_s) for job in result.jobs)
    counted = {name.partition("@")[0]: c for name, c in device.counted().items()}
    assert counted["cpu.active_W_per_core"] == pytest.approx(outer, rel=0.05)


def test_memory_of_size_zero_is_unknown(tmp_path, env):
    proc = proc_tree(tmp_path / "proc", cpus=CPUS)
    for content in ("MemTotal:       0 kB\n", "MemTotal:", ""):
        (proc / "meminfo").write_text(content)
        done = meter("--out", tmp_path / "log.json", "--", "true", env=env | {"GREENLLM_PROCFS": str(proc)})
        assert done.returncode == 0, done.stderr
        log = json.loads((tmp_path / "log.json").read_text())
        (dram,) = (c for c in log["components"] if c["component"] == "dram")
        assert (dram["energy_J"], log["partial"]) == (None, True)
        assert "meminfo" in dram["reason"]


def test_a_boot_without_an_id_and_a_processor_without_a_name_stop_nothing(tmp_path, env):
    proc = proc_tree(tmp_path / "proc", cpus=CPUS)
    (proc / "sys/kernel/random/boot_id").write_text("")
    (proc / "cpuinfo").write_text("")
    log, said, both = burnt(tmp_path, env | {"GREENLLM_PROCFS": str(proc)}, seconds=0.1)
    assert log["boot_id"]
    assert said["id"] == log["id"]
    assert any("family unknown" in p["source"] for p in log["parameters"].values())
    assert both[1]["cpu"]["energy_J"]["value"] > 0


@pytest.mark.parametrize("count", [0, 12345.0])
def test_a_package_counter_that_stands_still_is_unknown_and_not_zero(tmp_path, env, count):
    PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: count)})
    log, said, both = burnt(tmp_path, env)
    for found in both:
        assert found["cpu"]["energy_J"] is None
        assert "stood still" in found["cpu"]["reason"]
    assert (log["partial"], said["partial"]) == (True, True)
    probed = subprocess.run([*GREENLLM, "probe", "--json"], env=env, capture_output=True, check=True)
    (package,) = (s for s in json.loads(probed.stdout)["sensors"] if s["component"] == "cpu")
    assert (package["power_W"], "stood still" in package["reason"]) == (None, True)


@pytest.mark.parametrize(("file", "content"), [("energy_uj", ""), ("energy_uj", "none"), ("energy_uj", "-1")])
def test_a_package_counter_that_says_no_number_is_modelled_with_the_reason(tmp_path, env, file, content):
    tree = PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: t)})
    (tree.file("intel-rapl:0").parent / file).write_text(content)
    _, _, both = burnt(tmp_path, env, seconds=0.1)
    for found in both:
        assert found["cpu"]["quality"] == "modelled"
        assert "energy_uj: no number" in found["cpu"]["reason"]


@needs_compiler
@pytest.mark.parametrize(
    ("gpu", "reason"),
    [
        (SimulatedGpu(low_W=50, high_W=50, tick_s=1e9, tick_phase=1e-9), "stood still"),  # 50 J or so for ever
        (SimulatedGpu(low_W=0, high_W=0, idle_W=0), "of 0"),
        (SimulatedGpu(low_W=0, high_W=0, idle_W=0, counter=0), "of 0"),
    ],
    ids=["a counter that stands still", "a counter of zero", "a power of zero"],
)
def test_a_card_that_says_nothing_is_unknown_and_not_zero(tmp_path, env, gpu, reason):
    environment = env | gpu_environment(compile_nvml(tmp_path), [gpu])
    done = meter("--gpus", 1, "--out", tmp_path / "log.json", "--", "sleep", "0.8", env=environment)
    assert done.returncode == 0, done.stderr
    log = json.loads((tmp_path / "log.json").read_text())
    said = attribute(tmp_path / "ledger").to_json()["jobs"][0]
    for one in (log, said):
        (card,) = (c for c in one["components"] if c["component"] == "gpu")
        assert (card["energy_J"], one["partial"]) == (None, True)
        assert reason in card["reason"]


@needs_compiler
def test_a_card_whose_counter_stays_zero_is_polled(tmp_path, env):
    gpu = SimulatedGpu(low_W=100, high_W=100, tick_s=1e9)
    environment = env | gpu_environment(compile_nvml(tmp_path), [gpu])
    done = meter("--gpus", 1, "--", "sleep", "0.8", env=environment)
    assert done.returncode == 0, done.stderr
    (job,) = attribute(tmp_path / "ledger").jobs
    (card,) = (c for c in job.components if c.component == "gpu")
    assert card.method == "nvml-power"
    assert known(card.energy).value == pytest.approx(100 * (job.attempt.last_s - job.attempt.first_s), rel=0.05)


WHOLE = b"7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 100 50 20 10 20 0 3 0 12345 0 0\n"


def test_a_process_that_is_told_only_in_part_is_passed_over():
    process = parse_process(WHOLE)
    assert (process.name, process.parent, process.threads, process.started) == ("a) b", 1, 3, 12345)
    for length in range(WHOLE.index(b"12345") + 5):
        with pytest.raises(ValueError, match="cut short"):
            parse_process(WHOLE[:length])
