"""The task chat, from published conversations to a trained model, through the command line."""

import gzip
import json
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq
import pytest
from tiny_models import make_fp32
from tokenizers import Tokenizer

from greenllm.cli import main
from greenllm.training.batches import Collator, read_rows

# Without `{% generation %}`, and with an end token after each message, as in SmolLM2's template.
TEMPLATE = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}[system]be short<eos>\n{% endif %}"
    "[{{ m.role }}]{{ m.content }}<eos>\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
COLOURS = ["red", "blue", "green", "white", "black", "brown", "pink"]
THINGS = ["card", "parcel", "invoice", "lamp", "rug", "watch", "tent", "phone"]


def turns(number: int) -> list[tuple[str, str]]:
    """Return a conversation of two turns for each side; the second user's message spells a special token."""
    thing, colour = THINGS[number % 8], COLOURS[number // 8 % 7]
    return [
        ("user", f"my {thing} number {number} is {colour}"),
        ("assistant", f"a {colour} {thing}"),
        ("user", f"<eos>[assistant]what colour has number {number}"),
        ("assistant", colour),
    ]


def openai(said):
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def parts(said):
    return {"messages": [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]}


def sharegpt(said):
    names = {"user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names.get(role, role), "value": text} for role, text in said]}


def alpaca(said):
    return {"instruction": said[0][1], "input": said[2][1], "output": said[3][1]}


def completion(said):
    return {"prompt": said[0][1], "completion": said[1][1]}


def trl(said):
    messages = openai(said)["messages"]
    return {"prompt": messages[:3], "completion": messages[3:]}


ROWS = [turns(number) for number in range(120)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_fp32(tmp_path_factory.mktemp("model"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def collect(folder: Path, file: str, **data: object) -> int:
    settings = {"source": "file", "train": file, **data}
    command = ["collect", "--task", "chat", "--settings", json.dumps(settings), "--base", str(folder)]
    return main([*command, "--out", str(folder / "collected")])


def prepare(folder: Path, model: Path, *more: str, **settings: object) -> int:
    command = ["preprocess", "--task", "chat", "--settings", json.dumps({"near_duplicate": 1.0, **settings})]
    command += ["--data", str(folder / "collected"), "--model", str(model), "--chat"]
    return main([*command, *more, "--out", str(folder / "prepared")])


def jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def whole(folder: Path, tokenizer: Tokenizer) -> set[str]:
    """Return the prepared conversations, decoded."""
    tables = [pq.read_table(folder / "prepared" / f"{name}.parquet") for name in ("train", "validation", "test")]
    rows = [ids for table in tables for ids in table["ids"].to_pylist()]
    return {tokenizer.decode(ids, skip_special_tokens=False) for ids in rows}


@pytest.fixture(scope="module")
def prepared(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    (folder / "a.jsonl").write_text(jsonl([openai(said) for said in ROWS]))
    assert collect(folder, "a.jsonl") == 0
    assert prepare(folder, model, "--context", "model") == 0
    return folder


def test_only_the_assistants_turns_are_learned(prepared: Path, model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    rows = read_rows(prepared / "prepared/train.parquet", tokenizer, eos_id=1, context=128)
    assert rows.truncated == 0
    table = pq.read_table(prepared / "prepared/train.parquet").to_pylist()
    for start in range(0, 16, 4):
        batch = Collator(pad_id=0, prompt_weight=0.2)(rows.rows[start : start + 4])
        for line, row in enumerate(table[start : start + 4]):
            said = turns(int(row["id"].rpartition("-")[2]) - 1)
            targets, weights = batch["targets"][line], batch["weights"][line]
            learned = tokenizer.decode(targets[weights == 1].tolist(), skip_special_tokens=False)
            assert learned == f"{said[1][1]}<eos>\n{said[3][1]}<eos>\n"
            assert set(weights.tolist()) == {0, 1}
            # The template's end tokens are ids; the user's word <eos> is only spelled.
            assert [id for id in row["ids"] if id == 1] == [1] * 5


def test_the_last_answer_is_asked_for_after_all_turns_before_it(prepared: Path, model: Path, tmp_path: Path) -> None:
    for row in pq.read_table(prepared / "prepared/test.parquet").to_pylist():
        said = turns(int(row["id"].rpartition("-")[2]) - 1)
        before = "".join(f"[{role}]{text}<eos>\n" for role, text in said[:3])
        assert row["prompt"] == f"[system]be short<eos>\n{before}[assistant]"
        assert row["ids"][: len(row["prompt_ids"])] == row["prompt_ids"]
        assert row["completion"] == said[3][1]
    command = ["evaluate", "--task", "chat", "--model", str(model), "--data", str(prepared / "prepared")]
    command += ["--settings", '{"max_tokens": 4, "bootstrap": 100}', "--device", "cpu"]
    files = ["--out", str(tmp_path / "a.json"), "--predictions", str(tmp_path / "a.jsonl")]
    assert main([*command, *files]) == 0
    assert set(json.loads((tmp_path / "a.json").read_text())["metrics"]) >= {"squad_f1", "contains"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.json", json.dumps([parts(said) for said in ROWS])),
        ("a.json.gz", gzip.compress(json.dumps([sharegpt(said) for said in ROWS]).encode())),
        ("a.jsonl", jsonl([trl(said) for said in ROWS])),
        ("a.parquet", pyarrow.Table.from_pylist([sharegpt(said) for said in ROWS])),
    ],
)
def test_every_published_form_is_the_same_conversation(tmp_path, prepared, model, file, content):
    if isinstance(content, pyarrow.Table):
        pq.write_table(content, tmp_path / file)
    else:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert collect(tmp_path, file) == 0
    assert prepare(tmp_path, model) == 0
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    assert whole(tmp_path, tokenizer) == whole(prepared, tokenizer)


@pytest.mark.parametrize(
    ("file", "rows", "first"),
    [
        ("a.jsonl", [alpaca(said) for said in ROWS], "[user]{0}\n\n{2}<eos>\n[assistant]{3}<eos>\n"),
        ("a.json", [completion(said) for said in ROWS], "[user]{0}<eos>\n[assistant]{1}<eos>\n"),
    ],
)
def test_a_pair_is_a_conversation_of_one_turn(tmp_path, model, file, rows, first):
    (tmp_path / file).write_text(jsonl(rows) if file == "a.jsonl" else json.dumps(rows))
    assert collect(tmp_path, file) == 0
    assert prepare(tmp_path, model, "--system", "speak") == 0
    expected = {"[system]speak<eos>\n" + first.format(*(text for _, text in said)) for said in ROWS}
    assert whole(tmp_path, Tokenizer.from_file(str(model / "tokenizer.json"))) == expected


GOOD = [openai(said) for said in ROWS[:3]]
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}
UNLEARNED = {"role": "assistant", "content": "a", "weight": 0}
TEXTLESS = {"role": "user", "content": [{"type": "text", "text": None}]}
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (openai(ROWS[3][:3]), "the last message is the user's; expected the assistant's answer"),
        (openai(ROWS[3][:1]), "no message of the assistant"),
        (openai(ROWS[3][1:]), "the first message is the assistant's"),
        ({"messages": [*openai(ROWS[3][:1])["messages"], CALL]}, "message 2 calls a tool"),
        ({"messages": [IMAGE, *openai(ROWS[3])["messages"]]}, "message 1 has a part of type 'image_url'"),
        ({"messages": [TEXTLESS, *openai(ROWS[3])["messages"]]}, "message 1 has a part whose text is no text"),
        ({"messages": [*openai(ROWS[3][:1])["messages"], UNLEARNED]}, "message 2 has a weight"),
        (openai(ROWS[3]) | {"tools": [{"type": "function"}]}, "it offers tools"),
        (openai([("narrator", "a"), *ROWS[3]]), "message 1 has the role 'narrator'; expected human, gpt, system"),
        (openai([("user", " "), ("assistant", "b")]), "message 1 is empty"),
        ({"messages": []}, "not a list of messages"),
        ({"messages": "hello"}, "not a list of messages"),
        (sharegpt(ROWS[3]), "no 'messages' as in the file's first row (it has conversations)"),
    ],
)
def test_a_conversation_that_cannot_be_learned_is_one_line(tmp_path, model, capsys, row, reason):
    (tmp_path / "a.jsonl").write_text(jsonl([*GOOD, row]))
    assert collect(tmp_path, "a.jsonl") == 0
    capsys.readouterr()
    assert prepare(tmp_path, model) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "a.jsonl: row 4: " in said
    assert reason in said


@pytest.mark.parametrize(
    ("rows", "data", "reason"),
    [
        ([{"question": "a", "answer": "b"}], {}, "no conversations: it has question, answer; expected"),
        ([openai(ROWS[0]) | sharegpt(ROWS[0])], {}, "in several forms: messages; conversations; name the column"),
        ([openai(ROWS[0])], {"columns": {"messages": "chat"}}, "no conversations: it has messages"),
    ],
)
def test_a_file_without_one_form_is_refused(tmp_path, capsys, rows, data, reason):
    (tmp_path / "a.jsonl").write_text(jsonl(rows))
    assert collect(tmp_path, "a.jsonl", **data) == 2
    assert reason in capsys.readouterr().err


def kept(folder):
    """Return the conversations of a.* in a folder, as collected."""
    return [json.loads(one) for one in pq.read_table(folder / "collected/train.parquet")["messages"].to_pylist()]


def test_a_weight_of_one_is_no_reason_to_leave_a_conversation_out(tmp_path):
    said = openai(ROWS[0])["messages"]
    weighted = {"messages": [*said[:-1], {**said[-1], "weight": 1}]}
    (tmp_path / "a.jsonl").write_text(jsonl([weighted, {"messages": said}]))
    assert collect(tmp_path, "a.jsonl") == 0
    first, second = kept(tmp_path)
    assert first == second


@pytest.mark.parametrize("beside", [{"tools": [{"type": "function"}]}, {"images": ["a.png"]}, {"image": b"png"}])
def test_a_parquet_row_that_offers_tools_or_has_an_image_is_left_out(tmp_path, capsys, beside):
    empty = dict.fromkeys(beside)
    rows = [openai(ROWS[0]) | empty, openai(ROWS[1]) | beside, openai(ROWS[2]) | empty]
    pq.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert collect(tmp_path, "a.parquet") == 0
    assert "a.parquet: row 2: it" in capsys.readouterr().err
    assert kept(tmp_path) == [openai(ROWS[0])["messages"], openai(ROWS[2])["messages"]]


def test_an_optional_column_that_is_named_may_be_missing_in_the_first_row_but_not_in_all(tmp_path, capsys):
    rows = [{"q": "Translate", "output": "x"}, {"q": "Sum up", "ctx": "a long text", "output": "y"}]
    (tmp_path / "a.jsonl").write_text(jsonl(rows))
    assert collect(tmp_path, "a.jsonl", columns={"instruction": "q", "input": "ctx"}) == 0
    assert [turns[0]["content"] for turns in kept(tmp_path)] == ["Translate", "Sum up\n\na long text"]
    capsys.readouterr()
    assert collect(tmp_path, "a.jsonl", columns={"instruction": "q", "input": "contxt"}) == 2
    assert "a.jsonl: no row has 'contxt', named in data.columns for input" in capsys.readouterr().err


def test_a_table_may_declare_its_separator(tmp_path):
    (tmp_path / "a.csv").write_text("sep=;\ninstruction;output\nx, y;z\n")
    assert collect(tmp_path, "a.csv") == 0
    assert [turn["content"] for turn in kept(tmp_path)[0]] == ["x, y", "z"]


def test_nearly_equal_conversations_are_compared_whole(tmp_path, model):
    long = " ".join(f"{thing} {colour}" for thing in THINGS for colour in COLOURS)
    tested = openai([("user", "what do you have"), ("assistant", long)])
    near = openai([("user", "what do you have now"), ("assistant", long + " cup")])
    other = openai([("user", "what do you have now"), ("assistant", "nothing at all")])
    (tmp_path / "a.jsonl").write_text(jsonl([*(openai(said) for said in ROWS), near, other]))
    (tmp_path / "test.jsonl").write_text(jsonl([tested]))
    assert collect(tmp_path, "a.jsonl", test="test.jsonl") == 0
    assert prepare(tmp_path, model, near_duplicate=0.9, validation_share=0) == 0
    kept = {row["id"] for row in pq.read_table(tmp_path / "prepared/train.parquet").to_pylist()}
    assert "train-121" not in kept
    assert "train-122" in kept


@pytest.mark.parametrize("decision", ["cut", "drop", "refuse"])
def test_conversations_longer_than_the_context_are_reported_before_training(tmp_path, model, capsys, decision):
    long = [*ROWS[0][:2], ("user", "card " * 150), ("assistant", "red")]
    (tmp_path / "a.jsonl").write_text(jsonl([openai(said) for said in [*ROWS, long]]))
    (tmp_path / "test.jsonl").write_text(jsonl([openai(turns(500))]))
    assert collect(tmp_path, "a.jsonl", test="test.jsonl") == 0
    capsys.readouterr()
    status = prepare(tmp_path, model, "--context", "model", long_rows=decision, validation_share=0)
    said = capsys.readouterr().err
    assert "1 of 121 rows to train on are longer than the model's context of 128 tokens (row train-121: " in said
    assert "preprocess.long_rows" in said
    if decision == "refuse":
        assert status == 2
        return
    assert status == 0
    report = json.loads((tmp_path / "prepared/report.json").read_text())["long_rows"]
    assert (report["decision"], report["count"]["train"], report["rows"]["train"]) == (decision, 1, ["train-121"])
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    rows = read_rows(tmp_path / "prepared/train.parquet", tokenizer, eos_id=1, context=128)
    assert (len(rows.rows), rows.truncated) == ((121, 1) if decision == "cut" else (120, 0))
    if decision == "cut":
        (cut,) = [row for row in rows.rows if len(row) == 128]
        ((start, end),) = cut.turns or ()
        assert tokenizer.decode(cut.ids[start:end], skip_special_tokens=False) == "red<eos>\n"


@pytest.mark.parametrize("recipe", ["{}", '{"lora": {"rank": 2}}'])
def test_a_model_learns_conversations_with_all_weights_or_an_adapter(tmp_path, prepared, model, recipe):
    command = ["train", "--data", str(prepared / "prepared"), "--device", "cpu", "--from", str(model)]
    command += ["--settings", json.dumps({"epochs": 4, "batch": 16, "evaluations": 2, "learning_rate": 5e-3})]
    if recipe != "{}":
        command += ["--recipe", recipe]
    assert main([*command, "--checkpoints", str(tmp_path / "checkpoints"), "--out", str(tmp_path / "model")]) == 0
    losses = [found["loss"] for found in json.loads((tmp_path / "model/training.json").read_text())["validation_loss"]]
    assert losses[-1] < losses[0]


def test_the_template_must_keep_turns_and_the_task_needs_one(tmp_path, prepared, model, capsys):
    command = ["preprocess", "--task", "chat", "--settings", "{}", "--data", str(prepared / "collected")]
    out = ["--out", str(tmp_path / "prepared")]
    assert main([*command, *out]) == 2
    assert "needs a model's chat template" in capsys.readouterr().err
    forgetful = make_fp32(tmp_path / "model")  # its template writes the last message alone
    assert main([*command, *out, "--model", str(forgetful), "--chat"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the assistant's turn, message 2, can't be found" in said


def test_a_conversation_that_the_template_refuses_is_a_bad_row(tmp_path, model, capsys):
    shutil.copytree(model, tmp_path / "model")
    refusal = "{% if 'forbidden' in messages[0].content %}{{ raise_exception('not this') }}{% endif %}"
    (tmp_path / "model/chat_template.jinja").write_text(refusal + TEMPLATE)
    refused = [("user", "forbidden"), ("assistant", "no")]
    instructed = [("developer", "speak"), ("user", "who?"), ("assistant", "me")]
    (tmp_path / "a.jsonl").write_text(jsonl([openai(said) for said in [*ROWS, refused, instructed]]))
    assert collect(tmp_path, "a.jsonl") == 0
    assert prepare(tmp_path, tmp_path / "model", most_bad_rows=0.1) == 0
    (bad,) = json.loads((tmp_path / "prepared/report.json").read_text())["bad_rows"]
    assert bad["row"] == 121
    assert "refuses these messages: not this" in bad["reason"]
    prepared = whole(tmp_path, Tokenizer.from_file(str(model / "tokenizer.json")))
    assert any(text.startswith("[system]speak") for text in prepared)


def test_a_template_may_write_only_the_last_turn_with_its_reasoning(tmp_path, prepared):
    thinking = make_fp32(tmp_path / "model")
    last = "{% if m.role == 'assistant' and loop.last %}(thought){% endif %}{{ m.content }}"
    (thinking / "chat_template.jinja").write_text(TEMPLATE.replace("{{ m.content }}", last))
    shutil.copytree(prepared / "collected", tmp_path / "collected")
    assert prepare(tmp_path, thinking) == 0
    tokenizer = Tokenizer.from_file(str(thinking / "tokenizer.json"))
    for row in pq.read_table(tmp_path / "prepared/train.parquet").slice(0, 5).to_pylist():
        said = turns(int(row["id"].rpartition("-")[2]) - 1)
        spans = zip(row["turns"][::2], row["turns"][1::2], strict=True)
        learned = [tokenizer.decode(row["ids"][start:end], skip_special_tokens=False) for start, end in spans]
        assert learned == [f"{said[1][1]}<eos>", f"(thought){said[3][1]}<eos>\n"]
