"""Plans: signals, deadlines, budgets, what is expected of jobs; and the mistakes that are refused."""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from greenllm.cli import main
from greenllm.config.policy import Policy
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.report.schedule_text import plan_text
from greenllm.scheduling.document import SchedulePlan, SharedLimits
from greenllm.scheduling.expectations import EarlierRun, Expected, expected
from greenllm.scheduling.forecast import signal_of
from greenllm.scheduling.planner import Planned, plan
from greenllm.scheduling.workflow_jobs import WorkflowJob

BEGIN = datetime(2026, 12, 1, 6, tzinfo=UTC)
BEGIN_S = BEGIN.timestamp()
HOUR_S = 3600.0


def write_signal(
    path: Path, values: list[float | None], *, unit: str = "gCO2e/kWh", begin: datetime = BEGIN, share: float = 0
) -> Path:
    """Write a CSV with a value an hour, and bounds this share around it."""
    bounds = f",low ({unit}),high ({unit})" if share else ""
    lines = [f"time,value ({unit}){bounds}"]
    for hour, value in enumerate(values):
        if value is not None:
            more = f",{value * (1 - share)},{value * (1 + share)}" if share else ""
            lines.append(f"{(begin + timedelta(hours=hour)).isoformat()},{value}{more}")
    path.write_text("\n".join(lines))
    return path


def job(name: str, *after: str, threads: int = 1) -> WorkflowJob:
    return WorkflowJob(name, {}, threads=threads, gpus=0, runtime_min=60, after=after)


def takes(hours: float, power_W: float = 100.0, spread: float = 0.0) -> Expected:
    value = hours * HOUR_S
    duration = Interval(value, value * (1 - spread), value * (1 + spread))
    return Expected(duration, Interval(*(power_W * one for one in duration)), "1 earlier run")


def planned(
    policy: Policy,
    jobs: Mapping[str, tuple[Expected, tuple[str, ...]]],
    limits: SharedLimits | None = None,
    handover_s: float = 0.0,
) -> SchedulePlan:
    found = Planned(
        [job(name, *after) for name, (_, after) in jobs.items()],
        {name: one for name, (one, _) in jobs.items()},
        {},
        handover_s,
    )
    signal = signal_of(policy, now_s=BEGIN_S)
    assert signal is not None
    return plan(found, policy, signal, limits or SharedLimits(), BEGIN_S)


def policy(signal: Path | list[Path], **keys: object) -> Policy:
    files = [str(one) for one in signal] if isinstance(signal, list) else str(signal)
    return Policy(**{"objective": "carbon", "signal": files, "max_age": None, **keys})


def starts(found: SchedulePlan) -> dict[str, float]:
    """Return the planned starts, in hours after the begin."""
    return {
        one.name: (datetime.fromisoformat(one.runs[0].start) - BEGIN).total_seconds() / HOUR_S for one in found.jobs
    }


def test_jobs_move_to_the_cheapest_hours_in_their_order(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [500, 400, 100, 100, 300, 50, 400, 400])
    found = planned(policy(signal, max_delay="4h"), {"train": (takes(1), ()), "report": (takes(1), ("train",))})
    assert starts(found) == {"train": 2.0, "report": 5.0}
    assert found.cost_at_once == pytest.approx(0.1 * (500 + 400))
    assert found.saving.value == pytest.approx(0.1 * (900 - 150))


def test_the_saving_has_the_bounds_of_energies_and_signal(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [400, 100, 100], share=0.1)
    sure = planned(policy(signal, max_delay="2h"), {"train": (takes(1), ())})
    assert sure.signal_bounds
    # 40 g and 10 g for each kWh of half-width, independent of each other.
    assert sure.saving.value - sure.saving.low == pytest.approx(0.1 * (40**2 + 10**2) ** 0.5)
    plain = write_signal(tmp_path / "plain.csv", [400, 100, 100])
    unsure = planned(policy(plain, max_delay="2h"), {"train": (takes(0.9, spread=0.1), ())})
    assert not unsure.signal_bounds
    assert unsure.saving.low == pytest.approx(0.9 * unsure.saving.value)


def test_a_price_and_both_together_decide_as_well(tmp_path):
    carbon = write_signal(tmp_path / "carbon.csv", [300, 100, 300, 300])
    price = write_signal(tmp_path / "price.csv", [100, 100, -20, 100], unit="EUR/MWh")
    cheap = planned(policy(price, objective="price", max_delay="3h"), {"train": (takes(1), ())})
    assert starts(cheap) == {"train": 2.0}
    assert cheap.unit == "EUR"
    assert cheap.cost == pytest.approx(-0.1 * 0.02)
    # 200 g for each kWh are worth more than 0.12 EUR from 600 EUR per tonne on.
    for per_tonne, hour in ((500, 2.0), (700, 1.0)):
        both = policy([carbon, price], objective="both", max_delay="3h", carbon_price_per_t=per_tonne)
        assert starts(planned(both, {"train": (takes(1), ())})) == {"train": hour}


def test_a_power_budget_keeps_jobs_apart(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [500, 100, 200, 500])
    limits = SharedLimits(power_W=150.0)
    found = planned(
        policy(signal, max_delay="3h", power_budget_W=150), {"one": (takes(1), ()), "two": (takes(1), ())}, limits
    )
    assert sorted(starts(found).values()) == [1.0, 2.0]


def test_the_deadline_is_kept_where_there_is_no_slack(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [500, 400, 300, 200, 100])
    jobs = {"one": (takes(1), ()), "short": (takes(0.5), ()), "two": (takes(1), ("one", "short"))}
    found = planned(policy(signal, deadline=(BEGIN + timedelta(hours=2)).isoformat()), jobs)
    assert starts(found) == {"one": 0.0, "short": 0.0, "two": 1.0}
    late = write_signal(tmp_path / "late.csv", [500, 400, 300])
    deadline = (BEGIN + timedelta(hours=2)).isoformat()
    slack = planned(policy(late, deadline=deadline), {"short": (takes(0.5), ()), "long": (takes(2), ())})
    assert starts(slack) == {"short": 1.0, "long": 0.0}
    assert slack.saving.value > 0


def test_run_times_are_planned_at_their_upper_bounds_where_the_deadline_allows(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [100] * 8)
    jobs = {"one": (takes(1, spread=0.5), ()), "two": (takes(1, spread=0.5), ("one",))}
    careful = planned(policy(signal, max_delay="4h"), jobs)
    assert careful.cautious
    assert starts(careful) == {"one": 0.0, "two": 1.5}
    tight = planned(policy(signal, deadline=(BEGIN + timedelta(hours=2.5)).isoformat()), jobs)
    assert not tight.cautious
    assert starts(tight) == {"one": 0.0, "two": 1.0}


def test_on_a_cluster_a_job_starts_after_the_end_of_those_before_it_was_noticed(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [100, 100, 100, 400, 400, 400, 400, 400])
    jobs = {"one": (takes(1), ()), "two": (takes(1), ("one",)), "three": (takes(0.5), ("two",))}
    found = planned(policy(signal, max_delay="4h"), jobs, handover_s=0.1 * HOUR_S)
    assert starts(found) == {"one": 0.0, "two": 1.1, "three": 2.2}
    assert [one.runs[0].end for one in found.jobs] == [one.at_once.end for one in found.jobs]
    assert datetime.fromisoformat(found.jobs[0].runs[0].end) == BEGIN + timedelta(hours=1)
    assert found.cost == pytest.approx(0.1 * 100 * 2.5)
    with pytest.raises(UserError, match="the jobs need until 2026-12-01T08:48"):
        planned(policy(signal, deadline="2026-12-01T08:40Z"), jobs, handover_s=0.1 * HOUR_S)


@pytest.mark.parametrize(
    ("values", "keys", "message"),
    [
        ([100] * 3, {"deadline": "2026-12-01T11:00Z"}, "signal.csv: covers .* until 2026-12-01T11:00.*; get a"),
        ([100, 100, None, None, 100, 100], {"deadline": "2026-12-01T11:00Z"}, "has no values from 2026-12-01T08:00"),
        ([100] * 9, {"deadline": "2026-12-01T05:00Z"}, "policy.deadline: 2026-12-01T05:00Z is in the past"),
        ([100] * 9, {"deadline": "2026-12-01T06:30Z"}, "policy: started at once, the jobs need until 2026-12-01T07:00"),
        ([100] * 9, {"power_budget_W": 50}, "policy.power_budget_W: 50, but train alone takes 100 W"),
        ([100] * 9, {"objective": "price"}, "in gCO2e/kWh'; expected one file in a unit such as EUR/MWh"),
        ([100] * 9, {"objective": "both"}, "expected one file in gCO2e/kWh and one file in a unit such as EUR/MWh"),
    ],
)  # fmt: skip
def test_a_signal_or_policy_that_does_not_fit_is_refused(tmp_path, values, keys, message):
    signal = write_signal(tmp_path / "signal.csv", values)
    with pytest.raises(UserError, match=message):
        planned(policy(signal, **keys), {"train": (takes(1), ())}, SharedLimits(power_W=keys.get("power_budget_W")))


def test_a_signal_of_another_time_zone_is_read_right_or_refused(tmp_path):
    berlin = tmp_path / "berlin.csv"
    rows = [f"2026-12-01T{hour:02}:00,{100 if hour == 9 else 400}" for hour in range(7, 12)]
    berlin.write_text("\n".join(["time (Europe/Berlin),value (gCO2e/kWh)", *rows]))
    assert starts(planned(policy(berlin, max_delay="3h"), {"train": (takes(1), ())})) == {"train": 2.0}
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("\n".join(["time (America/New_York),value (gCO2e/kWh)", *rows]))
    with pytest.raises(UserError, match=r"elsewhere.csv: covers 2026-12-01T12:00.*correct the time zone"):
        planned(policy(elsewhere, max_delay="3h"), {"train": (takes(1), ())})
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("\n".join(["time,value (gCO2e/kWh)", *rows]))
    with pytest.raises(UserError, match="has no time zone"):
        planned(policy(unknown), {"train": (takes(1), ())})


def test_an_old_signal_is_refused(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [100] * 9)
    os.utime(signal, (BEGIN_S - 30 * HOUR_S,) * 2)
    with pytest.raises(UserError, match=r"signal.csv: was written at 2026-11-30T00:00.*30 h ago"):
        planned(policy(signal, max_age="24h"), {"train": (takes(1), ())})
    planned(policy(signal, max_age="36h", max_delay="2h"), {"train": (takes(1), ())})


def test_expected_energy_is_that_of_earlier_runs_of_the_job_then_of_its_rule_then_of_a_model():
    earlier = [
        EarlierRun("train", "train a", 100.0, 1000.0),
        EarlierRun("train", "train a", 120.0, 1400.0),
        EarlierRun("train", "train b", 300.0, 6000.0),
    ]
    jobs = [
        WorkflowJob(rule, {"name": name}, 1, 0, 10, ())
        for rule, name in (("train", "a"), ("train", "c"), ("serve", "a"))
    ]
    own, alike, model = expected(jobs, earlier).values()
    assert own.duration_s.value == 110.0
    assert own.energy_J.low < 1000 < 1200 == own.energy_J.value < 1400 < own.energy_J.high
    assert alike.energy_J.value == pytest.approx(2800)
    assert alike.energy_J.low < 1000 < 6000 < alike.energy_J.high
    assert model.source.startswith("model")
    assert 0 < model.duration_s.low < model.duration_s.value < model.duration_s.high == 600.0
    assert 0 < model.energy_J.low < model.energy_J.value < model.energy_J.high


def test_earlier_runs_with_the_settings_of_the_last_one_count_and_a_change_since_widens_the_bounds():
    earlier = [
        EarlierRun("train", "train a", 900.0, 9000.0, settings=["train", "{epochs: 9}"]),
        EarlierRun("train", "train a", 100.0, 1000.0, settings=["train", "{epochs: 1}"]),
        EarlierRun("train", "train a", 100.0, 1000.0, settings=["train", "{epochs: 1}"]),
    ]
    job = WorkflowJob("train", {"name": "a"}, 1, 0, 10, ())
    (same,), (changed,) = (expected([one], earlier).values() for one in (job, replace(job, changed=True)))
    assert same.energy_J == (1000, 1000, 1000)
    assert same.source == "2 earlier runs"
    assert changed.energy_J.value == 1000
    assert changed.energy_J.low <= 800 < 1500 <= changed.energy_J.high
    assert changed.source == "2 earlier runs, with other settings"


def study(folder: Path, **section: object) -> Path:
    (folder / "study.yaml").write_text(
        json.dumps(
            {
                "results": str(folder / "results"),
                "experiments": {
                    "a": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline"]}
                },
                "recipes": {"baseline": {"train": {}}},
                "policy": section,
            }
        )
    )
    return folder / "study.yaml"


def test_without_a_signal_jobs_start_at_once_and_the_command_says_so(tmp_path, capsys):
    old = tmp_path / "results/plan/plan.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"schema": "greenllm/plan/1"}')
    assert main(["plan", "--configfile", str(study(tmp_path, objective="carbon"))]) == 0
    assert "policy.signal names no file: jobs start at once" in capsys.readouterr().err
    assert not old.exists()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"deadline": "2020-01-01T00:00Z"}, "policy.deadline: 2020-01-01T00:00Z is in the past"),
        ({"deadline": "2020-01-01T00:00"}, "policy.deadline: expected a time with its zone"),
        ({"max_delay": "soon"}, "policy.max_delay: expected a number with s, min, h or d"),
        ({"power_budget_W": 0}, "policy.power_budget_W"),
        ({"signal": "missing.csv"}, "missing.csv: no such file"),
        ({"objective": "fame"}, "policy.objective"),
    ],
)
def test_the_command_refuses_a_mistake_in_one_line(tmp_path, capsys, section, message):
    signal = write_signal(tmp_path / "signal.csv", [100] * 50, begin=datetime.now(UTC) - timedelta(hours=1))
    whole = {"objective": "carbon", "signal": str(signal), **section}
    assert main(["plan", "--configfile", str(study(tmp_path, **whole))]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert message in said[0]
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--begin", "nan"), "--begin nan: expected a time with its zone"),
        (("--begin", "inf"), "--begin inf: expected a time with its zone"),
        (("--begin", "1e20"), "--begin 1e20: expected a time with its zone"),
        (("--begin", "2020-01-01T00:00Z"), "--begin 2020-01-01T00:00Z: is in the past"),
        (("--cores", "-1"), "--cores -1: expected a whole number, 1 or more"),
        (("--cores", "0"), "--cores 0: expected a whole number, 1 or more"),
        (("--gpus", "-1"), "--gpus -1: expected a whole number, 0 or more"),
    ],
    ids=" ".join,
)
def test_the_command_refuses_an_option_in_one_line(tmp_path, capsys, words, message):
    signal = write_signal(tmp_path / "signal.csv", [100] * 50, begin=datetime.now(UTC) - timedelta(hours=1))
    file = study(tmp_path, objective="carbon", signal=str(signal))
    assert main(["plan", "--configfile", str(file), *words]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert message in said


def test_a_row_without_a_number_is_refused_by_its_number(tmp_path, capsys):
    signal = tmp_path / "signal.csv"
    signal.write_text("time,value (gCO2e/kWh)\n2026-12-01T06:00Z,nan\n2026-12-01T07:00Z,nan\n")
    file = study(tmp_path, objective="carbon", signal=str(signal))
    assert main(["plan", "--configfile", str(file)]) == 2
    assert "signal.csv: row 2: 'nan' is no finite number" in capsys.readouterr().err
    signal.write_text("time,value (gCO2e/kWh)\n2026-12-01T06:00Z,\n2026-12-01T07:00Z,\n")
    assert main(["plan", "--configfile", str(file)]) == 2
    assert "signal.csv: expected at least 2 values, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["Electricity Maps", "carbon-aware-sdk"])
def test_the_age_of_a_forecast_is_that_of_its_making_where_the_file_has_it(tmp_path, capsys, form):
    """The file itself is new, as after a copy."""
    now = datetime.now(UTC)
    made = (now - timedelta(hours=60)).isoformat()
    hours = [(now + timedelta(hours=hour)).isoformat() for hour in range(-1, 30)]
    answers = {
        "Electricity Maps": {
            "zone": "DE", "updatedAt": made, "forecast": [{"datetime": one, "carbonIntensity": 100} for one in hours],
        },
        "carbon-aware-sdk": [
            {
                "generatedAt": made, "location": "DE",
                "forecastData": [{"location": "DE", "timestamp": one, "duration": 60, "value": 100} for one in hours],
            }
        ],
    }  # fmt: skip
    signal = tmp_path / "signal.json"
    signal.write_text(json.dumps(answers[form]))
    file = study(tmp_path, objective="carbon", signal=str(signal))
    assert main(["plan", "--configfile", str(file)]) == 2
    assert re.search(r"signal.json: was made at .*, 60 h ago, more than policy.max_age", capsys.readouterr().err)


def test_a_failed_plan_says_that_the_earlier_one_still_holds(tmp_path, capsys):
    signal = write_signal(tmp_path / "signal.csv", [100] * 5)
    whole = planned(policy(signal, max_delay="2h"), {"train": (takes(1), ())}).model_dump(mode="json", by_alias=True)
    place = tmp_path / "results/plan/plan.json"
    place.parent.mkdir(parents=True)
    file = study(tmp_path, objective="carbon", signal=str(signal), deadline="2020-01-01T00:00Z")
    for hours, holds in ((1, True), (-1, False)):
        start = datetime.now(UTC) + timedelta(hours=hours)
        run = {"start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
        place.write_text(json.dumps({**whole, "jobs": [{**whole["jobs"][0], "runs": [run]}]}))
        assert main(["plan", "--configfile", str(file)]) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert "policy.deadline: 2020-01-01T00:00Z is in the past" in said
        assert (f". The earlier plan still holds; remove {place} to start jobs at once" in said) == holds
        assert place.is_file()


def test_a_saving_that_is_less_than_its_interval_keeps_its_digits(tmp_path):
    signal = write_signal(tmp_path / "signal.csv", [100] * 5)
    one = planned(policy(signal, max_delay="2h"), {"train": (takes(1), ())})
    unsure = one.model_copy(update={"saving": Interval(11.2, -20.0, 400.0), "cost_at_once": 18.4, "cost": 7.2})
    assert "18.4 gCO2e at once, 7.20 gCO2e as planned: saves 11.2 gCO2e" in plain(plan_text(unsure))
    assert re.search(r"saves 11.2 gCO2e \(0 to 400\) \(60.9 %\)", plain(plan_text(unsure)))
    sure = one.model_copy(update={"saving": Interval(112.3, 90.0, 130.0)})
    assert "saves 112 gCO2e (90–130)" in plain(plan_text(sure))
    dearer = one.model_copy(update={"saving": Interval(-112.3, -130.0, -90.0), "cost_at_once": 1123.0})
    assert "as planned: 112 gCO2e (90–130) more (10 %)." in plain(plan_text(dearer))


def plain(text: str) -> str:
    """Return a text with ordinary spaces."""
    return re.sub(r"\s", " ", text)


def test_help_names_all_that_a_plan_chooses_by(capsys):
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    said = plain(capsys.readouterr().out)
    assert re.search(r"when and on which device jobs run, by .*carbon.*price.*joules", said)


@pytest.mark.parametrize("when", ["nan", "inf", "1e20", "99999999999999", "9999-01-01T00:00Z", "2026-12-01T02:00"])
def test_the_meter_refuses_a_time_that_never_comes(tmp_path, capsys, monkeypatch, when):
    monkeypatch.setenv("GREENLLM_LOCKS", str(tmp_path / "locks"))
    words = ["--ledger", str(tmp_path / "ledger"), "--out", str(tmp_path / "log.json")]
    assert main(["meter", *words, "--not-before", when, "--", "true"]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert f"--not-before {when}: expected a time with its zone" in said

    run = {"start": when, "end": "2026-12-01T02:00Z"}
    (tmp_path / "plan.json").write_text(json.dumps({"jobs": [{"rule": "train", "wildcards": {}, "runs": [run]}]}))
    job = ["--rule", "train", "--plan", str(tmp_path / "plan.json")]
    assert main(["meter", *words, *job, "--", "true"]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert "plan.json: is no plan (" in said


def test_the_meter_waits_for_its_planned_start_without_a_lease(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLLM_LOCKS", str(tmp_path / "locks"))
    start_s = time.time() + 1.5
    out = tmp_path / "energy.json"
    when = datetime.fromtimestamp(start_s, UTC).isoformat()
    words = ["--ledger", str(tmp_path / "ledger"), "--out", str(out), "--not-before", when, "--", "true"]
    assert main(["meter", *words]) == 0
    log = json.loads(out.read_text())
    assert 0 <= datetime.fromisoformat(log["started"]).timestamp() - start_s < 2
    assert 0 < log["held_s"] < 2
    assert log["waited_s"] < log["held_s"]
