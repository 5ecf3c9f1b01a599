"""`greenllm preprocess` on what `greenllm collect` made, through the command line."""

import json
import random
import string
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import tiny_models
from tokenizers import Tokenizer

from greenllm.cli import main

LONG = "I have been waiting for my new card for more than two weeks and nobody answers the telephone "


@pytest.fixture
def prepare(tmp_path, capsys):
    """Collect and preprocess; return the exit status of the latter, its report or null, and stderr."""

    def run(data, settings=None, task="customer-service", more=()):
        collected, out = tmp_path / "collected", tmp_path / "prepared"
        common = ["--task", task]
        assert (
            main(["collect", *common, "--settings", json.dumps(data), "--base", str(tmp_path), "--out", str(collected)])
            == 0
        )
        arguments = ["--settings", json.dumps(settings or {}), "--data", str(collected), "--out", str(out), *more]
        status = main(["preprocess", *common, *arguments])
        report = json.loads((out / "report.json").read_text()) if out.exists() else None
        return status, report, capsys.readouterr().err

    return run


def split(tmp_path, name):
    return pq.read_table(tmp_path / "prepared" / f"{name}.parquet").to_pylist()


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def some_rows(count):
    words = ["card", "parcel", "invoice", "password", "lamp", "refund", "address", "loan", "tent", "rug", "watch"]
    return [
        {"prompt": f"{words[n % 11]} {words[n // 11 % 11]} {words[n // 121]} question", "completion": f"label{n % 3}"}
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("task", "tokenizer"), [("customer-service", {"lowercase": True}), ("translation", {"kind": "characters"})]
)
def test_embedded_data_are_split_by_group_the_same_each_time(tmp_path, prepare, monkeypatch, task, tokenizer):
    monkeypatch.setenv("GREENLLM_WORK", str(tmp_path / "work.json"))
    settings = {"tokenizer": tokenizer}
    status, report, _ = prepare({"source": "embedded", "rows": 2000}, settings, task)
    assert status == 0
    first = {path: path.read_bytes() for path in (tmp_path / "prepared").rglob("*") if path.is_file()}
    splits = {name: split(tmp_path, name) for name in ("train", "validation", "test")}
    for name, rows in splits.items():
        assert len(rows) == report["splits"][name]["rows"] > 0
        assert set(rows[0]) == {"id", "prompt", "completion", "group"}
        assert all(row["prompt"].endswith("\n") and row["completion"] for row in rows)
    ids = [row["id"] for rows in splits.values() for row in rows]
    assert len(ids) == len(set(ids))
    for one, other in (("train", "test"), ("validation", "test"), ("train", "validation")):
        for column in ("group", "prompt"):
            assert not {row[column] for row in splits[one]} & {row[column] for row in splits[other]}
    # Hardly any row leaks: the embedded data do not repeat themselves across groups.
    assert sum(len(rows) for rows in splits.values()) > 0.97 * (2000 - report["rows"]["duplicates_dropped"])
    work = json.loads((tmp_path / "work.json").read_text())
    assert work["samples"] == len(ids)
    assert work["tokens"] == sum(report["splits"][name]["tokens"]["sum"] for name in splits)
    prepare({"source": "embedded", "rows": 2000}, settings, task)
    assert first == {path: path.read_bytes() for path in (tmp_path / "prepared").rglob("*") if path.is_file()}


def test_a_test_file_is_kept_and_leaking_rows_are_removed_from_training(tmp_path, prepare):
    rows = some_rows(100)
    rows[7]["prompt"] = "Is my bicycle insured?"
    test = [
        *[{"prompt": LONG + "a", "completion": "x"}] * 2,
        {"prompt": rows[7]["prompt"].upper() + "!", "completion": "y"},
    ]
    jsonl(tmp_path / "train.jsonl", [*rows, {"prompt": LONG + "b", "completion": "x"}])
    jsonl(tmp_path / "test.jsonl", test)
    _, report, _ = prepare({"source": "file", "train": "train.jsonl", "test": "test.jsonl"}, {"validation_share": 0})
    assert sorted(row["id"] for row in split(tmp_path, "test")) == ["test-1", "test-2", "test-3"]
    train = {row["id"] for row in split(tmp_path, "train")}
    assert train == {f"train-{n}" for n in range(1, 101)} - {"train-8"}
    dropped = report["leaks"]["train_rows_dropped_for_test"]
    assert dropped == {"same_group": 1, "equal": 0, "nearly_equal": 1}


def test_rows_of_a_group_stay_together(tmp_path, prepare):
    rows = [row | {"person": f"p{n // 5}"} for n, row in enumerate(some_rows(200))]
    jsonl(tmp_path / "a.jsonl", rows)
    data = {"source": "file", "train": "a.jsonl", "columns": {"group": "person"}}
    prepare(data, {"near_duplicate": 1.0, "test_share": 0.25})
    groups = {row["group"] for row in split(tmp_path, "test")}
    assert len(groups) == 10
    assert not groups & {row["group"] for row in split(tmp_path, "train")}


def test_cleaning_and_duplicates_are_counted(tmp_path, prepare):
    rows = some_rows(300)
    rows[10] = {"prompt": "cafe\u0301\u0000 line\nbreak", "completion": " label1 "}
    rows += [rows[3], rows[4] | {"completion": "other"}]
    jsonl(tmp_path / "a.jsonl", rows)
    _, report, _ = prepare({"source": "file", "train": "a.jsonl"})
    assert report["rows"] == {"collected": 302, "bad": 0, "duplicates_dropped": 1, "contradictory": {"train": 2}}
    assert report["cleaned"] == {"composed": 1, "invisible_characters": 1, "trimmed": 1}
    everything = [row for name in ("train", "validation", "test") for row in split(tmp_path, name)]
    assert {(row["prompt"], row["completion"]) for row in everything if row["id"] == "train-11"} == {
        ("café line break\n", "label1")
    }


def test_bad_rows_of_collect_and_of_cleaning_count_together(tmp_path, prepare):
    rows = some_rows(300)
    rows[7]["completion"] = " \u200b"
    lines = [json.dumps(row) for row in rows]
    lines[20] = lines[20][:-5]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    status, report, _ = prepare({"source": "file", "train": "a.jsonl"})
    assert status == 0
    assert report["rows"]["bad"] == 2
    assert [(bad["file"], bad["row"]) for bad in report["bad_rows"]] == [("a.jsonl", 21), ("a.jsonl", 8)]
    status, _, said = prepare({"source": "file", "train": "a.jsonl"}, {"most_bad_rows": 0.005})
    assert status == 2
    assert "2 of 300 rows can't be used, more than preprocess.most_bad_rows allows (0.50%)" in said
    assert "a.jsonl: row 21: not valid JSON" in said
    assert "a.jsonl: row 8: the completion is empty" in said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer": {"vocabulary": 100}}, "preprocess.tokenizer.vocabulary: 100"),
        ({"test_share": 1}, "preprocess.test_share"),
        ({"tokeniser": {}}, "did you mean 'tokenizer'?"),
    ],
)
def test_settings_that_cannot_be_met_are_reported_in_one_line(tmp_path, prepare, settings, message):
    jsonl(tmp_path / "a.jsonl", some_rows(50))
    status, report, said = prepare({"source": "file", "train": "a.jsonl"}, settings)
    assert (status, report) == (2, None)
    assert message in said


def test_a_folder_that_was_not_collected_is_refused(tmp_path, capsys):
    arguments = ["--settings", "{}", "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["preprocess", "--task", "translation", *arguments]) == 2
    assert "card.json: no such file; expected a folder that `greenllm collect` wrote" in capsys.readouterr().err


def test_the_tokenizer_of_a_model_is_copied(tmp_path, prepare):
    prepare({"source": "embedded", "rows": 300})
    (tmp_path / "prepared" / "tokenizer").rename(tmp_path / "model")
    status, report, _ = prepare(
        {"source": "embedded", "rows": 200, "seed": 5},
        {"tokenizer": {"vocabulary": 400}},
        more=["--model", str(tmp_path / "model")],
    )
    assert status == 0
    assert report["tokenizer"]["origin"] == "model"
    copied = (tmp_path / "prepared" / "tokenizer" / "tokenizer.json").read_bytes()
    assert copied == (tmp_path / "model" / "tokenizer.json").read_bytes()


def test_prompts_in_the_chat_template_of_the_model(tmp_path, prepare):
    from tokenizers.processors import TemplateProcessing

    model = tiny_models.make_fp32(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.add_special_tokens(["<s>"])
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    tokenizer.save(str(model / "tokenizer.json"))
    settings = json.loads((model / "tokenizer_config.json").read_text()) | {"bos_token": "<s>"}
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    (model / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}<eos>[assistant]"
    )
    rows = [{**row, "prompt": f"{'<eos>' * (n % 2)}{row['prompt']}"} for n, row in enumerate(some_rows(400))]
    jsonl(tmp_path / "rows.jsonl", rows)
    data = {"source": "file", "train": "rows.jsonl"}
    status, _, _ = prepare(data, more=["--model", str(model), "--chat", "--system", "Answer shortly."])
    assert status == 0
    prompts = [row["prompt"] for row in split(tmp_path, "train")]
    assert all(prompt.startswith("[system]Answer shortly.[user]") for prompt in prompts)  # the tokenizer adds its <s>
    assert all(prompt.endswith(" question<eos>[assistant]") for prompt in prompts)

    ids = [row["prompt_ids"] for row in split(tmp_path, "train")]  # the template's own special tokens and no others
    assert [[id for id in one if id in (0, 1, begin)] for one in ids] == [[begin, 1]] * len(ids)

    (model / "chat_template.jinja").unlink()
    settings.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    status, _, told = prepare(data, more=["--model", str(model), "--chat"])
    assert status == 2
    assert "model.chat:" in told
    assert "no chat template" in told


# The peak of this program alone: ru_maxrss starts at that of the parent process, which runs the tests.
MEASURED = """
import sys
from greenllm.cli import main
status = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))  # KiB
sys.exit(status)
"""


@pytest.mark.parametrize(("group", "blanks"), [("same", True), ("long", True), ("same", False)])
def test_one_long_row_takes_memory_in_proportion(tmp_path, group, blanks):
    chance = random.Random(1)
    words = ["".join(chance.choices(string.ascii_letters, k=6)) for _ in range(3000)]
    rows = [{"text": f"{' '.join(chance.choices(words, k=8))} {n}", "group": f"g{n}"} for n in range(10_000)]
    long = " ".join(chance.choices(words, k=150_000)) if blanks else "".join(chance.choices(words, k=170_000))
    long = long[:1_000_000]
    rows.append({"text": long, "group": long if group == "long" else "g0"})
    jsonl(tmp_path / "a.jsonl", rows)
    data = {"source": "file", "train": "a.jsonl", "columns": {"group": "group"}}
    common = ["--task", "language-modelling"]
    collected = tmp_path / "collected"
    options = ["--settings", json.dumps(data), "--base", str(tmp_path), "--out", str(collected)]
    assert main(["collect", *common, *options]) == 0
    options = ["--settings", "{}", "--data", str(collected)]
    command = [sys.executable, "-c", MEASURED, "preprocess", *common, *options, "--out", str(tmp_path / "prepared")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    # The libraries alone take about 140 MB.
    assert int(done.stdout) * 1024 < 3 * (tmp_path / "a.jsonl").stat().st_size + 300e6


def with_one_long_test_prompt(tmp_path):
    """Write training rows and 20 test rows, the eighth a hundred words longer; return the settings."""
    jsonl(tmp_path / "train.jsonl", some_rows(300))
    test = [{"prompt": f"test {n} parcel", "completion": "label1"} for n in range(20)]
    test[7]["prompt"] += " parcel" * 100
    jsonl(tmp_path / "test.jsonl", test)
    return {"source": "file", "train": "train.jsonl", "test": "test.jsonl"}


def test_a_prompt_that_leaves_no_room_for_an_answer_is_reported_before_anything_is_trained(tmp_path, prepare):
    data = with_one_long_test_prompt(tmp_path)
    status, report, said = prepare(data, more=["--context", "64"])
    assert status == 2
    assert report is None
    assert said.count("\n") == 1
    assert "row test-8: the prompt has " in said
    assert "64 tokens" in said
    assert "1 of 20 prompts" in said
    assert prepare(data, more=["--context", "512"])[0] == 0


def test_only_prompts_that_are_evaluated_need_room(tmp_path, prepare):
    data = with_one_long_test_prompt(tmp_path)
    assert prepare(data)[0] == 0
    place = [row["id"] for row in split(tmp_path, "test")].index("test-8")
    for rows, wanted in ((place, 0), (place + 1, 2)):
        status, _, _ = prepare(data, more=["--context", "64", "--evaluated-rows", str(rows)])
        assert status == wanted
