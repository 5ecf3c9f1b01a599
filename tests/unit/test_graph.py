"""Knowledge graphs: reading, entity linking, facts as text, the embedded graph."""

import random

import pytest
from narrowing import known

from greenllm.errors import UserError
from greenllm.graph.cldr import CURRENCY, LANGUAGE, REGION, cldr_graph
from greenllm.graph.facts import MOST_CHARACTERS, facts_text
from greenllm.graph.linking import Linker
from greenllm.graph.reading import read_graph
from greenllm.graph.triples import Graph, Triple

TURTLE = """
@prefix ex: <http://example.org/> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
ex:Austria ex:headCity ex:Vienna ; ex:population 9100000 ; rdfs:label "Austria"@en, "Österreich"@de .
ex:Vienna ex:riverAt ex:The_Danube ; skos:prefLabel "Vienna"@en, "Wien"@de ; skos:altLabel "Vindobona"@en .
ex:Austria ex:motto [ ex:says "nothing" ] .
"""
NTRIPLES = """\
<http://example.org/Austria> <http://example.org/headCity> <http://example.org/Vienna> .
# a comment
<http://example.org/Vienna> <http://schema.org/name> "Vienna"@en .
"""


@pytest.fixture
def read(tmp_path):
    def read(name, content, languages=("en",), format="auto"):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return read_graph(tmp_path / name, name, format, languages)

    return read


def test_turtle_with_labels_in_two_languages_and_local_names_for_what_has_none(read):
    graph = read("a.ttl", TURTLE, ["en", "de"])
    entity = known(Linker(graph).link("Wo liegt Osterreich?")).entity
    assert facts_text(graph, entity, "", "en") == (
        "Austria (head city=Vienna; population=9100000) Vienna (river at=The Danube)"
    )
    assert facts_text(graph, entity, "", "de") == (
        "Österreich (head city=Wien; population=9100000) Wien (river at=The Danube)"
    )
    assert Linker(graph).link("What is Vindobona?") == Linker(graph).link("VIENNA!")


def test_ntriples_and_tab_separated_triples_say_the_same(read):
    one = read("a.nt", NTRIPLES)
    other = read("b.tsv", "Austria\thead city\tVienna\r\n\n")
    for graph in (one, other):
        assert facts_text(graph, known(Linker(graph).link("austria")).entity, "", "en") == "Austria (head city=Vienna)"
        assert facts_text(graph, known(Linker(graph).link("vienna")).entity, "", "en") == "Vienna (← head city=Austria)"


def test_the_order_of_the_lines_does_not_matter(read):
    lines = [f"thing {n % 7}\trelation {n % 3}\tobject {n}" for n in range(40)]
    graph = read("a.tsv", "\n".join(lines))
    random.Random(1).shuffle(lines)
    other = read("b.tsv", "\n".join(lines))
    for entity in graph.entities:
        assert facts_text(graph, entity, "", "en") == facts_text(other, entity, "", "en")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.nt",
            NTRIPLES + "<http://example.org/Austria> <http://example.org/headCity> Vienna .\n",
            r"line 4.*<object>",
        ),
        ("a.nt", NTRIPLES.replace(" .", ""), "line 1"),
        ("a.ttl", TURTLE.replace("ex:riverAt ex:", "ex:riverAt ["), "line 6"),
        ("a.ttl", TURTLE.replace("@prefix ex:", "@prefix other:"), "line 5"),
        ("a.nt", NTRIPLES + '<a:b> <a:c> "\\U11223344" .\n', "line 4: not a triple"),
        ("a.ttl", TURTLE + 'ex:Ulm ex:in """two\nlines', "not Turtle: a text"),
        ("a.ttl", TURTLE + "ex:Ulm ex:in ( 1 2", "not Turtle: a text or a list"),
        ("a.ttl", "(" * 5000, "line 1: not Turtle"),
        ("a.tsv", "a\tb\tc\na\tb\n", "line 2: 2 columns; expected subject"),
        ("a.tsv", "a\tb\tc\td\n", "line 1: 4 columns"),
        ("a.tsv", "a\tb\tc\n\na\t\tc\n", "line 3: an empty column"),
        ("a.tsv", b"a\tb\tc\na\tb\t\xff\n", "line 2: bytes that are not UTF-8"),
        ("a.tsv", "", "no triples"),
        ("a.nt", "# nothing\n", "no triples"),
        ("a.ttl", "_:a <http://example.org/b> _:c .", "no triples"),
        ("a.xml", "<rdf/>", r"unknown ending '\.xml'.*data\.format"),
    ],
)
def test_what_can_not_be_read_is_reported_in_one_line(read, name, content, message):
    with pytest.raises(UserError, match=message) as refusal:
        read(name, content)
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)


def test_a_value_that_its_datatype_does_not_allow_is_a_text_without_a_warning(read, caplog):
    graph = read("a.ttl", TURTLE + 'ex:Vienna ex:founded "about 1150"^^<http://www.w3.org/2001/XMLSchema#date> .')
    assert any(triple.object == '"about 1150' for triple in graph.triples)
    assert not caplog.records


def test_relative_names_do_not_depend_on_the_files_folder(read, tmp_path, monkeypatch):
    turtle = "<Ulm> <in> <Germany> ."
    here = read("a.ttl", turtle).triples
    monkeypatch.chdir(tmp_path)
    assert read("a.ttl", turtle).triples == here


def test_a_missing_file_and_labels_only_in_other_languages_are_reported(read, tmp_path):
    with pytest.raises(UserError, match=r"data_folder"):
        read_graph(tmp_path / "none.nt", "none.nt", "auto", ["en"])
    with pytest.raises(UserError, match=r"no labels in fr; it has some in en: .*data\.languages"):
        read("a.nt", NTRIPLES, ["fr"])


def test_the_longest_label_is_linked_whatever_its_case_and_accents():
    graph = Graph([Triple(name, "in", "Africa") for name in ("Guinea", "Guinea-Bissau", "Côte d’Ivoire", "乍得")], {})
    linker = Linker(graph)
    for question, entity in (
        ("Who lives in guinea bissau?", "Guinea-Bissau"),
        ("Is GUINEA in Africa or not?", "Guinea"),
        ("cote d'ivoire?", "Côte d’Ivoire"),
        ("请问乍得的货币？", "乍得"),
    ):
        assert known(linker.link(question)).entity == entity
    assert linker.link("Guineas?") is None
    assert linker.link("") is None


def test_of_several_entities_of_one_name_the_verbatim_then_the_best_known_is_taken():
    labels = {"country": {"en": ["Georgia"]}, "state": {"en": ["Georgia"]}, "language": {"fr": ["géorgia"]}}
    triples = [Triple("country", "in", "Asia"), Triple("state", "in", "America"), Triple("language", "of", "Asia")]
    triples.append(Triple("state", "has", "Atlanta"))
    linker = Linker(Graph(triples, labels))
    assert linker.link("Where is Georgia?") == ("state", True)
    assert linker.link("Où est géorgia ?") == ("language", True)
    assert linker.link("Where is Atlanta?") == ("Atlanta", False)


def test_a_question_of_ten_thousand_words_is_linked_and_facts_stay_bounded():
    hub = Graph([Triple(f"member {n} with a rather long name", "belongs to", "Hub") for n in range(5000)], {})
    question = "member " * 10_000 + "hub?"
    entity = known(Linker(hub).link(question)).entity
    assert entity == "Hub"
    text = facts_text(hub, entity, question, "en")
    assert text.startswith("Hub (← belongs to=member 0 with a rather long name, ")
    assert text.endswith(", …)")
    assert len(text) < MOST_CHARACTERS + 100


def test_facts_that_the_question_asks_for_come_first():
    triples = [Triple("x", f"relation {n}", f"object {n}") for n in range(50)]
    text = facts_text(Graph([*triples, Triple("x", "zip code", "9999")], {}), "x", "Which zip code has x?", "en")
    assert text.startswith("x (zip code=9999; ")


def test_the_embedded_graph_says_what_cldr_says():
    graph = cldr_graph(["en", "zh", "fr"])

    def answer(name, *path, language="en"):
        nodes = graph.reach(known(Linker(graph).link(name)).entity, path)
        return None if nodes is None else [graph.label(node, language) for node in nodes]

    assert answer("Germany", CURRENCY) == ["Euro"]  # the mark is no longer valid
    assert answer("法国", CURRENCY, language="zh") == ["欧元"]
    assert answer("Switzerland", LANGUAGE, language="fr") == ["allemand", "français", "suisse allemand", "italien"]
    assert answer("Kyrgyzstan", REGION, REGION) == ["Asia"]
    assert answer("Kyrgystani Som", CURRENCY.back, LANGUAGE) == ["Kyrgyz", "Russian"]
    assert answer("Western Africa", CURRENCY) == []
    # No language of "the" country that uses the euro: there are many.
    assert answer("Euro", CURRENCY.back, LANGUAGE) is None
