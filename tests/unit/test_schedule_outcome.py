"""What a plan saved, by ledgers whose energies are known; and the page that shows it."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hardware.ledgers import CLOCK_s, Host, attempt
from simulated_study import whole_study

from greenllm.account.document import Account
from greenllm.attribution import Attempt, attribute_attempts
from greenllm.cli import main
from greenllm.config.policy import Policy
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.report.page import write_report
from greenllm.report.schedule_text import outcome_text
from greenllm.scheduling.document import ScheduleOutcome, SchedulePlan, SharedLimits
from greenllm.scheduling.expectations import EarlierRun, Expected, earlier_runs, of_runs
from greenllm.scheduling.forecast import signal_of
from greenllm.scheduling.outcome import outcome
from greenllm.scheduling.planner import RESUME_S, Planned, plan
from greenllm.scheduling.workflow_jobs import WorkflowJob

HOUR_S = 3600.0
BEGIN = datetime.fromtimestamp(CLOCK_s, UTC)
CARBON = [500, 400, 100, 300, 300, 50, 200, 200, 200]
# 100 W, all of which belong to a job that has reserved the whole host.
HOST = Host(cpus=4, counters={"package-0": lambda t: 1e8 * np.asarray(t)}, busy_s=lambda t: 4 * np.asarray(t))


RESUME_h = RESUME_S / HOUR_S
# The training at once, and the report: it would not have paused, so both would have ended RESUME_S earlier.
AT_ONCE_g = 0.1 * (500 + 400 * (1 - RESUME_h)) + 0.1 * (400 * RESUME_h + 100 * (0.5 - RESUME_h))


def policy(folder: Path, carbon: Sequence[float], key: str = "signal") -> Policy:
    path = folder / f"{key}.csv"
    rows = [f"{(BEGIN + timedelta(hours=hour)).isoformat()},{value}" for hour, value in enumerate(carbon)]
    path.write_text("\n".join(["time,value (gCO2e/kWh)", *rows]))
    return Policy(objective="carbon", max_age=None, max_delay="330min", **{key: str(path)})


def made(folder: Path, carbon: Sequence[float] = CARBON) -> SchedulePlan:
    """Return a plan of a training of two hours that may pause, a report of half an hour, and a job that never runs."""
    hour = Interval(HOUR_S, HOUR_S, HOUR_S)
    energy = Interval(3.6e5, 3.6e5, 3.6e5)
    expected = {
        "train a": Expected(
            Interval(*(2 * one for one in hour)), Interval(*(2 * one for one in energy)), "1 earlier run"
        ),
        "report": Expected(
            Interval(*(one / 2 for one in hour)), Interval(*(one / 2 for one in energy)), "1 earlier run"
        ),
    }
    jobs = [
        WorkflowJob("train", {"recipe": "a"}, 4, 0, None, ()),
        WorkflowJob("report", {}, 4, 0, None, ("train a",)),
    ]
    chosen = policy(folder, carbon)
    signal = signal_of(chosen)
    assert signal is not None
    found = plan(Planned(jobs, expected, {"train a": 2}), chosen, signal, SharedLimits(cores=4.0), CLOCK_s)
    return found.model_copy(update={"made": found.begin})


def ran(name: str, hours: tuple[float, float], status: str = "succeeded", **identity: object) -> Attempt:
    times = np.linspace(hours[0] * HOUR_S, hours[1] * HOUR_S, 61)
    return attempt(HOST, name, times, lambda t: 4 * np.asarray(t), status, reserved=4, **identity)  # type: ignore[arg-type]


def training(*parts: tuple[float, float]) -> list[Attempt]:
    """Return the attempts of a training that paused after each part but the last."""
    return [
        ran(
            f"t{number}",
            part,
            "succeeded" if number == len(parts) else "paused",
            rule="train",
            wildcards={"recipe": "a"},
        )
        for number, part in enumerate(parts, start=1)
    ]


def found(folder: Path, attempts: Sequence[Attempt], recorded: Sequence[float] | None = None) -> ScheduleOutcome:
    key = "signal" if recorded is None else "recorded"
    signal = signal_of(policy(folder, recorded or CARBON, key), key)
    assert signal is not None
    return outcome(made(folder), attribute_attempts(attempts).jobs, signal, recorded=recorded is not None)


def test_a_training_that_may_pause_is_planned_into_the_two_best_hours(tmp_path):
    train, report = made(tmp_path).jobs
    hours = [(datetime.fromisoformat(run.end) - BEGIN).total_seconds() / HOUR_S for run in train.runs]
    assert hours == [3.0, 6.0]
    assert datetime.fromisoformat(report.runs[0].start) == BEGIN + timedelta(hours=6)


def test_the_saving_is_energy_times_signal_against_the_same_jobs_at_once(tmp_path):
    attempts = [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")]
    one = found(tmp_path, attempts)
    assert one.cost.value == pytest.approx(0.1 * 100 + 0.1 * 50 + 0.05 * 200)
    assert one.cost_at_once.value == pytest.approx(AT_ONCE_g)
    assert one.saving.value == pytest.approx(one.cost_at_once.value - one.cost.value)
    assert one.saving.value == one.best_saving
    assert (one.regret, one.late_s, one.not_run, one.recorded) == (0, 0, [], False)
    assert [len(job.runs) for job in one.jobs] == [2, 1]


def test_costs_and_saving_have_the_bounds_of_the_energies_whose_shared_error_is_counted_once(tmp_path):
    """All jobs are metered by one sensor, so the saving is as uncertain in proportion as each energy."""
    one = found(tmp_path, [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")])
    energy_J = one.jobs[0].energy_J
    shares = [bound / energy_J.value for bound in energy_J]
    assert shares[1] < 1 < shares[2]
    for figure in (one.cost, one.cost_at_once, one.saving, one.jobs[1].cost, one.jobs[1].cost_at_once):
        assert list(figure) == pytest.approx([figure.value * share for share in shares], rel=1e-3)


def test_one_job_in_one_attempt_has_an_outcome(tmp_path):
    one = found(tmp_path, training((2, 4)))
    assert one.cost.value == pytest.approx(0.1 * (100 + 300))
    assert one.not_run == ["report"]


def test_pauses_cost_what_resuming_takes(tmp_path):
    one = found(tmp_path, training((2, 3), (5, 6)), [300] * 9)
    assert one.cost.value == pytest.approx(0.2 * 300)
    assert one.saving.value == pytest.approx(-0.1 * RESUME_h * 300)


def test_a_plan_counts_what_resuming_takes(tmp_path):
    train, report = made(tmp_path).jobs
    assert train.cost + report.cost == pytest.approx(made(tmp_path).cost)
    resuming_s = RESUME_S * (len(train.runs) - 1)
    spans = [datetime.fromisoformat(run.end) - datetime.fromisoformat(run.start) for run in train.runs]
    assert sum(span.total_seconds() for span in spans) == pytest.approx(2 * HOUR_S + resuming_s)
    flat = made(tmp_path, [300] * 9)
    assert [len(job.runs) for job in flat.jobs] == [1, 1]
    assert train.cost > 0.1 * (100 + 50)  # both best hours are full: resuming is beyond them


def test_the_regret_is_what_the_signal_as_it_turned_out_would_have_saved_beyond_that(tmp_path):
    attempts = [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")]
    one = found(tmp_path, attempts, [*CARBON[:7], 10, 200])
    assert one.recorded
    assert one.saving.value == pytest.approx(AT_ONCE_g - 25)
    # The report in the eighth hour; the solver's pause costs 15 s of 100 W at 300 g/kWh more than the real one did.
    assert one.regret == pytest.approx(0.05 * (200 - 10) - 15 / 3600 * 0.1 * 300, rel=0.05)


def test_the_signal_needs_to_cover_no_more_than_the_runs(tmp_path):
    """The plan's deadline is 8 h after its begin; the jobs are done after 6.5 h."""
    attempts = [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")]
    one = found(tmp_path, attempts, CARBON[:7])
    assert one.saving.value == pytest.approx(AT_ONCE_g - 25)
    assert one.best_saving == one.saving.value
    with pytest.raises(UserError, match=r"recorded.csv: covers .* in policy.recorded with the values until then, and"):
        found(tmp_path, attempts, CARBON[:6])
    with pytest.raises(UserError, match=r"signal.csv: covers .* in policy.recorded with the values until then, and"):
        found(tmp_path, [*training((8, 8.5), (8.8, 9.1))])


def test_failed_attempts_count_and_jobs_that_did_not_run_are_named(tmp_path):
    failed = ran("f", (1, 2), "failed", rule="train", wildcards={"recipe": "a"})
    one = found(tmp_path, [failed, *training((8, 8.5))])
    assert one.not_run == ["report"]
    assert one.cost.value == pytest.approx(0.1 * 400 + 0.05 * 200)
    assert one.cost_at_once.value == pytest.approx(0.1 * 500 + 0.05 * 400)
    assert one.late_s == pytest.approx(0.5 * HOUR_S)


def test_a_job_of_unknown_energy_ran(tmp_path):
    blind = Host(boot_id="blind", sensors=[])
    times = np.linspace(6 * HOUR_S, 8.5 * HOUR_S, 61)
    report = attempt(blind, "r", times, lambda t: np.asarray(t), "succeeded", reserved=4, rule="report")
    one = found(tmp_path, [*training((2, 3), (5, 6)), report])
    assert (one.not_run, one.unknown) == ([], ["report"])
    assert one.cost.value == pytest.approx(0.1 * 100 + 0.1 * 50)
    assert one.late_s == pytest.approx(0.5 * HOUR_S)
    assert any("energy of 1 planned jobs is unknown" in line for line in outcome_text(one))
    with pytest.raises(UserError, match="the energy of all planned jobs that ran since the plan was made is unknown"):
        found(tmp_path, [report])


def test_the_sensors_error_is_in_what_is_expected():
    runs = [EarlierRun("train", "train a", 60.0, 100.0, errors_J=(40.0, 60.0))] * 3
    energy_J = of_runs(runs, "3 earlier runs").energy_J
    assert list(energy_J) == pytest.approx([100, 60, 160])


def test_what_ran_before_the_plan_was_made_is_not_counted(tmp_path):
    old = made(tmp_path).model_copy(update={"made": (BEGIN + timedelta(hours=7)).isoformat()})
    signal = signal_of(policy(tmp_path, CARBON))
    assert signal is not None
    with pytest.raises(UserError, match="none of the planned jobs has run"):
        outcome(old, attribute_attempts(training((2, 3), (5, 6))).jobs, signal, recorded=False)


def test_what_another_device_saved_is_a_figure_apart(tmp_path):
    attempts = [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")]
    train, report = made(tmp_path).jobs
    other_J = Interval(1.44e6, 1.2e6, 1.6e6)
    signal = signal_of(policy(tmp_path, CARBON))
    assert signal is not None

    moved = train.model_copy(update={"device": "cpu", "device_at_once": "Card", "energy_at_once_J": other_J})
    moved_plan = made(tmp_path).model_copy(update={"jobs": [moved, report]})
    one = outcome(moved_plan, attribute_attempts(attempts).jobs, signal, recorded=False)
    # 7.2e5 J were measured; at once the signal is nearly 450 g/kWh.
    rate = (500 + 400 * (1 - RESUME_h)) / (2 - RESUME_h)
    assert one.device_saving is not None
    own_J = next(job.energy_J for job in one.jobs if job.name == "train a")
    below_J = math.hypot(2.4e5, own_J.high - own_J.value)
    above_J = math.hypot(1.6e5, own_J.value - own_J.low)
    expected = [(7.2e5 + change_J) * rate / 3.6e6 for change_J in (0, -below_J, above_J)]
    assert list(one.device_saving) == pytest.approx(expected)
    assert [(job.device, job.device_at_once) for job in one.jobs] == [("cpu", "Card"), (None, None)]
    assert (one.saving, one.cost) == (found(tmp_path, attempts).saving, found(tmp_path, attempts).cost)
    assert any("1 jobs ran on another device" in line and "train a (cpu, Card)" in line for line in outcome_text(one))
    assert found(tmp_path, attempts).device_saving is None


def test_a_plan_that_cost_more_is_not_said_to_save(tmp_path):
    saved = found(tmp_path, [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")])
    assert " were saved; " in outcome_text(saved)[0]
    figures = {"saving": (-41, -43, -39), "cost": (141, 134, 148), "cost_at_once": (100, 95, 105)}
    lost = saved.model_copy(update={name: Interval(*three) for name, three in figures.items()})
    (said, *_) = outcome_text(lost)
    assert "had they started at once, which is 41.0 gCO2e (39.0–43.0) (41 %) more; " in said.replace("\u202f", " ")
    assert "saved" not in said


def test_a_paused_training_is_expected_to_take_all_its_parts(tmp_path):
    (run,) = earlier_runs(attribute_attempts(training((2, 3), (5, 6))).jobs)
    assert (run.name, run.duration_s) == ("train a", 2 * HOUR_S)
    assert run.energy_J == pytest.approx(7.2e5)


def test_what_a_training_took_before_a_pause_is_kept_over_a_failure(tmp_path):
    failed = ran("f", (4, 4.5), "failed", rule="train", wildcards={"recipe": "a"})
    first, last = training((2, 3), (5, 6))
    (run,) = earlier_runs(attribute_attempts([first, failed, last]).jobs)
    assert (run.duration_s, run.energy_J) == (2 * HOUR_S, pytest.approx(7.2e5))


def test_what_a_killed_training_took_up_to_a_checkpoint_is_in_what_it_is_expected_to_take(tmp_path):
    """A training reports its work at each checkpoint; an attempt that reports none begins anew."""
    killed = ran("k", (2, 3), "killed", rule="train", wildcards={"recipe": "a"})
    assert killed.end is not None
    with_checkpoint = replace(killed, end=replace(killed.end, work={"samples": 100.0}))
    (last,) = training((5, 6))
    (run,) = earlier_runs(attribute_attempts([with_checkpoint, last]).jobs)
    assert (run.duration_s, run.energy_J) == (2 * HOUR_S, pytest.approx(7.2e5))
    (run,) = earlier_runs(attribute_attempts([killed, last]).jobs)
    assert (run.duration_s, run.energy_J) == (HOUR_S, pytest.approx(3.6e5))


def test_the_page_says_what_was_saved(tmp_path):
    results = tmp_path / "study"
    results.mkdir()
    settings = whole_study(results).config.model_dump_json(by_alias=True)
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    account = Account.read(results / "account/account.json")
    one = found(tmp_path, [*training((2, 3), (5, 6)), ran("r", (6, 6.5), rule="report")])
    write_report(account, tmp_path / "with", schedule=one)
    page = (tmp_path / "with/index.html").read_text()
    assert 'id="schedule"' in page
    assert "2 jobs ran by a plan for carbon: 25.0 gCO2e instead of 95.0 gCO2e" in re.sub(r"\s", " ", page)
    write_report(account, tmp_path / "without")
    assert 'id="schedule"' not in (tmp_path / "without/index.html").read_text()
