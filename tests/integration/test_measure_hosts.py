"""`greenllm measure` on hosts with little memory, and on hosts that are suspended meanwhile."""

import itertools
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from deploying import measure, of_this_test
from hardware.simulated import suspension_environment
from side_by_side import RECIPES, SERVER, Bundles, measured, rounds_of

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for a simulated suspension")
SUSPENDED_s = 3600


@pytest.mark.parametrize(("limit_B", "expected"), [(1.5e9, "one"), (8e9, "all")])
def test_a_limit_of_memory_for_two_servers_loads_one_at_a_time(
    bundles: Bundles, tmp_path: Path, limit_B: float, expected: str
) -> None:
    """Three servers of 0.6 GB each and their weights, in a control group as a container or SLURM has it."""
    bundles(RECIPES)
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, content in (("max", f"{limit_B:.0f}"), ("current", "100000000"), ("stat", "inactive_file 100000000")):
        (group / f"memory.{name}").write_text(f"{content}\n")
    environment = {"GREENLLM_SYSFS": str(tmp_path / "sys")}
    found = measured(
        tmp_path, RECIPES, environment=environment, loaded="auto", starts=2, rounds=4, requests=4, idle_s=0
    )
    assert found["loaded"] == expected
    assert "the servers need about 1.8 GB, " in found["loaded_reason"]
    limited = f"1.5 GB are available within the limit of the control group {group}"
    assert (limited in found["loaded_reason"]) is (expected == "one")
    blocks = {name: [one["block"] for one in rounds] for name, rounds in rounds_of(found).items()}
    assert blocks == dict.fromkeys(RECIPES, [0, 0, 1, 1] if expected == "one" else [0, 1, 2, 3])


def started_s(one: dict[str, Any]) -> float:
    return datetime.fromisoformat(one["window"]["started"]).timestamp()


def lasting_s(one: dict[str, Any]) -> tuple[float, float]:
    """Return how long a round lasted by the wall clock, and by CLOCK_MONOTONIC."""
    window = one["window"]
    ended_s = datetime.fromisoformat(window["ended"]).timestamp()
    return ended_s - started_s(one), window["monotonic_end_s"] - window["monotonic_start_s"]


@needs_compiler
def test_a_block_in_which_the_host_was_suspended_is_measured_again(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    (tmp_path / "small/suspends-at").write_text("7")  # two warm-ups, three requests in a block: in the second one
    environment = suspension_environment(tmp_path)
    found = measured(tmp_path, RECIPES, environment=environment, rounds=3, requests=9)
    assert (tmp_path / "slept_s").read_text() == str(SUSPENDED_s)
    for name, rounds in rounds_of(found).items():
        assert [(one["block"], one["answered"]) for one in rounds] == [(0, 3), (1, 3), (2, 3)], name
        for wall_s, monotonic_s in map(lasting_s, rounds):
            assert wall_s == pytest.approx(monotonic_s, abs=1)
        # The first block was before the suspension, the two others after it, with every server.
        first, second, third = map(started_s, rounds)
        assert second - first > SUSPENDED_s > third - second
        load = json.loads((tmp_path / f"load/{name}.json").read_text())
        assert load["work"]["requests"] == 2 + 4 * 3  # the second block was sent twice


@needs_compiler
def test_a_round_of_a_server_alone_in_which_the_host_was_suspended_is_measured_again(
    bundles: Bundles, tmp_path: Path
) -> None:
    bundles(RECIPES)
    (tmp_path / "small/suspends-at").write_text("4")  # of each start: in the first of its two rounds
    settings: dict[str, Any] = {"loaded": "one", "starts": 2, "rounds": 4, "requests": 8}
    found = measured(tmp_path, RECIPES, environment=suspension_environment(tmp_path), **settings)
    assert (tmp_path / "slept_s").read_text() == str(2 * SUSPENDED_s)
    for name, rounds in rounds_of(found).items():
        assert [(one["block"], one["answered"]) for one in rounds] == [(0, 2), (0, 2), (1, 2), (1, 2)], name
        assert all(wall_s == pytest.approx(monotonic_s, abs=1) for wall_s, monotonic_s in map(lasting_s, rounds))
        within = [after - before for before, after in itertools.pairwise(map(started_s, rounds))]
        assert max(within[0], within[2]) < 60, name


@needs_compiler
@pytest.mark.parametrize("loaded", ["all", "one"])
def test_a_host_that_is_suspended_again_and_again_is_reported_in_one_line(
    bundles: Bundles, tmp_path: Path, loaded: str
) -> None:
    bundles(RECIPES)
    (tmp_path / "small/suspends-at").write_text(" ".join(map(str, range(1000))))
    settings: dict[str, Any] = {"loaded": loaded, "requests": 3, "idle_s": 0}
    done = measure(tmp_path, RECIPES, server=SERVER, environment=suspension_environment(tmp_path), **settings)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("greenllm measure: error: the host was suspended, or its clock was set, 11 times; ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "measurement.json").exists()
    assert of_this_test(tmp_path) == []
