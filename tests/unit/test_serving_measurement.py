"""How precise the figures of a measurement are, on rounds of known length and energy; and how servers are loaded."""

import dataclasses
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hardware.ledgers import Host, start_record

from greenllm.attribution import Estimate, Parameter
from greenllm.attribution.live import RunningJob, Turn
from greenllm.config.models import Deployment
from greenllm.documents.measurement import LoadPoint, MeasurementWindow, ServerMeasurement, ThreadChoice
from greenllm.load.loaded_server import suspended
from greenllm.load.loading import loading
from greenllm.load.measurement import document_of
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.rounds import Answered, Round
from greenllm.load.side_by_side import PlacedRound, SideBySideMeasurement, fixed_starts
from greenllm.model_folder.manifest import Manifest
from greenllm.statistics import halfwidth

GAIN = {"gain": Parameter(1.0, 0.9, 1.1, "J/J", "test")}
ENERGIES_J = [96.0, 104.0, 98.0, 102.0]


@pytest.fixture
def job(tmp_path: Path) -> MeasurementJob:
    """Three recipes, whose bundles have 100 MB each."""
    contenders = []
    for name in ("baseline", "small", "smaller"):
        (tmp_path / name).mkdir()
        Manifest().write(tmp_path / name)
        with (tmp_path / name / "model.safetensors").open("wb") as file:
            file.truncate(100_000_000)
        predictions = tmp_path / f"{name}.jsonl"
        predictions.write_text(json.dumps({"id": "0", "prompt": "a", "completion": "", "prediction": "b"}) + "\n")
        contenders.append(Contender(name, name, tmp_path / name, predictions, "cpu", "python"))
    return MeasurementJob(
        contenders=contenders,
        baseline="baseline",
        wildcards={},
        settings=Deployment(),
        max_tokens=4,
        threads=1,
        ready_s=60,
        seed=1,
        energy_serve=tmp_path / "serve",
        energy_load=tmp_path / "load",
        energy_probe=tmp_path / "probe",
        out=tmp_path / "out.json",
    )


def window(start_s: float, end_s: float, wall_s: float | None = None) -> MeasurementWindow:
    started = datetime(2026, 1, 1, tzinfo=UTC)
    ended = started + timedelta(seconds=end_s - start_s if wall_s is None else wall_s)
    return MeasurementWindow(started.isoformat(), ended.isoformat(), start_s, end_s, "boot")


def measured(
    job: MeasurementJob,
    tmp_path: Path,
    energies_J: Sequence[float | None],
    failed: int = 0,
    starts: Sequence[int] | None = None,
    **answer: Any,
) -> ServerMeasurement:
    """Return the first server, with 100 requests in each round of a second, `failed` of which failed."""
    starts = starts or [0] * len(energies_J)
    ledger = tmp_path / "ledger/node/job.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.write_text(json.dumps(start_record(Host(), "job") | {"pid": 1}) + "\n")
    threads = {one.name: ThreadChoice(threads=1, reason="test") for one in job.contenders}
    measurement = SideBySideMeasurement(job, RunningJob(tmp_path / "ledger", ledger), threads, "all")
    answers = [Answered("0", "b", tokens=2, prompt_tokens=3, latency_s=0.01, **answer) for _ in range(100 - failed)]
    answers += [Answered("0", error="HTTP 500") for _ in range(failed)]
    for own in measurement.measured.values():
        own.rounds[1] = [
            PlacedRound(starts[block], block, "job.a", Round(window(block * 2.0, block * 2.0 + 1), answers))
            for block in range(len(energies_J))
        ]

    def energies(turns: Sequence[Turn]) -> list[Estimate | None]:
        return [
            None if (found_J := energies_J[int(turn.start_s / 2)]) is None else Estimate({"gain": found_J}, GAIN)
            for turn in turns
        ]

    return document_of(measurement, "test", energies).servers[0]


def point_of(server: ServerMeasurement) -> LoadPoint:
    (point,) = server.points
    return point


def test_the_sensors_uncertainty_and_the_spread_between_rounds_add_in_quadrature(
    job: MeasurementJob, tmp_path: Path
) -> None:
    point = point_of(measured(job, tmp_path, ENERGIES_J))
    per = point.energy_per_request_J
    assert per is not None
    assert per.value == pytest.approx(1.0)
    between = halfwidth([energy_J / 100 for energy_J in ENERGIES_J])
    assert per.value - per.low == pytest.approx(math.hypot(0.1, between))
    assert per.high - per.value == pytest.approx(math.hypot(0.1, between))
    assert [one.energy_J and one.energy_J.value for one in point.rounds] == ENERGIES_J
    assert (point.requests, point.completion_tokens, point.prompt_tokens) == (400, 800, 1200)
    assert point.throughput.requests_per_s == pytest.approx(100)
    assert point.throughput.tokens_per_s == pytest.approx(200)


def test_with_several_starts_the_spread_is_that_between_them(job: MeasurementJob, tmp_path: Path) -> None:
    per = point_of(measured(job, tmp_path, [90.0, 92.0, 108.0, 110.0], starts=[0, 0, 1, 1])).energy_per_request_J
    assert per is not None
    assert per.high - per.value == pytest.approx(math.hypot(0.1, halfwidth([0.91, 1.09])))


def test_no_energy_is_below_zero(job: MeasurementJob, tmp_path: Path) -> None:
    per = point_of(measured(job, tmp_path, [10.0, 190.0])).energy_per_request_J
    assert per is not None
    assert (per.low, per.value) == (0, 1)
    assert per.high > 2


def test_the_energy_of_a_request_is_unknown_where_that_of_a_round_is(job: MeasurementJob, tmp_path: Path) -> None:
    server = measured(job, tmp_path, [100.0, None])
    point = point_of(server)
    assert point.energy_J is point.energy_per_request_J is point.energy_per_token_J is None
    assert [one.energy_J is None for one in point.rounds] == [False, True]
    assert server.energy_reason is not None


def test_answers_that_are_not_evaluates_make_a_server_missing(job: MeasurementJob, tmp_path: Path) -> None:
    assert measured(job, tmp_path, ENERGIES_J, failed=1).failure is None  # 99 % are equal, 98 % are asked for
    server = measured(job, tmp_path, ENERGIES_J, failed=3)
    assert "388 of 400 answers equal evaluate's" in str(server.failure)
    assert "HTTP 500" in str(server.failure)
    assert server.points == []


def test_the_halfwidth_is_that_of_the_t_interval() -> None:
    assert halfwidth([1, 2, 3]) == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)  # t of 2 degrees, 97.5 %
    assert halfwidth([5]) == math.inf


@pytest.mark.parametrize(("wall_s", "expected"), [(10.0, False), (10.4, False), (3610.0, True), (-50.0, True)])
def test_a_window_in_which_the_host_was_suspended_or_its_clock_was_set_is_recognised(
    wall_s: float, expected: bool
) -> None:
    """CLOCK_MONOTONIC does not count the time of a suspension (clock_gettime(2)); the wall clock does."""
    assert suspended(window(5.0, 15.0, wall_s)) is expected


def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available_B: float, groups: str = "") -> Path:
    """Simulate a host with this memory, in these control groups; return the root of their hierarchies."""
    proc, root = tmp_path / "proc", tmp_path / "sys/fs/cgroup"
    (proc / "self").mkdir(parents=True)
    root.mkdir(parents=True)
    counts = {"MemTotal": 8e9, "MemFree": 1e8, "MemAvailable": available_B, "Buffers": 0, "Cached": 0, "Shmem": 0}
    lines = [f"{name}: {size_B / 1024:.0f} kB\n" for name, size_B in (counts | {"Active": 0, "Inactive": 0}).items()]
    (proc / "meminfo").write_text("".join(lines))
    (proc / "self/cgroup").write_text(groups)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(proc))
    monkeypatch.setenv("GREENLLM_PROCFS", str(proc))
    monkeypatch.setenv("GREENLLM_SYSFS", str(tmp_path / "sys"))
    return root


@pytest.mark.parametrize(("available_B", "expected"), [(3e9, "all"), (1.7e9, "one"), (0.9e9, "one")])
def test_one_server_is_loaded_at_a_time_where_memory_does_not_hold_all(
    job: MeasurementJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, available_B: float, expected: str
) -> None:
    """Three servers of 0.8 GB each: 1.7 GB hold two."""
    host(tmp_path, monkeypatch, available_B)
    found = loading(job)
    assert found.loaded == expected
    assert f"{available_B / 1e9:.1f} GB are available" in found.reason
    for asked in ("all", "one"):
        chosen = Deployment.model_validate({"loaded": asked})
        assert loading(dataclasses.replace(job, settings=chosen)).loaded == asked


V2 = ("memory.max", "memory.current", "")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
SLURM = "system.slice/slurmstepd.scope/job_7"


@pytest.mark.parametrize(
    ("groups", "folder", "names", "limit"),
    [
        ("0::/user.slice/mine\n", "user.slice/mine", V2, "2000000000"),
        (f"0::/{SLURM}/step_batch/user/task_0\n", SLURM, V2, "2000000000"),
        ("0::/\n", ".", V2, "2000000000"),  # a container's own group, in its namespace
        ("9:name=systemd:/x\n4:cpu,memory:/docker/id\n0::/\n", "cpu,memory/docker/id", V1, "2000000000"),
        ("4:memory:/docker/id\n0::/\n", "memory", V1, "2000000000"),  # a container that has only its own group
        ("0::/mine\n1:memory:/mine\n", "unified/mine", V2, "2000000000"),
        ("0::/mine\n", "mine", V2, "max"),
        ("4:memory:/mine\n", "memory/mine", V1, "9223372036854771712"),
        ("4:memory:/mine\n", "memory/others", V1, "2000000000"),
    ],
)
def test_the_limit_of_a_control_group_around_the_measurement_counts(
    job: MeasurementJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    folder: str,
    names: tuple[str, str, str],
    limit: str,
) -> None:
    """Of 2 GB 1 GB is in use, 0.3 GB of which are pages of files: 1.3 GB hold one server of 0.8 GB, not three."""
    root = host(tmp_path, monkeypatch, 4e9, groups)
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in zip(names[:2], (limit, "1000000000"), strict=True):
        (root / folder / name).write_text(f"{content}\n")
    counts = {"anon": 700_000_000, f"{names[2]}active_file": 200_000_000, f"{names[2]}inactive_file": 100_000_000}
    (root / folder / "memory.stat").write_text("".join(f"{name} {size_B}\n" for name, size_B in counts.items()))
    limited = limit == "2000000000" and "others" not in folder
    found = loading(job)
    assert found.loaded == ("one" if limited else "all")
    said = f"1.3 GB are available within the limit of the control group {root / folder}"
    assert found.reason == f"the servers need about 2.4 GB, {said if limited else '4.0 GB are available'}"


@pytest.mark.parametrize(
    ("starts", "rounds", "expected"), [(4, 16, (4, 4)), (4, 6, (4, 2)), (4, 1, (1, 1)), (1, 3, (1, 3))]
)
def test_rounds_are_divided_among_starts(starts: int, rounds: int, expected: tuple[int, int]) -> None:
    planned = fixed_starts(Deployment(starts=starts, rounds=rounds), on_gpu=False)
    assert (planned.starts, planned.rounds) == expected


def test_rounds_are_longer_where_a_gpus_sensor_measures_them() -> None:
    on_cpu, on_gpu = (fixed_starts(Deployment(), on_gpu=gpu) for gpu in (False, True))
    assert (on_cpu.starts, on_cpu.rounds, on_cpu.round_s) == (4, 16, 0.125)
    assert (on_gpu.starts, on_gpu.rounds, on_gpu.round_s) == (4, 4, 2.0)
