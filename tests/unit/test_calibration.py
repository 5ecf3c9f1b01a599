"""Gain and offset of sensors against an external meter: found, bounded, stored, applied."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hardware.ledgers import CPU_MODEL, PARAMETERS, RAPL, Host, attempt, gpu, piecewise, write_ledger
from hardware.simulated import BOOT_ID, proc_tree
from narrowing import known

from greenllm.attribution import attribute_attempts
from greenllm.attribution.calibration import CannotCalibrateError, Series, fit
from greenllm.cli import main
from greenllm.estimate import Estimate, Parameter
from greenllm.meter import calibration
from greenllm.meter.sensors import Counter, Sensor, Term

GAIN, OFFSET_W = 1.08, 12.0
CLOCK_S = 0.7  # the external clock is slow
HOST = os.uname().nodename
T0 = 1_000_000_000  # the ledgers' wall clock, where CLOCK_MONOTONIC is zero
SECONDS = 900


def random_load(seed: int, seconds: int = SECONDS, choices: tuple[float, ...] = (30.0, 100.0, 200.0, 300.0)):
    """Energy of a load that changes every 20 s."""
    powers = np.random.default_rng(seed).choice(choices, seconds // 20)
    powers[:2] = choices[0], choices[-1]
    return piecewise(np.arange(0, seconds + 1, 20.0), powers)


def noisy(energy_J: Callable, times: np.ndarray, seed: int, correlation: float = 0.0) -> Series:
    """An external meter's readings: the true energy and a noise of 5 W, correlated from second to second."""
    rng = np.random.default_rng(seed)
    noise_W = rng.normal(0, 5, len(times))
    for i in range(1, len(times)):
        noise_W[i] = correlation * noise_W[i - 1] + noise_W[i] * (1 - correlation**2) ** 0.5
    return Series(times, energy_J(times) + np.cumsum(noise_W))


@pytest.mark.parametrize("correlation", [0.0, 0.93], ids=["white noise", "slow noise"])
def test_the_bounds_hold_in_95_of_100_cases(correlation):
    held = np.zeros(3)
    cases = 120
    for seed in range(cases):
        load = random_load(seed)
        times = np.arange(0.0, SECONDS + 1)
        external = noisy(lambda t, load=load: GAIN * load(t + CLOCK_S) + OFFSET_W * t, times, seed, correlation)
        found = fit(external, {"card": Series(times, load(times))})
        truths = [(found.gains["card"], GAIN), (found.offset_W, OFFSET_W), (known(found.lag_s), CLOCK_S)]
        held += [interval.low <= truth <= interval.high for interval, truth in truths]
    # of 120 binomial cases at 0.95, fewer than 106 are one in 500
    assert (held >= 106).all(), held / cases


def test_the_external_meters_own_accuracy_widens_gain_and_offset():
    load, times = random_load(1), np.arange(0.0, SECONDS + 1)
    external = noisy(lambda t: GAIN * load(t) + OFFSET_W * t, times, 1)
    without, within_1_percent = (fit(external, {"d": Series(times, load(times))}, accuracy=a) for a in (0.0, 0.01))
    halves = [found.gains["d"].high - found.gains["d"].value for found in (without, within_1_percent)]
    assert halves[1] == pytest.approx(np.hypot(halves[0], 0.01 * GAIN), rel=0.01)


def test_a_sensor_that_averages_is_undone():
    """A power that is the mean over the last second, as of NVIDIA's cards, while the load has a period of 3 s."""
    load = piecewise(np.arange(0, 61.0, 1.5), np.where(np.random.default_rng(0).random(40) < 0.5, 70.0, 300.0))
    times = np.arange(1, 59, 0.1)
    power_W = (load(times) - load(times - 1)) / GAIN
    device = Series(times, np.concatenate([[0], np.cumsum(np.diff(times) * (power_W[1:] + power_W[:-1]) / 2)]))
    external = Series(times, load(times))
    naive = fit(external, {"card": device}, lags_s=(0, 2))
    found = fit(external, {"card": device}, averaging_s=1.0, lags_s=(-1, 1))
    assert found.gains["card"].value == pytest.approx(GAIN, rel=0.002)
    assert abs(naive.gains["card"].value - GAIN) > abs(found.gains["card"].value - GAIN)
    energy_J = found.energy_J({"card": device}, 10.0, 50.0)
    assert energy_J == pytest.approx(load(50.0) - load(10.0), rel=0.01)


@pytest.mark.parametrize(
    ("load", "until_s", "clock_s", "complaint"),
    [
        (lambda t: 100.0 * t, 900, 0.0, "does not vary enough"),
        (random_load(3), 60, 0.0, "record for longer"),
        (random_load(3), 900, 8.0, "clock"),
    ],
    ids=["steady", "short", "clocks 8 s apart"],
)
def test_what_does_not_determine_a_gain_is_refused(load, until_s, clock_s, complaint):
    times = np.arange(0.0, until_s + 1)
    external = noisy(lambda t: GAIN * load(t + clock_s) + OFFSET_W * t, times, 3)
    with pytest.raises(CannotCalibrateError, match=complaint):
        fit(external, {"card": Series(times, load(times))})


# ---- the command, on ledgers


@pytest.fixture
def stored(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "calibration.json"
    monkeypatch.setenv("GREENLLM_CALIBRATION", str(path))
    return path


def ledgers(folder: Path, host: Host) -> Path:
    """Two attempts that overlap, so that the device was read throughout."""
    for number, (first, last) in enumerate([(0, 500), (400, SECONDS)]):
        one = attempt(host, f"job{number}", np.arange(first, last + 1.0), lambda t: 0.5 * t)
        one.start.host = HOST
        for column in one.columns:
            if column.endswith(".monotonic_s"):  # a device is read a moment after the host
                one.columns[column] = one.columns[column] + 1e-4
        write_ledger(folder, one)
    return folder


def csv_of(path: Path, energy_J: Callable, column: str = "energy_J", unit_J: float = 1.0, step_s: float = 1.0) -> Path:
    """The external meter's file; its clock is the ledgers'."""
    times = np.arange(0.5, SECONDS, step_s)
    values = energy_J(times) / unit_J
    if column == "power_W":
        values = (energy_J(times + 1e-3) - energy_J(times - 1e-3)) / 2e-3
    moments = [datetime.fromtimestamp(T0 + t, UTC).isoformat() for t in times]
    path.write_text(f"time,{column}\n" + "".join(f"{m},{v!r}\n" for m, v in zip(moments, values.tolist(), strict=True)))
    return path


def package_host(seed: int = 5) -> tuple[Host, Callable]:
    load = random_load(seed)
    host = Host(counters={"package-0": lambda t: 1e6 * load(t)})
    return host, lambda t: GAIN * load(t) + OFFSET_W * t


@pytest.mark.parametrize(
    ("column", "unit_J", "step_s"),
    [("energy_J", 1.0, 1.0), ("energy_Wh", 3600.0, 1.0), ("energy_kWh", 3.6e6, 7.0), ("power_W", 1.0, 0.1)],
)
def test_gain_and_offset_are_found_from_any_quantity(tmp_path, stored, capsys, column, unit_J, step_s):
    host, truth = package_host()
    readings = csv_of(tmp_path / "meter.csv", truth, column, unit_J, step_s)
    folder = ledgers(tmp_path / "ledger", host)
    assert main(["calibrate", str(folder), str(readings), "--device", "package-0", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(stored.read_text())["calibrations"][0]
    (device,) = printed["devices"]
    assert device["gain"]["value"] == pytest.approx(GAIN, rel=0.005)
    assert printed["offset_W"]["value"] == pytest.approx(OFFSET_W, abs=1.0)
    assert printed["ledgers"] == ["job0", "job1"]
    assert printed["window_s"] == 10  # ten samples of the ledgers
    assert printed["readings"]["file"] == "meter.csv"


def test_what_the_meter_did_not_see_is_left_out(tmp_path, stored):
    host, truth = package_host()
    readings = csv_of(tmp_path / "meter.csv", truth, "power_W", step_s=0.1)
    lines = readings.read_text().splitlines(keepends=True)
    readings.write_text("".join(lines[:2000] + lines[4005:]))  # 200 s are missing, between a low and a high power
    assert main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), "--device", "package-0"]) == 0
    (found,) = json.loads(stored.read_text())["calibrations"]
    assert found["devices"][0]["gain"]["value"] == pytest.approx(GAIN, rel=0.005)


def test_an_energy_in_coarse_ticks_is_as_good(tmp_path, stored):
    host, truth = package_host()
    readings = csv_of(tmp_path / "meter.csv", lambda t: np.floor(truth(t) / 360) * 360)  # 0.1 Wh
    assert main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), "--device", "package-0"]) == 0
    (found,) = json.loads(stored.read_text())["calibrations"]
    assert found["devices"][0]["gain"]["value"] == pytest.approx(GAIN, rel=0.02)
    assert found["devices"][0]["gain"]["low"] <= GAIN <= found["devices"][0]["gain"]["high"]


def test_two_devices_behind_one_meter_get_a_gain_each(tmp_path, stored, capsys):
    package, card = random_load(1), random_load(2)
    host = Host(
        counters={"package-0": lambda t: 1e6 * package(t), "GPU-a": lambda t: 1e3 * card(t)},
        sensors=[RAPL, gpu("GPU-a")],
    )
    readings = csv_of(tmp_path / "wall.csv", lambda t: 1.1 * package(t) + 0.9 * card(t) + 40 * t)
    arguments = ["calibrate", str(ledgers(tmp_path / "l", host)), str(readings)]
    assert main([*arguments, "--device", "package-0", "--device", "GPU-a"]) == 0
    (found,) = json.loads(stored.read_text())["calibrations"]
    assert [d["gain"]["value"] for d in found["devices"]] == pytest.approx([1.1, 0.9], rel=0.01)
    assert found["offset_W"]["value"] == pytest.approx(40, abs=2)
    assert "base load" in capsys.readouterr().out
    sensor = package_sensor()
    calibration.apply([sensor])
    assert [term.of for term in sensor.terms] == ["counter"]  # the base load belongs to no device


def test_a_model_is_calibrated_as_a_whole(tmp_path, stored):
    busy = piecewise(np.arange(0, SECONDS + 1, 20.0), np.random.default_rng(0).uniform(0, 4, SECONDS // 20))
    host = Host(busy_s=busy, sensors=[CPU_MODEL])
    model = lambda t: 4 * 2.0 * np.asarray(t) + 5.0 * busy(t)  # noqa: E731
    readings = csv_of(tmp_path / "meter.csv", lambda t: 1.5 * model(t) + 3 * t)
    assert main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), "--device", "cpu"]) == 0
    found = json.loads(stored.read_text())["calibrations"][0]
    assert found["devices"][0]["gain"]["value"] == pytest.approx(1.5, rel=0.01)
    assert found["devices"][0]["parameters"] == {"cpu.idle": 2.0, "cpu.active": 5.0}

    parameters = {name: Parameter.from_json(PARAMETERS[name]) for name in ("cpu.idle", "cpu.active")}
    terms = [Term("cpu.idle", "time", 4.0), Term("cpu.active", "busy")]
    sensor = Sensor("cpu", "cpu", "cpu-model", "modelled", terms, parameters=parameters)
    calibration.apply([sensor])
    energy = energy_of(sensor, {"time": 100.0, "busy": 160.0})
    assert energy.value == pytest.approx(1.5 * (800 + 800) + 300, rel=0.005)
    assert energy.high - energy.value < 0.1 * energy.value  # it was ± 45 % and more


def test_ledgers_taken_with_a_calibration_give_the_same_again(tmp_path, stored, monkeypatch):
    host, truth = package_host()
    readings = csv_of(tmp_path / "meter.csv", truth)
    arguments = ["--device", "package-0"]
    assert main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), *arguments]) == 0
    first = json.loads(stored.read_text())["calibrations"]

    sensor = package_sensor()
    calibration.apply([sensor])
    described = asdict(sensor.record) | {"counter": RAPL["counter"]}
    host.sensors = [described]
    host.parameters = {name: parameter.to_json() for name, parameter in sensor.parameters.items()}
    calibrated = ledgers(tmp_path / "calibrated", host)
    assert main(["calibrate", str(calibrated), str(readings), *arguments]) == 0
    (second,) = json.loads(stored.read_text())["calibrations"]
    assert second["devices"] == first[0]["devices"]
    assert second["offset_W"] == first[0]["offset_W"]


def test_another_devices_calibration_is_kept(tmp_path, stored):
    host, truth = package_host()
    host.sensors = [RAPL, gpu("GPU-a")]
    host.counters["GPU-a"] = lambda t: host.counters["package-0"](t) / 1e3
    readings, folder = csv_of(tmp_path / "meter.csv", truth), str(ledgers(tmp_path / "l", host))
    for device in ("package-0", "GPU-a", "package-0"):
        assert main(["calibrate", folder, str(readings), "--device", device]) == 0
    names = [c["devices"][0]["device"] for c in json.loads(stored.read_text())["calibrations"]]
    assert names == ["GPU-a", "package-0"]


def test_columns_may_have_other_names_and_unix_times(tmp_path, stored):
    host, truth = package_host()
    times = np.arange(0.5, SECONDS)
    rows = "".join(f"a,{T0 + t},{truth(t) / 3600}\n" for t in times)
    (tmp_path / "plug.csv").write_text("plug,When,Total\n" + rows)
    arguments = ["calibrate", str(ledgers(tmp_path / "l", host)), str(tmp_path / "plug.csv"), "--device", "package-0"]
    assert main([*arguments, "--columns", "time=When,energy_Wh=Total"]) == 0
    (found,) = json.loads(stored.read_text())["calibrations"]
    assert found["devices"][0]["gain"]["value"] == pytest.approx(GAIN, rel=0.005)


ROWS = ["2001-09-09T01:46:41Z,5", "2001-09-09T01:46:42Z,6", "2001-09-09T01:46:43Z,7"]


@pytest.mark.parametrize(
    ("content", "more", "complaint"),
    [
        ("", [], "expected a header"),
        ("when,power_W\n1,2\n", [], "expected a header with time"),
        ("time,watts\n1,2\n", [], "one of power_W"),
        ("time,power_W,energy_J\n1,2,3\n", [], "say which"),
        ("time,power_W,power_W\n1,2,3\n", [], "'power_W' is there twice, as column 2 and column 3"),
        ("time,power_W\n", [], "two readings or more"),
        ("\n".join(["time,power_W", *ROWS[:2], "2001-09-09T01:46:43Z,many"]), [], "row 4: 'many' is no number"),
        ("\n".join(["time,power_W", *ROWS[:2], "2001-09-09T01:46:43Z"]), [], "row 4: '' is no number"),
        ("\n".join(["time,power_W", ROWS[0], "2001-09-09 01:46,6"]), [], "row 3: '2001-09-09 01:46' is no time"),
        ("\n".join(["time,power_W", *ROWS[:2], ROWS[0]]), [], "row 4: the time does not grow"),
        ("\n".join(["time,power_W", ROWS[0], ROWS[0]]), [], "row 3: the time does not grow"),
        ("\n".join(["time,energy_J", ROWS[1], ROWS[2].replace(",7", ",5")]), [], "row 3: the energy falls"),
        ("time,power_W\n1,2\n2,2\n", [], "no time in common"),
        ("\n".join(["time,power_W", *ROWS[:2], "2001-09-09T01:46:43Z,7 Wh"]), [], "row 4: .*Wh is a unit of energy"),
        ("\n".join(["time,power_W", *ROWS[:2], "2001-09-09T01:46:43Z,-7"]), [], "row 4: .*not negative"),
        ("\n".join(["time,power_W", *ROWS[:2], '2001-09-09T01:46:43Z,"1,234"']), [], "row 4: .*two ways"),
        *[
            ("\n".join([f"time,{name}", *ROWS]), ["--columns", f"power_W={name}"], f"says {said}, not W")
            for name, said in (("Power (mw)", "mw"), ("powerKW", "KW"), ("PowerMW", "mw"), ("P in kVA", "kVA"))
        ],
        ("\n".join(["time,P (kW) in W", *ROWS]), ["--columns", "power_W=P (kW) in W"], "says kW and W, not W"),
        (
            "\n".join(["time,P (kW)", *ROWS]),
            ["--columns", "power_W=P (kW)"],
            "says kW, not W: write --columns power_kW=",
        ),
        ("\n".join(["time,power_W", *ROWS]), [], "record for longer"),
        ("\n".join(["time,power_W", *ROWS]), ["--columns", "time=Zeit"], "no column 'Zeit'"),
        ("\n".join(["time,power_W", *ROWS]), ["--device", "package-7"], "no readable device 'package-7'.*package-0"),
        ("\n".join(["time,power_W", *ROWS]), ["--host", "elsewhere"], "'elsewhere'"),
    ],
)
def test_a_bad_file_is_told_in_one_line_and_nothing_is_stored(tmp_path, stored, capsys, content, more, complaint):
    host, _ = package_host()
    readings = tmp_path / "meter.csv"
    readings.write_text(content)
    folder = str(ledgers(tmp_path / "ledger", host))
    assert main(["calibrate", folder, str(readings), "--device", "package-0", *more]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert re.search(complaint, told)
    assert not stored.exists()


@pytest.mark.parametrize("columns", ["power_W=B,power_W=X", "time=A,power_W=B,time=A"])
def test_a_quantity_has_one_column(tmp_path, capsys, columns):
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", str(tmp_path), "meter.csv", "--device", "package-0", "--columns", columns])
    assert ended.value.code == 2
    assert f"is there twice in '{columns}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "cell", "more"),
    [
        ("power_kW", "{kW!r}", []),
        ("power_W", "{kW!r} kW", []),
        ("power_kW", "{W!r}W", []),
        ("Leistung in kW", "{kW!r}", ["--columns", "power_kW=Leistung in kW"]),
        ("powerKW", "{kW!r}", ["--columns", "power_kW=powerKW"]),
        ("Power (mw)", "{mW!r}", ["--columns", "power_mW=Power (mw)"]),
    ],
)
def test_an_external_meters_unit_stands_in_the_header_or_in_the_cells(tmp_path, stored, capsys, column, cell, more):
    host, truth = package_host()
    folder = str(ledgers(tmp_path / "l", host))
    header, *rows = csv_of(tmp_path / "watts.csv", truth, "power_W", step_s=0.1).read_text().splitlines()
    told = [(moment, float(watts)) for moment, watts in (row.split(",") for row in rows)]
    written = [f"{moment},{cell.format(W=watts, kW=watts / 1000, mW=watts * 1000)}" for moment, watts in told]
    (tmp_path / "other.csv").write_text("\n".join([header.replace("power_W", column), *written]))
    gains = []
    for name, options in (("watts.csv", []), ("other.csv", more)):
        arguments = ["calibrate", folder, str(tmp_path / name), "--device", "package-0", "--json", *options]
        assert main(arguments) == 0
        (device,) = json.loads(capsys.readouterr().out)["devices"]
        gains.append(device["gain"])
    assert gains[0] == pytest.approx(gains[1])


HEAD = '{"schema": "greenllm/calibration/1", "host": "HOST", "calibrations": '


@pytest.mark.parametrize(
    "content",
    [
        '{"schema": "greenllm/cal',
        "null",
        "[]",
        '{"a": 1}',
        '{"calibrations": [{}]}',
        HEAD.replace("HOST", "another") + "[]}",
        HEAD + "{}}",
        HEAD + "[3]}",
        HEAD + "[{}]}",
        HEAD + '[{"devices": [{}]}]}',
        HEAD + '[{"devices": [], "machine": 7}]}',
        HEAD + '[{"devices": [], "machine": {"processor": "x", "network_cards": [[]]}}]}',
    ],
)
def test_a_damaged_store_is_not_overwritten(tmp_path, stored, capsys, content):
    host, truth = package_host()
    content = content.replace("HOST", HOST)
    stored.write_text(content)
    readings = csv_of(tmp_path / "meter.csv", truth)
    assert main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), "--device", "package-0"]) == 2
    told = capsys.readouterr().err
    assert (told.count(str(stored)), told.count("\n")) == (1, 1)
    assert "--out" in told
    assert stored.read_text() == content


# ---- applied


def package_sensor(method: str = "rapl") -> Sensor:
    parameter = Parameter.from_json(PARAMETERS["rapl.gain"])
    terms = [Term("rapl.gain", "counter")]
    return Sensor("cpu", "package-0", method, "measured", terms, Counter(1e-6), parameters={"rapl.gain": parameter})


def energy_of(sensor: Sensor, grown: dict[str, float]) -> Estimate:
    return Estimate({t.parameter: t.factor * grown[t.of] for t in sensor.terms}, sensor.parameters)


def test_intervals_hold_at_every_power(tmp_path, stored):
    """Gain and offset are correlated, parameters independent: at any power of the calibration 95 % must still hold."""
    powers_W = np.array([30.0, 165.0, 300.0])
    held, cases = np.zeros(len(powers_W)), 60
    for seed in range(cases):
        host, truth = package_host(seed)
        times = np.arange(0.5, SECONDS)
        external = noisy(truth, times, seed)
        rows = "".join(f"{T0 + t!r},{e!r}\n" for t, e in zip(times.tolist(), external.values.tolist(), strict=True))
        (tmp_path / "meter.csv").write_text("time,energy_J\n" + rows)
        folder = str(ledgers(tmp_path / f"l{seed}", host))
        stored.unlink(missing_ok=True)
        assert main(["calibrate", folder, str(tmp_path / "meter.csv"), "--device", "package-0"]) == 0
        sensor = package_sensor()
        calibration.apply([sensor])
        for i, power_W in enumerate(powers_W):
            energy = energy_of(sensor, {"counter": power_W * 100, "time": 100.0})
            held[i] += energy.low <= (GAIN * power_W + OFFSET_W) * 100 <= energy.high
    assert (held >= 52).all(), held / cases


def test_the_source_is_named(tmp_path, stored):
    host, truth = package_host()
    readings = csv_of(tmp_path / "meter.csv", truth)
    main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), "--device", "package-0"])
    sensor = package_sensor()
    calibration.apply([sensor])
    assert sensor.reason is None
    (found,) = json.loads(stored.read_text())["calibrations"]
    for parameter in sensor.parameters.values():
        assert f"calibration of {found['made']} against meter.csv" in parameter.source
        assert found["readings"]["sha256"] in parameter.source


def test_a_calibration_is_for_its_method_and_parameters_only(tmp_path, stored):
    host, truth = package_host()
    folder, readings = ledgers(tmp_path / "l", host), csv_of(tmp_path / "meter.csv", truth)
    main(["calibrate", str(folder), str(readings), "--device", "package-0"])
    polled, renewed = package_sensor("polled"), package_sensor()
    renewed.parameters = {"rapl.gain": Parameter(1.02, 0.97, 1.07, "J/J", "a new default")}
    calibration.apply([polled, renewed])
    assert (polled.reason, polled.parameters["rapl.gain"].value) == (None, 1.0)
    assert renewed.parameters["rapl.gain"].value == 1.02
    assert "calibrate again" in known(renewed.reason)


@pytest.mark.parametrize("gap_s", [-50, 50], ids=["overlapping", "apart"])
def test_a_calibration_reaches_back_over_the_boots_ledgers(tmp_path, stored, gap_s):
    """One boot, one device: attempts before and after a calibration are counted alike."""
    host, truth = package_host()
    before = attempt(host, "before", np.arange(0, 101.0), lambda t: 0.5 * t)
    folder, readings = ledgers(tmp_path / "l", host), csv_of(tmp_path / "meter.csv", truth)
    main(["calibrate", str(folder), str(readings), "--device", "package-0"])
    sensor = package_sensor()
    calibration.apply([sensor])
    host.sensors = [asdict(sensor.record) | {"counter": RAPL["counter"]}]
    host.parameters = {name: parameter.to_json() for name, parameter in sensor.parameters.items()}
    first_s = 100 + gap_s
    after = attempt(host, "after", np.arange(first_s, first_s + 101.0), lambda t: 0.5 * t)
    result = attribute_attempts([before, after])
    (row,) = result.device_totals(result.hosts[0])
    true_J = truth(after.last_s) - truth(0) - (truth(first_s) - truth(100) if gap_s > 0 else 0)
    assert row.counted_J == pytest.approx(true_J, rel=1e-3)
    assert row.counted_J == pytest.approx(row.jobs_J + row.other_J + row.idle_J)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"schema": "greenllm/calibration/1"}',
        b'{"schema": "greenllm/calibration/2", "host": "HOST", "calibrations": []}',
        b'{"schema": "greenllm/calibration/1", "host": "another", "calibrations": []}',
        b'{"schema": "greenllm/calibration/1", "host": "HOST", "calibrations": [3]}',
        b'{"schema": "greenllm/calibration/1", "host": "HOST", "calibrations": [{"devices": [{}]}]}',
        b'{"schema": "greenllm/calibration/1", "host": "HOST", "calibrations": [{"devices": '
        b'[{"component": "cpu", "device": "package-0", "method": "rapl", "parameters": {"rapl.gain": 1}, '
        b'"gain": {"value": "x"}}], "made": "", "readings": {"file": "", "sha256": ""}}]}',
    ],
)
def test_a_damaged_calibration_leaves_the_sensor_uncalibrated_and_says_so(stored, content):
    stored.write_bytes(content.replace(b"HOST", HOST.encode()))
    sensor, unreadable = package_sensor(), Sensor("dram", "dram", "rapl", "measured", reason="only root may read it")
    calibration.apply([sensor, unreadable])
    assert [term.parameter for term in sensor.terms] == ["rapl.gain"]
    assert list(sensor.parameters) == ["rapl.gain"]
    assert sensor.parameters["rapl.gain"].value == 1.0
    assert "not calibrated" in known(sensor.reason)
    assert unreadable.reason == "only root may read it"


@pytest.mark.parametrize(
    ("of", "name", "value"),
    [
        ("gain", "value", -1.0),
        ("gain", "high", float("inf")),
        ("gain", "low", 10**400),
        ("offset_W", "value", float("nan")),
    ],
)
def test_a_number_that_cannot_be_leaves_the_sensor_uncalibrated(tmp_path, stored, of, name, value):
    host, truth = package_host()
    folder, readings = ledgers(tmp_path / "l", host), csv_of(tmp_path / "meter.csv", truth)
    main(["calibrate", str(folder), str(readings), "--device", "package-0"])
    record = json.loads(stored.read_text())
    (found,) = record["calibrations"]
    (found if of == "offset_W" else found["devices"][0])[of][name] = value
    stored.write_text(json.dumps(record))
    sensor = package_sensor()
    calibration.apply([sensor])
    assert sensor.parameters == package_sensor().parameters
    assert sensor.terms == package_sensor().terms
    assert "not calibrated" in known(sensor.reason)


def test_without_a_calibration_nothing_is_said(stored):
    sensor = package_sensor()
    calibration.apply([sensor])
    assert sensor.reason is None


# ---- two machines of one name


def be_machine(monkeypatch, folder: Path, processor: str, *cards: str) -> None:
    """Simulate a machine with this processor and these network cards; a bridge of containers is no identity."""
    proc_tree(folder / "proc", cpuinfo={"vendor_id": "AuthenticAMD", "model name": processor})
    for number, address in enumerate(["7e:00:00:00:00:01", *cards]):
        card = folder / f"sys/class/net/eth{number}"
        card.mkdir(parents=True)
        (card / "address").write_text(f"{address}\n")
        (card / "addr_assign_type").write_text("0\n")
        if number:
            (card / "device").mkdir()
    monkeypatch.setenv("GREENLLM_PROCFS", str(folder / "proc"))
    monkeypatch.setenv("GREENLLM_SYSFS", str(folder / "sys"))


@pytest.mark.parametrize(
    ("boot", "processor", "cards", "applied"),
    [
        (BOOT_ID, "EPYC 7763", ["00:16:3e:00:00:02", "00:16:3e:00:00:01"], True),
        (BOOT_ID, "EPYC 7763", [], True),  # a container with its own network
        (BOOT_ID, "EPYC 7763", ["00:16:3e:00:00:09"], False),
        (BOOT_ID, "EPYC 9654", [], False),
        ("another boot", "EPYC 9654", ["00:16:3e:00:00:09"], True),  # the machine of the ledgers is unknown
    ],
)
def test_a_calibration_is_for_its_machine_only(tmp_path, stored, monkeypatch, boot, processor, cards, applied):
    be_machine(monkeypatch, tmp_path / "one", "EPYC 7763", "00:16:3e:00:00:01")
    host, truth = package_host()
    host.boot_id = boot
    folder, readings = ledgers(tmp_path / "l", host), csv_of(tmp_path / "meter.csv", truth)
    assert main(["calibrate", str(folder), str(readings), "--device", "package-0"]) == 0

    be_machine(monkeypatch, tmp_path / "other", processor, *cards)
    sensor = package_sensor()
    calibration.apply([sensor])
    assert (sensor.parameters["rapl.gain"].value == 1.0) == (not applied)
    assert (sensor.reason is None) if applied else ("another machine" in known(sensor.reason))


def test_two_machines_of_one_name_keep_their_calibrations_in_one_file(tmp_path, stored, monkeypatch):
    host, truth = package_host()
    host.boot_id = BOOT_ID
    folder = str(ledgers(tmp_path / "l", host))
    gains = {"one": GAIN, "two": 0.9 * GAIN}
    for name, gain in gains.items():
        be_machine(monkeypatch, tmp_path / name, "EPYC 7763", f"address of {name}")
        readings = csv_of(tmp_path / f"{name}.csv", lambda t, gain=gain: gain / GAIN * truth(t))
        assert main(["calibrate", folder, str(readings), "--device", "package-0"]) == 0
    for name, gain in gains.items():
        monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path / name / "sys"))
        sensor = package_sensor()
        calibration.apply([sensor])
        assert sensor.parameters["rapl.gain"].value == pytest.approx(gain, rel=0.005)


def test_a_gpus_name_is_its_own_on_any_machine(tmp_path, stored, monkeypatch):
    be_machine(monkeypatch, tmp_path / "one", "EPYC 7763", "00:16:3e:00:00:01")
    host, truth = package_host()
    host.boot_id, host.sensors = BOOT_ID, [gpu("GPU-a")]
    host.counters["GPU-a"] = lambda t: host.counters["package-0"](t) / 1e3
    readings = csv_of(tmp_path / "meter.csv", truth)
    assert main(["calibrate", str(ledgers(tmp_path / "l", host)), str(readings), "--device", "GPU-a"]) == 0
    be_machine(monkeypatch, tmp_path / "two", "EPYC 9654", "00:16:3e:00:00:02")
    gain = Parameter.from_json(PARAMETERS["nvml.gain"])
    card = Sensor("gpu", "GPU-a", "nvml-energy-counter", "measured", [Term("nvml.gain", "counter")])
    card.parameters = {"nvml.gain": gain}
    calibration.apply([card])
    assert (card.reason, card.parameters["nvml.gain"].value) == (None, pytest.approx(GAIN, rel=0.005))
