"""The search of `greenllm tune` on synthetic surfaces of energy and time, noisy and of several shapes."""

import math
from pathlib import Path
from random import Random

import pytest
import yaml
from narrowing import known
from response_surfaces import FAMILIAR, SPACE, UNSEEN
from surface_searches import PROBES, searched

from greenllm.checks.study import check_config
from greenllm.errors import UserError
from greenllm.estimate import Estimate, Parameter
from greenllm.load.thread_choice import without_probe
from greenllm.tuning.result import write_fragment, write_probes
from greenllm.tuning.search import Cost, Found, Probe, ProbeFailedError, search
from greenllm.tuning.space import Setting, Space

ROOT = Path(__file__).parents[2]


def test_of_ten_surfaces_that_the_search_was_not_made_for_nine_end_within_5_percent_of_the_optimum():
    """In 25 probes of 540 settings. benchmarks/tuning.py has the share of many searches."""
    excess = {name: searched(surface, None, 1).excess for name, surface in UNSEEN.items()}
    assert sum(one <= 0.05 for one in excess.values()) >= 9, excess
    assert max(excess.values()) <= 0.3, excess


def test_what_was_probed_is_repeated_at_the_end_only():
    found = searched(UNSEEN["valley"], None, 2).found
    settings = [one.setting for one in found.probes]
    assert len(settings) == PROBES
    assert len(set(settings[:-3])) == PROBES - 3
    assert set(settings[-3:]) <= set(settings[:-3])


def test_a_disturbed_probe_does_not_change_what_is_found():
    calls = list[int]()

    def probe(setting: Setting) -> Cost:
        calls.extend([setting.batch] * (setting.batch == 4))
        return Cost((10.0 if len(calls) == 3 and setting.batch == 4 else 1.0) * (1 + abs(setting.batch - 4)), 1.0)

    found = search(Space([1, 2, 4, 8], [1]), probe, probes=12)
    assert calls == [4, 4, 4]
    assert found.best.batch == 4
    assert found.typical(found.best).energy_J == 1.0


@pytest.mark.parametrize("bound_s", [None, 1.0])
def test_one_setting_whose_only_repeat_was_worse_is_not_the_best(bound_s):
    energies_J = {1: iter([1.0, 5.0]), 2: iter([2.0]), 4: iter([3.0]), 8: iter([4.0])}
    found = search(
        Space([1, 2, 4, 8], [1]), lambda one: Cost(next(energies_J[one.batch]), 0.5), probes=5, bound_s=bound_s
    )
    assert found.typical(Setting(1, 1)).energy_J == 3.0
    assert found.best == Setting(2, 1)


def test_the_least_energy_is_said_to_be_that_only_where_no_single_probe_had_less(tmp_path):
    one, two = Setting(1, 1), Setting(2, 1)
    probes = [Probe(one, Cost(1.0, 0.5)), Probe(two, Cost(2.0, 0.5)), Probe(two, Cost(2.1, 0.5))]
    for best, said in (
        (one, "the least energy probed within 1 s."),
        (two, "the least energy within 1 s of the settings probed more than once."),
    ):
        write_fragment(tmp_path / "tuned.yaml", Found(probes, best, True, [one]), "request", 1.0, None)
        assert said in (tmp_path / "tuned.yaml").read_text()


def fragment_after(tmp_path, energy_J, probes=25):
    """Return the fragment of a tuning of eight batches; `energy_J` returns what a probe of a batch takes."""
    batches = [1, 2, 4, 8, 16, 32, 64, 128]
    found = search(Space(batches, [1]), lambda one: Cost(energy_J(one.batch), 0.5), probes=probes)
    write_fragment(tmp_path / "tuned.yaml", found, "request", None, None)
    return found, (tmp_path / "tuned.yaml").read_text()


def test_of_settings_that_differ_by_noise_alone_none_is_said_to_take_more(tmp_path):
    noise = Random(1)
    _, text = fragment_after(tmp_path, lambda batch: noise.lognormvariate(0.0, 0.2))
    (line,) = [
        line for line in text.splitlines() if "Not resolvably more (95 %; probes of one setting differ by" in line
    ]
    assert line.endswith("; and 1 more.")  # six are named: all seven others
    assert "The most of" not in text


def test_settings_that_differ_by_more_than_their_noise_are_told_apart(tmp_path):
    noise = Random(1)
    found, text = fragment_after(tmp_path, lambda batch: (1 + abs(batch - 8)) * noise.lognormvariate(0.0, 0.02))
    assert found.best.batch == 8
    assert "All others take resolvably more" in text
    assert "The most of 8 settings: 1" in text
    assert "(batch 128, 1 thread, probed once)" in text


def test_without_a_repeat_it_is_unknown_what_takes_resolvably_more(tmp_path):
    _, text = fragment_after(tmp_path, float, probes=3)
    assert "No setting was probed twice, so it is unknown whether others take resolvably more." in text


def test_a_bound_of_time_excludes_what_is_too_slow():
    found = searched(FAMILIAR["saturating"], 0.8, 1)
    assert found.excess <= 0.15
    assert found.time_of_bound <= 1.03  # within the noise of a probe


def test_every_setting_of_a_small_space_is_probed_and_the_least_is_found():
    space = Space(batch=[1, 2, 4, 8], threads=[1, 2])
    probed = []

    def probe(setting: Setting) -> Cost:
        probed.append(setting)
        return Cost(1.0 + abs(math.log2(setting.batch) - 2) + 0.3 * setting.threads, 1 / setting.threads)

    found = search(space, probe, probes=25)
    assert set(probed) == set(space.settings())
    assert len(probed) <= 8 + 6
    assert found.best == Setting(batch=4, threads=1)
    assert found.within


@pytest.mark.parametrize("batches", [[1, 2], [1, 2, 3, 4, 5]])
def test_of_settings_none_of_which_is_fast_enough_the_fastest_is_found(batches):
    found = search(
        Space(batches, [1, 2]), lambda one: Cost(1.0 * one.threads, 1.0 / one.threads), probes=12, bound_s=0.1
    )
    assert (found.best.threads, found.within) == (2, False)


def test_settings_that_fail_are_left_out_and_if_all_fail_the_reason_is_said():
    def probe(setting: Setting) -> Cost:
        if setting.batch > 2:
            raise ProbeFailedError("out of memory")
        return Cost(1.0 / setting.batch, 1.0)

    found = search(Space([1, 2, 4, 8], [1]), probe, probes=12)
    assert found.best.batch == 2
    assert {one.setting.batch for one in found.probes if one.failure == "out of memory"} == {4, 8}
    with pytest.raises(ProbeFailedError, match="out of memory"):
        search(Space([4, 8], [1]), probe, probes=5)


def test_the_front_has_what_no_other_setting_beats_in_both():
    def probe(one: Setting) -> Cost:
        return Cost(4.0 / one.batch if one.threads == 1 else 5.0, float(one.batch) / one.threads)

    found = search(Space([1, 2, 4], [1, 2]), probe, probes=12)
    assert [(one.batch, one.threads) for one in found.front] == [(1, 2), (1, 1), (2, 1), (4, 1)]


def test_the_result_is_a_fragment_of_the_configuration_and_a_row_for_each_probe(tmp_path):
    best = Setting(batch=8, threads=2, precision="bf16", power_limit_W=250.0)
    found = Found(
        [Probe(best, Cost(1.0, 0.5, (0.9, 1.2))), Probe(Setting(16, 2, "bf16", 250.0), None, "out of memory")],
        best,
        True,
        [best],
    )
    spent = Estimate({"gain": 40.0}, {"gain": Parameter(1.0, 0.5, 1.5, "J/J", "")})
    write_fragment(tmp_path / "tuned.yaml", found, "sample", 0.7, spent)
    text = (tmp_path / "tuned.yaml").read_text()
    assert yaml.safe_load(text) == {
        "train": {"batch": 8, "precision": "bf16"},
        "resources": {"train": {"threads": 2, "power_limit_W": 250.0}},
    }
    assert "1 J (0.9 to 1.2) and 0.5 s per sample, the least energy probed within 0.7 s" in text
    assert "2 probes, 40 J (20 to 60) in all." in text
    write_probes(tmp_path / "probes.csv", found, "sample")
    first, second = (tmp_path / "probes.csv").read_text().splitlines()[1:]
    assert first == "1,8,2,bf16,250.0,1,0.9,1.2,0.5,1,1,"
    assert second.endswith("out of memory")


def test_a_study_with_the_fragment_measures_a_server_with_the_threads_that_were_found(tmp_path):
    best = Setting(batch=8, threads=8)
    found = Found([Probe(best, Cost(1.0, 0.5))], best, True, [best])
    write_fragment(tmp_path / "tuned.yaml", found, "request", None, None)
    study = yaml.safe_load((ROOT / "config/tiny.yaml").read_text())
    config = check_config(study | yaml.safe_load((tmp_path / "tuned.yaml").read_text()), "study.yaml")
    choice = known(without_probe(config.deploy, "transformers", config.resources.measure.threads))
    assert (config.deploy.batch, choice.threads) == (8, 8)


def test_a_knob_without_values_or_with_one_twice_is_refused():
    for batch in ([], [2, 2]):
        with pytest.raises(UserError, match="batch: expected"):
            Space(batch=batch, threads=[1])


def test_the_same_seed_probes_the_same_settings():
    first, second = (searched(FAMILIAR["ridge"], None, 3).found for _ in range(2))
    assert [one.setting for one in first.probes] == [one.setting for one in second.probes]
    assert first.best in SPACE.settings()
