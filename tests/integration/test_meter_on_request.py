"""A meter takes a sample when it is asked for one, and its command notices nothing of that."""

import os
import sys
import time
from pathlib import Path

from hardware.simulated import clean_environment
from metering import start, the_ledger
from narrowing import Piped

from greenllm.meter.signals import SAMPLE_NOW, ask_for_sample

# The default action of the signal would end it.
WAITS = "import sys; print('ready', flush=True); sys.stdin.read(); print('undisturbed', flush=True); sys.exit(7)"
METERS_ITSELF = "import sys; from greenllm.meter import Meter\nwith Meter(rule='own'): " + WAITS


def until_lines(tmp_path: Path, count: int) -> None:
    """Return when the ledger has this number of lines."""
    (path,) = (tmp_path / "ledger").glob("*/*.jsonl")
    deadline_s = time.monotonic() + 30
    while path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline_s, "the meter took no sample"


def test_a_sample_is_taken_on_request_and_the_command_does_not_get_the_signal(
    tmp_path: Path, env: dict[str, str]
) -> None:
    env = env | {"GREENLLM_METER_INTERVAL_S": "3600"}
    with start("--", sys.executable, "-c", WAITS, env=env) as meter:
        assert meter.stdout.readline() == "ready\n"
        for number in range(3):
            ask_for_sample(meter.pid)
            until_lines(tmp_path, 2 + number + 1)  # after the start and the first sample
        out, _ = meter.communicate("")
    assert out == "undisturbed\n"
    assert meter.returncode == 7
    times_s = [record[0] for record in the_ledger(tmp_path) if isinstance(record, list)]
    assert len(times_s) == 5  # with the first and the last
    assert times_s == sorted(set(times_s))


def test_a_request_that_comes_too_late_does_not_end_the_meter(tmp_path: Path, env: dict[str, str]) -> None:
    with start("--", sys.executable, "-c", WAITS, env=env) as meter:
        assert meter.stdout.readline() == "ready\n"
        meter.stdin.close()
        while meter.poll() is None:
            os.kill(meter.pid, SAMPLE_NOW)
    assert meter.returncode == 7


def test_nobody_is_asked_who_does_not_expect_it(tmp_path: Path) -> None:
    """A program with a meter in it would end; where no process has the id, nothing is raised."""
    program = [sys.executable, "-c", METERS_ITSELF]
    with Piped(program, env=clean_environment(tmp_path), stdin=-1, stdout=-1, text=True) as metered:
        assert metered.stdout.readline() == "ready\n"
        ask_for_sample(metered.pid)
        out, _ = metered.communicate("")
    assert (out, metered.returncode) == ("undisturbed\n", 7)
    ask_for_sample(metered.pid)
