"""Customer service end to end: rows with replies, a model of their intents, a chat that answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from narrowing import known
from prepared_data import MODEL, TRAINING, rows

from greenllm.cli import main
from greenllm.errors import UserError
from greenllm.load.processes import greenllm
from greenllm.load.servers import running_server
from greenllm.serving.scripted_replies import Replies, read_replies
from greenllm.tasks import TASKS
from greenllm.tasks.customer_messages import INTENTS

HAND_OVER = TASKS["customer-service"].hand_over
TASK = ["--task", "customer-service"]


def write_rows(file: Path, replies: dict[str, str]) -> None:
    lines = [row | {"answer": replies.get(row["completion"], "")} for row in rows("own", 500)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def prepare(folder: Path) -> int:
    data = {"source": "file", "train": "own.jsonl", "columns": {"reply": "answer", "group": "group"}}
    collect = ["collect", *TASK, "--settings", json.dumps(data), "--base", str(folder)]
    assert main([*collect, "--out", str(folder / "collected")]) == 0
    settings = json.dumps({"near_duplicate": 1, "tokenizer": {"vocabulary": 300}})
    return main(
        [
            "preprocess",
            *TASK,
            "--settings",
            settings,
            "--data",
            str(folder / "collected"),
            "--out",
            str(folder / "data"),
        ]
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that `greenllm deploy` makes of rows with a reply for each colour but white."""
    folder = tmp_path_factory.mktemp("support")
    write_rows(folder / "own.jsonl", {colour: f"Here is {colour}." for colour in ("RED", "BLUE", "GREEN")})
    assert prepare(folder) == 0
    model = ["--data", str(folder / "data"), "--device", "cpu"]
    train = [
        "train",
        "--settings",
        json.dumps(TRAINING),
        "--model",
        json.dumps(MODEL | {"context": 64}),
    ]
    assert main([*train, *model, "--checkpoints", str(folder / "checkpoints"), "--out", str(folder / "model")]) == 0
    files = ["--out", str(folder / "evaluation.json"), "--predictions", str(folder / "predictions.jsonl")]
    evaluation = json.dumps({"max_tokens": 8, "threshold": 0.6, "bootstrap": 100})
    assert main(["evaluate", *TASK, "--settings", evaluation, *model, "--model", str(folder / "model"), *files]) == 0
    deploy = ["deploy", *TASK, "--model", str(folder / "model"), "--data", str(folder / "data")]
    deploy += ["--evaluation-settings", evaluation, "--evaluation", str(folder / "evaluation.json")]
    assert main([*deploy, "--out", str(folder / "bundle")]) == 0
    return folder / "bundle"


@pytest.fixture(scope="module")
def client(bundle: Path) -> Iterator[openai.OpenAI]:
    with running_server(greenllm("serve", str(bundle), "--port", "0", "--threads", "1", "--device", "cpu")) as started:
        yield openai.OpenAI(base_url=f"{started().url}/v1", api_key="none", max_retries=0)


def test_a_customer_gets_the_reply_to_the_intent(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="model", messages=[{"role": "user", "content": "the blue and"}])
    assert answer.choices[0].message.content == "Here is BLUE."
    reason = known(answer.model_extra)["greenllm"]
    assert (reason["intent"], reason["handed_over"]) == ("BLUE", False)
    assert 0.6 <= reason["confidence"] <= 1


def test_an_intent_without_a_reply_goes_to_a_person(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="model", messages=[{"role": "user", "content": "a white of"}])
    assert answer.choices[0].message.content == HAND_OVER
    assert known(answer.model_extra)["greenllm"]["handed_over"] is True


def test_a_message_that_the_model_is_not_sure_of_goes_to_a_person(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="model", messages=[{"role": "user", "content": "zzz 17 ?! qqq"}])
    assert known(answer.model_extra)["greenllm"]["confidence"] < 0.6
    assert answer.choices[0].message.content == HAND_OVER


def test_the_bundle_says_below_which_confidence_a_person_takes_over(bundle: Path) -> None:
    replies = read_replies(bundle)
    assert replies is not None
    assert (replies.threshold, replies.hand_over) == (0.6, HAND_OVER)
    assert set(replies.replies) == {"RED", "BLUE", "GREEN"}
    assert "below 0.6" in (bundle / "README.md").read_text()


def test_two_replies_to_one_intent_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "own.jsonl", {"RED": "One."})
    with (tmp_path / "own.jsonl").open("a") as file:
        row = {"prompt": "red and", "completion": "RED", "group": "x", "answer": "Another."}
        file.write(json.dumps(row) + "\n")
    assert prepare(tmp_path) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "own.jsonl: row 501: 'RED' has another reply here ('Another.') than before ('One.')" in last
    assert not (tmp_path / "data").exists()


def test_each_embedded_intent_has_a_reply_or_is_a_persons(tmp_path: Path) -> None:
    collect = ["collect", *TASK, "--settings", '{"source": "embedded", "rows": 400}']
    assert main([*collect, "--out", str(tmp_path / "collected")]) == 0
    preprocess = ["preprocess", *TASK, "--settings", "{}", "--data", str(tmp_path / "collected")]
    assert main([*preprocess, "--out", str(tmp_path / "data")]) == 0
    replies = Replies(threshold=0, **json.loads((tmp_path / "data" / "replies.json").read_text()))
    assert set(INTENTS) - set(replies.replies) == {"speak_to_person"}
    assert len(set(replies.replies.values())) == len(INTENTS) - 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [("{", "Invalid JSON"), ('{"threshold": 2, "hand_over": "", "replies": {}}', "threshold"), ("{}", "threshold")],
)
def test_replies_that_are_not_valid_are_reported_in_one_line(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "replies.json").write_text(content)
    with pytest.raises(UserError, match=expected) as caught:
        read_replies(tmp_path)
    assert "replies.json" in str(caught.value)
    assert "\n" not in str(caught.value)
