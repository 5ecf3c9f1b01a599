"""`greenllm meter --cgroup`: CPU time of processes that work for a job outside its process tree."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hardware.simulated import clean_environment
from metering import BURN, meter, the_ledger
from narrowing import Piped

from greenllm.meter.cgroups import ClaimingTree

V1 = Path("/sys/fs/cgroup/cpuacct")


@pytest.fixture
def env(tmp_path):
    return clean_environment(tmp_path, GREENLLM_METER_INTERVAL_S="0.02")


def usage(folder: Path, seconds: float) -> None:
    """Write a group's cpu.stat in one step, as the kernel does."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "cpu.stat.new"
    beside.write_text(f"usage_usec {int(seconds * 1e6)}\nuser_usec 0\nsystem_usec 0\n")
    beside.replace(folder / "cpu.stat")
    (folder / "cgroup.procs").touch()


@pytest.fixture
def v2(tmp_path, monkeypatch):
    """The root of a simulated cgroup v2 tree."""
    monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path / "sys"))
    usage(tmp_path / "sys/fs/cgroup", 1000)
    return tmp_path / "sys/fs/cgroup"


def test_a_groups_growth_is_the_jobs_and_lasts_when_the_group_is_gone(v2):
    usage(v2 / "box", 50)
    tree = ClaimingTree(["box"])
    assert tree.cpu_s() == 0
    usage(v2 / "box", 53)
    assert tree.cpu_s() == 3
    (v2 / "box/cpu.stat").unlink()
    assert tree.cpu_s() == 3
    usage(v2 / "box", 2)  # another group of that name
    assert tree.cpu_s() == 5


@pytest.mark.parametrize("content", ["", "usage_usec \n"])
def test_a_group_that_says_nothing_for_a_while_is_neither_lost_nor_counted_anew(v2, content):
    usage(v2 / "box", 50)
    tree = ClaimingTree(["box"])
    usage(v2 / "box", 53)
    assert tree.cpu_s() == 3
    (v2 / "box/cpu.stat").write_text(content)
    (v2 / "box/cgroup.procs").write_text("none\n")
    assert tree.cpu_s() == 3
    usage(v2 / "box", 54)
    assert tree.cpu_s() == 4


def test_a_group_that_says_nothing_stops_no_job(tmp_path, env, v2):
    usage(v2 / "box", 50)
    (v2 / "box/cpu.stat").write_text("")
    done = meter("--cgroup", "box", "--", "true", env=env | {"GREENLLM_SYSFS": str(tmp_path / "sys")})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["slice/box", "/sys/fs/cgroup/slice/box", "{root}/slice/box", "/sys/fs/cgroup/slice/"])
def test_a_group_is_named_from_the_root_or_in_full(v2, name):
    usage(v2 / "slice", 10)
    usage(v2 / "slice/box", 10)
    tree = ClaimingTree([name.format(root=v2)])
    usage(v2 / "slice", 12)
    usage(v2 / "slice/box", 12)
    assert tree.cpu_s() == 2


def test_a_group_below_another_is_a_part_of_it(v2):
    for name in ("slice", "slice/box"):
        usage(v2 / name, 10)
    tree = ClaimingTree(["slice/box", "slice", "/sys/fs/cgroup/slice"])
    for name in ("slice", "slice/box"):
        usage(v2 / name, 14)
    assert tree.cpu_s() == 4


def test_a_group_that_comes_later_counts_from_zero_and_that_is_told(tmp_path, env, v2):
    arrives = f"mkdir {v2}/box && echo usage_usec 2500000 > {v2}/box/cpu.stat"
    environment = env | {"GREENLLM_SYSFS": str(tmp_path / "sys")}
    done = meter("--cgroup", "box", "--", "sh", "-c", arrives, env=environment)
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert "--cgroup box: not there yet" in done.stderr
    first, *_, end = the_ledger(tmp_path)
    assert first["cgroups"] == ["box"]
    assert end["cpu_s"] == pytest.approx(2.5, abs=0.3)


@pytest.mark.parametrize("name", ["nowhere/box", "/nowhere/box", "memory/box", "memory"])
def test_a_path_that_is_no_group_is_refused_in_one_line(tmp_path, env, v2, name):
    (v2 / "memory").mkdir()
    done = meter("--cgroup", name, "--", "true", env=env | {"GREENLLM_SYSFS": str(tmp_path / "sys")})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
    assert not (tmp_path / "ledger").exists()


def test_processes_of_the_tree_that_are_in_the_group_count_once(v2):
    """A child burns 0.3 s outside the group and 0.3 s inside it, its own child 0.2 s more inside."""
    usage(v2 / "box", 50)
    code = (
        BURN.format(seconds=0.3)
        + "print('out', flush=True); input()\n"
        + BURN.format(seconds=0.6)
        + "import subprocess, sys\n"
        + f"subprocess.run([sys.executable, '-S', '-c', {BURN.format(seconds=0.2)!r}])\n"
        + "print('in', flush=True); input()\n"
    )
    tree = ClaimingTree(["box"])
    child = Piped([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "out\n"
    outside_s = tree.cpu_s()
    assert outside_s > 0.3
    (v2 / "box/cgroup.procs").write_text(f"{child.pid}\n")
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "in\n"
    usage(v2 / "box", 50.55)  # what the kernel would say
    assert tree.cpu_s() == pytest.approx(outside_s + 0.55, abs=1e-6)
    child.stdin.write("\n")
    child.stdin.close()
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    child.stdout.close()
    (v2 / "box/cgroup.procs").write_text("")
    tree.reaped(child.pid, used)
    assert tree.cpu_s() == pytest.approx(outside_s + 0.55, abs=1e-6)


@pytest.fixture
def box():
    """A real control group (v1), with no process in it."""
    if os.geteuid() != 0:
        pytest.skip("making a control group needs root")
    if not os.access(V1, os.W_OK):
        pytest.skip("no cgroup v1 hierarchy of cpuacct that can be written here")
    folder = V1 / f"greenllm-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield folder
    for _ in range(1000):  # its last process may be on its way out
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.01)


def in_box(box: Path, seconds: float) -> list[str]:
    """A command that enters the group and burns CPU time there."""
    enter = f"import os; open({str(box / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    return [sys.executable, "-S", "-c", enter + BURN.format(seconds=seconds)]


@pytest.mark.parametrize(("claimed", "low_s", "high_s"), [(True, 0.55, 0.9), (False, 0, 0.3)])
def test_a_process_outside_the_tree_burns_in_a_real_group(tmp_path, env, box, claimed, low_s, high_s):
    bell = tmp_path / "bell"
    os.mkfifo(bell)
    daemon = subprocess.Popen(["sh", "-c", f'read go < {bell}; "$@"; echo > {bell}', "sh", *in_box(box, 0.6)])
    option = ["--cgroup", str(box)] if claimed else []
    done = meter(*option, "--", "sh", "-c", f"echo > {bell}; read done < {bell}", env=env)
    daemon.wait(timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert low_s < the_ledger(tmp_path)[-1]["cpu_s"] < high_s


def test_a_job_that_moves_itself_into_the_group_counts_once(tmp_path, env, box):
    done = meter("--cgroup", box, "--", *in_box(box, 1.0), env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert 0.95 < the_ledger(tmp_path)[-1]["cpu_s"] < 1.3
