"""Reading of a user's graph: N-Triples and Turtle through rdflib, and tab-separated triples."""

import io
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenllm.errors import UserError, listed, quoted, shortened
from greenllm.graph.triples import ANY_LANGUAGE, LITERAL, Graph, Triple
from greenllm.packed import ending, first_bytes, opened

if TYPE_CHECKING:
    from rdflib.term import Node

ENDINGS = {".nt": "nt", ".ttl": "turtle", ".turtle": "turtle", ".tsv": "tsv"}
RDFS, SKOS = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2004/02/skos/core#"
# Preferred labels first; an alternative one is only for linking.
LABELS = (
    f"{SKOS}prefLabel", f"{RDFS}label", "http://schema.org/name", "https://schema.org/name", f"{SKOS}altLabel",
)  # fmt: skip

# What headers call the parts of a triple, without what _word takes away; the plain ones mean nothing else.
ROLES = {
    "subject": {
        "subject", "subj", "s", "head", "head_entity", "h", "source", "source_node", "src", "from", "start",
        "node1", "entity1", "e1", "arg1", "item", "entity",
    },
    "predicate": {
        "predicate", "pred", "p", "relation", "relation_type", "relationship", "relationship_type", "rel", "r",
        "property", "prop", "attribute", "attr", "edge", "edge_type", "label", "type", "verb",
    },
    "object": {
        "object", "obj", "o", "tail", "tail_entity", "t", "target", "target_node", "dst", "to", "end", "node2",
        "entity2", "e2", "arg2", "value", "val",
    },
}  # fmt: skip
PLAIN_ROLES = {"subject", "predicate", "object", "relation", "head", "tail"}
KIND = re.compile(r"(?<=[^_])_?(label|id|name|uri|iri)$")  # what of a part a column has: subjectLabel, head_id


def read_graph(path: Path, name: str, format: str, languages: Sequence[str]) -> Graph:
    """Read a graph; `name` is what messages call the file, and its ending decides the format `auto`.

    Labels and texts in other languages than `languages` are left out, and so are triples of blank nodes, which have no
    name to ask by. In a tab-separated file each term is its own label.

    Raises UserError, with the line, where one is broken, and where there is nothing to ask about.
    """
    known = ending(name)
    if format == "auto" and known not in ENDINGS:
        raise UserError(f"{name}: unknown ending {known!r}; name the format, as in data.format: nt (or turtle, tsv)")
    text = _text(path, name)
    # rdflib warns, by a traceback, of each value that its datatype does not allow; here it is a text like any other.
    logging.getLogger("rdflib.term").setLevel(logging.ERROR)
    match ENDINGS[known] if format == "auto" else format:
        case "tsv":
            graph = _plain(_tab_separated(text, name))
        case "turtle":
            graph = _labelled(_turtle(text, name), name, languages)
        case _:
            graph = _labelled(_ntriples(text, name), name, languages)
    if not graph.triples:
        raise UserError(f"{name}: no triples between things that have a name; expected some dozens, one a line")
    return graph


def _text(path: Path, name: str) -> str:
    try:
        first_bytes(path, name)  # refuses what is no text
        with opened(path, name) as file:
            data = file.read()
    except OSError as error:
        raise UserError(
            f"{name}: can't be read ({error.strerror or error}); expected a graph's file (relative paths start at "
            "data_folder)"
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}: line {line}: bytes that are not UTF-8; save the file as UTF-8") from None


def _tab_separated(text: str, name: str) -> Iterator[Triple]:
    lines = [(number, _cells(line)) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, cells) for number, cells in lines if any(cells)]
    order = _order_in_header(lines, name)
    _require_no_later_header(lines, name)
    if order is not None:
        print(f"{name}: line {lines[0][0]} is read as a header ({', '.join(lines[0][1])}), no fact", file=sys.stderr)
    subject, predicate, target = order or (0, 1, 2)
    for number, cells in lines if order is None else lines[1:]:
        if len(cells) != 3 or not all(cells):
            problem = f"{len(cells)} column{'' if len(cells) == 1 else 's'}" if len(cells) != 3 else "an empty column"
            raise UserError(
                f"{name}: line {number}: {problem}; expected subject, predicate and object with a tab between them"
            )
        yield Triple(cells[subject], cells[predicate], cells[target])


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")]


def _order_in_header(lines: Sequence[tuple[int, list[str]]], name: str) -> tuple[int, int, int] | None:
    """Return the places of subject, predicate and object where the first line names them; None where it is a fact.

    Raises UserError where it may be either.
    """
    if not lines or len(lines[0][1]) != 3:
        return None
    number, first = lines[0]
    roles = [_role(cell) for cell in first]
    if None in roles and sum(_word(cell) in PLAIN_ROLES for cell in first) < 2:
        return None
    again = next((other for other, cells in lines[1:] if not set(first).isdisjoint(cells)), None)
    if again is not None or set(roles) != set(ROLES):
        also = "" if again is None else f"; line {again} has one of its words, too"
        raise UserError(
            f"{name}: line {number}: {listed(first)} may be a header or a fact{also}; if it is a header, name subject, "
            "predicate and object there or remove it; if it is a fact, put it on another line"
        )
    return roles.index("subject"), roles.index("predicate"), roles.index("object")


def _require_no_later_header(lines: Sequence[tuple[int, list[str]]], name: str) -> None:
    """Raise UserError where a later line names the parts of a triple, as in files that were joined."""
    for number, cells in lines[1:]:
        if {_role(cell) for cell in cells} == set(ROLES):
            raise UserError(
                f"{name}: line {number}: {listed(cells)} are a header's words, expected a fact; remove the line, or "
                "write the fact with other words"
            )


def _role(cell: str) -> str | None:
    """Return which part of a triple a header's cell names, as RDF, SPARQL, link prediction, KGTK and Neo4j call it."""
    return next((role for role, words in ROLES.items() if _word(cell) in words), None)


def _word(cell: str) -> str:
    """Return a header's word: `start` of `:START_ID(Person)`, `subject` of `?subjectLabel`."""
    word = re.sub(r"\(.*\)$", "", cell.strip('#:?<>" '))
    word = re.sub(r"[\s-]+", "_", word.strip()).casefold()
    return KIND.sub("", word)


def _plain(triples: Iterable[Triple]) -> Graph:
    """Return the graph of triples whose terms are their own labels (without quotes, where some are quoted)."""
    found = list(triples)
    terms = {term for triple in found for term in triple if "://" not in term}
    return Graph(found, {term: {ANY_LANGUAGE: [term.strip('"')]} for term in terms})


def _turtle(text: str, name: str) -> "Iterator[tuple[Node, Node, Node]]":
    import rdflib
    from rdflib.plugins.parsers.notation3 import BadSyntax, RDFSink, SinkParser

    graph = rdflib.Graph()
    # Relative names are the same wherever the file is.
    parser = SinkParser(RDFSink(graph), baseURI="file:///", turtle=True)
    try:
        parser.loadBuf(text)
    except BadSyntax as error:
        raise UserError(f"{name}: line {error.lines + 1}: not Turtle: {shortened(error._why)}") from None
    except (AssertionError, IndexError, RecursionError, ValueError):  # rdflib raises these for a truncated file
        raise UserError(
            f"{name}: line {parser.lines + 1}: not Turtle: expected a text or a list that begins here to end"
        ) from None
    yield from graph


def _ntriples(text: str, name: str) -> "Iterator[tuple[Node, Node, Node]]":
    from rdflib.exceptions import ParserError
    from rdflib.plugins.parsers.ntriples import DummySink, W3CNTriplesParser

    class Sink(DummySink):
        def __init__(self) -> None:
            self.found: list[tuple[Node, Node, Node]] = []

        def triple(self, s: "Node", p: "Node", o: "Node") -> None:
            self.found.append((s, p, o))

    sink = Sink()
    parser = W3CNTriplesParser(sink)
    for number, line in enumerate(io.StringIO(text), 1):
        try:
            parser.parsestring(line)
        except (ParserError, ValueError):  # the second of an escape that is no character
            hint = "" if number > 1 or "<" in line else "; N-Triples have no header"
            raise UserError(
                f"{name}: line {number}: not a triple: {quoted(line.strip())}; expected <subject> <predicate> "
                f"<object> .{hint}"
            ) from None
        yield from sink.found
        sink.found.clear()


def _labelled(terms: "Iterable[tuple[Node, Node, Node]]", name: str, languages: Sequence[str]) -> Graph:
    """Return the graph in which labels are no triples."""
    from rdflib.term import Literal, URIRef

    triples = []
    labels: dict[str, dict[str, dict[str, list[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    others: set[str] = set()
    for subject, predicate, target in terms:
        if not isinstance(subject, URIRef) or not isinstance(target, URIRef | Literal):
            continue
        language = _language(target)
        if language not in (ANY_LANGUAGE, *languages):
            others.add(language)
        elif str(predicate) in LABELS:
            labels[str(subject)][language][str(predicate)].append(str(target))
        elif isinstance(target, Literal):
            node = f"{LITERAL}{target}"
            triples.append(Triple(str(subject), str(predicate), node))
            labels[node][ANY_LANGUAGE][LABELS[0]] = [" ".join(str(target).split())]
        else:
            triples.append(Triple(str(subject), str(predicate), str(target)))
    if others and not any(not node.startswith(LITERAL) for node in labels):
        raise UserError(
            f"{name}: no labels in {', '.join(languages)}; it has some in {', '.join(sorted(others)[:10])}: name those "
            "in data.languages"
        )
    return Graph(triples, {node: {tag: _in_order(of) for tag, of in tags.items()} for node, tags in labels.items()})


def _in_order(labels: dict[str, list[str]]) -> list[str]:
    return [label for kind in LABELS for label in sorted(labels.get(kind, ()))]


def _language(term: "Node") -> str:
    """Return the language of a text, without its region; that of everything else is any."""
    tag = getattr(term, "language", None)
    return tag.split("-")[0].lower() if tag else ANY_LANGUAGE
