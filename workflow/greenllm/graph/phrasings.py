"""How a graph of any subject is asked: phrasings with the relations' own labels, in some languages."""

from collections import Counter
from collections.abc import Mapping, Sequence

from greenllm.graph.facts import LONGEST_LABEL
from greenllm.graph.triples import Graph, Hop, Path

# What is asked → language → its phrasings, with {entity} to be filled in.
Phrasings = Mapping[Path, Mapping[str, Sequence[str]]]

MOST_PATHS = 50  # the most frequent ones are asked

ONE_HOP = {
    "en": (
        "What is the {0} of {{entity}}?",
        "Tell me the {0} of {{entity}}.",
        "Which {0} does {{entity}} have?",
        "{{entity}}: what is its {0}?",
        "Do you know the {0} of {{entity}}?",
        "I need the {0} of {{entity}}, please.",
        "For {{entity}}, what is the {0}?",
        "I am looking for {{entity}} and its {0}.",
    ),
    "zh": (
        "{{entity}}的{0}是什么？",
        "请问{{entity}}的{0}？",
        "{{entity}}有什么{0}？",
        "告诉我{{entity}}的{0}。",
        "我想知道{{entity}}的{0}。",
    ),
    "de": (
        "Was ist {0} von {{entity}}?",
        "Nenne {0} von {{entity}}.",
        "{{entity}}: {0}?",
        "Was hat {{entity}} als {0}?",
        "Ich suche {0} von {{entity}}.",
    ),
    "fr": (
        "Quel est {0} de {{entity}} ?",
        "Donne-moi {0} de {{entity}}.",
        "{{entity}} : {0} ?",
        "Pour {{entity}}, quel est {0} ?",
        "Je cherche {0} de {{entity}}.",
    ),
}
TWO_HOPS = {
    "en": (
        "What is the {1} of the {0} of {{entity}}?",
        "Tell me the {1} of the {0} of {{entity}}.",
        "{{entity}} has a {0}: what is its {1}?",
        "Take the {0} of {{entity}}; which {1} does it have?",
        "I need the {1} of the {0} of {{entity}}, please.",
    ),
    "zh": (
        "{{entity}}的{0}的{1}是什么？",
        "请问{{entity}}的{0}的{1}？",
        "告诉我{{entity}}的{0}有什么{1}。",
        "我想知道{{entity}}的{0}的{1}。",
    ),
    "de": (
        "Was ist {1} von {0} von {{entity}}?",
        "Nenne {1} von {0} von {{entity}}.",
        "{{entity}}: {0}: {1}?",
        "Ich suche {1} von {0} von {{entity}}.",
    ),
    "fr": (
        "Quel est {1} de {0} de {{entity}} ?",
        "Donne-moi {1} de {0} de {{entity}}.",
        "{{entity}} : {0} : {1} ?",
        "Je cherche {1} de {0} de {{entity}}.",
    ),
}
# For languages without phrasings here.
PLAIN_ONE_HOP = ("{{entity}}: {0}?", "{0}: {{entity}}?", "{{entity}}, {0}?", "{0} ({{entity}})?")
PLAIN_TWO_HOPS = ("{{entity}}: {0}: {1}?", "{1} ({0} ({{entity}}))?", "{{entity}}, {0}, {1}?")


def phrasings_of(graph: Graph, languages: Sequence[str]) -> Phrasings:
    """Return how to ask for the most frequent relations of a graph, and for those of their objects."""
    counts = Counter(path for entity in graph.entities for path in _paths(graph, entity))
    most = sorted(counts, key=lambda path: (-counts[path], path))[:MOST_PATHS]
    return {path: {language: _phrasings(graph, path, language) for language in languages} for path in most}


def _paths(graph: Graph, entity: str) -> list[Path]:
    """Return the paths of one and two forward steps whose end is sure: nothing in between is one of several."""
    found: list[Path] = []
    for first, nodes in graph.around(entity).items():
        if first.inverse:
            continue
        found.append((first,))
        if len(nodes) == 1:
            found.extend((first, second) for second in graph.around(nodes[0]) if not second.inverse)
    return found


def _phrasings(graph: Graph, path: Path, language: str) -> list[str]:
    own, plain = (ONE_HOP, PLAIN_ONE_HOP) if len(path) == 1 else (TWO_HOPS, PLAIN_TWO_HOPS)
    return [phrasing.format(*(_name(graph, step, language) for step in path)) for phrasing in own.get(language, plain)]


def _name(graph: Graph, step: Hop, language: str) -> str:
    # Braces would be read as places to fill in.
    return graph.label(step.relation, language)[:LONGEST_LABEL].replace("{", "(").replace("}", ")")
