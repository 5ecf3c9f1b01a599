"""Power over time: the bins hold the jobs' energy, and hours without jobs are cut out."""

import numpy as np
import pytest

from greenllm.footprint.power_over_time import PowerCourse, series

HOUR_s = 3600.0


def course(stage, component, times_s, power_W):
    times_s = np.array(times_s, dtype=float)
    return PowerCourse(stage, component, times_s[:-1], times_s[1:], np.array(power_W, dtype=float))


def energy_J(segment, component, stage):
    return sum(segment.components[component][stage]) * segment.width_s


def test_bins_hold_the_energy_of_each_component_and_stage():
    courses = [
        course("train", "cpu", [0, 10, 25, 100], [20, 5, 8]),
        course("train", "dram", [0, 10, 25, 100], [2, 1, 0]),
        course("serve", "cpu", [90, 190], [3]),
    ]
    (segment,) = series(courses, bins=40)
    assert energy_J(segment, "cpu", "train") == pytest.approx(20 * 10 + 5 * 15 + 8 * 75, rel=1e-3)
    assert energy_J(segment, "dram", "train") == pytest.approx(2 * 10 + 15, rel=1e-3)
    assert energy_J(segment, "cpu", "serve") == pytest.approx(300, rel=1e-3)
    assert segment.components["cpu"]["train"][:2] == [20, 20]
    assert len(segment.components["cpu"]["serve"]) == 40


def test_runs_an_hour_apart_are_two_stretches_and_a_short_pause_is_part_of_one():
    morning = course("train", "cpu", [0, 50, 100], [10, 10])
    soon = course("train", "cpu", [120, 150], [4])
    later = course("train", "cpu", [HOUR_s, HOUR_s + 60], [7])
    first, second = series([later, morning, soon])
    assert (first.started, second.started) == (0, HOUR_s)
    assert energy_J(first, "cpu", "train") == pytest.approx(1000 + 120, rel=1e-3)
    assert energy_J(second, "cpu", "train") == pytest.approx(420, rel=1e-3)


def test_without_jobs_there_is_no_stretch():
    assert series([]) == []
