"""Which room of the package may import which: each room imports only rooms on lower floors."""

import ast
from collections.abc import Iterator
from pathlib import Path

import greenllm

PACKAGE = Path(greenllm.__file__).parent

# From the ground up. A room imports rooms of lower lines only, none of its own line: so there is no circle.
FLOORS = [
    {"ground"},  # the files beside the rooms: errors, files, estimate …
    {"ledger", "config", "documents", "graph", "classifier", "model_folder"},
    {"cluster"},
    {"meter", "tasks", "engines"},
    {"harness"},
    {"attribution", "data"},
    {"training", "evaluation"},
    {"compression", "serving"},
    {"recipes", "load"},
    {"study"},
    {"footprint", "tuning"},
    {"scheduling"},
    {"comparison"},
    {"account"},
    {"report", "exports", "checks"},
    {"verify", "watch"},
    {"stages"},
]


def room_of(module: str) -> str:
    """Return the room of a dotted module name below `greenllm`."""
    first = module.split(".")[1] if "." in module else ""
    return first if (PACKAGE / first).is_dir() and first else "ground"


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, also inside functions and for type checking alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (
                [f"greenllm.{name.name}" for name in node.names] if node.module == "greenllm" else [node.module]
            )


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return the imports between rooms, with the files that they are in."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        room = inside.parts[0] if len(inside.parts) > 1 else "ground"
        for module in imported(path):
            if module.split(".")[0] == "greenllm" and room_of(module) != room:
                found.setdefault((room, room_of(module)), []).append(str(inside))
    return found


def test_every_room_has_its_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms - {room for floor in FLOORS for room in floor} == set()


def test_no_arrow_points_up() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    up = {arrow: files for arrow, files in arrows().items() if floor[arrow[1]] >= floor[arrow[0]]}
    assert up == {}
