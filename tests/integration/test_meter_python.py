"""`greenllm.meter.Meter` in real scripts, on simulated sensors."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hardware.simulated import (
    PowercapTree,
    SimulatedGpu,
    clean_environment,
    compile_nvml,
    gpu_environment,
    gpu_uuid,
    proc_tree,
)
from metering import GREENLLM
from narrowing import known

from greenllm.attribution import attribute
from greenllm.ledger.file import Ledger, ledger_paths, read_ledger

PROLOGUE = """
import json, os, signal, subprocess, sys, threading, time
from greenllm.meter import Meter
GREENLLM = [sys.executable, "-m", "greenllm"]

def burn(seconds):  # CPU time of this thread
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def burn_elsewhere(seconds):
    code = f"import time\\nwhile time.process_time() < {seconds}: pass"
    return [sys.executable, "-c", code]
"""


@pytest.fixture
def env(tmp_path):
    return clean_environment(tmp_path, GREENLLM_METER_INTERVAL_S="0.05")


@pytest.fixture
def run(tmp_path, env):
    """Run a script to its end in the folder of the test, alone or as a metered command."""

    def run(script: str, *, inside: tuple[str, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*inside, sys.executable, "-c", PROLOGUE + script],
            cwd=tmp_path, env=env | more, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


def ledgers(tmp_path: Path) -> dict[str, Ledger]:
    """The ledgers, by rule."""
    found = [read_ledger(path)[0] for path in ledger_paths(tmp_path / "ledger")]
    by_rule = {known(ledger.start)["job"]["rule"]: ledger for ledger in found}
    assert len(by_rule) == len(found)
    return by_rule


def test_a_block_has_ledger_and_log_as_a_command_has(tmp_path, run):
    script = """
files = [os.path.abspath(name) for name in ("out", "logs/log.json")]
with Meter(rule="train", wildcards={"seed": 1}, attempt=2, threads=1, gpus=0, ledger="my-ledger", out="logs/log.json",
           config="epochs: 3", inputs=["in"], outputs=files) as meter:
    burn(0.3)
    meter.work(tokens=5, samples=1)
    meter.work(tokens=7)
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
print(meter.id, meter.energy.value)
"""
    (tmp_path / "in").write_text("")
    host = {"GREENLLM_SYSFS": str(tmp_path / "sys"), "GREENLLM_PROCFS": str(proc_tree(tmp_path / "proc"))}
    tree = PowercapTree(tmp_path / "sys", {"intel-rapl:0": ("package-0", lambda t: 40 * t)})
    with tree.running():
        done = run(script, **host)
        command = (*GREENLLM, "meter", "--ledger", "their-ledger", "--out", "theirs.json", "--")
        run("", inside=command, **host)
    assert (done.returncode, done.stderr) == (0, "")
    log, theirs = (json.loads((tmp_path / name).read_text()) for name in ("logs/log.json", "theirs.json"))
    assert list(log) == list(theirs)
    assert [c["method"] for c in log["components"]] == [c["method"] for c in theirs["components"]]
    assert log["job"] == {"rule": "train", "wildcards": {"seed": "1"}, "attempt": 2}
    assert log["work"] == {"tokens": 12, "samples": 1}
    assert (log["status"], log["exit_code"], log["parent"], log["threads"]) == ("succeeded", 0, None, 1)
    assert list(log["inputs"]) == ["in"]
    assert log["outputs"] == {str(tmp_path / "out"): None}  # was never written
    assert done.stdout.split() == [log["id"], str(log["energy_J"]["value"])]

    (mine,) = (read_ledger(path)[0] for path in ledger_paths(tmp_path / "my-ledger"))
    (other,) = (read_ledger(path)[0] for path in ledger_paths(tmp_path / "their-ledger"))
    for my_record, their_record in ((mine.start, other.start), (mine.end, other.end)):
        assert list(known(my_record)) == list(known(their_record))
    assert mine.columns == other.columns
    assert len(mine.samples) > 3  # the thread took some, too
    assert (tmp_path / "logs" / log["ledger"]).resolve() == mine.path
    (job,) = attribute(tmp_path / "my-ledger").jobs
    assert log["energy_J"]["value"] == pytest.approx(known(job.energy).value, rel=0.05)


def test_the_documented_block_works_as_it_is(tmp_path, run):
    page = (Path(__file__).parents[2] / "docs/how-to/meter-another-workflow.md").read_text()
    section = page.partition("## A block of Python")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    done = run(f"def train():\n    return 5\n\n{code}")
    assert (done.returncode, done.stdout.endswith(" J\n")) == (0, True)
    assert json.loads((tmp_path / "energy.json").read_text())["work"] == {"tokens": 5}


def test_it_counts_this_process_from_then_on_with_its_threads_and_descendants(tmp_path, run):
    script = """
waits = burn_elsewhere(0.5)
waits[-1] += "\\nprint(flush=True)\\ninput()"
burn(0.5)
subprocess.run(burn_elsewhere(0.5))
early = subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
early.stdout.readline()
with Meter(rule="main"):                              # nothing before counts
    burn(0.3)
    thread = threading.Thread(target=burn, args=(0.3,))
    thread.start()
    thread.join()
    subprocess.run(burn_elsewhere(0.3))
    early.communicate(b"\\n")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)     # the kernel drops this child's time
    if os.fork() == 0:
        burn(0.3)
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:                         # it has ended
        pass
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (child := os.fork()) == 0:                     # its child is orphaned after it has worked
        done, tell = os.pipe()
        ended, held = os.pipe()
        if os.fork() == 0:
            os.close(held)
            burn(0.3)
            os.write(tell, b".")
            os.read(ended, 1)
            os._exit(0)
        os.read(done, 1)
        os._exit(0)
    os.waitpid(child, 0)
"""
    done = run(script, GREENLLM_METER_INTERVAL_S="0.02")
    assert (done.returncode, done.stderr) == (0, "")
    (ledger,) = ledgers(tmp_path).values()
    assert known(ledger.samples[0][ledger.columns.index("cpu_s")]) < 0.02
    assert known(ledger.end)["cpu_s"] == pytest.approx(1.5, abs=0.2)


@pytest.mark.parametrize(
    ("statement", "status", "exit_code", "shown"),
    [
        ("raise ValueError('bad')", "failed", 1, "ValueError: bad"),
        ("raise KeyboardInterrupt", "killed", 130, "KeyboardInterrupt"),
        ("sys.exit(3)", "failed", 3, ""),
        ("sys.exit()", "succeeded", 0, ""),
    ],
)
def test_how_the_block_ended_is_told_and_its_exception_passed_on(tmp_path, run, statement, status, exit_code, shown):
    done = run(f"with Meter(rule='main'):\n    {statement}\nprint('after')")
    assert (done.stdout, shown in done.stderr) == ("", True)
    end = known(ledgers(tmp_path)["main"].end)
    assert (end["status"], end["exit_code"]) == (status, exit_code)
    if statement != "raise KeyboardInterrupt":  # for which the interpreter ends itself by SIGINT
        assert done.returncode == exit_code


def test_meters_inside_are_children_and_the_environment_is_as_before(tmp_path, run):
    script = """
before = dict(os.environ)
handlers = [signal.getsignal(number) for number in signal.valid_signals()]
with Meter(rule="outer", threads=1, exclusive=True):  # a second lease would wait for ever
    burn(0.2)
    with Meter(rule="inner"):
        burn(0.3)
    subprocess.run([*GREENLLM, "meter", "--rule", "command", "--", *burn_elsewhere(0.3)], check=True)
    burn(0.2)
    assert {name for name in os.environ if os.environ[name] != before.get(name)} == {
        "GREENLLM_METER_ID", "GREENLLM_RUN_ID"}
assert os.environ == before
assert handlers == [signal.getsignal(number) for number in signal.valid_signals()]
"""
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")
    found = ledgers(tmp_path)
    parents = {rule: known(ledger.start)["parent"] for rule, ledger in found.items()}
    outer_id = known(found["outer"].start)["id"]
    assert parents == {"outer": None, "inner": outer_id, "command": outer_id}
    assert len({known(ledger.start)["run_id"] for ledger in found.values()}) == 1
    cpu_s = {rule: known(ledger.end)["cpu_s"] for rule, ledger in found.items()}
    assert cpu_s["inner"] == pytest.approx(0.3, abs=0.15)
    assert cpu_s["outer"] > 0.4 + cpu_s["inner"] + cpu_s["command"] - 0.1
    result = attribute(tmp_path / "ledger")
    for row in result.device_totals(result.hosts[0]):
        own = [known(c.energy).value for job in result.jobs for c in job.components if c.device == row.device]
        assert sum(own) == pytest.approx(row.jobs_J)
        assert row.counted_J == pytest.approx(row.jobs_J + row.other_J + row.idle_J)


def test_inside_a_command_it_is_that_meters_child_and_takes_no_lease(tmp_path, run):
    around = (*GREENLLM, "meter", "--rule", "outer", "--exclusive", "--")
    done = run("with Meter(rule='inner', threads=1, wait_s=0):\n    burn(0.2)", inside=around)
    assert (done.returncode, done.stderr) == (0, "")
    found = ledgers(tmp_path)
    assert known(found["inner"].start)["parent"] == known(found["outer"].start)["id"]
    assert known(found["outer"].end)["cpu_s"] > known(found["inner"].end)["cpu_s"] > 0.15


def test_meters_one_after_the_other_in_threads_and_across_each_other(tmp_path, run):
    """Each lease is released in time for the next; a meter that began inside another may outlive it."""
    script = """
before = dict(os.environ)
for rule in ("first", "second"):
    with Meter(rule=rule, exclusive=True, wait_s=0):
        burn(0.05)

def metered(rule):
    with Meter(rule=rule, exclusive=True, wait_s=0):
        burn(0.05)
thread = threading.Thread(target=metered, args=("in-a-thread",))
thread.start()
thread.join()

outer, inner = Meter(rule="outer"), Meter(rule="inner")
outer.__enter__()
inner.__enter__()
outer.__exit__(None, None, None)
assert os.environ["GREENLLM_METER_ID"] == inner.id
inner.__exit__(None, None, None)
assert os.environ == before
"""
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")
    found = ledgers(tmp_path)
    assert {rule: known(ledger.end)["status"] for rule, ledger in found.items()} == dict.fromkeys(
        ("first", "second", "in-a-thread", "outer", "inner"), "succeeded"
    )
    assert {rule for rule, ledger in found.items() if known(ledger.start)["parent"]} == {"inner"}


def test_its_lease_keeps_others_out_until_its_end_even_where_a_fork_lives_on(tmp_path, run):
    script = """
def other():
    return subprocess.run([*GREENLLM, "meter", "--exclusive", "--wait", "0.2", "--", "true"], env=before).returncode
before = dict(os.environ)
read, write = os.pipe()
with Meter(rule="main", exclusive=True):
    if (child := os.fork()) == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    during = other()
after = other()
os.close(write)
os.waitpid(child, 0)
print(during, after)
"""
    done = run(script)
    assert done.stdout == "2 0\n"


def test_a_lease_that_cannot_be_had_is_refused_and_nothing_is_kept(tmp_path, run):
    script = """
from greenllm.errors import UserError
holder = subprocess.Popen([*GREENLLM, "meter", "--exclusive", "--", "sh", "-c", "echo ready; read line"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdout.readline()
meter = Meter(rule="main", wait_s=0.2)
try:
    with meter:
        print("ran")
except UserError as error:
    print("refused", "not free" in str(error))
holder.communicate(b"line\\n")
with meter:
    print("ran later")
"""
    assert run(script).stdout == "refused True\nran later\n"
    assert known(ledgers(tmp_path)["main"].end)["status"] == "succeeded"


def test_what_cannot_begin_keeps_nothing_open(run):
    """The command for the watts runs from the start; the ledger needs the lease, and the processors' times."""
    script = """
from greenllm.errors import UserError
def kept():
    children = open(f"/proc/self/task/{os.getpid()}/children").read()
    return children, os.listdir("/proc/self/fd")

def refused(**options):
    try:
        Meter(**options).__enter__()
    except UserError as error:
        print(error)

holder = subprocess.Popen([*GREENLLM, "meter", "--exclusive", "--", "sh", "-c", "echo ready; read line"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
holder.stdout.readline()
os.environ["GREENLLM_PLATFORM_WATTS"] = "!echo 5"
before = kept()
refused(wait_s=0.2)
refused(gpus=1, device="require")
assert kept() == before
holder.communicate(b"line\\n")
before = kept()
os.environ["GREENLLM_PROCFS"] = os.getcwd()
refused()
assert kept() == before
del os.environ["GREENLLM_PROCFS"]
with Meter(exclusive=True, wait_s=0):
    pass
assert kept() == before
"""
    done = run(script, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stderr) == (0, "")
    lease, gpu, procfs = done.stdout.splitlines()
    assert ("not free" in lease, "--device require" in gpu, "GREENLLM_PROCFS" in procfs) == (True, True, True)


def test_paths_may_be_path_objects_but_not_one_string(tmp_path, run):
    script = """
from pathlib import Path
with Meter(rule="main", inputs=[Path("in"), "in too"], outputs=(Path("out"),)):
    Path("out").touch()
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
"""
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")
    ledger = ledgers(tmp_path)["main"]
    assert known(ledger.start)["inputs"] == {"in": None, "in too": None}
    assert known(ledger.end)["outputs"] == {"out": hashlib.sha256(b"").hexdigest()}
    for options in ("inputs='in'", "outputs='out'", "cgroups='box'"):
        refused = run(f"Meter({options})")
        assert f"UserError: {options}: expected several" in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_count_and_record_nothing_themselves(tmp_path, run, method):
    script = f"""
import multiprocessing
with Meter(rule="main", out="log.json"):
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        pool.map(time.sleep, [0.01] * 4)
    if os.fork() == 0:
        burn(0.3)
        sys.exit(0)  # leaves the block, in the fork
    os.wait()
"""
    done = run(script)
    assert (done.returncode, done.stderr) == (0, "")
    (ledger,) = ledgers(tmp_path).values()
    assert not ledger.corrupt_lines
    assert known(ledger.end)["cpu_s"] > 0.3
    assert json.loads((tmp_path / "log.json").read_text())["status"] == "succeeded"


def test_the_scripts_own_children_are_left_to_it(run):
    script = """
with Meter(rule="main"):
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    burn(0.2)
print(child.wait())
"""
    assert run(script).stdout == "7\n"


def test_a_script_that_is_killed_leaves_a_ledger_that_counts(tmp_path, run):
    done = run("with Meter(rule='main'):\n    burn(0.3)\n    os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == -signal.SIGKILL
    (job,) = attribute(tmp_path / "ledger").jobs
    assert job.status == "lost"
    assert known(job.energy).value > 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the simulated NVML")
def test_leased_gpus_are_told_and_the_environment_is_left_alone(tmp_path, run):
    script = """
with Meter(rule="main", gpus=1, out="log.json") as meter:
    print([(gpu.index, gpu.uuid) for gpu in meter.gpus], os.environ["CUDA_VISIBLE_DEVICES"])
"""
    gpus = gpu_environment(compile_nvml(tmp_path), [SimulatedGpu(), SimulatedGpu()])
    done = run(script, CUDA_VISIBLE_DEVICES="1,0", **gpus)
    assert done.stdout == f"[(1, {gpu_uuid(1)!r})] 1,0\n"
    assert json.loads((tmp_path / "log.json").read_text())["gpus"] == [
        {"uuid": gpu_uuid(1), "index": 1, "name": "Simulated GPU"}
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("threads=0", "--threads 0: expected"),
        ("gpus=-1", "--gpus -1: expected"),
        ("interval_s=0", "interval_s=0: expected"),
    ],
)
def test_bad_input_is_refused(run, arguments, expected):
    done = run(f"with Meter({arguments}):\n    pass")
    assert done.returncode == 1
    assert f"UserError: {expected}" in done.stderr.splitlines()[-1]


def test_work_is_a_number(tmp_path, run):
    done = run("with Meter(rule='main') as meter:\n    meter.work(tokens=float('nan'))")
    assert "ValueError: work(tokens=nan): expected a finite number" in done.stderr
    assert known(ledgers(tmp_path)["main"].end)["work"] == {}


def test_importing_the_package_does_not_import_the_meter_of_a_block(run):
    script = (
        "import greenllm.meter\nprint('Meter' in dir(greenllm.meter), 'greenllm.meter.python_block' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", f"import sys\n{script}"], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
