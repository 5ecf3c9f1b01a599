import pytest
from deploying import deploy  # noqa: F401 - a fixture
from hardware.simulated import clean_environment


@pytest.fixture
def env(tmp_path):
    """The environment of a meter under test."""
    return clean_environment(tmp_path)
