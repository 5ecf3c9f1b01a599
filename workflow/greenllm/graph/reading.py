"""Reading of a user's graph: N-Triples and Turtle through rdflib, and tab-separated triples."""

import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenllm.errors import UserError
from greenllm.graph.triples import ANY_LANGUAGE, LITERAL, Graph, Triple

if TYPE_CHECKING:
    from rdflib.term import Node

ENDINGS = {".nt": "nt", ".ttl": "turtle", ".turtle": "turtle", ".tsv": "tsv"}
RDFS, SKOS = "http://www.w3.org/2000/01/rdf-schema#", "http://www.w3.org/2004/02/skos/core#"
# Preferred labels first; an alternative one is only for linking.
LABELS = (
    f"{SKOS}prefLabel", f"{RDFS}label", "http://schema.org/name", "https://schema.org/name", f"{SKOS}altLabel",
)  # fmt: skip


def read_graph(path: Path, name: str, format: str, languages: Sequence[str]) -> Graph:
    """Read a graph; `name` is what messages call the file, and its ending decides the format `auto`.

    Labels and texts in other languages than `languages` are left out, and so are triples of blank nodes, which have no
    name to ask by. In a tab-separated file each term is its own label.

    Raises UserError, with the line, where one is broken, and where there is nothing to ask about.
    """
    ending = Path(name).suffix.lower()
    if format == "auto" and ending not in ENDINGS:
        raise UserError(f"{name}: unknown ending {ending!r}; name the format, as in data.format: nt (or turtle, tsv)")
    text = _text(path, name)
    # rdflib warns, by a traceback, of each value that its datatype does not allow; here it is a text like any other.
    logging.getLogger("rdflib.term").setLevel(logging.ERROR)
    match ENDINGS[ending] if format == "auto" else format:
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
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{name}: can't be read ({error.strerror}); expected a graph's file (relative paths start at data_folder)"
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}: line {line}: bytes that are not UTF-8; save the file as UTF-8") from None


def _tab_separated(text: str, name: str) -> Iterator[Triple]:
    for number, line in enumerate(text.split("\n"), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if len(cells) != 3 or not all(cells):
            problem = f"{len(cells)} column{'' if len(cells) == 1 else 's'}" if len(cells) != 3 else "an empty column"
            raise UserError(
                f"{name}: line {number}: {problem}; expected subject, predicate and object with a tab between them"
            )
        yield Triple(*cells)


def _plain(triples: Iterable[Triple]) -> Graph:
    """Return the graph of triples whose terms are their own labels (without quotes, where some are quoted)."""
    found = list(triples)
    terms = {term for triple in found for term in triple if "://" not in term}
    return Graph(found, {term: {ANY_LANGUAGE: [term.strip('"')]} for term in terms})


def _turtle(text: str, name: str) -> "Iterator[tuple[Node, Node, Node]]":
    import rdflib
    from rdflib.plugins.parsers.notation3 import BadSyntax, RDFSink, SinkParser

    graph = rdflib.Graph()
    # Relative names are the same wherever the file lies.
    parser = SinkParser(RDFSink(graph), baseURI="file:///", turtle=True)
    try:
        parser.loadBuf(text)
    except BadSyntax as error:
        raise UserError(f"{name}: line {error.lines + 1}: not Turtle: {error._why}") from None
    except (AssertionError, IndexError, RecursionError, ValueError):  # as rdflib tells of a file that is cut off
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
            raise UserError(
                f"{name}: line {number}: not a triple: {line.strip()[:80]!r}; expected <subject> <predicate> <object> ."
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
