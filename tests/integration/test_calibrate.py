"""A sensor that counts wrongly, a correct external meter, and the calibration that later meters apply."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from hardware.simulated import PowercapTree, clean_environment
from metering import GREENLLM

from greenllm.attribution import attribute

GAIN, OFFSET_W = 1.25, 8.0
TOLERANCE = 0.1  # on a busy machine the simulated counter is late by some 10 ms, at every reading


def counted_J(t: float) -> float:
    """The package's counter: 20 W and 120 W in turn, 0.7 s each."""
    cycles, rest = divmod(t, 1.4)
    return 98.0 * cycles + 20.0 * min(rest, 0.7) + 120.0 * max(0.0, rest - 0.7)


def true_J(t: float) -> float:
    return GAIN * counted_J(t) + OFFSET_W * t


@pytest.fixture
def env(tmp_path):
    more = {
        "GREENLLM_SYSFS": str(tmp_path / "sys"),
        "GREENLLM_METER_INTERVAL_S": "0.05",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    return clean_environment(tmp_path, **more)


def greenllm(*arguments, env) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*GREENLLM, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def metered(folder: Path, seconds: float, env: dict) -> dict:
    done = greenllm("meter", "--ledger", folder, "--out", folder / "log.json", "--", "sleep", seconds, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads((folder / "log.json").read_text())


def package_J(folder: Path) -> tuple[float, float]:
    """The package's energy by attribution, and the true energy in the same time."""
    result = attribute(folder)
    (host,) = result.hosts
    (row,) = [row for row in result.device_totals(host) if row.device == "package-0"]
    times = host.attempts[0].columns["cpu/package-0.monotonic_s"]
    return row.counted_J, true_J(times[-1]) - true_J(times[0])


def test_a_later_run_is_right_and_its_log_names_the_calibration(tmp_path, env):
    tree = PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", counted_J)})
    with tree.running():
        began_s = time.monotonic()
        before = metered(tmp_path / "before", 6, env)
        ended_s = time.monotonic()

        wall_s = time.time() - time.monotonic()
        count = int((ended_s - began_s) / 0.02)
        times = [began_s + 0.02 * i for i in range(count)]
        rows = [f"{t + wall_s:.4f},{true_J(t) - true_J(began_s):.6f}" for t in times]
        readings = tmp_path / "meter.csv"
        readings.write_text("\n".join(["time,energy_J", *rows]) + "\n")
        arguments = ["calibrate", tmp_path / "before", readings, "--device", "package-0", "--lag", "0.5"]
        done = greenllm(*arguments, env=env)
        assert (done.returncode, done.stderr) == (0, "")

        after = metered(tmp_path / "after", 2, env)
        probed = json.loads(greenllm("probe", "--json", "--seconds", "0.1", env=env).stdout)

    uncalibrated, truth = package_J(tmp_path / "before")
    assert uncalibrated < 0.8 * truth
    calibrated, truth = package_J(tmp_path / "after")
    assert calibrated == pytest.approx(truth, rel=TOLERANCE)

    (stored,) = (tmp_path / "config/greenllm/calibration").glob("*.json")
    (calibration,) = json.loads(stored.read_text())["calibrations"]
    assert calibration["devices"][0]["gain"]["value"] == pytest.approx(GAIN, rel=TOLERANCE)
    (ledger,) = (tmp_path / "after").glob("*/*.jsonl")
    start = json.loads(ledger.read_text().splitlines()[0])
    (sensor,) = [s for s in start["sensors"] if s["device"] == "package-0"]
    names = [term["parameter"] for term in sensor["terms"]]
    assert len(names) == 2
    for parameters in (start["parameters"], after["parameters"]):
        for name in names:
            assert calibration["readings"]["sha256"] in parameters[name]["source"]
    assert not any("calibration" in p["source"] for p in before["parameters"].values())
    (row,) = [s for s in probed["sensors"] if s["device"] == "package-0"]
    assert any("meter.csv" in source for source in row["sources"])


def test_a_damaged_calibration_stops_no_job_and_is_told(tmp_path, env):
    PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", counted_J)})
    damaged = tmp_path / "damaged.json"
    damaged.write_text('{"schema": "greenllm/calibration/1", "host"')
    env |= {"GREENLLM_CALIBRATION": str(damaged)}
    log = metered(tmp_path / "ledger", 0.2, env)
    (component,) = [c for c in log["components"] if c["device"] == "package-0"]
    assert component["energy_J"] is not None
    assert str(damaged) in component["reason"]
    shown = greenllm("probe", "--seconds", "0.1", env=env).stdout
    assert f"not calibrated: {damaged}" in shown
