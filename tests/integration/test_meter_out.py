"""Where the meter writes its energy log: through links, into pipes and descriptors, never in their place."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

GREENLLM = Path(sys.executable).parent / "greenllm"


@pytest.fixture
def meter(tmp_path):
    """Run a command under the meter, in tmp_path."""

    def run(out, *command, **more):
        words = [GREENLLM, "meter", "--ledger", "ledger", "--out", str(out), "--", *command]
        return subprocess.run(words, cwd=tmp_path, timeout=60, **more)

    return run


def is_log(text):
    return json.loads(text)["schema"] == "greenllm/energy/1"


def test_standard_output_gets_the_log_after_what_the_command_wrote(meter):
    link = Path("/dev/stdout")
    before = (link.is_symlink(), str(link.readlink()) if link.is_symlink() else None)
    done = meter("/dev/stdout", "echo", "hello", stdout=subprocess.PIPE, text=True)
    first, _, log = done.stdout.partition("\n")
    assert (done.returncode, first) == (0, "hello")
    assert is_log(log)
    assert (link.is_symlink(), str(link.readlink()) if link.is_symlink() else None) == before


@pytest.mark.parametrize("out", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "link-to-stdout"])
def test_a_file_that_standard_output_goes_to_keeps_what_the_command_wrote(meter, tmp_path, out):
    (tmp_path / "link-to-stdout").symlink_to("/dev/stdout")
    with (tmp_path / "both.txt").open("w") as file:
        assert meter(out, "echo", "hello", stdout=file).returncode == 0
    first, _, log = (tmp_path / "both.txt").read_text().partition("\n")
    assert first == "hello"
    assert is_log(log)


def test_a_link_stays_and_its_file_is_replaced_with_its_permissions(meter, tmp_path):
    target = tmp_path / "elsewhere" / "log.json"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to(target)
    assert meter("link", "true").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert is_log(target.read_text())
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["log.json"]


def test_a_link_to_nothing_yet_makes_its_file(meter, tmp_path):
    (tmp_path / "link").symlink_to("new/log.json")
    assert meter("link", "true").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert is_log((tmp_path / "new/log.json").read_text())


def test_a_pipe_is_written_to(meter, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    assert meter("pipe", "true").returncode == 0
    reader.join()
    assert is_log(received[0])
    assert (tmp_path / "pipe").is_fifo()


def test_a_device_is_written_to(meter):
    before = Path("/dev/null").stat()
    assert meter("/dev/null", "true").returncode == 0
    after = Path("/dev/null").stat()
    assert (after.st_mode, after.st_rdev) == (before.st_mode, before.st_rdev)


@pytest.mark.parametrize("kind", ["folder", "socket", "loop"])
def test_what_can_be_no_file_is_refused_before_the_command_runs(meter, tmp_path, kind):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as bound:
        if len(str(tmp_path / "socket")) < 100:
            bound.bind(str(tmp_path / "socket"))
        elif kind == "socket":
            pytest.skip("the temporary folder's path is too long for a socket")
        done = meter(kind, "touch", "ran", capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


def test_a_wildcard_that_stands_twice_is_refused(tmp_path):
    words = ["meter", "--ledger", tmp_path / "ledger", "--wildcard", "seed=1", "--wildcard", "seed=2", "--", "true"]
    done = subprocess.run([GREENLLM, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "seed=2" in done.stderr
    assert "'1'" in done.stderr
