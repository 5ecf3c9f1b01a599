"""What the documentation tells a reader to type: commands that exist, and a tutorial whose files are sound."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenllm.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()


def pages() -> list[Path]:
    folders = ("docs", "config", "profiles", "examples", "workflow", "benchmarks")
    below = [page for folder in folders for page in sorted((ROOT / folder).rglob("*.md"))]
    written = [page for page in below if "results" not in page.relative_to(ROOT).parts]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *written]


def commands(text: str) -> Iterator[str]:
    """Yield the calls of greenllm in code that is fenced as shell or indented."""
    fences = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for language, block in fences.findall(text):
        if language == "sh":
            yield from re.findall(r"^greenllm .*", block, re.MULTILINE)
    yield from re.findall(r"^    (greenllm .*)", fences.sub("", text), re.MULTILINE)


SHOWN = [(page.relative_to(ROOT), line) for page in pages() for line in commands(page.read_text())]


@pytest.mark.parametrize(("page", "line"), SHOWN, ids=str)
def test_each_command_that_a_page_shows_can_be_called_like_that(page: Path, line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(COMMANDS[name][0]).configure(parser)
    parser.parse_args(words)


def test_the_tutorials_study_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = re.findall(r"^Save this as `([\w.]+)`[.:].*?^```\w+\n(.*?)^```", TUTORIAL, re.DOTALL | re.MULTILINE)
    assert [name for name, _ in files] == ["tickets.py", "tickets.yaml"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "tickets.py"], check=True)
    rows = Path("tickets.csv").read_text().splitlines()
    assert f"{len(rows) - 1} tickets of four topics" in TUTORIAL
    assert main(["config", "check", "tickets.yaml"]) == 0
    assert "fine" in capsys.readouterr().out
