"""Powercap zones that show one counter, and zones that only seem to: each joule counts once."""

import json
import subprocess

import pytest
from hardware.simulated import PowercapTree, clean_environment
from metering import GREENLLM, meter

from greenllm.attribution import attribute

DIES = ("package-0-die-0", "package-0-die-1", "package-0-die-2")


@pytest.fixture
def env(tmp_path):
    return clean_environment(tmp_path, GREENLLM_SYSFS=str(tmp_path / "sys"), GREENLLM_METER_INTERVAL_S="0.05")


def metered(tmp_path, env, zones):
    """Meter a second of sleep; return the log's components and what `greenllm attribute --json` says of the host."""
    with PowercapTree(tmp_path / "sys", zones).running():
        done = meter("--exclusive", "--out", tmp_path / "log.json", "--", "sleep", "1", env=env)
        assert (done.returncode, done.stderr) == (0, "")
        probed = subprocess.run([*GREENLLM, "probe", "--json"], env=env, capture_output=True, check=True)
        text = subprocess.run([*GREENLLM, "probe"], env=env, capture_output=True, text=True, check=True).stdout
    log = json.loads((tmp_path / "log.json").read_text())
    return log, json.loads(probed.stdout)["sensors"], text


def counted_J(component):
    """The energy that the device counted, of which the job got its share."""
    return component["energy_J"]["value"] / component["share"]


def test_dies_that_show_one_counter_count_once_with_a_word(tmp_path, env):
    zones = {f"intel-rapl:{2 * i}": (name, lambda t: 1e4 + 60 * t) for i, name in enumerate(DIES)}  # numbers have gaps
    log, sensors, text = metered(tmp_path, env, zones)
    result = attribute(tmp_path / "ledger")
    (job,) = result.jobs
    seconds = job.attempt.last_s - job.attempt.first_s
    for components in (log["components"], result.to_json()["jobs"][0]["components"]):
        (package,) = (c for c in components if c["component"] == "cpu")
        assert counted_J(package) == pytest.approx(60 * seconds, rel=0.05)
        assert package["reason"] == f"{' and '.join(DIES)} show one and the same counter: each joule counts once"
    assert not log["partial"]
    assert not job.partial
    (row,) = (row for row in result.device_totals(result.hosts[0]) if row.component == "cpu")
    assert row.counted_J == pytest.approx(60 * seconds, rel=0.05)
    assert len(row.notices) == 1
    packages = [s for s in sensors if s["component"] == "cpu"]
    assert [s["counted_with"] for s in packages] == [None, DIES[0], DIES[0]]
    assert [s["power_W"] is None for s in packages] == [False, True, True]
    assert f"{DIES[1]}: counted with {DIES[0]}" in text
    shown = subprocess.run(
        [*GREENLLM, "attribute", str(tmp_path / "ledger")], env=env, capture_output=True, text=True, check=True
    )
    assert "show one and the same counter: each joule counts once" in shown.stdout


@pytest.mark.parametrize(
    ("names", "counters"),
    [
        (DIES[:2], (lambda t: 60 * t, lambda t: 5e4 + 60 * t)),  # Cascade Lake-AP: each die has its own
        (DIES[:2], (lambda t: 60 * t, lambda t: 60 * t + 0.001)),
        (("package-0", "package-0"), (lambda t: 60 * t, lambda t: 5e4 + 60 * t)),  # two of one name
    ],
    ids=["far apart", "a millijoule apart", "of one name"],
)
def test_counters_of_their_own_all_count(tmp_path, env, names, counters):
    zones = {f"intel-rapl:{i}": (name, counter) for i, (name, counter) in enumerate(zip(names, counters, strict=True))}
    log, sensors, _ = metered(tmp_path, env, zones)
    result = attribute(tmp_path / "ledger")
    assert result.troubles == []
    (job,) = result.jobs
    seconds = job.attempt.last_s - job.attempt.first_s
    for components in (log["components"], result.to_json()["jobs"][0]["components"]):
        packages = [c for c in components if c["component"] == "cpu"]
        assert sum(map(counted_J, packages)) == pytest.approx(120 * seconds, rel=0.05)
        assert [c["reason"] for c in packages] == [None, None]
    assert all(s["power_W"] for s in sensors if s["component"] == "cpu")


def test_counters_that_began_alike_and_then_differ_both_count(tmp_path, env):
    """Both have the same count until the job works: equal first readings prove nothing."""
    moved = tmp_path / "moved"
    zones = {
        f"intel-rapl:{i}": (DIES[i], lambda t, watts=watts: 500.0 + (watts * t if moved.exists() else 0.0))
        for i, watts in enumerate((50, 60))
    }
    with PowercapTree(tmp_path / "sys", zones).running():
        assert meter("--", "sh", "-c", f"sleep 0.4; touch {moved}; sleep 0.4", env=env).returncode == 0
    result = attribute(tmp_path / "ledger")
    devices = {row.device for row in result.device_totals(result.hosts[0])}
    assert {*DIES[:2]} <= devices


def test_memory_that_two_dies_show_counts_once_and_mmio_is_no_second_package(tmp_path, env):
    zones = {
        "intel-rapl:0": (DIES[0], lambda t: 1e4 + 60 * t),
        "intel-rapl:0:0": ("dram", lambda t: 3e3 + 8 * t),
        "intel-rapl:1": (DIES[1], lambda t: 1e4 + 60 * t),
        "intel-rapl:1:0": ("dram", lambda t: 3e3 + 8 * t),
        "intel-rapl-mmio:0": (DIES[0], lambda t: 1e4 + 60 * t),
    }
    log, _, _ = metered(tmp_path, env, zones)
    (job,) = (result := attribute(tmp_path / "ledger")).jobs
    seconds = job.attempt.last_s - job.attempt.first_s
    rows = {row.device: row.counted_J for row in result.device_totals(result.hosts[0])}
    assert rows == {
        DIES[0]: pytest.approx(60 * seconds, rel=0.05),
        f"{DIES[0]}-dram": pytest.approx(8 * seconds, rel=0.05),
    }
    assert sum(map(counted_J, log["components"])) == pytest.approx(68 * seconds, rel=0.05)
