"""The embedded data of each task: their content, that a seed determines them, that a group never leaks."""

import json
from collections import defaultdict

import pytest
from babel import Locale
from babel.numbers import parse_decimal

from greenllm.config.models import EmbeddedData
from greenllm.errors import UserError
from greenllm.tasks import TASKS
from greenllm.tasks.customer_messages import INTENTS
from greenllm.tasks.language_modelling import passages

SETTINGS = EmbeddedData(source="embedded", rows=3000)


EMBEDDED = [task for task in TASKS.values() if task.reads(SETTINGS)]  # the harness has its own data


@pytest.mark.parametrize("task", EMBEDDED, ids=lambda task: task.name)
def test_a_seed_fixes_the_rows(task):
    settings = EmbeddedData(source="embedded", rows=1500)
    rows = list(task.rows(settings))
    assert len(rows) == 1500
    assert rows == list(task.rows(settings))
    assert rows != list(task.rows(settings.model_copy(update={"seed": 1})))
    assert all(row[column].strip() for row in rows for column in (*task.columns, "group"))
    assert {row.get("subset") for row in rows} <= {*task.subsets, None}


def test_equal_translation_prompts_are_of_one_group():
    groups = defaultdict(set)
    for row in TASKS["translation"].rows(EmbeddedData(source="embedded", rows=12_000)):
        groups[row["prompt"]].add(row["group"])
    assert all(len(of_prompt) == 1 for of_prompt in groups.values())


@pytest.mark.parametrize(
    "task", [task for task in EMBEDDED if "completion" in task.columns], ids=lambda task: task.name
)
def test_a_prompt_is_one_line_that_ends_in_a_line_break(task):
    assert task.prompt({"prompt": " two\r\nlines\u202fhere "}) == "two lines here\n"
    assert task.completion({"completion": "a\nb "}) == "a b"


def test_customer_service_has_all_intents_and_some_that_overlap():
    rows = list(TASKS["customer-service"].rows(EmbeddedData(source="embedded", rows=12_000)))
    assert {row["completion"] for row in rows} == set(INTENTS)
    labels = defaultdict(set)
    for row in rows:
        labels[row["group"]].add(row["completion"])
    unclear = sum(len(labels[row["group"]]) > 1 for row in rows) / len(rows)
    assert 0.05 < unclear < 0.2
    # Slots and noise: the same wording comes in many forms.
    assert len({row["prompt"] for row in rows}) > 3 * len(labels)


def test_translation_goes_both_ways_between_english_and_each_language():
    rows = list(TASKS["translation"].rows(SETTINGS))
    directions = {row["prompt"].split(":")[0] for row in rows}
    assert directions == {f"{a}>{b}" for other in ("zh", "de", "fr") for a, b in (("en", other), (other, "en"))}
    assert {row["group"].split(":")[0] for row in rows} == {"date", "number", "money", "measure", "territories"}
    # Nothing that CLDR has no words for was shown by its code.
    assert not [row for row in rows if "length-" in row["completion"] or "mass-" in row["completion"]]


def test_translation_says_what_cldr_says():
    for row in TASKS["translation"].rows(SETTINGS):
        direction, text = row["prompt"].split(": ", 1)
        source, target = (Locale(code) for code in direction.split(">"))
        kind, value = row["group"].split(":", 1)
        if kind == "number" and not any(character.isalpha() for character in text + row["completion"]):
            assert parse_decimal(text, source) == parse_decimal(row["completion"], target) == int(value)
        if kind == "territories":
            for code in value.split(","):
                assert source.territories[code] in text
                assert target.territories[code] in row["completion"]


def test_a_value_keeps_its_group_across_languages_and_directions():
    rows = TASKS["translation"].rows(EmbeddedData(source="embedded", rows=12_000, languages=["zh", "de", "fr"]))
    groups = defaultdict(set)
    for row in rows:
        direction, text = row["prompt"].split(": ", 1)
        english = text if direction.startswith("en>") else row["completion"]
        if row["group"].startswith(("money", "measure", "number")):
            groups[english].add(row["group"])
    assert max(len(of_text) for of_text in groups.values()) == 1


@pytest.mark.parametrize("code", ["xx", "en", "nonsense-", "../etc"])
def test_an_unknown_language_is_refused(code):
    with pytest.raises(UserError, match=r"data\.languages"):
        list(TASKS["translation"].rows(EmbeddedData(source="embedded", languages=[code])))


def test_prompt_and_completion_are_the_passage():
    task = TASKS["language-modelling"]
    texts = [
        "The assert statement\n\n   inserts assertions",
        "word",
        "x",
        "断言语句是在程序中插入调试断言的便捷方式" * 9,
    ]
    texts += ["a " * 100, *(row["text"] for row in task.rows(SETTINGS))]
    for text in texts:
        prompt, completion = task.prompt({"text": text}), task.completion({"text": text})
        assert prompt + completion == text
        assert prompt
        assert len(prompt) <= 80
        assert completion or len(text) == 1


def test_passages_fit_a_small_context_and_end_where_paragraphs_or_lines_do():
    paragraphs = "\n\n".join(f"Paragraph {number}.\n" + "word " * number for number in range(55))
    lines = "\n".join(f"Line {number} of a long paragraph." for number in range(55))
    for text, beginning in ((paragraphs, "Paragraph"), (lines, "Line"), ("word " * 200, "word")):
        cut = list(passages(text, 300))
        assert "".join("".join(cut).split()) == "".join(text.split())
        assert max(map(len, cut)) <= 300
        assert all(passage.startswith(beginning) for passage in cut)
    assert list(passages("x" * 500, 300)) == ["x" * 500]


def test_the_language_models_corpus_holds_documents_whole_under_one_group():
    rows = list(TASKS["language-modelling"].rows(EmbeddedData(source="embedded", rows=100_000)))
    assert {row["subset"] for row in rows} == {"topics", "docstrings"}
    assert sum(len(row["text"]) for row in rows) > 1_000_000
    encoder = "\n".join(row["text"] for row in rows if row["group"] == "docstrings:json.encoder")
    assert " ".join(str(json.JSONEncoder.__doc__).split()) in " ".join(encoder.split())
    assert any(row["group"] == "topics:assert" and "AssertionError" in row["text"] for row in rows)


def test_choices_are_answers_of_one_relation_and_one_of_them_is_right():
    task = TASKS["multiple-choice"]
    rows = list(task.rows(EmbeddedData(source="embedded", rows=1500, languages=["en"])))
    regions = {row["completion"] for row in rows if row["group"].endswith(": region")}
    assert len(regions) > 10
    places = []
    for row in rows:
        choices = task.choices(row)
        assert len(choices) == 4
        assert task.completion(row) == row["completion"]
        if row["group"].endswith(": region") and row["split"] == "test":
            assert len(regions & {*choices}) >= 3
        places.append(int(row["answer"]))
    assert all(250 < places.count(place) < 500 for place in range(4))
    assert not [row for row in rows if row["subset"] == "outside the graph"]
