"""Folders that commands write: no file of a user in them is ever lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from greenllm.cli import main

MADE = ["collect", "--task", "customer-service", "--settings", "{source: embedded, rows: 200}", "--out"]


@pytest.fixture
def greenllm(tmp_path, monkeypatch, capsys):
    """Run a command in the folder tmp_path/work; return its exit status and output."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*words):
        status = main([str(word) for word in words])
        return status, capsys.readouterr().err

    return run


def refused(outcome, *words):
    status, said = outcome
    assert status == 2
    assert len(said.splitlines()) == 1
    for word in words:
        assert word in said


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_with_anything_of_the_users_is_refused_and_left_as_it_is(greenllm):
    mine = Path("mine")
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    refused(greenllm(*MADE, mine), "mine", "thesis.txt")
    assert content(mine) == {"thesis.txt": b"x"}
    assert not [path for path in Path().iterdir() if path != mine]


def test_what_the_stage_wrote_before_is_replaced(greenllm):
    assert greenllm(*MADE, "out")[0] == 0
    first = content(Path("out"))
    (Path("out") / ".snakemake_timestamp").touch()
    assert greenllm(*MADE, "out")[0] == 0
    assert content(Path("out")) == first


@pytest.mark.parametrize("change", ["added", "added-below", "edited", "moved-here", "hidden", "folder", "link"])
def test_what_was_added_or_changed_since_is_refused(greenllm, change):
    assert greenllm(*MADE, "out")[0] == 0
    out = Path("out")
    match change:
        case "added":
            (out / "notes.md").write_text("mine")
        case "added-below":
            (out / "below").mkdir()
            (out / "below/notes.md").write_text("mine")
        case "edited":
            (out / "card.json").write_text("{}")
            later = (out / ".greenllm-written").stat().st_mtime + 60
            os.utime(out / "card.json", (later, later))
        case "moved-here":
            Path("older.json").write_text("{}")
            os.utime("older.json", (1_000_000, 1_000_000))
            Path("older.json").rename(out / "card.json")
        case "hidden":
            (out / ".snakemake_timestamp").mkdir()
            (out / ".snakemake_timestamp/thesis.txt").write_text("mine")
        case "folder":
            (out / "empty").mkdir()
        case "link":
            (out / "link").symlink_to("/")
    before = content(out)
    refused(greenllm(*MADE, "out"), "did not write")
    assert content(out) == before


def test_what_another_stage_wrote_is_refused(greenllm):
    assert greenllm(*MADE, "collected")[0] == 0
    assert greenllm(*MADE, "again")[0] == 0
    before = content(Path("again"))
    prepare = ("preprocess", "--task", "customer-service", "--settings", "{}", "--data", "collected", "--out")
    refused(greenllm(*prepare, "again"), "`greenllm preprocess` did not write")
    refused(greenllm(*prepare, "collected"), "its own input")
    assert content(Path("again")) == before


def test_the_current_folder_and_those_around_it_are_refused(greenllm, tmp_path):
    (tmp_path / "beside.txt").write_text("x")
    for out in (".", "..", tmp_path):
        refused(greenllm(*MADE, out), "current folder")
    assert (tmp_path / "beside.txt").exists()


def test_an_output_around_an_input_is_refused(greenllm):
    Path("data").mkdir()
    Path("data/rows.csv").write_text("prompt,completion\na,b\n")
    settings = json.dumps({"source": "file", "train": "data/rows.csv"})
    for out in ("data", "data/../data"):
        refused(greenllm("collect", "--task", "translation", "--settings", settings, "--out", out), "its own input")
    assert content(Path("data")) == {"rows.csv": b"prompt,completion\na,b\n"}


def test_a_link_to_a_folder_stays_a_link(greenllm):
    Path("real").mkdir()
    Path("link").symlink_to("real")
    assert greenllm(*MADE, "link")[0] == 0
    assert Path("link").is_symlink()
    assert Path("real/card.json").is_file()


@pytest.mark.parametrize("kind", ["file", "dangling", "loop", "below-a-file", "too-long"])
def test_what_can_be_no_folder_is_one_line(greenllm, kind):
    Path("file").write_text("x")
    Path("dangling").symlink_to("nowhere")
    Path("loop").symlink_to("loop")
    out = {"below-a-file": "file/out", "too-long": "n" * 300}.get(kind, kind)
    refused(greenllm(*MADE, out))
    assert Path("file").read_text() == "x"


def test_a_name_as_long_as_a_name_may_be(greenllm):
    assert greenllm(*MADE, "n" * 255)[0] == 0


def test_home_is_meant_by_a_tilde_in_options_too(greenllm, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    assert greenllm(*MADE[:-1], "--out=~/out")[0] == 0
    assert (tmp_path / "home/out/card.json").is_file()
    assert not Path("~").exists()


def test_a_folder_of_checkpoints_holds_nothing_else(greenllm):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("x")
    train = ("train", "--data", "data", "--model", "{size: tiny}", "--out", "model", "--checkpoints")
    refused(greenllm(*train, "mine"), "thesis.txt")
    refused(greenllm(*train, "model/checkpoints"), "its own input")
    assert Path("mine/thesis.txt").exists()


def test_a_page_of_somebody_elses_stays(greenllm):
    Path("site").mkdir()
    Path("site/index.html").write_text("<title>Mine</title>")
    Path("account.json").write_text(json.dumps({"schema": "greenllm/account/3"}))
    status, _ = greenllm("report", "--account", "account.json", "--out", "site")
    assert status == 2
    assert Path("site/index.html").read_text() == "<title>Mine</title>"


def test_files_of_a_users_named_as_python_modules_are_not_imported(tmp_path):
    for name in ("types", "json", "yaml", "torch", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the current folder')\n")
    program = Path(sys.executable).parent / "greenllm"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([program, *MADE, "out"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_output_that_a_terminal_cannot_show_is_replaced(tmp_path):
    environment = os.environ | {"GREENLLM_METER_INTERVAL_S": "0.1", "PYTHONIOENCODING": "ascii:strict"}
    program = Path(sys.executable).parent / "greenllm"
    meter = [program, "meter", "--ledger", tmp_path / "ledger", "--rule", "训练", "--", "true"]
    assert subprocess.run(meter, env=environment, capture_output=True).returncode == 0
    shown = subprocess.run([program, "attribute", tmp_path / "ledger"], env=environment, capture_output=True)
    assert shown.returncode == 0, shown.stderr
    as_json = subprocess.run(
        [program, "attribute", tmp_path / "ledger", "--json"], env=environment, capture_output=True
    )
    assert json.loads(as_json.stdout)["jobs"][0]["rule"] == "训练"


def test_an_output_file_that_is_an_input_or_another_output_is_refused(greenllm):
    Path("data").mkdir()
    Path("data/test.parquet").write_bytes(b"rows")
    evaluate = ("evaluate", "--task", "translation", "--model", "model", "--data", "data", "--out")
    refused(greenllm(*evaluate, "e.json", "--predictions", "data/test.parquet"), "is an input")
    refused(greenllm(*evaluate, "same.json", "--predictions", "same.json"), "twice")
    assert Path("data/test.parquet").read_bytes() == b"rows"
    Path("prompts.jsonl").write_text('{"id": "1", "prompt": "x"}\n')
    load = ("load", "--url", "http://127.0.0.1:9/v1", "--predictions", "prompts.jsonl", "--out")
    refused(greenllm(*load, "prompts.jsonl"), "is an input")
    assert Path("prompts.jsonl").read_text().startswith('{"id"')
