"""`greenllm measure` on several bundles: blocks, visits, failures. The servers are stand-ins that start at once."""

import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from deploying import make_bundle, measure, of_this_test, rows_of, until_loaded, write_predictions
from narrowing import known
from side_by_side import RECIPES, SERVER, WITH_TWIN, Bundles, in_order_of_time, measured, rounds_of
from tiny_models import PROMPTS

from greenllm.attribution import attribute
from greenllm.attribution.turns import energy_in_turn


def test_each_block_has_a_round_of_each_server_in_the_order_that_is_recorded(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    settings: dict[str, Any] = {"twin": True, "rounds": 6, "requests": 18, "concurrency": [1, 3]}
    found = measured(tmp_path, RECIPES, **settings)
    assert [server["name"] for server in found["servers"]] == WITH_TWIN
    assert (found["twin"], found["servers"][3]["recipe"], found["loaded"]) == ("baseline~twin", "baseline", "all")
    planned = found["planned"]
    assert (planned["first"], planned["starts"], planned["rounds"], found["concurrencies"]) == (1, 1, 6, [1, 3])
    for place, orders in enumerate(found["orders"]):
        in_time = in_order_of_time(found, place)
        assert [name for name, _ in in_time] == [name for order in orders for name in order]
        assert [one["block"] for _, one in in_time] == [block for block in range(6) for _ in WITH_TWIN]
        assert all(sorted(order) == sorted(WITH_TWIN) for order in orders)
        assert len({tuple(order) for order in orders}) > 1  # the chance of one order only is (1/24)^5
    # The seed determines the order.
    settings["concurrency"] = [1]
    again = measured(tmp_path, RECIPES, **settings)["orders"]
    assert again[0] == found["orders"][0]
    assert measured(tmp_path, RECIPES, options=["--seed", "2"], **settings)["orders"] != again


def test_all_turns_together_take_at_most_the_energy_of_the_job(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    found = measured(tmp_path, RECIPES, twin=True, rounds=3, requests=30, round_s=0.2)
    attribution = attribute(tmp_path / "ledger")
    total_J = 0.0
    for server in found["servers"]:
        for one in server["points"][0]["rounds"]:
            window = one["window"]["monotonic_start_s"], one["window"]["monotonic_end_s"]
            threads = server["threads"]["threads"]
            turn = energy_in_turn(
                attribution, one["serve_id"], found["measure_id"], window, threads=threads, gpus=server["gpus"]
            )
            assert known(turn).value == pytest.approx(one["energy_J"]["value"], rel=0.05)
            total_J += known(turn).value
            # Samples were taken at the edges.
            for job in (one["serve_id"], found["measure_id"]):
                times_s = attribution.job(job).attempt.times
                assert min(window[0] - times_s[times_s <= window[0]]) < 0.2
                assert min(times_s[times_s >= window[1]] - window[1]) < 0.2
    assert 0 < total_J <= known(attribution.job(found["measure_id"]).energy_with_children).value


def test_the_servers_get_the_same_prompts_within_a_block(fp32: Path, tmp_path: Path) -> None:
    """Seen by the number of their tokens, which our server reports."""
    for name in ("baseline", "other"):
        assert make_bundle(fp32, name, tmp_path).returncode == 0
        rows = [row | {"prediction": "differs"} for row in rows_of(PROMPTS)]
        write_predictions(tmp_path / f"{name}.jsonl", rows)
    done = measure(tmp_path, ["baseline", "other"], rounds=4, requests=8, agreement=0)
    assert done.returncode == 0, done.stderr
    rounds = rounds_of(json.loads((tmp_path / "measurement.json").read_text()))
    tokens = [one["prompt_tokens"] for one in rounds["baseline"]]
    assert tokens == [one["prompt_tokens"] for one in rounds["other"]]
    assert len(set(tokens)) == 4  # each block has other prompts


@pytest.mark.parametrize("dying", ["small", "baseline~twin", "baseline"])
def test_a_server_that_dies_in_its_third_block_is_missing_and_the_others_count(
    bundles: Bundles, tmp_path: Path, dying: str
) -> None:
    bundles(RECIPES)
    file = "baseline/twin-dies-after" if dying == "baseline~twin" else f"{dying}/dies-after"
    (tmp_path / file).write_text("8")  # two warm-ups, and three requests in each of two blocks
    done = measure(tmp_path, RECIPES, server=SERVER, twin=True, rounds=5, requests=15)
    assert done.returncode == 0, done.stderr
    assert f"greenllm measure: {dying} is missing: " in done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads((tmp_path / "measurement.json").read_text())
    servers = {server["name"]: server for server in found["servers"]}
    failure = servers[dying].pop("failure")
    assert "the server died with status 9" in failure
    assert servers[dying]["points"] == []
    assert {name: server.get("failure") for name, server in servers.items()} == dict.fromkeys(WITH_TWIN)
    assert (found["planned"]["starts"], found["planned"]["rounds"]) == (1, 5)
    for name, rounds in rounds_of(found).items():
        assert [one["block"] for one in rounds] == [0, 1, 2, 3, 4], name
    assert set(rounds_of(found)) == set(WITH_TWIN) - {dying}
    (orders,) = found["orders"]
    assert [dying in order for order in orders] == [True, True, True, False, False]
    in_order_of_time(found)
    assert of_this_test(tmp_path) == []


def test_a_server_that_cannot_start_is_missing_and_the_others_count(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    (tmp_path / "smaller/dies-after").write_text("no number")
    done = measure(tmp_path, RECIPES, server=SERVER)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "measurement.json").read_text())
    reasons = {server["name"]: server["failure"] for server in found["servers"]}
    assert "the server ended with status 1 before it was ready" in reasons.pop("smaller")
    assert reasons == {"baseline": None, "small": None}
    assert all("smaller" not in order for orders in found["orders"] for order in orders)
    # The workflow expects the log of each server's energy.
    assert all((tmp_path / f"serve/{name}.json").is_file() for name in reasons)


def test_where_every_server_fails_nothing_is_written(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    for recipe in RECIPES:
        (tmp_path / recipe / "dies-after").write_text("4")
    done = measure(tmp_path, RECIPES, server=SERVER)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("greenllm measure: error: ")
    assert "the server died with status 9" in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "measurement.json").exists()
    assert of_this_test(tmp_path) == []


def test_each_server_is_started_several_times(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    found = measured(tmp_path, RECIPES, twin=True, starts=3, rounds=5, requests=5, concurrency=[1, 2])
    planned = found["planned"]
    assert (planned["first"], planned["starts"], planned["rounds"]) == (3, 3, 2)  # five rounds, two after each start
    attempts = {job.id: job for job in attribute(tmp_path / "ledger").jobs}
    for place in range(2):
        for name, rounds in rounds_of(found, place).items():
            assert [(one["start"], one["block"]) for one in rounds] == [(0, 0), (0, 1), (1, 2), (1, 3), (2, 4), (2, 5)]
            by_start = [{one["serve_id"] for one in rounds if one["start"] == start} for start in range(3)]
            assert [len(ids) for ids in by_start] == [1, 1, 1]
            assert len(set.union(*by_start)) == 3
            assert {attempts[one].wildcards["recipe"] for one in set.union(*by_start)} == {name}
    # All servers of a start are loaded at once, and have ended before the next start.
    spans = [
        [(attempts[one["serve_id"]].attempt.first_s, attempts[one["serve_id"]].attempt.last_s) for one in rounds[::2]]
        for rounds in rounds_of(found).values()
    ]
    for start in range(3):
        assert max(own[start][0] for own in spans) < min(own[start][1] for own in spans)
        if start:
            assert max(own[start - 1][1] for own in spans) < min(own[start][0] for own in spans)


def test_the_spread_in_a_first_stage_determines_how_often_servers_are_started(bundles: Bundles, tmp_path: Path) -> None:
    """Ratios can't be known to a hundredth of a percent: as many starts follow as fit into the time."""
    bundles(["baseline", "small"])
    settings: dict[str, Any] = {"starts": 2, "rounds": 2, "round_s": 0.2, "requests": 2}
    found = measured(tmp_path, ["baseline", "small"], narrow=0.0001, most_s=1.0, **settings)
    planned = found["planned"]
    assert planned["first"] == 2
    assert 2 < planned["starts"] <= 5
    assert planned["reason"] == (
        "from the spread in the first 2 starts (deploy.narrow 0.0001, and no more fit into deploy.most_s 1)"
    )
    for rounds in rounds_of(found).values():
        assert [one["start"] for one in rounds] == list(range(planned["starts"]))
    found = measured(tmp_path, ["baseline", "small"], narrow=1e9, **settings)
    assert (found["planned"]["first"], found["planned"]["starts"]) == (2, 2)


def test_one_server_loaded_at_a_time_is_started_alone(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    settings: dict[str, Any] = {"loaded": "one", "starts": 3, "rounds": 5, "requests": 5}
    found = measured(tmp_path, RECIPES, twin=True, **settings)
    assert (found["loaded"], found["loaded_reason"]) == ("one", "set by deploy.loaded: one")
    planned = found["planned"]
    assert (planned["first"], planned["starts"], planned["rounds"]) == (3, 3, 2)  # five rounds, two after each start
    (orders,) = found["orders"]
    assert [sorted(order) for order in orders] == [sorted(WITH_TWIN)] * 3
    started = [name for order in orders for name in order]
    assert [name for name, _ in in_order_of_time(found)] == [name for name in started for _ in range(2)]
    attempts = {job.id: job for job in attribute(tmp_path / "ledger").jobs}
    serve_ids = set()
    for name, rounds in rounds_of(found).items():
        assert [(one["start"], one["block"]) for one in rounds] == [(0, 0)] * 2 + [(1, 1)] * 2 + [(2, 2)] * 2
        for start in range(3):
            (serve_id,) = {one["serve_id"] for one in rounds if one["start"] == start}
            assert attempts[serve_id].wildcards["recipe"] == name
            serve_ids.add(serve_id)
        logs = [tmp_path / f"serve/{name}{start}.json" for start in ("", "-start-2", "-start-3")]
        assert {json.loads(log.read_text())["id"] for log in logs} == {one["serve_id"] for one in rounds}
    assert len(serve_ids) == 12
    # One at a time: no server runs while another does.
    spans = sorted((attempts[one].attempt.first_s, attempts[one].attempt.last_s) for one in serve_ids)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def test_a_server_that_dies_is_not_started_again(bundles: Bundles, tmp_path: Path) -> None:
    bundles(RECIPES)
    (tmp_path / "small/dies-after").write_text("3")
    found = measured(tmp_path, RECIPES, loaded="one", starts=2, rounds=6, requests=6)
    assert set(rounds_of(found)) == {"baseline", "smaller"}
    (orders,) = found["orders"]
    assert ["small" in order for order in orders] == [True, False]


@pytest.mark.parametrize("loaded", ["all", "one"])
def test_ctrl_c_leaves_no_process_and_no_document_and_the_next_run_measures(
    bundles: Bundles, tmp_path: Path, loaded: str
) -> None:
    bundles(RECIPES)
    endless: dict[str, Any] = {"requests": 1_000_000, "server": SERVER, "loaded": loaded}
    with measure(tmp_path, RECIPES, subprocess.Popen, **endless) as meter:
        until_loaded(tmp_path)
        (stage,) = [one for one in of_this_test(tmp_path) if one.cmdline()[1:4] == ["-m", "greenllm", "measure"]]
        children = stage.children(recursive=True)
        meter.send_signal(signal.SIGINT)
        assert meter.wait(60) == 130
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert of_this_test(tmp_path) == []
    assert not (tmp_path / "measurement.json").exists()
    assert set(rounds_of(measured(tmp_path, RECIPES, loaded=loaded))) == set(RECIPES)


def test_an_experiment_with_one_recipe_and_one_round_is_measured(bundles: Bundles, tmp_path: Path) -> None:
    bundles(["only"])
    found = measured(tmp_path, ["only"], twin=True, rounds=1, requests=1)
    assert (found["planned"]["starts"], found["planned"]["rounds"]) == (1, 1)
    assert {name: len(rounds) for name, rounds in rounds_of(found).items()} == {"only": 1, "only~twin": 1}
    found = measured(tmp_path, ["only"], rounds=1, requests=1)
    assert ([server["name"] for server in found["servers"]], found["twin"]) == (["only"], None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--bundle: is missing; expected RECIPE=FOLDER"),
        (["--bundle", "a=x"], "--predictions: expected one for each --bundle"),
        (["--bundle", "a=x", "--predictions", "a=y", "--on-cpu", "b"], "--on-cpu b: expected one of the recipes"),
        (["--bundle", "a=x", "--predictions", "a=y"], "x"),
    ],
)
def test_wrong_options_are_reported_in_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    command = [sys.executable, "-m", "greenllm", "measure", *options]
    for option in ("--energy-serve", "--energy-load", "--energy-probe", "--out"):
        command += [option, str(tmp_path / option.strip("-"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("greenllm measure: error: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []
