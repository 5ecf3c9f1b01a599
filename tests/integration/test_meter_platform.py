"""Platform power from outside the host, around real commands: files and programs that report joules or watts."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hardware.simulated import clean_environment
from metering import GREENLLM, meter
from narrowing import known

from greenllm.meter.sensors import SensorError, external

# A shell's function that waits until the meter has taken two more samples.
SAMPLED = """
ledger=$(echo $GREENLLM_LEDGER/*/$GREENLLM_METER_ID.jsonl)
samples() { grep -c '^\\[' $ledger; }
sampled() { last=$(($(samples) + 2)); while [ $(samples) -lt $last ]; do sleep 0.02; done; }
""".strip()
BURNS = f"{sys.executable} -c 'import time; [0 for _ in iter(lambda: time.process_time() < 0.4, False)]'"


@pytest.fixture
def env(tmp_path):
    return clean_environment(tmp_path, GREENLLM_METER_INTERVAL_S="0.05")


def metered(tmp_path: Path, script: str, env: dict[str, str]) -> dict:
    """Run a shell script under the meter; return its energy log."""
    log = tmp_path / "log.json"
    done = meter("--exclusive", "--out", log, "--", "sh", "-c", script, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(log.read_text())


def platform(log: dict) -> dict:
    (component,) = (c for c in log["components"] if c["component"] == "platform")
    return component


def attributed(tmp_path: Path) -> dict:
    command = [*GREENLLM, "attribute", str(tmp_path / "ledger"), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def counted_J(tmp_path: Path) -> float:
    (host,) = attributed(tmp_path)["hosts"]
    (device,) = (d for d in host["devices"] if d["component"] == "platform")
    return device["counted_J"]


def processes(word: str) -> list[int]:
    """The live processes that have a word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def until(condition) -> None:
    """Wait until a condition is true; fail if it never is."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


def test_joules_of_a_file_are_the_platforms_and_stand_apart(tmp_path, env):
    outlet = tmp_path / "outlet"
    outlet.write_text("1000.0 J\n")
    env |= {"GREENLLM_PLATFORM_JOULES": str(outlet), "GREENLLM_PLATFORM_TOLERANCE": "0.02 data sheet, class 2"}
    log = metered(tmp_path, f"echo 1250.5 J > {outlet}; sleep 0.3", env)
    assert counted_J(tmp_path) == pytest.approx(250.5, rel=0.01)
    component = platform(log)
    assert (component["quality"], component["method"], component["reason"]) == ("measured", "joules-file", None)
    bounds = component["energy_J"]
    assert bounds["high"] / bounds["value"] == pytest.approx(1.02)
    (gain,) = (p for name, p in log["parameters"].items() if name.startswith("external.gain"))
    assert gain["source"] == "data sheet, class 2"
    summed = sum(c["energy_J"]["value"] for c in log["components"] if c["component"] in ("cpu", "dram", "gpu"))
    assert log["energy_J"]["value"] == pytest.approx(summed)


def test_a_wrap_around_is_told_from_a_reset(tmp_path, env):
    outlet = tmp_path / "outlet"
    outlet.write_text("990")
    env |= {"GREENLLM_PLATFORM_JOULES": str(outlet), "GREENLLM_PLATFORM_WRAP_J": "1000"}
    metered(tmp_path, f"echo 15 > {outlet}; sleep 0.3", env)
    assert counted_J(tmp_path) == pytest.approx(25, rel=0.01)


def test_a_reset_is_told_from_a_wrap_around(tmp_path, env):
    outlet = tmp_path / "outlet"
    outlet.write_text("10000")
    env |= {"GREENLLM_PLATFORM_JOULES": str(outlet), "GREENLLM_PLATFORM_WRAP_J": str(2**32)}
    log = metered(tmp_path, f"{SAMPLED}; sampled; echo 0 > {outlet}; sampled; echo 25 > {outlet}; sampled", env)
    component = platform(log)
    assert counted_J(tmp_path) == pytest.approx(25, rel=0.01)
    assert component["energy_J"]["value"] < 25.25  # the job's part of it
    assert 0 < component["coverage"] < 1
    assert "was reset" in component["reason"]


def test_a_file_that_the_kernel_makes_on_reading_is_never_stale(tmp_path, env):
    """/proc/uptime counts seconds: the energy of a host that draws one watt."""
    uptime = {"GREENLLM_PLATFORM_JOULES": "/proc/uptime", "GREENLLM_PLATFORM_KEY": "1"}  # the other is idle time
    log = metered(tmp_path, "sleep 0.5", env | uptime)
    assert counted_J(tmp_path) == pytest.approx(log["duration_s"], abs=0.1)


def test_watts_of_a_slow_command_are_integrated_and_its_work_is_not_the_jobs(tmp_path, env):
    runs, bell = tmp_path / "runs", tmp_path / "bell"
    os.mkfifo(bell)
    command = f"echo x >> {runs}; {BURNS}; [ $(wc -l < {runs}) -lt 4 ] || echo > {bell}; echo 220 Watts"
    log = metered(tmp_path, f"read line < {bell}", env | {"GREENLLM_PLATFORM_WATTS": f"!{command}"})
    component = platform(log)
    assert component["method"] == "watts-command"
    watched_s = component["coverage"] * log["duration_s"]
    assert watched_s > 0
    assert counted_J(tmp_path) == pytest.approx(220 * watched_s, rel=0.01)
    assert len(runs.read_text().split()) * 0.4 > 1.5  # CPU seconds, of which the job used none
    assert log["cpu_s"] < 0.2


def test_joules_of_a_command(tmp_path, env):
    runs, bell = tmp_path / "runs", tmp_path / "bell"
    os.mkfifo(bell)
    # Each run adds 7 J. When the fourth lets the job go on, the answers to the first three have been read.
    command = f"echo x >> {runs}; n=$(wc -l < {runs}); [ $n -ne 4 ] || echo > {bell}; echo $((n * 7))"
    log = metered(tmp_path, f"read line < {bell}; sleep 0.3", env | {"GREENLLM_PLATFORM_JOULES": f"!{command}"})
    assert platform(log)["method"] == "joules-command"
    runs_J = 7 * len(runs.read_text().split())
    assert 14 <= counted_J(tmp_path) <= runs_J


def test_a_command_that_hangs_holds_nothing_up_and_leaves_nothing_behind(tmp_path, env):
    word = f"9{os.getpid()}.25"
    log = metered(tmp_path, "true", env | {"GREENLLM_PLATFORM_WATTS": f"!sleep {word} & sleep {word}"})
    component = platform(log)
    assert component["energy_J"] is None
    assert "GREENLLM_PLATFORM_WATTS" in component["reason"]
    assert log["partial"]
    until(lambda: not processes(word))


def test_a_killed_meter_takes_the_command_along(tmp_path, env):
    word = f"8{os.getpid()}.25"
    command = f"(setsid sleep {word} &) ; sleep {word}"
    running = subprocess.Popen(
        [*GREENLLM, "meter", "--", "sh", "-c", "read line"],
        env=env | {"GREENLLM_PLATFORM_WATTS": f"!{command}"},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: len(processes(word)) == 2)
    running.kill()
    running.communicate()
    until(lambda: not processes(word))
    until(lambda: not processes(command))  # its reader


def test_signals_to_the_jobs_group_do_not_reach_the_command(tmp_path, env):
    runs, bell = tmp_path / "runs", tmp_path / "bell"
    os.mkfifo(bell)
    command = f"echo x >> {runs}; [ $(wc -l < {runs}) -lt 4 ] || echo > {bell}; echo 100"
    running = subprocess.Popen(
        [*GREENLLM, "meter", "--out", str(tmp_path / "log.json"), "--", "sh", "-c", f"trap '' INT; read l < {bell}"],
        env=env | {"GREENLLM_PLATFORM_WATTS": f"!{command}"},
        process_group=0,
    )
    until(runs.exists)
    os.killpg(running.pid, signal.SIGINT)
    running.wait(timeout=60)
    assert platform(json.loads((tmp_path / "log.json").read_text()))["energy_J"]["value"] > 0


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"JOULES": "/nowhere/outlet"}, "No such file"),
        ({"JOULES": "/dev/null"}, "no number"),
        ({"JOULES": "/proc/uptime", "WATTS": "!echo 1"}, "both set"),
        ({"JOULES": "/proc/uptime", "TOLERANCE": "5 %"}, "TOLERANCE=5 %"),
        ({"JOULES": "/proc/uptime", "WRAP_J": "-1"}, "WRAP_J=-1"),
    ],
)
def test_a_bad_setting_is_told_and_stops_no_job(tmp_path, env, settings, reason):
    env |= {f"GREENLLM_PLATFORM_{name}": value for name, value in settings.items()}
    component = platform(metered(tmp_path, "true", env))
    assert component["energy_J"] is None
    assert reason in component["reason"]
    done = subprocess.run([*GREENLLM, "probe"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert reason in done.stdout


def test_a_file_that_is_no_longer_written_is_not_read_on_and_on(tmp_path, monkeypatch):
    outlet = tmp_path / "outlet"
    outlet.write_text("220 W\n")
    monkeypatch.setenv("GREENLLM_PLATFORM_WATTS", str(outlet))
    (sensor,) = external.find()
    known(sensor.read)()
    os.utime(outlet, (0, 0))
    with pytest.raises(SensorError, match="not written for"):
        known(sensor.read)()
    outlet.write_text("230 W\n")
    assert known(sensor.read)() >= 0


def test_a_files_power_is_that_of_when_it_was_written(tmp_path, monkeypatch):
    outlet = tmp_path / "outlet"
    outlet.write_text("220 W\n")
    monkeypatch.setenv("GREENLLM_PLATFORM_WATTS", str(outlet))
    (sensor,) = external.find()
    wall_s = time.time()
    os.utime(outlet, (wall_s - 100, wall_s - 100))
    assert known(sensor.read)() == pytest.approx(220 * 100, rel=0.05)  # it holds up to now
    outlet.write_text("320 W\n")
    assert known(sensor.read)() == pytest.approx((220 + 320) / 2 * 100, rel=0.05)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo 42; echo could not open the device >&2; exit 3", "exit status 3: could not open the device"),
        ("no-such-program", "exit status 127"),
        ("echo nothing to say", "no number in 'nothing to say'"),
        ("kill -9 $PPID", "was ended"),
    ],
)
def test_why_a_command_gave_no_reading(monkeypatch, command, reason):
    monkeypatch.setenv("GREENLLM_PLATFORM_WATTS", f"!{command}")
    (sensor,) = external.find()
    said = ""

    def has_answered() -> bool:
        nonlocal said
        with pytest.raises(SensorError) as caught:
            known(sensor.read)()
        said = str(caught.value)
        return "no answer yet" not in said

    until(has_answered)
    assert reason in said


def test_a_meter_inside_a_meter_leaves_the_command_to_the_outer_one(tmp_path, env):
    runs, bell = tmp_path / "runs", tmp_path / "bell"
    os.mkfifo(bell)
    command = f"echo $PPID >> {runs}; [ $(wc -l < {runs}) -lt 3 ] || echo > {bell}; echo 100"
    inner_log = tmp_path / "inner.json"
    inner = " ".join([*GREENLLM, "meter", "--out", str(inner_log), "--", "sh", "-c", f"'read line < {bell}'"])
    outer = platform(metered(tmp_path, inner, env | {"GREENLLM_PLATFORM_WATTS": f"!{command}"}))
    assert len(set(runs.read_text().split())) == 1  # one reader
    assert outer["energy_J"]["value"] > 0
    nested = platform(json.loads(inner_log.read_text()))
    assert nested["energy_J"] is None
    assert "the meter around this one" in nested["reason"]


ONE_LINE = [
    ("WATTS", "0.123 kW", None, 123),
    ("WATTS", "250mW", None, 0.25),
    ("WATTS", '{"id":0,"apower":123.4}', "apower", 123.4),
    ("WATTS", "PSU1 88 W, PSU2 90 W", "PSU2", 90),
    ("JOULES", "2.5 kWh", None, 9e6),
    ("WATTS", '{"x":{"power":0.12},"unit":"kW"}', "x.power", 120),
    ("WATTS", 'plug_watts{relay="0"} 123.4', "plug_watts", 123.4),
]
REFUSED = [
    ("WATTS", '{"id":0,"apower":123.4}', None, "several numbers"),
    ("WATTS", "12 345 W", "1", "a blank may separate thousands"),
    ("WATTS", '{"power_mw":120000}', "power_mw", "power_mw: 120000 mw: expected a unit of power"),
    ("WATTS", "power_factor: 0.98", None, "may be no measured power"),
    ("WATTS", '{"apower":null}', "apower", "GREENLLM_PLATFORM_KEY=apower names no number"),
    ("WATTS", "1.5 kWh", None, "kWh is a unit of energy"),
    ("JOULES", "220 W", None, "W is a unit of power"),
    ("WATTS", "-5 W", None, "not negative"),
    ("WATTS", "connection refused, error: 111", None, "111 has no unit"),
    ("WATTS", "", None, "no number"),
]


@pytest.mark.parametrize("through", ["file", "command"])
@pytest.mark.parametrize(("variable", "text", "key", "number"), ONE_LINE)
def test_a_reading_is_read_with_its_unit(tmp_path, env, through, variable, text, key, number):
    (tmp_path / "said").write_text(text)
    source = str(tmp_path / "said") if through == "file" else f"!cat {tmp_path / 'said'}"
    env |= {f"GREENLLM_PLATFORM_{variable}": source} | ({"GREENLLM_PLATFORM_KEY": key} if key else {})
    done = subprocess.run([*GREENLLM, "probe", "--json"], env=env, capture_output=True, check=True, timeout=60)
    (sensor,) = (s for s in json.loads(done.stdout)["sensors"] if s["component"] == "platform")
    expected_W = 0 if variable == "JOULES" else number  # the counter does not move
    assert sensor["power_W"]["value"] == pytest.approx(expected_W, rel=0.05)
    if variable == "JOULES" and through == "file":
        metered(tmp_path, "true", env)
        (ledger,) = (tmp_path / "ledger").glob("*/*.jsonl")
        start, first = (json.loads(line) for line in ledger.read_text().splitlines()[:2])
        assert first[start["columns"].index("platform/external.raw")] == pytest.approx(number)


@pytest.mark.parametrize("through", ["file", "command"])
@pytest.mark.parametrize(("variable", "text", "key", "reason"), REFUSED)
def test_a_reading_that_may_mean_two_things_is_refused_and_the_job_goes_on(
    tmp_path, env, through, variable, text, key, reason
):
    (tmp_path / "said").write_text(text)
    source, script = str(tmp_path / "said"), "true"
    if through == "command":
        runs, bell = tmp_path / "runs", tmp_path / "bell"
        os.mkfifo(bell)
        # When the second run lets the job go on, the answer to the first has been read.
        source = f"!cat {tmp_path / 'said'}; echo x >> {runs}; [ $(wc -l < {runs}) -ne 2 ] || echo > {bell}"
        script = f"read line < {bell}"
    env |= {f"GREENLLM_PLATFORM_{variable}": source} | ({"GREENLLM_PLATFORM_KEY": key} if key else {})
    component = platform(metered(tmp_path, script, env))
    assert component["energy_J"] is None
    assert reason in component["reason"]
    assert "\n" not in component["reason"]
    done = subprocess.run([*GREENLLM, "probe"], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert reason in done.stdout


def test_a_unit_in_the_name_of_the_file_is_read(tmp_path, env):
    (tmp_path / "power_kW").write_text("0.12")
    env |= {"GREENLLM_PLATFORM_WATTS": str(tmp_path / "power_kW")}
    done = subprocess.run([*GREENLLM, "probe", "--json"], env=env, capture_output=True, check=True, timeout=60)
    (sensor,) = (s for s in json.loads(done.stdout)["sensors"] if s["component"] == "platform")
    assert sensor["power_W"]["value"] == pytest.approx(120, rel=0.05)


def test_a_kernels_file_is_read_in_the_kernels_unit(tmp_path, env):
    chip = tmp_path / "sys/class/hwmon/hwmon3"
    chip.mkdir(parents=True)
    (chip / "power1_input").write_text("45000000\n")
    env |= {"GREENLLM_SYSFS": str(tmp_path / "sys"), "GREENLLM_PLATFORM_WATTS": str(chip / "power1_input")}
    done = subprocess.run([*GREENLLM, "probe", "--json"], env=env, capture_output=True, check=True, timeout=60)
    (sensor,) = (s for s in json.loads(done.stdout)["sensors"] if s["component"] == "platform")
    assert sensor["power_W"]["value"] == pytest.approx(45, rel=0.05)
