"""The account and the attribution of a simulated study, against stored ones: a refactoring must not change them.

After an intended change: `GREENLLM_STORE=1 pytest tests/unit/test_stored_account.py`, and read the difference.
"""

import json
import os
from pathlib import Path

import pytest
from simulated_study import whole_study

from greenllm.cli import main

STORED = Path(__file__).with_name("stored")


def as_lines(text: str) -> str:
    """Return JSON text in its own order; numbers to 10 digits, since processors differ in the last ones."""
    found = json.loads(text, parse_float=lambda number: float(f"{float(number):.10g}"))
    found.pop("packages", None)  # the versions installed here
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = whole_study(tmp_path_factory.mktemp("study"))
    out = tmp_path_factory.mktemp("account")
    config = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    assert main(["account", "--config", config, "--results", str(study.results), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("name", ["account.json", "attribution.json"])
def test_is_as_stored(folder: Path, name: str) -> None:
    found = as_lines((folder / name).read_text(encoding="utf-8"))
    if os.environ.get("GREENLLM_STORE"):
        (STORED / name).write_text(found, encoding="utf-8")
    assert found == (STORED / name).read_text(encoding="utf-8")
