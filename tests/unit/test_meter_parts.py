"""Parts of the meter, without a command: estimates, the ledger's format, sensors, leases."""

import json
import math
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hardware.simulated import proc_tree
from hypothesis import given
from hypothesis import strategies as st
from narrowing import known

from greenllm.estimate import Estimate, Parameter, ratio, total
from greenllm.ledger.file import HOST_COLUMNS, LedgerWriter, counter_columns, parse_ledger, read_ledger
from greenllm.meter.gpus import visible
from greenllm.meter.process_tree import ProcessTree
from greenllm.meter.provisional import Provisional
from greenllm.meter.sampler import Sampler
from greenllm.meter.sensors import Counter, Gauge, Sensor, SensorError, Term, cpu_model, dram_model, external, rapl
from greenllm.meter.sensors.nvml import Gpu

PARAMETERS = {
    "a": Parameter(2.0, 1.0, 4.0, "W", "test"),
    "b": Parameter(10.0, 7.0, 14.0, "W", "test"),
}


def estimate(**terms: float) -> Estimate:
    return Estimate(terms, PARAMETERS)


def test_independent_deviations_add_in_quadrature_and_common_ones_straight():
    both = estimate(a=3.0) + estimate(b=1.0)
    assert both.value == 16
    assert both.low == pytest.approx(16 - math.hypot(3, 3))
    assert both.high == pytest.approx(16 + math.hypot(6, 4))
    twice = total([estimate(a=1.0), estimate(a=2.0)])
    assert (twice.value, twice.low, twice.high) == (6, 3, 12)
    assert estimate(a=3.0).scaled(2).interval() == (12, 6, 24)


def test_a_ratio_keeps_only_what_the_two_do_not_share():
    assert ratio(estimate(a=3.0, b=6.0), estimate(a=1.0, b=2.0)) == pytest.approx((3.0, 3.0, 3.0))
    apart = ratio(estimate(a=1.0), estimate(b=1.0))
    assert apart.value == pytest.approx(0.2)
    assert apart.low < 0.1 + 1e-9
    assert apart.high > 0.4 - 1e-9
    with pytest.raises(ZeroDivisionError):
        ratio(estimate(a=1.0), estimate(a=0.0))


START = {"record": "start", "columns": ["monotonic_s", "wall_s", "cpu_s"]}


@given(st.data())
def test_a_ledger_cut_anywhere_keeps_all_lines_before(data):
    rows = data.draw(
        st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), max_size=6)
    )
    content = "".join(json.dumps(line) + "\n" for line in [START, *rows]).encode()
    first = content.index(b"\n") + 1
    cut = data.draw(st.integers(first, len(content)))
    whole = content[:cut].count(b"\n") - 1
    ledger = parse_ledger(Path("x"), content[:cut])
    assert ledger.start == START
    assert ledger.samples[:whole] == rows[:whole]
    assert len(ledger.samples) - whole in (0, 1)  # a line whose newline alone is missing still counts


def test_damaged_lines_are_left_out_and_named():
    lines = [
        json.dumps(START),
        "[1,2,3]",
        "[1,2",
        '{"record":"what"}',
        "[1,2,3,4]",
        '[1,"x",3]',
        "[4,5,null]",
        "garbage",
    ]
    ledger = parse_ledger(Path("x"), "\n".join(lines).encode())
    ledger.drop_damaged_samples()
    assert ledger.samples == [[1, 2, 3], [4, 5, None]]
    assert [number for number in sorted(ledger.corrupt_lines) if number] == [3, 4, 8]
    assert len(ledger.corrupt_lines) == 5


def test_a_ledger_is_locked_while_its_writer_has_it_open(tmp_path):
    path = tmp_path / "node/id.jsonl"
    writer = LedgerWriter(path)
    writer.write(START, sync=True)
    assert read_ledger(path)[0].locked
    writer.close()
    assert not read_ledger(path)[0].locked


@pytest.mark.parametrize(
    ("fields", "family"),
    [
        ({"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17"}, "EPYC 4th Gen"),
        ({"vendor_id": "AuthenticAMD", "cpu family": "23", "model": "49"}, "EPYC 2nd Gen"),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "model": "85", "stepping": "4"}, "Skylake"),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "model": "85", "stepping": "7"}, "Cascade Lake"),
        ({"vendor_id": "GenuineIntel", "cpu family": "6", "model": "143"}, "Sapphire Rapids"),
        ({"CPU implementer": "0x41"}, None),
    ],
)
def test_processor_families_are_told_by_their_numbers(fields, family):
    assert cpu_model.family_of(fields) == family


@pytest.mark.parametrize("model", ["17", "999"])
def test_modelled_power_is_labelled_and_its_interval_is_wide(tmp_path, monkeypatch, model):
    fields = {"vendor_id": "AuthenticAMD", "cpu family": "25", "model": model}
    monkeypatch.setenv("GREENLLM_PROCFS", str(proc_tree(tmp_path / "proc", cpus=8, cpuinfo=fields)))
    (cpu,), (dram,) = cpu_model.find(), dram_model.find()
    full_load = Estimate({term.parameter: 8.0 for term in cpu.terms}, cpu.parameters)  # 8 processors for a second
    assert (cpu.quality, dram.quality) == ("modelled", "modelled")
    assert [term.factor for term in cpu.terms] == [8, 1]
    assert full_load.high / full_load.low > 2
    assert all(parameter.source for s in (cpu, dram) for parameter in s.parameters.values())
    assert dram.terms[0].factor == pytest.approx(16)
    unknown = any("unknown" in parameter.source for parameter in cpu.parameters.values())
    assert unknown == (model == "999")


GPUS = [Gpu(0, "GPU-aa11", "x"), Gpu(1, "GPU-bb22", "x"), Gpu(2, "GPU-bb33", "x")]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        ("GPU-aa,1", [0, 1]),
        ("GPU-bb,0", []),  # not unique: CUDA takes nothing from there on
        ("1,-1,0", [1]),
        ("1,7,0", [1]),
    ],
)
def test_visible_gpus_follow_cudas_rules(allowed, expected):
    assert [gpu.index for gpu in visible(GPUS, allowed)] == expected


def test_the_documented_sensor_works_as_it_is(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/how-to/add-a-sensor.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 30
    names: dict = {}
    exec(code, names)
    monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path))
    assert names["find"]() == []
    chip = tmp_path / "class/hwmon/hwmon3"
    chip.mkdir(parents=True)
    (chip / "energy1_input").write_text("12500000\n")
    (chip / "energy1_label").write_text("board\n")
    (chip / "energy2_input").write_text("no counter\n")
    board, broken = names["find"]()
    assert (board.device, board.read() * board.counter.unit_J) == ("hwmon3-board", 12.5)
    assert [(term.of, term.factor) for term in board.record.terms] == [("counter", 1.0)]
    assert "energy2_input" in broken.reason
    assert not broken.terms
    (chip / "energy1_input").unlink()
    with pytest.raises(SensorError, match="energy1_input"):
        board.read()


def test_watts_are_integrated_by_the_trapezoidal_rule_but_not_over_a_long_silence():
    integral = external.Integral()
    assert integral.watts(10, 100, now_s=10) == 0
    assert integral.watts(20, 200, now_s=21) == 1500 + 200  # the last power holds up to now
    assert integral.watts(22, 0, now_s=22) == 1500 + 200
    assert integral.watts(23, 50, now_s=23) == 1500 + 200 + 25
    again_s = 23 + external.SILENT_S + 1
    anew_J = integral.watts(again_s, 50, now_s=again_s)
    assert anew_J == 1725 - external.FALL_J  # what was used meanwhile is unknown
    assert integral.watts(again_s + 1, 50, now_s=again_s + 1) == anew_J + 50


@pytest.mark.parametrize(("variable", "silent_s"), [("WATTS", 120.0), ("JOULES", None)])
def test_the_ledger_says_how_long_a_power_from_outside_may_be_silent(tmp_path, monkeypatch, variable, silent_s):
    source = tmp_path / "meter"
    source.write_text("12.5\n")
    monkeypatch.setenv(f"GREENLLM_PLATFORM_{variable}", str(source))
    (sensor,) = external.find()
    written = asdict(sensor.record)
    assert written["counter"]["silent_s"] == silent_s
    assert "read" not in written


def test_an_outside_counter_wraps_where_it_says_so_and_else_was_reset():
    counts = [990.0, 995.0, 5.0, 7.0]
    anew = [0, 5, 5 - external.FALL_J, 7 - external.FALL_J]
    for wrap_J, grown in [(1000.0, [0, 5, 15, 17]), (4294967296.0, anew), (None, anew)]:
        integral = external.Integral(wrap_J)
        assert [integral.joules(when_s, count) for when_s, count in enumerate(counts)] == grown


def test_a_slow_command_whose_counter_wraps_early_is_counted_or_unknown_but_never_zero():
    integral = external.Integral(wrap_J=65536.0)
    told_J = [integral.joules(when_s, count) for when_s, count in [(0, 0.0), (10, 3000.0), (20, 6000.0), (80, 5000.0)]]
    assert told_J[:3] == [0, 3000, 6000]
    assert told_J[3] < 0


def test_importing_the_meter_imports_nothing_heavy():
    heavy = ("numpy", "torch", "pandas", "pydantic", "pynvml")
    code = f"import greenllm.meter.command_runner, sys; print(*(set({heavy}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


RAPL = Counter(unit_J=1e-6, wrap=262_143_328_850.0, max_W=800.0)
INTEGRAL = Counter(unit_J=1.0, shared=False)  # of power from outside


@pytest.mark.parametrize(
    ("counter", "readings", "energy_J", "coverage", "reason"),
    [
        (RAPL, [(0, 262_143e6), (1, 262_143e6 + 50e6 - known(RAPL.wrap)), (2, 100e6 - 328_850)], 100, 1, None),
        (RAPL, [(0, 100e9), (1, 100.05e9), (2, 20e6), (3, 70e6)], 100, 2 / 3, "was reset"),
        (RAPL, [(0, 0.0), (1, 50e6), (2, 5050e6), (3, 5100e6)], 100, 2 / 3, "was reset"),
        (RAPL, [(0, 0.0), (1, 50e6), (1000, 100e6), (1001, 150e6)], 100, 2 / 1001, "wrapped more than once"),
        (RAPL, [(0, 100e9), (1, 20e6)], None, 0, "was reset"),
        (INTEGRAL, [(0, 0.0), (1, 50.0), (2, 10.0), (3, 60.0)], 100, 2 / 3, "silent"),
        (INTEGRAL, [(0, 0.0), (1, 50.0), (2, None), (900, 50.0), (901, 100.0)], 100, 2 / 901, "silent"),
    ],
)
def test_where_it_is_unknown_how_far_a_counter_went_nothing_is_counted(counter, readings, energy_J, coverage, reason):
    gain = Parameter(1.0, 0.95, 1.05, "J/J", "test")
    method = "rapl" if counter is RAPL else "watts-command"
    sensor = Sensor(
        "platform", "device", method, "measured", [Term("gain", "counter")], counter, parameters={"gain": gain}
    )
    columns = [*HOST_COLUMNS, *counter_columns("platform", "device")]
    provisional = Provisional([sensor], columns, [], cpus=4, reserved_cpus=4, job_id="x")
    for t, raw in readings:
        provisional.add([t, t, 4 * t, 0, 4 * t, t, raw])
    (component,) = provisional.components("host", readings[-1][0], [], {}, {})
    assert (component.energy and component.energy.value) == (energy_J and pytest.approx(energy_J, rel=1e-6))
    assert component.coverage == pytest.approx(coverage)
    assert (component.reason is None) if reason is None else (reason in known(component.reason))


@pytest.mark.parametrize(("mean_s", "least_J"), [(0.0, 10), (1.0, 150)])
def test_a_log_says_how_late_a_power_is_that_is_the_mean_of_a_second(mean_s, least_J):
    gain = Parameter(1.0, 1.0, 1.0, "J/J", "test")
    sensor = Sensor("gpu", "GPU-a", "nvml-power", "measured", [Term("gain", "counter")], parameters={"gain": gain})
    sensor.gauge = Gauge(unit_W=1.0, mean_s=mean_s)
    provisional = Provisional([sensor], [*HOST_COLUMNS, *counter_columns("gpu", "GPU-a")], ["GPU-a"], 4, 1, job_id="x")
    for t, watts in [(0, 70.0), (1, 400.0), (2, 400.0)]:
        provisional.add([t, t, 0, 0, 0, t, watts])
    (component,) = provisional.components("host", 2, [], {}, {})
    energy = known(component.energy)
    assert least_J < energy.high - energy.value < 2.5 * max(least_J, 100)


def test_a_counter_that_says_no_range_to_wrap_at_is_not_read(tmp_path, monkeypatch):
    zone = tmp_path / "class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in [("name", "package-0"), ("energy_uj", "5"), ("max_energy_range_uj", "0")]:
        (zone / name).write_text(f"{text}\n")
    monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path))
    (sensor,) = rapl.find()
    assert (sensor.terms, "max_energy_range_uj" in (sensor.reason or "")) == ([], True)


@pytest.mark.parametrize("raw", [math.nan, math.inf, None, "12 W"])
def test_a_sensor_that_says_no_number_is_told_and_ends_no_watch(raw):
    gain = Parameter(1.0, 0.9, 1.1, "J/J", "test")
    broken = Sensor("platform", "odd", "odd", "measured", [Term("gain", "counter")], Counter(1.0))
    broken.parameters = {"gain": gain}
    broken.read = lambda: raw
    sampler = Sampler([broken], [], ProcessTree())
    (row,) = sampler.sample()
    assert row[-1] is None
    assert sampler.troubles["odd"]
