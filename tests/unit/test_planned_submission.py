"""Jobs that are submitted to a cluster with their planned start."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from snakemake.resources import Resource

from greenllm.cluster.submission import START_OPTIONS, refusal, sbatch_begin, with_start

BERLIN = "Europe/Berlin"


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def read_as_sbatch_does(option: str) -> float:
    """Return the start that sbatch reads (Unix time, s): local time, by mktime(3) with an unknown tm_isdst."""
    given = time.strptime(option, "--begin=%Y-%m-%dT%H:%M:%S")
    return time.mktime((*given[:8], -1))


@pytest.mark.parametrize("hour", range(6))
@pytest.mark.parametrize("day", [datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 3, 28, 23, tzinfo=UTC)])
def test_the_start_is_in_the_local_time_that_sbatch_reads(berlin, day, hour):
    start_s = (day + timedelta(hours=hour)).timestamp()
    assert read_as_sbatch_does(sbatch_begin(start_s + 0.7)) == start_s


def test_in_the_hour_that_comes_twice_the_start_is_never_after_the_plan(berlin):
    first_s = datetime(2026, 10, 24, 23, 30, tzinfo=UTC).timestamp()
    for start_s in (first_s + minute * 60 for minute in range(0, 240, 10)):
        assert start_s - 3600 <= read_as_sbatch_does(sbatch_begin(start_s)) <= start_s


def submitted(start_s: float | None, profile: str | None) -> str | None:
    """Return the options of a job with this start and this resource in the profile, as Snakemake evaluates it."""
    given = Resource("", None) if profile is None else Resource.from_cli_expression("slurm_extra", profile)
    known = {"input": [], "attempt": 1, "threads": 1, "rulename": "train", "async_run": None}
    options = with_start(given.evaluate, lambda wildcards: start_s, START_OPTIONS["slurm_extra"])
    return Resource("slurm_extra", options).evaluate({"experiment": "a", "seed": 1}, **known).value


def test_a_start_is_added_to_what_the_profile_asks_for_while_it_is_to_come():
    start_s = time.time() + 3600
    assert submitted(start_s, "'--exclusive'") == f"--exclusive {sbatch_begin(start_s)}"
    assert submitted(start_s, None) == sbatch_begin(start_s)
    assert submitted(time.time() - 1, "'--exclusive'") == submitted(None, "'--exclusive'") == "--exclusive"
    assert submitted(None, None) is None


def test_arrays_are_refused():
    assert "slurm-array-jobs: train" in str(refusal(SimpleNamespace(array_jobs="train")))
    assert refusal(SimpleNamespace(array_jobs=None)) is refusal(None) is None
