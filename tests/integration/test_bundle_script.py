"""`bundle/serve`: run from any folder, through links, and on machines that lack its requirements."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from greenllm.engines import load_engine
from greenllm.serving.bundle import make_bundle

SYSTEM = "/usr/local/bin:/usr/bin:/bin"


@pytest.fixture
def bundle(fp32: Path, tmp_path: Path) -> Path:
    make_bundle(fp32, None, {}, tmp_path / "made" / "bundle")
    return tmp_path / "made" / "bundle"


def command(folder: Path, content: str) -> str:
    """Put a command `greenllm` into a folder; return a PATH with that folder."""
    folder.mkdir()
    (folder / "greenllm").write_text(content)
    (folder / "greenllm").chmod(0o755)
    return f"{folder}:{SYSTEM}"


@pytest.fixture
def echo(tmp_path: Path) -> str:
    """A PATH whose greenllm prints its arguments."""
    return command(tmp_path / "echo", "#!/bin/sh\nprintf '%s\\0' \"$@\"\n")


def run(*words: object, path: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], env={"PATH": path}, cwd=cwd, capture_output=True, text=True)


def folder_of(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    serve, folder, *rest = done.stdout.split("\0")
    assert (serve, rest) == ("serve", ["--port", "1 2", ""])
    return Path(folder)


def test_it_finds_its_folder_through_links(bundle: Path, tmp_path: Path, echo: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "first").symlink_to(os.path.relpath(bundle / "serve", tmp_path / "bin"))
    (tmp_path / "bin" / "second").symlink_to("first")
    (tmp_path / "linked").symlink_to(bundle)
    for script in (bundle / "serve", tmp_path / "bin" / "first", tmp_path / "bin" / "second"):
        assert folder_of(run(script, "--port", "1 2", path=echo)) == bundle
    assert folder_of(run(tmp_path / "linked" / "serve", "--port", "1 2", path=echo)).samefile(bundle)
    found = run("second", "--port", "1 2", path=f"{tmp_path / 'bin'}:{echo}")
    assert folder_of(found) == bundle


def test_it_is_run_from_any_folder(bundle: Path, tmp_path: Path, echo: str) -> None:
    for words, cwd in (
        (["./serve"], bundle),
        (["sh", "serve"], bundle),
        (["bundle/serve"], bundle.parent),
        (["made/../made/bundle/serve"], tmp_path),
    ):
        folder = folder_of(run(*words, "--port", "1 2", path=echo, cwd=cwd))
        assert (cwd / folder).samefile(bundle)


@pytest.mark.parametrize("name", ["two words", "it's", 'say "so"', "line\nbreak", "end\n", "$HOME", "-x", "银行", "*"])
def test_a_copy_may_have_any_name(bundle: Path, tmp_path: Path, echo: str, name: str) -> None:
    copy = tmp_path / "copies" / name
    shutil.copytree(bundle, copy)
    assert folder_of(run(copy / "serve", "--port", "1 2", path=echo)) == copy
    shutil.rmtree(bundle)
    relative = run(f"./{name}/serve", "--port", "1 2", path=echo, cwd=copy.parent)
    assert (copy.parent / folder_of(relative)).samefile(copy)


def test_what_is_missing_is_reported_in_one_line(bundle: Path, tmp_path: Path) -> None:
    no_python = command(tmp_path / "no-python", "#!/no/such/python\n")
    no_package = command(tmp_path / "no-package", f"#!{sys.executable} -I\nimport greenllm_that_is_not_there\n")
    for path, expected in (
        (SYSTEM, "the command greenllm is not found; activate the environment"),
        (no_python, f"{tmp_path / 'no-python' / 'greenllm'} does not run"),
        (no_package, f"{tmp_path / 'no-package' / 'greenllm'} does not run"),
    ):
        done = run(bundle / "serve", path=path)
        assert done.returncode == 127
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_read_only_bundle_is_served(bundle: Path) -> None:
    for path in (*bundle.iterdir(), bundle):
        path.chmod(path.stat().st_mode & ~0o222)
    before = sorted(bundle.iterdir())
    assert load_engine(bundle, threads=1, device="cpu").generate(["x\n"], 2)[0].tokens == 2
    assert sorted(bundle.iterdir()) == before


def test_an_engine_that_is_not_installed_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow" / "torch").mkdir(parents=True)
    (tmp_path / "shadow" / "torch" / "__init__.py").write_text("raise ModuleNotFoundError(name='torch')\n")
    serve = [sys.executable, "-m", "greenllm", "serve", str(bundle), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "shadow")}
    done = subprocess.run(serve, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the engine transformers needs the Python package torch" in done.stderr


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("greenllm.json", "greenllm.json: is no folder"),
        ("absent", "no such folder"),
        ("empty", "neither greenllm.json"),
    ],
)
def test_what_is_not_a_bundle_is_reported_in_one_line(bundle: Path, folder: str, expected: str) -> None:
    (bundle / "empty").mkdir()
    serve = [sys.executable, "-m", "greenllm", "serve", folder, "--port", "0"]
    done = subprocess.run(serve, cwd=bundle, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert expected in done.stderr
