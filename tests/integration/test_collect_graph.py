"""Question answering through the command line: a user's graph and a user's rows, collected and prepared."""

import gzip
import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from greenllm.cli import main

LINES = [f"Person {n}\t{relation}\t{thing} {n % 9}" for n in range(90) for relation, thing in (("employer", "Firm"),)]
LINES += [f"Firm {n}\tcity\tTown {n % 4}" for n in range(9)]


@pytest.fixture
def greenllm(tmp_path, capsys):
    """Run a stage into tmp_path/<stage>; return its exit status and stderr."""

    def run(stage, settings, *options, task="question-answering"):
        command = [stage, "--task", task, "--settings", json.dumps(settings), "--out", str(tmp_path / stage), *options]
        status = main(command)
        return status, capsys.readouterr().err

    def collect(settings, **keys):
        return run("collect", settings, "--base", str(tmp_path), **keys)

    def preprocess(settings):
        return run("preprocess", settings, "--data", str(tmp_path / "collect"))

    return SimpleNamespace(collect=collect, preprocess=preprocess)


def test_a_graph_becomes_questions_in_splits_with_subsets(tmp_path, greenllm):
    (tmp_path / "firms.tsv").write_text("\n".join(LINES))
    settings = {"source": "graph", "file": "firms.tsv", "rows": 600, "licence": "CC0-1.0"}
    assert greenllm.collect(settings) == (0, "")
    card = json.loads((tmp_path / "collect" / "card.json").read_text())
    assert (card["source"], card["licence"], card["graph"]["triples"]) == ("graph", "CC0-1.0", 99)
    assert [part["part"] for part in card["files"]] == ["train", "test"]
    for part in card["files"]:
        assert 0.9 < part["linking"]["right"] <= 1
        assert part["linking"]["ambiguous"] == 0
    assert greenllm.preprocess({"tokenizer": {"vocabulary": 400}}) == (0, "")
    rows = pq.read_table(tmp_path / "preprocess" / "test.parquet").to_pylist()
    assert {row["subset"] for row in rows} >= {"seen", "held-out phrasings", "outside the graph"}
    assert any(row["prompt"].startswith("Person ") and row["prompt"].endswith("\n") for row in rows)
    report = json.loads((tmp_path / "preprocess" / "report.json").read_text())
    assert not any(report["leaks"]["train_rows_dropped_for_test"].values())


def test_no_question_has_its_answer_in_the_facts_of_a_namesake_and_not_in_the_graph_as_the_right_one(
    tmp_path, greenllm
):
    """Each name belongs to two towns. Of some, the graph lacks the mayor, since a part of it is held out."""
    label = "<http://www.w3.org/2000/01/rdf-schema#label>"
    lines = [f'<http://x/s{state}> {label} "State {state}"@en .' for state in range(7)]
    for town in range(200):
        lines += [
            f'<http://x/e{town}> {label} "Springfield {town // 2}"@en .',
            f"<http://x/e{town}> <http://x/mayor> <http://x/m{town}> .",
            f'<http://x/m{town}> {label} "Mayor {town}"@en .',
            f"<http://x/e{town}> <http://x/state> <http://x/s{town % 7}> .",
        ]
    (tmp_path / "towns.nt").write_text("\n".join(lines) + "\n")
    assert greenllm.collect({"source": "graph", "file": "towns.nt", "languages": ["en"], "rows": 2000}) == (0, "")
    unanswered = [row["prompt"] for row in rows(tmp_path) if row["completion"] == "not in the graph"]
    assert len(unanswered) > 50
    assert not [prompt for prompt in unanswered if "mayor=" in prompt and "mayor of" in prompt]


def rows(tmp_path):
    return [
        row
        for part in ("train", "test")
        for row in pq.read_table(tmp_path / "collect" / f"{part}.parquet").drop_columns("row").to_pylist()
    ]


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("subject\tpredicate\tobject", (0, 1, 2)),
        ("\ufeffSubject\tPredicate\tObject", (0, 1, 2)),
        ("s\tp\to", (0, 1, 2)),
        ("head\trelation\ttail", (0, 1, 2)),
        ("# subject\tpredicate\tobject", (0, 1, 2)),
        ("object\tsubject\tpredicate", (2, 0, 1)),
        ("relation\thead\ttail", (1, 0, 2)),
        ("subject_id\tpredicate\tobject_id", (0, 1, 2)),
        ("subjectLabel\tpredicateLabel\tobjectLabel", (0, 1, 2)),
        ("?item\t?prop\t?value", (0, 1, 2)),
        ("item\tproperty\tvalue", (0, 1, 2)),
        ("entity\tattribute\tvalue", (0, 1, 2)),
        ("e1\tr\te2", (0, 1, 2)),
        (":START_ID(Person)\t:TYPE\t:END_ID(Person)", (0, 1, 2)),
        (":END_ID\t:START_ID\t:TYPE", (2, 0, 1)),
        ('"Head Name"\t"relationId"\t"tail-uri"', (0, 1, 2)),
    ],
)
def test_a_header_is_no_fact_and_says_which_column_is_which(tmp_path, greenllm, header, order):
    settings = {"source": "graph", "file": "firms.tsv", "rows": 300}
    (tmp_path / "firms.tsv").write_text("\n".join(LINES))
    assert greenllm.collect(settings) == (0, "")
    expected = rows(tmp_path)
    shuffled = ["\t".join(line.split("\t")[place] for place in order) for line in LINES]
    (tmp_path / "firms.tsv").write_text("\n".join([header, *shuffled]))
    status, said = greenllm.collect(settings)
    assert status == 0
    assert said.startswith("firms.tsv: line 1 is read as a header")
    assert rows(tmp_path) == expected
    card = json.loads((tmp_path / "collect" / "card.json").read_text())
    assert card["graph"]["triples"] == 99


def test_a_packed_graph_is_read(tmp_path, greenllm):
    (tmp_path / "firms.tsv.gz").write_bytes(gzip.compress("\n".join(LINES).encode()))
    assert greenllm.collect({"source": "graph", "file": "firms.tsv.gz", "rows": 300}) == (0, "")
    (tmp_path / "firms.tsv.gz").write_bytes(gzip.compress("\n".join(LINES).encode())[:90])
    status, said = greenllm.collect({"source": "graph", "file": "firms.tsv.gz", "rows": 300})
    assert (status, len(said.splitlines())) == (2, 1)
    assert "firms.tsv.gz: the gzip file is cut short or damaged" in said
    (tmp_path / "firms.tsv.gz").write_bytes(gzip.compress(gzip.compress("\n".join(LINES).encode())))
    status, said = greenllm.collect({"source": "graph", "file": "firms.tsv.gz", "rows": 300})
    assert (status, len(said.splitlines())) == (2, 1)
    assert "packed twice, gzip within gzip" in said


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        ("\n".join([*LINES, "Firm 1\tcity"]), {}, "firms.tsv: line 100: 2 columns; expected subject, predicate"),
        (
            "\n".join(["subject\trelation\tcity", *LINES]),
            {},
            "firms.tsv: line 1: subject, relation, city may be a header",
        ),
        ("\n".join(["s\tp\to", *LINES, "o\tp\ts"]), {}, "may be a header or a fact; line 101 has one of its words"),
        ("\n".join(["entity\trelation\tentity", *LINES]), {}, "entity, relation, entity may be a header or a fact"),
        (
            "\n".join([*LINES, "subject_id\tp\tobject_id"]),
            {},
            "line 100: subject_id, p, object_id are a header's words",
        ),
        ("\n".join(["s\tp\to", *LINES, "head\trelation\ttail"]), {}, "line 101: head, relation, tail are a header's"),
        ("subject predicate object\n", {"format": "nt"}, "N-Triples have no header"),
        ("x" * 79_000, {"format": "nt"}, "firms.tsv: line 1: not a triple: 'xxx"),
        ("", {}, "firms.tsv: no triples"),
        ("\n".join(LINES), {"format": "nt"}, "firms.tsv: line 1: not a triple: 'Person 0"),
        ("\n".join(LINES), {"file": "other.tsv"}, "other.tsv: can't be read"),
        ("\n".join(LINES), {"languages": []}, "languages"),
    ],
)
def test_a_broken_graph_is_reported_in_one_line_and_leaves_nothing(tmp_path, greenllm, content, settings, message):
    (tmp_path / "firms.tsv").write_text(content)
    status, said = greenllm.collect({"source": "graph", "file": "firms.tsv"} | settings)
    assert status == 2
    assert message in said
    assert len(said.splitlines()) == 1
    assert len(said) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["firms.tsv"]


def test_a_graph_is_for_questions_alone(tmp_path, greenllm):
    (tmp_path / "firms.tsv").write_text("\n".join(LINES))
    status, said = greenllm.collect({"source": "graph", "file": "firms.tsv"}, task="translation")
    assert (status, len(said.splitlines())) == (2, 1)
    assert "graph is only for the tasks question-answering, multiple-choice, not for translation" in said


def test_the_users_rows_with_their_columns_named(tmp_path, greenllm):
    rows = [{"q": f"Person {n} (city: Town {n % 3}) Where is Person {n}?", "a": f"Town {n % 3}", "kind": "easy"}
            for n in range(50)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"prompt": "q", "completion": "a", "subset": "kind"}
    assert greenllm.collect({"source": "file", "train": "rows.jsonl", "columns": columns})[0] == 0
    status, _ = greenllm.preprocess({"near_duplicate": 1, "tokenizer": {"vocabulary": 300}})
    assert status == 0
    prepared = pq.read_table(tmp_path / "preprocess" / "test.parquet").to_pylist()
    assert {row["subset"] for row in prepared} == {"easy"}
    assert prepared[0]["completion"] in ("Town 0", "Town 1", "Town 2")
