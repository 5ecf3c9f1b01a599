"""Two totals: the energy spent, waste included; and the cost of each artefact, with each ancestor once."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hardware.ledgers import RAPL, CLOCK_s, Host, attempt
from narrowing import known

from greenllm.attribution import Attempt, attribute_attempts
from greenllm.attribution.command import as_tables
from greenllm.footprint.impact import spent_by
from greenllm.footprint.standing import attempts

HOUR_s = 3600.0
BUSY = Host(cpus=1, busy_s=lambda t: 1.0 * t, counters={"package-0": lambda t: 10e6 * np.asarray(t)})  # 10 W
BLIND = Host(sensors=[RAPL | {"terms": [], "counter": None, "reason": "permission denied"}])


def job(job_id: str, start_s: float, end_s: float, host: Host = BUSY, **more) -> Attempt:
    """An attempt alone on its host: 10 J a second."""
    return attempt(host, job_id, [start_s, end_s], lambda t: 1.0 * (t - start_s), **more)


def printed(attempts: list[Attempt]) -> dict:
    result = attribute_attempts(attempts)
    assert result.troubles == []
    return result.to_json()


def artefacts(attempts: list[Attempt]) -> dict[str, dict]:
    return {artefact["path"]: artefact for artefact in printed(attempts)["artefacts"]}


def waste(attempts: list[Attempt]) -> dict[str, str]:
    return {job["id"]: job["waste"] for job in printed(attempts)["jobs"] if job["waste"]}


def chain() -> list[Attempt]:
    """collect → train → evaluate, 10, 20 and 40 J."""
    return [
        job("collect", 0, 1, inputs={}, outputs={"rows": "r1"}),
        job("train", 1, 3, inputs={"rows": "r1", "code.py": "c1"}, outputs={"model": {"files": 2, "bytes": 9}}),
        job("evaluate", 3, 7, inputs={"model": {"files": 2, "bytes": 9}, "rows": "r1"}, outputs={"score": "s1"}),
    ]


def test_an_artefact_costs_what_it_rests_on_each_ancestor_once():
    made = artefacts(chain())
    assert {path: a["energy_J"]["value"] for path, a in made.items()} == pytest.approx(
        {"rows": 10, "model": 30, "score": 70}
    )
    score = made["score"]
    assert (score["made_by"], score["lineage"]) == ("evaluate", ["collect", "train", "evaluate"])
    assert (score["fingerprint"], score["sources"], score["unknown"]) == ("s1", ["code.py"], [])
    assert score["energy_J"]["low"] == pytest.approx(0.95 * 70)  # the sensor's common error stays common


def test_a_diamond_counts_the_common_ancestor_once():
    jobs = [
        job("root", 0, 1, inputs={}, outputs={"data": "d"}),
        job("left", 1, 2, inputs={"data": "d"}, outputs={"l": "l"}),
        job("right", 2, 3, inputs={"data": "d"}, outputs={"r": "r"}),
        job("join", 3, 4, inputs={"l": "l", "r": "r"}, outputs={"joined": "j"}),
    ]
    assert artefacts(jobs)["joined"]["energy_J"]["value"] == pytest.approx(40)


def test_paths_are_the_same_however_they_are_spelled():
    jobs = [job("a", 0, 1, inputs={}, outputs={"./out//model/": "m"}), job("b", 1, 2, inputs={"out/model": "m"})]
    known(jobs[1].end).outputs = {"score": "s"}
    assert artefacts(jobs)["score"]["lineage"] == ["a", "b"]


def test_an_input_that_was_made_again_leads_to_the_attempt_that_made_what_was_read():
    jobs = [
        job("old", 0, 1, inputs={}, outputs={"data": "d1"}),
        job("reads-old", 1, 2, inputs={"data": "d1"}, outputs={"a": "a"}),
        job("new", 2, 5, inputs={}, outputs={"data": "d2"}),
        job("reads-new", 5, 6, inputs={"data": "d2"}, outputs={"b": "b"}),
        job("same-again", 6, 7, inputs={}, outputs={"data": "d2"}),
    ]
    made = artefacts(jobs)
    assert made["a"]["lineage"] == ["old", "reads-old"]
    assert made["b"]["lineage"] == ["new", "reads-new"]
    assert made["data"]["made_by"] == "same-again"


@pytest.mark.parametrize(
    ("read", "left", "why"),
    [
        ({"data": "changed"}, {"data": "d"}, "input data: not as maker left it"),
        ({"data": None}, {"data": "d"}, "input data: missing, unreadable or no file"),
        ({"data": "d"}, {"data": None}, "input data: not as maker left it"),
        ({"data/part.csv": "p"}, {"data": {"files": 1}}, "input data/part.csv: in data, which maker made"),
        ({"data": {"files": 1}}, {"data/part.csv": "p"}, "input data: holds data/part.csv, which maker made"),
        ({"data": {"files": 2}}, {"data": {"files": 1}}, "input data: not as maker left it"),
        (None, {"data": "d"}, "its inputs are not named"),
    ],
)
def test_an_origin_that_cannot_be_told_is_named_and_never_guessed(read, left, why):
    jobs = [job("maker", 0, 1, inputs={}, outputs=left), job("reader", 1, 2, inputs=read, outputs={"out": "o"})]
    out = artefacts(jobs)["out"]
    assert out["energy_J"] is None
    assert out["known_J"]["value"] == pytest.approx(10)
    (reason,) = out["unknown"]
    assert reason.startswith(f"reader: {why}")
    assert reason in as_tables(attribute_attempts(jobs))


def test_a_folder_is_the_same_by_what_both_ledgers_know_of_it():
    older, newer = {"files": 1, "bytes": 9}, {"files": 1, "bytes": 9, "sha256": "s"}
    for left, read, made_by_maker in (
        (older, newer, True),
        (newer, older, True),
        (newer, newer | {"sha256": "t"}, False),
        (newer | {"modified": "monday"}, newer | {"modified": "tuesday"}, True),  # a copy has other times
        (older | {"modified": "monday"}, older | {"modified": "tuesday"}, False),  # trained again, perhaps
    ):
        jobs = [
            job("maker", 0, 1, inputs={}, outputs={"model": left}),
            job("reader", 1, 2, inputs={"model": read}, outputs={"out": "o"}),
        ]
        assert ("maker" in artefacts(jobs)["out"]["lineage"]) == made_by_maker


PLACES = {
    "/home/a/study": "/scratch/b/study",
    "/study": "/mnt/disk/study",  # as in a container and out of it
    "/home/a/old-name": "/home/a/new-name",
}


@pytest.mark.parametrize(("first", "second"), PLACES.items())
def test_a_study_that_was_moved_and_continued_is_one_study(first, second):
    def place(folder):
        return {"cwd": folder, "ledger": f"{folder}/results/ledger"}

    jobs = [
        job("train", 0, 1, inputs={}, outputs={"results/model": "m", "results/page": "p1"}, **place(first)),
        job("compress", 1, 2, inputs={"results/model": "m"}, outputs={"results/int8": "i"}, **place(second)),
        job("page", 2, 3, inputs={f"{second}/results/int8": "i"}, outputs={"results/page": "p2"}, **place(second)),
    ]
    made = artefacts(jobs)
    assert {path: one["lineage"][-1] for path, one in made.items()} == {
        "results/model": "train",
        "results/int8": "compress",
        "results/page": "page",
    }
    assert made["results/page"]["lineage"] == ["train", "compress", "page"]
    assert made["results/page"]["sources"] == []


def test_two_studies_with_one_ledger_folder_are_two():
    jobs = [
        job(name, at, at + 1, inputs={}, outputs={"out": name}, cwd=f"/home/{name}", ledger="/shared/ledger")
        for at, name in enumerate(("a", "b"))
    ]
    assert {path: one["made_by"] for path, one in artefacts(jobs).items()} == {"out": "a", "/home/b/out": "b"}


def test_an_ancestor_of_unknown_energy_makes_the_cost_unknown_with_the_known_part_beside_it():
    blind = job("blind", 0, 1, host=BLIND, inputs={}, outputs={"data": "d"})
    reader = job("reader", 1, 2, inputs={"data": "d"}, outputs={"out": "o"})
    reader.start.boot_id = "boot-b"
    out = artefacts([blind, reader])["out"]
    assert out["lineage"] == ["blind", "reader"]
    assert out["energy_J"] is None
    assert out["known_J"]["value"] == pytest.approx(10)
    assert out["unknown"] == ["blind: its energy is unknown (cpu: permission denied)"]


def test_what_a_failed_attempt_left_is_nobodys_artefact():
    jobs = [
        job("failed", 0, 1, status="failed", inputs={}, outputs={"data": "d"}),
        job("reader", 1, 2, inputs={"data": "d"}, outputs={"out": "o"}),
    ]
    made = artefacts(jobs)
    assert set(made) == {"out"}
    assert made["out"]["unknown"] == ["reader: input data: left by failed (failed)"]


def test_a_job_that_was_still_running_when_its_output_was_read_did_not_make_it():
    jobs = [
        job("outer", 0, 9, inputs={}, outputs={"data": "d", "out": "o"}),
        job("outer.a", 1, 2, parent="outer", inputs={}, outputs={"data": "d"}),
        job("outer.b", 3, 4, parent="outer", inputs={"data": "d"}, outputs={"out": "o", "log": "l"}),
    ]
    made = artefacts(jobs)
    assert made["log"]["lineage"] == ["outer.a", "outer.b"]
    # an output that the outer one declares has all of its cost, with each part once
    assert (made["out"]["made_by"], made["data"]["made_by"]) == ("outer", "outer")
    assert made["out"]["energy_J"]["value"] == pytest.approx(90)


def test_what_ran_inside_counts_and_so_do_its_inputs():
    jobs = [
        job("data", 0, 1, inputs={}, outputs={"rows": "r"}),
        job("outer", 1, 4, inputs={}, outputs={"out": "o"}),
        job("outer.inner", 2, 3, parent="outer", inputs={"rows": "r"}),
    ]
    out = artefacts(jobs)["out"]
    assert out["lineage"] == ["data", "outer"]
    assert out["energy_J"]["value"] == pytest.approx(40)


def test_waste_on_the_way_stands_beside_the_cost():
    train: dict[str, Any] = {"rule": "train", "wildcards": {"seed": "1"}, "inputs": {}}
    jobs = [
        job("failed", 0, 1, status="failed", **train),
        job("lost", 1, 2, status="lost", **train),
        job("once", 2, 3, **train, outputs={"model": "m1"}),
        job("again", 3, 4, **train, outputs={"model": "m2"}),
        job("again.try", 3.1, 3.3, parent="again", status="failed"),
        job("other", 4, 5, status="failed", **train | {"wildcards": {"seed": "2"}}),
        job("use", 5, 6, rule="use", inputs={"model": "m2"}, outputs={"out": "o"}),
        job("later", 6, 7, status="failed", **train),
    ]
    out = artefacts(jobs)["out"]
    assert out["lineage"] == ["again", "use"]
    assert sorted(out["waste"]["attempts"]) == ["again.try", "failed", "lost", "once"]
    assert out["energy_J"]["value"] == pytest.approx(20 - 2)
    assert out["waste"]["energy_J"]["value"] == pytest.approx(30 + 2)


def test_without_a_rule_a_retry_of_the_same_command_is_the_same_job():
    jobs = [
        job("failed", 0, 1, status="lost", command=["train", "a"]),
        job("other", 1, 2, status="lost", command=["train", "b"]),
        job("done", 2, 3, command=["train", "a"], inputs={}, outputs={"model": "m"}),
    ]
    assert artefacts(jobs)["model"]["waste"]["attempts"] == ["failed"]


def test_within_a_boot_a_clock_set_back_by_an_hour_changes_no_order():
    train: dict[str, Any] = {"rule": "train", "inputs": {}}
    jobs = [
        job("old", 0, 1, **train, outputs={"model": "m1"}),
        job("new", 2, 3, **train, outputs={"model": "m2"}, clock_s=CLOCK_s - HOUR_s),
        job("use", 4, 5, inputs={"model": "m2"}, outputs={"out": "o"}, clock_s=CLOCK_s - HOUR_s),
    ]
    for order in (jobs, jobs[::-1]):
        assert waste(order) == {"old": "superseded"}
        made = artefacts(order)
        assert made["model"]["made_by"] == "new"
        assert made["out"]["lineage"] == ["new", "use"]
        assert made["out"]["waste"]["attempts"] == ["old"]


def test_across_boots_the_wall_clock_tells_the_order():
    other = Host(cpus=1, boot_id="boot-b", busy_s=BUSY.busy_s, counters=BUSY.counters)
    train: dict[str, Any] = {"rule": "train", "inputs": {}}
    jobs = [
        job("first", 500, 501, **train, outputs={"model": "m"}),
        job("second", 2, 3, host=other, clock_s=CLOCK_s + 600, **train, outputs={"model": "m"}),
        job("use", 700, 701, inputs={"model": "m"}, outputs={"out": "o"}),
    ]
    assert waste(jobs) == {"first": "superseded"}
    assert artefacts(jobs)["out"]["lineage"] == ["second", "use"]


def test_superseded_is_only_the_same_output_with_the_same_configuration():
    train: dict[str, Any] = {"rule": "train", "wildcards": {"seed": "1"}, "inputs": {"rows": "r"}}
    jobs = [
        job("a", 0, 1, **train, outputs={"model": "m1"}),
        job("b", 1, 2, **train, outputs={"model": "m2"}),
        job("elsewhere", 2, 3, **train, outputs={"other/model": "m3"}),
        job("longer", 3, 4, **train, outputs={"model": "m4"}, config_hash="more epochs"),
        job("other-rows", 4, 5, **train | {"inputs": {"rows": "r2"}}, outputs={"model": "m5"}),
        job("by-hand", 5, 6, inputs={"rows": "r"}, outputs={"model": "m6"}),
    ]
    assert waste(jobs) == {"a": "superseded"}


def test_a_later_stage_is_superseded_only_where_what_it_rests_on_was_made_alike():
    evaluate: dict[str, Any] = {"rule": "evaluate", "outputs": {"score": "s"}}
    jobs = [
        job("train1", 0, 1, rule="train", inputs={}, outputs={"model": {"modified": 1}}),
        job("eval1", 1, 4, **evaluate, inputs={"model": {"modified": 1}}),
        job("eval1.serve", 2, 3, parent="eval1", rule="serve"),
        job("train2", 4, 5, rule="train", inputs={}, outputs={"model": {"modified": 2}}),
        job("eval2", 5, 8, **evaluate, inputs={"model": {"modified": 2}}),
        job("eval2.serve", 6, 7, parent="eval2", rule="serve"),
    ]
    assert waste(jobs) == dict.fromkeys(["train1", "eval1", "eval1.serve"], "superseded")
    train2 = jobs[3]
    train2.start.config_hash = "more epochs"
    assert waste(jobs) == {}  # another model: its evaluation and the meters inside are no repetition


def test_an_outer_meter_does_not_supersede_what_it_made_its_output_by():
    jobs = [
        job("outer", 0, 3, rule="train", inputs={}, outputs={"model": "m"}),
        job("outer.inner", 1, 2, parent="outer", rule="train", inputs={}, outputs={"model": "m"}),
        job("again", 3, 6, rule="train", inputs={}, outputs={"model": "m"}),
        job("again.inner", 4, 5, parent="again", rule="train", inputs={}, outputs={"model": "m"}),
    ]
    assert waste(jobs) == {"outer": "superseded", "outer.inner": "superseded"}


def test_runs_and_waste_say_what_was_spent_each_attempt_once():
    train: dict[str, Any] = {"rule": "train", "wildcards": {"experiment": "support"}}
    jobs = [
        job("a", 0, 1, **train, status="failed", run_id="one"),
        job("b", 1, 4, **train, run_id="two"),
        job("b.inner", 2, 3, parent="b", status="killed", run_id="two", rule="load"),
        job("c", 4, 5, **train, status="failed", run_id="two"),
        job("d", 5, 6, rule="deploy", status="lost", run_id="two"),
    ]
    result = printed(jobs)
    assert [(r["run_id"], r["attempts"], r["energy_J"]["value"]) for r in result["runs"]] == [
        ("one", 1, pytest.approx(10)),
        ("two", 4, pytest.approx(50)),
    ]
    assert result["spent_J"]["value"] == pytest.approx(60)
    rows = {(w["rule"], w["experiment"], w["kind"]): (w["attempts"], w["energy_J"]["value"]) for w in result["waste"]}
    assert rows == {
        ("train", "support", "failed"): (2, pytest.approx(20)),
        ("load", None, "killed"): (1, pytest.approx(10)),
        ("deploy", None, "lost"): (1, pytest.approx(10)),
    }
    assert sum(result["waste_J"].values()) == pytest.approx(sum(joules for _, joules in rows.values()))


def test_a_total_with_an_unknown_part_is_null_with_the_known_part_beside_it():
    known, blind = job("known", 0, 1, status="failed"), job("blind", 0, 1, host=BLIND, status="failed")
    known.start.boot_id = "boot-b"
    result = printed([known, blind])
    assert result["spent_J"] is None
    for total in (*result["runs"], *result["waste"]):
        assert total["energy_J"] is None
        assert total["known_J"]["value"] == pytest.approx(10)
        assert total["unknown"] == ["blind: its energy is unknown (cpu: permission denied)"]


def test_the_tables_stay_short_and_narrow_and_say_what_they_leave_out():
    folder = "results/a-study-with-a-long-name/and-a-long-experiment/recipe/seed"
    jobs = [
        job(f"j{n:03d}", 10 * n, 10 * n + 1 + n / 100, run_id=f"run-{n:03d}-{'0123456789abcdef' * 2}", inputs={})
        for n in range(100)
    ]
    for n, one in enumerate(jobs):
        known(one.end).outputs = {f"{folder}-{n}/model": f"{n}"}
        one.start.job.rule = "train"
    text = as_tables(attribute_attempts(jobs))
    about = text[text.index("spent in run") :]
    assert max(map(len, about.splitlines())) <= 100
    assert "seed-99/model" in about
    assert "seed-1/model" not in about
    assert text.count("… and 80 more that took less (--all)") == 3
    whole = as_tables(attribute_attempts(jobs), rows=None)
    assert all(f"seed-{n}/model" in whole for n in range(100))
    assert "--all" not in whole


def test_the_meters_own_ledgers_tell_the_lineage(tmp_path):
    greenllm = [sys.executable, "-m", "greenllm"]
    environment = os.environ | {"GREENLLM_LOCKS": str(tmp_path / "locks"), "GREENLLM_RUN_ID": "run"}
    (tmp_path / "words.txt").write_text("b\na\n")

    def meter(*words: str) -> None:
        command = [*greenllm, "meter", "--ledger", "ledger", *words]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdin=subprocess.DEVNULL)

    meter("--input", "words.txt", "--output", "sorted", "--", "sort", "-o", "sorted", "words.txt")
    meter("--input", "sorted", "--output", "counts/", "--", "sh", "-c", "mkdir counts && wc sorted > counts/all")
    meter("--input", "counts", "--output", "report", "--", "cp", "counts/all", "report")
    command = [*greenllm, "attribute", "ledger", "--json"]
    result = json.loads(subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True).stdout)
    ids = [job["id"] for job in result["jobs"]]
    made = {artefact["path"]: artefact for artefact in result["artefacts"]}
    assert [made[path]["lineage"] for path in ("sorted", "counts", "report")] == [ids[:1], ids[:2], ids]
    assert made["report"]["sources"] == ["words.txt"]
    assert made["report"]["unknown"] == []
    spent = pytest.approx(result["spent_J"])
    assert made["report"]["energy_J"] == spent
    assert [run["energy_J"] for run in result["runs"]] == [spent]


def test_the_meters_own_ledgers_follow_a_copy_to_another_place(tmp_path):
    greenllm = [sys.executable, "-m", "greenllm"]
    environment = os.environ | {"GREENLLM_LOCKS": str(tmp_path / "locks"), "GREENLLM_RUN_ID": "run"}

    def meter(folder, *words: str) -> None:
        command = [*greenllm, "meter", "--ledger", "results/ledger", *words]
        subprocess.run(command, cwd=folder, env=environment, check=True, stdin=subprocess.DEVNULL)

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (first / "rows").write_text("rows")
    meter(
        first, "--input", "rows", "--output", "model/", "--", "sh", "-c", "mkdir model && echo weights > model/weights"
    )
    shutil.copytree(first, second, copy_function=shutil.copyfile)  # with other times, as `cp -r`
    os.utime(second / "model/weights", (1e9, 1e9))
    meter(second, "--input", "model", "--output", "copy", "--", "cp", "model/weights", "copy")
    command = [*greenllm, "attribute", "results/ledger", "--json"]
    result = json.loads(subprocess.run(command, cwd=second, env=environment, check=True, capture_output=True).stdout)
    made = {artefact["path"]: artefact for artefact in result["artefacts"]}
    assert made["copy"]["lineage"] == [job["id"] for job in result["jobs"]]
    assert made["copy"]["unknown"] == []


def test_a_server_of_a_recipe_that_was_left_out_since_belongs_to_the_earlier_measurement():
    def measured(number: int, config: str, *recipes: str) -> list[Attempt]:
        of, start_s = {"experiment": "e"}, 10.0 * number
        whole = job(f"m{number}", start_s, start_s + 9, rule="measure", wildcards=of, config_hash=config)
        servers = [
            job(f"m{number}.{recipe}", start_s + 1 + place, start_s + 2 + place, rule="serve", parent=f"m{number}",
                wildcards=of | {"recipe": recipe}, config_hash=config)
            for place, recipe in enumerate(recipes)
        ]  # fmt: skip
        return [whole, *servers]

    found = attribute_attempts([*measured(0, "two", "int8", "int4"), *measured(1, "one", "int8")]).jobs
    assert {one.id: one.standing for one in attempts(found)} == {
        "m0": "earlier", "m0.int8": "earlier", "m0.int4": "earlier", "m1": "current", "m1.int8": "current",
    }  # fmt: skip


def test_a_maker_whose_hosts_clock_is_ahead_is_in_doubt_and_its_cost_is_not_dropped():
    elsewhere = dataclasses.replace(BUSY, boot_id="another")
    reader = job("train", 1, 3, host=elsewhere, inputs={"rows": "r1"}, outputs={"model": "m1"}, clock_s=CLOCK_s - 5)
    model = artefacts([chain()[0], reader])["model"]
    assert (model["sources"], model["energy_J"]) == ([], None)
    assert model["unknown"] == [
        "train: input rows: as collect left it, which began later by the clock of its host; set the hosts' clocks"
    ]


def test_sums_say_of_how_many_attempts_the_energy_is_unknown():
    blind = dataclasses.replace(BLIND, boot_id="another")
    found = attempts(attribute_attempts([job("seen", 0, 10), job("unseen", 0, 10, host=blind)]).jobs)
    total = spent_by(found, None, None).total
    assert (total.attempts, total.unknown) == (2, 1)
    assert total.energy_J is not None
    assert total.energy_J.value == pytest.approx(100)
