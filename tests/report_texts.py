"""The texts of the report as the code has them: what a catalogue must translate."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

from jinja2.ext import babel_extract

import greenllm.report

ROOM = Path(greenllm.report.__file__).parent
# The functions and classes that a text is given to, and the place of it among their arguments.
PLACES = {"text": (0,), "plural": (0, 1), "noted": (0,), "rich": (0,), "_rich": (0,), "Column": (1,), "Table": (1,)}

Text = tuple[str, ...]  # a message, or its singular and plural


def texts() -> dict[Text, str]:
    """Return every text of the report with a file that has it."""
    found: dict[Text, str] = {}
    for path in sorted(ROOM.rglob("*.py")):
        for said in _in_python(path.read_text(encoding="utf-8")):
            found.setdefault(said, path.name)
    for path in sorted(ROOM.rglob("*.jinja")):
        source = io.BytesIO(path.read_bytes())
        for _, name, messages, _ in babel_extract(source, list(PLACES), [], {"silent": "false", "encoding": "utf-8"}):
            given = [one or "" for one in (messages if isinstance(messages, tuple) else (messages,))]
            found.setdefault(tuple(given[: len(PLACES[name])]), path.name)  # "" for a variable: text(column.formula)
    return {said: name for said, name in found.items() if all(said)}


def _in_python(source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACES:
            places = PLACES[node.func.id]
            given = [node.args[place] for place in places if place < len(node.args)]
            said = tuple(one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))
            if said and len(said) == len(places):
                yield said
