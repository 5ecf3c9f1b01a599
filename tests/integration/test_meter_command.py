"""`greenllm meter` around real commands, on simulated sensors."""

import contextlib
import hashlib
import json
import math
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hardware.simulated import (
    PowercapTree,
    proc_tree,
)
from metering import BURN, GREENLLM, meter, start, the_ledger, wait_for_lines
from narrowing import known

from greenllm.attribution import attribute

# Says when it is ready, then which signals it got, until its stdin ends.
COUNTS_SIGNALS = """
import signal, sys
got = []
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(s, lambda number, frame: got.append(signal.Signals(number).name))
print("ready", flush=True)
sys.stdin.read()
print(*sorted(got), flush=True)
"""


def test_streams_and_exit_status_pass_untouched(tmp_path, env):
    script = (
        "import sys; data = sys.stdin.read(); print(data[::-1], end=''); print('err', file=sys.stderr); sys.exit(7)"
    )
    done = meter("--", sys.executable, "-c", script, env=env, input="abc")
    assert (done.returncode, done.stdout, done.stderr) == (7, "cba", "err\n")
    assert the_ledger(tmp_path)[-1]["status"] == "failed"


def test_closed_standard_streams_stay_closed_and_free_of_the_meters_files(tmp_path, env):
    job = "for n in 0 1 2; do [ ! -e /proc/$$/fd/$n ] || exit 1; done; exit 7"
    closed = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *GREENLLM, "meter", "--"]
    assert subprocess.run([*closed, "sh", "-c", job], env=env, check=False).returncode == 7
    assert the_ledger(tmp_path)[-1]["exit_code"] == 7


def test_what_the_meter_says_goes_nowhere_where_stderr_is_closed(env):
    told = ["sh", "-c", 'exec "$@" 2>&-', "sh", *GREENLLM, "meter", "--", "no-such-command-anywhere"]
    done = subprocess.run(told, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (127, "", "")


def test_a_command_killed_by_a_signal_gives_128_plus_its_number(tmp_path, env):
    done = meter("--out", tmp_path / "log.json", "--", "sh", "-c", "kill -9 $$", env=env)
    assert done.returncode == 128 + 9
    log = json.loads((tmp_path / "log.json").read_text())
    assert (log["status"], log["exit_code"]) == ("killed", 137)


@pytest.mark.parametrize(("command", "status"), [("no-such-command-anywhere", 127), ("/etc/passwd", 126)])
def test_a_command_that_cannot_run_is_told_as_a_shell_tells_it(tmp_path, env, command, status):
    done = meter("--out", tmp_path / "log.json", "--", command, env=env)
    assert done.returncode == status
    assert done.stderr.count("\n") == 1
    assert command in done.stderr
    assert json.loads((tmp_path / "log.json").read_text())["exit_code"] == status


def test_a_reader_sees_the_end_when_the_command_closes_its_output(env):
    running = start("--", "sh", "-c", "echo out; exec >&-; read line", env=env)
    assert running.stdout.read() == "out\n"  # although the command and the meter still run
    assert running.poll() is None
    running.communicate("line\n", timeout=60)
    assert running.returncode == 0


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "nested"])
@pytest.mark.parametrize("to_group", [False, True], ids=["to the meter", "to its group"])
def test_each_signal_arrives_once(env, to_group, nested):
    inner = [*GREENLLM, "meter", "--"] if nested else []
    running = start("--", *inner, sys.executable, "-c", COUNTS_SIGNALS, env=env, process_group=0)
    assert running.stdout.readline() == "ready\n"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR1):
        (os.killpg if to_group else os.kill)(running.pid, number)
        _wait_until_handled(running.pid, number)
    out, _ = running.communicate("", timeout=60)
    assert out.split() == ["SIGINT", "SIGTERM", "SIGTERM", "SIGUSR1"]
    assert running.returncode == 0


def test_what_the_terminal_sends_to_all_arrives_once(env):
    counts = COUNTS_SIGNALS.replace("sys.stdin.read()", "input()")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(GREENLLM[0], [*GREENLLM, "meter", "--", sys.executable, "-c", counts], env)
    with os.fdopen(terminal, "r+b", buffering=0) as stream:
        assert b"ready" in stream.readline()
        stream.write(b"\x03")  # Ctrl-C
        _wait_until_handled(pid, signal.SIGINT)
        stream.write(b"\n")
        shown = b""
        with contextlib.suppress(OSError):  # a closed terminal
            while part := stream.read(1024):
                shown += part
    assert shown.split().count(b"SIGINT") == 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _wait_until_handled(pid: int, number: int) -> None:
    """Wait until no process of the group has the signal pending, twice in a row, with time for the meter between."""
    quiet = 0
    while quiet < 2:
        subprocess.run(["sleep", "0.15"], check=True)
        bit = 1 << (number - 1)
        pending = False
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
                if os.getpgid(int(status.parent.name)) == pid and fields["Name"] != "meter-sentinel":
                    pending |= bool(int(fields["ShdPnd"], 16) & bit)
        quiet = 0 if pending else quiet + 1


def test_a_job_that_ends_with_an_error_after_sigterm_was_killed(tmp_path, env):
    running = start("--out", tmp_path / "log.json", "--", "sh", "-c", "echo ready; sleep 60", env=env)
    assert running.stdout.readline() == "ready\n"
    running.terminate()
    running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert json.loads((tmp_path / "log.json").read_text())["status"] == "killed"


def test_the_log_and_the_ledger_say_what_the_contract_says(tmp_path, env):
    work = 'echo "{\\"tokens\\": 12, \\"samples\\": 3}" > "$GREENLLM_WORK"'
    log_file = tmp_path / "energy/train/log.json"
    done = meter(
        "--rule", "train", "--wildcard", "seed=1", "--wildcard", "recipe=a=b", "--attempt", "2", "--threads", "1",
        "--out", log_file, "--", "sh", "-c", work, env=env | {"GREENLLM_RUN_ID": "run-1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = json.loads(log_file.read_text())
    assert log["schema"] == "greenllm/energy/1"
    assert log["job"] == {"rule": "train", "wildcards": {"seed": "1", "recipe": "a=b"}, "attempt": 2}
    assert log["work"] == {"tokens": 12, "samples": 3}
    assert (log["run_id"], log["parent"], log["status"], log["exit_code"]) == ("run-1", None, "succeeded", 0)
    assert (log_file.parent / log["ledger"]).resolve().is_file()
    value = sum(
        term["coefficient"] * log["parameters"][term["parameter"]]["value"]
        for component in log["components"]
        for term in component["terms"]
    )
    assert log["energy_J"]["value"] == pytest.approx(value)
    assert log["energy_J"]["low"] < value < log["energy_J"]["high"]
    assert {c["component"] for c in log["components"]} == {"cpu", "dram"}
    first, *rows, end = the_ledger(tmp_path)
    assert (first["record"], end["record"], len(rows) >= 2) == ("start", "end", True)
    assert all(len(row) == len(first["columns"]) for row in rows)


def test_inputs_and_outputs_are_told_by_what_they_hold(tmp_path, env):
    (tmp_path / "folder/deeper").mkdir(parents=True)
    (tmp_path / "folder/deeper/one").write_bytes(b"12345")
    (tmp_path / "folder/two").write_bytes(b"6")
    (tmp_path / "small").write_bytes(b"before")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 64 * 2**20 + 1)  # sparse: no disk is used
    for path in (*tmp_path.glob("folder/**/*"), tmp_path / "large"):
        os.utime(path, (0, 1e9))
    os.mkfifo(tmp_path / "pipe")  # hashing it would never end
    done = meter(
        "--input", "small", "folder", "--input", "large", "pipe", "nowhere", "--rule", "train",
        "--output", "small", "new", "log.json", "--out", "log.json", "--", "sh", "-c", "printf after | tee small > new",
        env=env, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    log = json.loads((tmp_path / "log.json").read_text())
    before, after = (hashlib.sha256(content).hexdigest() for content in (b"before", b"after"))
    modified = "2001-09-09T01:46:40.000Z"
    listed = subprocess.run(
        ["sha256sum", "deeper/one", "two"], cwd=tmp_path / "folder", capture_output=True, check=True
    )
    content = hashlib.sha256(listed.stdout).hexdigest()
    assert log["inputs"] == {
        "small": before,
        "folder": {"files": 2, "bytes": 6, "modified": modified, "sha256": content},
        "large": {"bytes": 64 * 2**20 + 1, "modified": modified},
        "pipe": None,
        "nowhere": None,
    }
    assert log["outputs"] == {"small": after, "new": after}
    first, *_, end = the_ledger(tmp_path)
    assert (first["inputs"], end["outputs"]) == (log["inputs"], log["outputs"])


@pytest.mark.parametrize(("options", "expected"), [([], None), (["--input", "--output"], {})], ids=["unknown", "none"])
def test_no_inputs_are_told_from_unknown_ones(tmp_path, env, options, expected):
    meter(*options, "--out", tmp_path / "log.json", "--", "true", env=env)
    log = json.loads((tmp_path / "log.json").read_text())
    assert (log["inputs"], log["outputs"]) == (expected, expected)


def test_the_config_hash_follows_the_settings_where_they_are_given(tmp_path, env):
    def config_hash(*words):
        assert meter("--out", tmp_path / "log.json", *words, env=env).returncode == 0
        return json.loads((tmp_path / "log.json").read_text())["config_hash"]

    settings = "epochs: 3, 语料"
    assert config_hash("--config", settings, "--", "true") == hashlib.sha256(settings.encode()).hexdigest()
    assert config_hash("--config", settings, "--", "true", "--port", 8000) == config_hash(
        "--config", settings, "--", "true", "--port", 8001
    )
    assert config_hash("--", "true", "--port", 8000) != config_hash("--", "true", "--port", 8001)


def test_a_jobs_provisional_energy_is_the_attributed_one_where_it_is_alone(tmp_path, env):
    proc = proc_tree(tmp_path / "proc", cpus=4)
    tree = PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: 40 * t)})
    with tree.running():
        meter(
            "--threads", "1", "--out", tmp_path / "log.json", "--", sys.executable, "-c", BURN.format(seconds=0.4),
            env=env
            | {"GREENLLM_SYSFS": str(tmp_path / "sys"), "GREENLLM_PROCFS": str(proc)}
            | {"GREENLLM_METER_INTERVAL_S": "0.1"},
        )  # fmt: skip
    log = json.loads((tmp_path / "log.json").read_text())
    (job,) = attribute(tmp_path / "ledger").jobs
    assert log["energy_J"]["value"] == pytest.approx(known(job.energy).value, rel=0.01)
    assert [c["method"] for c in log["components"]] == [c.method for c in job.components] == ["rapl", "dram-model"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors for two jobs at once")
def test_jobs_side_by_side_share_out_what_the_counters_counted(tmp_path, env):
    """Packages whose counters wrap, memory and platform; the counted energy is the simulated truth."""
    began_s, wrap_J = math.inf, 5000

    def counter(watts):  # no power until the jobs begin; half a second later the counter wraps
        return lambda t: wrap_J + watts * (max(0.0, t - began_s) - 0.5)

    zones = {
        "intel-rapl:0": ("package-0", counter(60)),
        "intel-rapl:0:0": ("core", counter(50)),
        "intel-rapl:0:1": ("dram", counter(8)),
        "intel-rapl:1": ("package-1", counter(30)),
        "intel-rapl:2": ("psys", counter(200)),
    }
    tree = PowercapTree(tmp_path / "sys", zones, wrap_uJ=wrap_J * 1_000_000)
    environment = env | {"GREENLLM_SYSFS": str(tmp_path / "sys"), "GREENLLM_METER_INTERVAL_S": "0.05"}
    with tree.running():
        scripts = ["print('ready', flush=True); input()\n" + BURN.format(seconds=seconds) for seconds in (0.7, 1.4)]
        jobs = [start("--", sys.executable, "-c", script, env=environment) for script in scripts]
        assert [job.stdout.readline() for job in jobs] == ["ready\n"] * 2
        began_s = time.monotonic()
        for job in jobs:
            job.stdin.write("\n")
            job.stdin.flush()
        for job in jobs:
            job.communicate(timeout=60)
    result = attribute(tmp_path / "ledger")
    (host,) = result.hosts
    seconds = max(a.last_s for a in host.attempts) - began_s
    rows = {row.device: row for row in result.device_totals(host)}
    assert set(rows) == {"package-0", "package-1", "package-0-dram", "psys"}
    for name, watts in [("package-0", 60), ("package-1", 30), ("package-0-dram", 8), ("psys", 200)]:
        assert rows[name].counted_J == pytest.approx(watts * seconds, rel=0.03)
        assert rows[name].counted_J == pytest.approx(rows[name].jobs_J + rows[name].other_J + rows[name].idle_J)
        assert min(rows[name].jobs_J, rows[name].other_J, rows[name].idle_J) >= 0
    short, long = sorted(result.jobs, key=lambda job: known(job.cpu_s))
    raw = long.attempt.columns["cpu/package-0.raw"]
    assert raw[0] > raw[-1]  # it has wrapped
    short_s, long_s = known(short.cpu_s), known(long.cpu_s)
    assert short_s > 0.7
    assert long_s > 1.4
    assert long_s - short_s == pytest.approx(0.7, abs=0.2)  # the start of the interpreters cancels out
    assert not long.partial
    assert known(long.energy).value < 0.5 * (200 * seconds)  # the platform is not in the sum


def test_the_whole_tree_counts_also_what_nobody_waits_for(tmp_path, env):
    """Short-lived children, a double fork, and children of a parent that ignores SIGCHLD."""
    script = f"""
import os, signal, subprocess, sys
burn = {BURN.format(seconds=0.3)!r}
ended, written = os.pipe()
subprocess.run([sys.executable, "-c", burn])            # waited for
if os.fork() == 0:                                       # its child is orphaned, and outlives it
    if os.fork() == 0:
        exec(burn)
    os._exit(0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)            # the kernel drops this child's time
if os.fork() == 0:
    exec(burn)
    os._exit(0)
os.close(written)
os.read(ended, 1)                                        # until all have ended, and none holds the other end
"""
    meter("--", sys.executable, "-c", script, env=env | {"GREENLLM_METER_INTERVAL_S": "0.02"})
    assert the_ledger(tmp_path)[-1]["cpu_s"] == pytest.approx(1.0, abs=0.15)


def test_what_is_orphaned_below_a_subreaper_that_idles_counts_while_it_runs(tmp_path, env):
    script = f"""
import ctypes, os, signal
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)                  # PR_SET_CHILD_SUBREAPER
subreaper = os.getpid()
if (child := os.fork()) == 0:
    if os.fork() == 0:
        input()
        exec({BURN.format(seconds=0.5)!r})
        print("burnt", flush=True)
        input()
        os.kill(subreaper, signal.SIGTERM)
        os._exit(0)
    signal.pause()
print(child, flush=True)
signal.pause()
"""
    environment = env | {"GREENLLM_METER_INTERVAL_S": "0.02"}
    running = start("--", sys.executable, "-c", script, env=environment)
    child = int(running.stdout.readline())
    wait_for_lines(tmp_path, 5)
    os.kill(child, signal.SIGTERM)  # which makes its own child the subreaper's
    wait_for_lines(tmp_path, 5)
    before_s = the_ledger(tmp_path)[-1][4]
    running.stdin.write("\n")
    running.stdin.flush()
    assert running.stdout.readline() == "burnt\n"
    wait_for_lines(tmp_path, 5)
    assert the_ledger(tmp_path)[-1][4] - before_s > 0.5
    running.communicate("\n", timeout=60)
    assert running.returncode == 128 + signal.SIGTERM


def test_what_left_the_session_is_still_the_jobs_and_gets_its_signals(tmp_path, env):
    script = COUNTS_SIGNALS + BURN.format(seconds=0.3)
    running = start("--", "setsid", "--wait", sys.executable, "-c", script, env=env)
    assert running.stdout.readline() == "ready\n"
    running.terminate()
    subprocess.run(["sleep", "0.3"], check=True)
    out, _ = running.communicate("", timeout=60)
    assert out == "SIGTERM\n"
    assert the_ledger(tmp_path)[-1]["cpu_s"] > 0.25


def test_a_daemon_that_the_command_leaves_behind_is_told(tmp_path, env):
    done = meter("--", "sh", "-c", "setsid sleep 60 >&- 2>&- & echo $!", env=env)
    os.kill(int(done.stdout), signal.SIGTERM)
    assert done.returncode == 0
    assert "1 process(es) of the command are still running; they are no longer metered" in done.stderr
    assert the_ledger(tmp_path)[-1]["left_running"] == 1


def test_a_meter_inside_a_meter_is_a_child_with_a_share_of_its_own(tmp_path, env):
    inner = [*GREENLLM, "meter", "--rule", "inner", "--threads", "1", "--out", str(tmp_path / "inner.json"), "--"]
    burn = [sys.executable, "-c", BURN.format(seconds=0.4)]
    done = meter("--rule", "outer", "--exclusive", "--out", tmp_path / "outer.json", "--", *inner, *burn, env=env)
    assert done.returncode == 0, done.stderr  # and it took no second lease, for which it would wait for ever
    outer_log, inner_log = (json.loads((tmp_path / name).read_text()) for name in ("outer.json", "inner.json"))
    assert inner_log["parent"] == outer_log["id"]
    result = attribute(tmp_path / "ledger")
    outer, inner_job = result.job(outer_log["id"]), result.job(inner_log["id"])
    parts_J = [known(job.energy).value for job in (outer, inner_job)]
    assert known(outer.energy_with_children).value == pytest.approx(sum(parts_J))
    for row in result.device_totals(result.hosts[0]):
        own = [known(c.energy).value for job in result.jobs for c in job.components if c.device == row.device]
        assert sum(own) == pytest.approx(row.jobs_J)


def test_jobs_wait_for_processors_in_the_order_they_came(tmp_path, env):
    first = start("--rule", "first", "--exclusive", "--", "sh", "-c", "echo ready; read line", env=env)
    assert first.stdout.readline() == "ready\n"
    order = tmp_path / "order"
    waiting = []
    for name in ("second", "third"):
        waiting.append(start("--threads", 64, "--", "sh", "-c", f"echo {name} >> {order}", env=env))
        assert f"waiting for {len(os.sched_getaffinity(0))} of" in waiting[-1].stderr.readline()
    assert not order.exists()
    first.communicate("line\n", timeout=60)
    for one in waiting:
        one.communicate(timeout=60)
    assert order.read_text().split() == ["second", "third"]


@pytest.mark.parametrize(
    "make",
    [
        "work.write_text('{')",
        "work.write_text('[]')",
        "work.write_text('{\"tokens\": true}')",
        "work.write_text('{\"tokens\": Infinity}')",
        "work.write_text('{\"tokens\": 1' + 400 * '0' + '}')",
        "work.write_text('{\"\\\\ud800\": 1}')",
        "work.write_text(100_000 * '[')",
        "work.write_bytes(b'{\"\\xff\": 1}')",
        "work.mkdir()",
        "os.mkfifo(work)",
    ],
)
def test_broken_work_is_told_and_left_out(tmp_path, env, make):
    script = f"import os, pathlib, sys; work = pathlib.Path(os.environ['GREENLLM_WORK']); {make}; sys.exit(3)"
    environment = env | {"TMPDIR": str(tmp_path)}
    done = meter("--out", tmp_path / "log.json", "--", sys.executable, "-c", script, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "GREENLLM_WORK" in done.stderr
    assert json.loads((tmp_path / "log.json").read_text())["work"] == {}
    assert the_ledger(tmp_path)[-1]["exit_code"] == 3


def test_a_job_may_remove_the_folder_it_works_in(tmp_path, env):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/out").touch()
    done = meter(
        "--ledger", "../ledger", "--out", "../log.json", "--output", "../out", "log.json",
        "--", "sh", "-c", "mv out ..; rm -r ../here; exit 3",
        env=env, cwd=tmp_path / "here",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    outputs = {"../out": hashlib.sha256(b"").hexdigest(), "log.json": None}
    assert json.loads((tmp_path / "log.json").read_text())["outputs"] == outputs
    assert the_ledger(tmp_path)[-1]["outputs"] == outputs


def test_words_that_are_no_text_can_be_written_down(tmp_path, env):
    odd = os.fsdecode(b"r\xff")
    done = meter(
        "--rule", odd, "--wildcard", f"{odd}={odd}", "--input", odd, "--out", tmp_path / "log.json", "--", "true", odd,
        env=env | {"GREENLLM_RUN_ID": odd},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    log = json.loads((tmp_path / "log.json").read_text(encoding="utf-8"))
    text = "r\N{REPLACEMENT CHARACTER}"
    assert log["job"] == {"rule": text, "wildcards": {text: text}, "attempt": 1}
    assert (log["run_id"], log["inputs"], log["command"]) == (text, {text: None}, ["true", text])


def test_an_empty_meter_id_is_no_meter_around(tmp_path, env):
    assert meter("--", "true", env=env | {"GREENLLM_METER_ID": ""}).returncode == 0
    assert the_ledger(tmp_path)[0]["parent"] is None
    assert list((tmp_path / "locks").glob("cpu-*"))


PART = """
import json, os, pathlib, subprocess, sys
own = pathlib.Path(sys.argv[1])
elsewhere = {name: value for name, value in os.environ.items() if name != "GREENLLM_METER_ID"}
elsewhere |= {f"GREENLLM_{name}": str(own / place) for name, place in {"PROCFS": "proc", "SYSFS": "sys"}.items()}
elsewhere["GREENLLM_LOCKS"] = str(own / "locks")
part = ["meter", "--part-of", os.environ["GREENLLM_METER_ID"], "--rule", "train-node", "--threads", "1", "--"]
subprocess.run([*sys.argv[2:], *part, "sleep", "0.5"], env=elsewhere, check=True)
"""


def test_a_part_on_another_host_leases_there_and_its_energy_is_in_the_jobs_log(tmp_path, env):
    other = tmp_path / "other"
    proc = proc_tree(other / "proc")
    (proc / "self").symlink_to("/proc/self")
    (proc / "sys/kernel/random/boot_id").write_text("5a2a4d9e-0000-4000-8000-00000000beef\n")
    PowercapTree(other / "sys", {"intel-rapl:0": ("package-0", lambda t: 20 * t)})
    (tmp_path / "sys").mkdir()  # without counters
    log, here = tmp_path / "log.json", env | {"GREENLLM_SYSFS": str(tmp_path / "sys")}
    done = meter("--threads", 1, "--out", log, "--", sys.executable, "-c", PART, other, *GREENLLM, env=here)
    assert (done.returncode, done.stderr) == (0, "")
    job, part = sorted(attribute(tmp_path / "ledger").jobs, key=lambda one: one.id)
    assert (part.parent, part.attempt.start.reserved_cpus, part.rule) == (job.id, 1, "train-node")
    assert [path.name for path in (other / "locks").glob("cpu-*")] != []
    assert (job.elsewhere, part.elsewhere) == ([part], [])
    written = json.loads(log.read_text())
    methods = [one["method"] for one in written["components"] if one["component"] == "cpu"]
    assert methods == ["cpu-model", "rapl"]
    summed_J = sum(one["energy_J"]["value"] for one in written["components"] if one["energy_J"])
    assert written["energy_J"]["value"] == pytest.approx(summed_J)


def test_what_is_no_meters_id_is_refused(env):
    done = meter("--part-of", "../elsewhere", "--", "true", env=env)
    assert done.returncode == 2
    assert "--part-of ../elsewhere: expected the id of a meter, such as 2026" in done.stderr


@pytest.mark.parametrize("command", [["meter", "--", "echo", "ran"], ["probe"]], ids=["meter", "probe"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [("GREENLLM_PROCFS", "nowhere"), ("GREENLLM_SYSFS", "nowhere"), ("GREENLLM_PROCFS", "")],
    ids=["no procfs", "no sysfs", "another folder for procfs"],
)
def test_a_kernels_folder_that_is_none_is_refused(tmp_path, env, command, variable, value):
    environment = env | {variable: str(tmp_path / value)}
    done = subprocess.run([*GREENLLM, *command], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert variable in done.stderr
    assert not (tmp_path / "ledger").exists()


def test_unreadable_rapl_is_told_with_what_mends_it_and_modelled_instead(tmp_path, env):
    tree = PowercapTree(
        tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: t), "intel-rapl:1": ("package-1", lambda t: t)}
    )
    tree.file("intel-rapl:0").unlink()
    environment = env | {"GREENLLM_SYSFS": str(tmp_path / "sys")}

    def sensors():
        done = subprocess.run(
            [*GREENLLM, "probe", "--json"], env=environment, capture_output=True, text=True, check=True
        )
        return {s["device"]: s for s in json.loads(done.stdout)["sensors"] if s["component"] == "cpu"}

    one_left = sensors()
    assert one_left["package-1"]["readable"]
    assert not one_left["package-0"]["readable"]
    assert "energy_uj" in one_left["package-0"]["reason"]
    tree.file("intel-rapl:1").unlink()
    none_left = sensors()
    assert list(none_left) == ["cpu"]
    assert (none_left["cpu"]["quality"], "energy_uj" in none_left["cpu"]["reason"]) == ("modelled", True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root to become another user")
def test_root_only_rapl_names_the_command_and_locks_are_shared_among_users(tmp_path, env):
    PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: t)}).file("intel-rapl:0").chmod(0o400)
    environment = env | {"GREENLLM_SYSFS": str(tmp_path / "sys")}
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for folder in [tmp_path, *tmp_path.parents][:4]:
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    usable = subprocess.run([*nobody, *GREENLLM, "--version"], env=environment, capture_output=True, check=False)
    if usable.returncode:
        pytest.skip("another user cannot run this interpreter")
    holding = start("--rule", "roots", "--exclusive", "--", "sh", "-c", "echo ready; read line", env=environment)
    assert holding.stdout.readline() == "ready\n"
    probed = subprocess.run([*nobody, *GREENLLM, "probe"], env=environment, capture_output=True, text=True, check=True)
    assert "sudo chmod a+r" in probed.stdout
    assert "held by roots of root" in probed.stdout
    refused = subprocess.run(
        [*nobody, *GREENLLM, "meter", "--wait", "0.3", "--", "true"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "not free" in refused.stderr
    holding.communicate("line\n", timeout=60)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no command given"),
        (["--"], "no command given"),
        (["--wildcard", "seed", "--", "true"], "expected NAME=VALUE"),
        (["--wildcard", "seed=1", "--wildcard", "seed=2", "--", "true"], "seed is '1' already"),
        (["--gpus", "-1", "--", "true"], "--gpus -1"),
        (["--threads", "0", "--", "true"], "--threads 0"),
    ],
)
def test_bad_input_gets_one_clear_line(env, arguments, expected):
    done = meter(*arguments, env=env)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert expected in done.stderr


def test_a_bad_interval_is_refused(env):
    done = meter("--", "true", env=env | {"GREENLLM_METER_INTERVAL_S": "fast"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "GREENLLM_METER_INTERVAL_S=fast: expected seconds" in done.stderr


def test_attribute_prints_tables_and_names_damage(tmp_path, env):
    meter("--rule", "train", "--", "sleep", "0.2", env=env)
    (path,) = (tmp_path / "ledger").glob("*/*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + b'[1,2,"x"\n' + b"".join(lines[2:]) + b'{"record":"en')

    def attributed(*arguments):
        return subprocess.run(
            [*GREENLLM, "attribute", *arguments], env=env, capture_output=True, text=True, check=False
        )

    text = attributed(str(tmp_path / "ledger"))
    assert text.returncode == 0
    assert "2 damaged line(s) left out (line 3" in text.stderr
    assert "train" in text.stdout
    assert "Waste" in text.stdout
    printed = json.loads(attributed(str(tmp_path / "ledger"), "--json").stdout)
    assert printed["jobs"][0]["damaged_lines"] == 2
    assert printed["ledgers"][0]["bytes"] == path.stat().st_size
    missing = attributed(str(tmp_path / "nowhere"))
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "nowhere" in missing.stderr


@pytest.mark.parametrize(
    ("file", "quota"), [("cpu.max", "100000 100000"), ("cpu.max", "30000 100000"), ("cpu/cpu.cfs_quota_us", "100000")]
)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_no_more_threads_are_leased_than_the_quota_is_worth(tmp_path, env, file, quota):
    """A container's quota leaves the host's processors visible, but only a part of their time usable."""
    path = tmp_path / "sys/fs/cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"{quota}\n")
    path.with_name("cpu.cfs_period_us").write_text("100000\n")
    environment = env | {"GREENLLM_SYSFS": str(tmp_path / "sys")}
    done = meter("--threads", 2, "--", "sh", "-c", "echo $OMP_NUM_THREADS", env=environment)
    assert done.stdout == "1\n"
    (start_record, *_) = the_ledger(tmp_path)
    assert (start_record["threads"], start_record["reserved_cpus"]) == (1, 1)
    path.write_text("max 100000\n" if file == "cpu.max" else "-1\n")
    assert meter("--threads", 2, "--", "sh", "-c", "echo $OMP_NUM_THREADS", env=environment).stdout == "2\n"


def test_a_job_that_is_alone_leases_every_processor_that_others_may_lease(tmp_path, env):
    """Numbers of processors have gaps where some are offline; others may run on those that this process may not."""
    online = tmp_path / "sys/devices/system/cpu/online"
    online.parent.mkdir(parents=True)
    online.write_text("0-1,6,8-9\n")
    environment = env | {"GREENLLM_SYSFS": str(tmp_path / "sys")}
    held = [sys.executable, "-m", "greenllm", "probe", "--json", "--seconds", "0.05"]
    done = meter("--exclusive", "--", *held, env=environment)
    locks = {one["name"]: one["held"] for one in json.loads(done.stdout)["locks"]["devices"]}
    numbers = {*range(os.cpu_count() or 1), *os.sched_getaffinity(0), 0, 1, 6, 8, 9}
    assert locks == {f"cpu-{number}": True for number in numbers}
