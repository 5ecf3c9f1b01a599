"""Plans that choose where jobs run, by earlier ledgers; the choice against exhaustive search."""

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from greenllm.config.policy import Policy
from greenllm.device_choice import CPU
from greenllm.errors import UserError
from greenllm.scheduling.at_once import at_once, makespan
from greenllm.scheduling.devices import HostDevices, modes_of
from greenllm.scheduling.document import JobPlan, SchedulePlan, SharedLimits
from greenllm.scheduling.expectations import EarlierRun, expected
from greenllm.scheduling.forecast import signal_of
from greenllm.scheduling.planner import Planned, plan
from greenllm.scheduling.problem import Activity
from greenllm.scheduling.workflow_jobs import WorkflowJob

FAST, LEAN = "Fast card", "Lean card"
HOST = HostDevices("here", [FAST, LEAN])
BEGIN_S = datetime(2026, 12, 1, 6, tzinfo=UTC).timestamp()


def job(recipe: str, *after: str, rule: str = "train", gpus: int = 1) -> WorkflowJob:
    return WorkflowJob(rule, {"experiment": "a", "recipe": recipe, "seed": "1"}, 1, gpus, 60, after)


def ran(recipe: str, device: str | None, seconds: float, energy_J: float, **more: object) -> EarlierRun:
    wildcards = {"experiment": "a", "recipe": recipe, "seed": "1"} | more.pop("wildcards", {})  # type: ignore[operator]
    rule = str(more.pop("rule", "train"))
    name = f"{rule} {'/'.join(wildcards.values())}"
    return EarlierRun(rule, name, seconds, energy_J, wildcards, **{"host": "here", "device": device, **more})  # type: ignore[arg-type]


def planned(
    jobs: Sequence[WorkflowJob],
    earlier: Sequence[EarlierRun],
    allowed: bool | Sequence[str] = True,
    policy: Policy | None = None,
    host: HostDevices = HOST,
    **limits: float,
) -> SchedulePlan:
    modes = modes_of(jobs, earlier, host, host.chosen(allowed), fixed=())
    chosen = policy or Policy(objective="energy", max_delay="1h")
    signal = signal_of(chosen)
    assert signal is not None
    shared = SharedLimits(cores=4, gpus=len(host.cards), models=host.models, **limits)
    return plan(
        Planned(jobs, expected(jobs, earlier), {}, modes=modes, cards=host.cards), chosen, signal, shared, BEGIN_S
    )


def devices(found: SchedulePlan) -> dict[str, str | None]:
    return {one.wildcards["recipe"]: one.device for one in found.jobs}


def only(found: SchedulePlan) -> JobPlan:
    (one,) = found.jobs
    return one


THREE = [ran("one", FAST, 60, 20_000), ran("one", LEAN, 120, 9_000), ran("one", CPU, 1200, 12_000)]


def test_a_job_goes_where_it_takes_the_least_energy() -> None:
    one = only(planned([job("one")], THREE))
    assert (one.device, one.device_at_once, one.moved, one.stays) == (LEAN, FAST, True, None)
    assert (one.duration_s.value, one.energy_J.value, one.source) == (120, 9_000, f"1 earlier run on {LEAN}")
    assert [(each.device, each.energy_J.value) for each in one.devices] == [
        (FAST, 20_000),
        (CPU, 12_000),
        (LEAN, 9_000),
    ]
    assert one.energy_at_once_J is not None
    assert (one.energy_at_once_J.value, one.cost, one.cost_at_once) == (20_000, 9_000, 20_000)


def test_the_saving_has_the_errors_of_both_energies() -> None:
    found = planned([job("one")], THREE)
    assert found.unit == "J"
    assert found.saving.value == 11_000
    # From one run: 0.8 to 1.5 times its energy, on each device.
    assert found.saving.low == pytest.approx(11_000 - math.hypot(0.2 * 20_000, 0.5 * 9_000))
    assert found.saving.high == pytest.approx(11_000 + math.hypot(0.5 * 20_000, 0.2 * 9_000))


def test_a_device_that_alone_exceeds_the_power_budget_is_not_chosen() -> None:
    earlier = [ran("one", FAST, 60, 20_000), ran("one", LEAN, 60, 15_000), ran("one", CPU, 1200, 16_000)]
    budget = Policy(objective="energy", max_delay="1h", power_budget_W=200)
    assert only(planned([job("one")], earlier, policy=budget, power_W=200.0)).device == CPU


def test_only_the_devices_asked_for_are_chosen_from() -> None:
    assert devices(planned([job("one")], THREE, [CPU])) == {"one": CPU}
    assert devices(planned([job("one")], THREE, [FAST])) == {"one": None}
    assert devices(planned([job("one")], THREE, False)) == {"one": None}
    with pytest.raises(
        UserError, match=r"policy\.devices: Big card: no such device on here; there are: cpu, Fast card"
    ):
        planned([job("one")], THREE, [LEAN, "Big card"])


def test_the_deadline_decides_for_a_faster_device() -> None:
    cheap = [ran("one", FAST, 60, 20_000), ran("one", CPU, 1200, 5_000)]
    for delay, device in (("1h", CPU), ("19min", CPU), ("18min", FAST)):
        policy = Policy(objective="energy", max_delay=delay)
        assert only(planned([job("one")], cheap, policy=policy)).device == device


def test_the_hour_decides_as_well(tmp_path: Path) -> None:
    """A slow device may cost less in a good hour that a fast one can use as a whole."""
    cheap = [ran("one", FAST, 3600, 3.6e6), ran("one", CPU, 4 * 3600, 2.4e6)]
    for good, device in ((100, FAST), (390, CPU)):
        rows = [
            f"{(datetime.fromtimestamp(BEGIN_S, UTC) + timedelta(hours=hour)).isoformat()},{good if hour == 2 else 400}"
            for hour in range(9)
        ]
        (tmp_path / "signal.csv").write_text("\n".join(["time,value (gCO2e/kWh)", *rows]))
        policy = Policy(objective="carbon", signal=[str(tmp_path / "signal.csv")], max_age=None, max_delay="7h")
        assert only(planned([job("one")], cheap, policy=policy)).device == device


def test_without_earlier_runs_of_a_device_the_job_stays_and_the_plan_says_so() -> None:
    here = only(planned([job("one")], [ran("one", FAST, 60, 20_000)]))
    assert (here.device, here.stays) == (None, f"no earlier run on cpu, {LEAN}")
    unknown = only(planned([job("one")], [ran("one", LEAN, 60, 20_000)]))
    assert (unknown.device, unknown.stays) == (None, f"no earlier run on {FAST}, where it runs without a choice")
    elsewhere = [ran("one", FAST, 60, 20_000), ran("one", LEAN, 60, 10_000, host="there")]
    assert only(planned([job("one")], elsewhere)).device is None
    some = only(planned([job("one")], THREE[:2]))
    assert (some.device, some.stays) == (LEAN, "no earlier run on cpu")


def test_jobs_that_are_measured_or_use_several_gpus_stay() -> None:
    jobs = [job("one", rule="evaluate"), job("one", rule="train", gpus=2), job("one", rule="compress", gpus=0)]
    earlier = [
        ran("one", where, 60, 1000, rule=rule) for rule in ("evaluate", "train", "compress") for where in HOST.cards
    ]
    assert {one.device for one in planned(jobs, earlier).jobs} == {None}


def test_other_seeds_and_work_tell_what_a_job_takes_on_a_device() -> None:
    seeds = [ran("one", FAST, 60, 20_000), ran("one", LEAN, 100, 8_000, wildcards={"seed": "2"})]
    assert only(planned([job("one")], seeds)).source == f"1 earlier run on {LEAN}, with another seed"
    # The recipe in another experiment, with half the tokens.
    work = [
        ran("one", FAST, 60, 20_000, work={"tokens": 1e6}),
        ran("one", LEAN, 50, 4_500, work={"tokens": 5e5}, wildcards={"experiment": "b"}),
    ]
    one = only(planned([job("one")], work))
    assert (one.device, one.duration_s.value, one.energy_J.value) == (LEAN, 100, 9_000)
    assert one.source == f"tokens of 1 runs of the recipe on {LEAN}"


def test_jobs_share_the_best_card_as_far_as_the_deadline_allows() -> None:
    jobs = [job(name) for name in "abcd"]
    earlier = [run for name in "abcd" for run in (ran(name, FAST, 100, 2_000), ran(name, LEAN, 100, 1_000))]
    patient = planned(jobs, earlier)
    assert list(devices(patient).values()) == [LEAN] * 4
    hasty = planned(jobs, earlier, policy=Policy(objective="energy", max_delay="100s"))
    assert sorted(filter(None, devices(hasty).values())) == [FAST, *[LEAN] * 3]
    hastier = planned(jobs, earlier, policy=Policy(objective="energy", max_delay="0s"))
    assert sorted(filter(None, devices(hastier).values())) == [FAST, FAST, LEAN, LEAN]
    for found in (patient, hasty, hastier):
        runs = sorted((one.device, one.runs[0].start, one.runs[0].end) for one in found.jobs)
        for before, after in itertools.pairwise(runs):
            assert before[0] != after[0] or before[2] <= after[1]


@pytest.mark.parametrize("seed", range(12))
def test_the_choice_saves_as_much_as_exhaustive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = "abcdef"
    jobs = [
        job(one, *(job(other).name for other in names[:place] if rng.random() < 0.3)) for place, one in enumerate(names)
    ]
    earlier = [
        ran(one, where, int(rng.integers(20, 80)) * slower, float(rng.uniform(1_000, 9_000)) * cost)
        for one in names
        for where, slower, cost in ((FAST, 1, 2), (LEAN, 2, 1), (CPU, 4, 0.8))
    ]
    policy = Policy(objective="energy", max_delay=f"{rng.integers(0, 200)}s")
    found = planned(jobs, earlier, policy=policy)
    deadline = round((datetime.fromisoformat(found.deadline).timestamp() - BEGIN_S) * 1000)
    assert all(datetime.fromisoformat(one.runs[-1].end).timestamp() <= BEGIN_S + deadline / 1000 for one in found.jobs)
    by_place = {(run.name, run.device): run for run in earlier}
    limits = {"cores": 4.0, "gpus": 2.0, FAST: 1.0, LEAN: 1.0}
    least = math.inf
    for places in itertools.product((FAST, LEAN, CPU), repeat=len(jobs)):
        there = [by_place[one.name, where] for one, where in zip(jobs, places, strict=True)]
        energy_J = sum(run.energy_J for run in there)
        if energy_J < least:
            activities = [activity(*each) for each in zip(there, jobs, places, strict=True)]
            least = energy_J if makespan(at_once(activities, limits)) <= deadline else least
    assert found.cost_at_once - found.cost >= 0.99 * (found.cost_at_once - least)
    assert found.cost >= least - 1e-6


def activity(run: EarlierRun, one: WorkflowJob, where: str) -> Activity:
    uses = {"cores": 1.0} | ({} if where == CPU else {"gpus": 1.0, where: 1.0})
    return Activity(one.name, round(run.duration_s * 1000), run.energy_J / run.duration_s, one.after, uses)
