from pathlib import Path

import pytest
from deploying import deploy  # noqa: F401 - a fixture
from hardware.simulated import clean_environment
from prepared_data import write_prepared
from serving_fixtures import fp32, int8, model  # noqa: F401 - fixtures
from side_by_side import bundles  # noqa: F401 - a fixture


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a meter under test."""
    return clean_environment(tmp_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `greenllm preprocess` writes it."""
    return write_prepared(tmp_path_factory.mktemp("data") / "prepared")
