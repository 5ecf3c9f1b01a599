"""The models that the serving tests share, made once per run."""

from pathlib import Path

import pytest
import tiny_models


@pytest.fixture(scope="session")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.make_fp32(tmp_path_factory.mktemp("models") / "fp32")


@pytest.fixture(scope="session")
def int8(tmp_path_factory: pytest.TempPathFactory, fp32: Path) -> Path:
    return tiny_models.make_int8(fp32, tmp_path_factory.mktemp("models") / "int8")


@pytest.fixture(scope="session", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)
