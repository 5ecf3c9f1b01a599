"""Questions about a graph: held-out questions, questions without an answer, and the scores of answers."""

import re

import pytest
from predicted import predicted

from greenllm.config.models import EmbeddedData, GraphData
from greenllm.errors import UserError
from greenllm.graph.cldr import cldr_graph
from greenllm.graph.cldr_phrasings import CLDR_PHRASINGS
from greenllm.graph.holding_out import ENTITIES, OUTSIDE, PHRASINGS, SEEN
from greenllm.graph.questions import NOT_IN_GRAPH
from greenllm.graph.triples import Graph, Triple
from greenllm.tasks.question_answering import QuestionAnswering

TASK = QuestionAnswering()
# Label of the entity that a question names, for each English phrasing.
ENGLISH = {phrasing: re.compile(re.escape(phrasing).replace(r"\{entity\}", "(.+)") + "$")
           for by_language in CLDR_PHRASINGS.values() for phrasing in by_language["en"]}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return list(TASK.rows(EmbeddedData(source="embedded", rows=4000, languages=["en"])))


def phrasings(rows):
    """Return each row's phrasing: the longest of those that match the prompt."""
    return [max((p for p in ENGLISH if ENGLISH[p].search(row["prompt"])), key=len) for row in rows]


def of(rows, split, *subsets):
    return [row for row in rows if row["split"] == split and row["subset"] in (subsets or TASK.subsets)]


def test_each_kind_of_question_is_tested_and_training_has_some_without_an_answer(rows):
    assert {row["subset"] for row in of(rows, "train")} == {SEEN, OUTSIDE}
    for subset in TASK.subsets:
        assert len(of(rows, "test", subset)) > 50
    assert all((row["completion"] == NOT_IN_GRAPH) == (row["subset"] == OUTSIDE) for row in rows)


def test_the_right_answer_is_in_the_facts_if_the_question_was_linked_right(rows):
    answered = [row for row in rows if row["completion"] != NOT_IN_GRAPH and row["linked"] == "yes"]
    assert all(f"={row['completion']}" in row["prompt"] for row in answered)
    linked = [row["linked"] for row in rows]
    assert linked.count("yes") / len(linked) > 0.98


def test_prompts_fit_a_small_context(rows):
    assert max(len(row["prompt"]) for row in rows) < 600


def test_nothing_that_is_tested_is_asked_in_training(rows):
    assert not {row["group"] for row in of(rows, "train")} & {row["group"] for row in of(rows, "test")}


def test_a_held_out_phrasing_is_never_trained(rows):
    trained = set(phrasings(of(rows, "train")))
    held_out = set(phrasings(of(rows, "test", PHRASINGS)))
    assert held_out
    assert not trained & held_out
    assert set(phrasings(of(rows, "test", SEEN, ENTITIES))) <= trained


def test_a_held_out_entity_is_in_no_training_prompt(rows):
    graph = cldr_graph(["en"])
    held_out = {row["group"].rsplit(": ", 1)[0] for row in of(rows, "test", ENTITIES)}
    assert len(held_out) > 30
    # Neither with facts of its own nor among those of others: `Mali (region=Western Africa; …)`.
    mentioned = {part for row in of(rows, "train") for part in re.split(r" \(|\) ?|=|[;,] ", row["prompt"])}
    assert "Africa" in mentioned
    assert not mentioned & {graph.label(entity, "en") for entity in held_out}


def test_some_questions_are_about_unknown_names_and_some_about_facts_that_are_missing(rows):
    outside = of(rows, "test", OUTSIDE)
    assert any("(" not in row["prompt"] for row in outside)
    assert any("(" in row["prompt"] for row in outside)


def test_a_question_and_its_answer_are_in_one_language():
    rows = list(TASK.rows(EmbeddedData(source="embedded", rows=1000)))
    for region, continents in (
        ("region", {"Africa", "Europe", "Asia"}),
        ("地区", {"非洲", "欧洲", "亚洲"}),
        ("Region", {"Afrika", "Europa", "Asien"}),
        ("région", {"Afrique", "Europe", "Asie"}),
    ):
        answers = {row["completion"] for row in rows if f"({region}={row['completion']})" in row["prompt"]}
        assert answers & continents


def test_another_language_than_those_of_the_phrasings_is_refused():
    with pytest.raises(UserError, match=r"data\.languages: .*en, zh, de, fr, not in 'es'"):
        list(TASK.rows(EmbeddedData(source="embedded", languages=["es"])))


def about(graph, **keys):
    return list(TASK.rows_about(graph, GraphData(source="graph", file="a.tsv", **{"rows": 500, **keys})))


def test_a_graph_of_any_subject_is_asked_with_its_own_relations():
    triples = [Triple(f"Person {n}", "employer", f"Firm {n % 9}") for n in range(120)]
    triples += [Triple(f"Person {n}", "hobby", f"Sport {n % 5}") for n in range(0, 120, 2)]
    triples += [Triple(f"Firm {n}", "city", f"Town {n % 4}") for n in range(9)]
    rows = about(Graph(triples, {}))
    assert {row["subset"] for row in of(rows, "test")} == set(TASK.subsets)
    assert any("the city of the employer" in row["prompt"] and row["completion"].startswith("Town") for row in rows)
    # Half of the persons have no hobby.
    assert any("hobby" in row["prompt"] and row["completion"] == NOT_IN_GRAPH and "(" in row["prompt"] for row in rows)
    assert rows == about(Graph(triples, {}))
    assert about(Graph(triples, {}), languages=["es"])[0]["prompt"]  # without phrasings of its own


def test_a_graph_that_is_too_small_is_refused():
    with pytest.raises(UserError, match=r"too little to ask about.*2 triples"):
        about(Graph([Triple("a", "b", "c"), Triple("d", "b", "e")], {}))


@pytest.mark.parametrize(
    ("right", "given", "exact", "f1"),
    [
        ("Dutch, French, German", "german, Dutch, French", 1, 1),
        ("Dutch, French, German", "Dutch, French", 0, 0.8),
        ("Swiss Franc", "the swiss franc.", 1, 1),
        ("Swiss Franc", "CFA Franc", 0, 0.5),
        ("Euro", "", 0, 0),
        (NOT_IN_GRAPH, "Not in the graph", 1, 1),
        ("西非法郎", "中非法郎", 0, 0.75),
        ("French, French Guiana", "French Guiana, French", 1, 1),
    ],
)
def test_answers_are_compared_by_their_members_and_their_words(right, given, exact, f1):
    scores = TASK.score([predicted(right, given)])
    assert (scores["exact_match"], scores["f1"]) == pytest.approx((exact, f1))
