"""A real SLURM cluster, up while the tests of this folder run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.slurm import SlurmCluster, lacking
from cluster.workflow import Workflow


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    if reason := lacking():
        pytest.skip(f"no SLURM: {reason}")
    cluster = SlurmCluster(tmp_path_factory.mktemp("cluster"))
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.down()


@pytest.fixture
def workflow(cluster: SlurmCluster, tmp_path: Path) -> Workflow:
    return Workflow(cluster, tmp_path)
