"""The cluster that the tests here bring up: real daemons, and two nodes that are two hosts."""

import json
from pathlib import Path

from cluster.slurm import SlurmCluster
from metering import GREENLLM


def test_a_cluster_that_is_taken_down_leaves_nothing(cluster, tmp_path):
    """A second cluster, beside the one of the other tests."""
    another = SlurmCluster(tmp_path / "another")
    another.up()
    pids = [pid for pid, _ in json.loads((another.folder / "daemons.json").read_text()).values()]
    assert sorted(another.run("srun", "--nodes=2", "hostname").split()) == ["node1", "node2"]
    another.down()
    assert len(pids) == 5
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(node.group.exists() for node in another.nodes)
    assert cluster.run("srun", "hostname") != ""


def test_its_nodes_are_two_hosts_with_sensors_and_gpus_of_their_own(cluster):
    found = []
    for node in cluster.nodes:
        probe = [*GREENLLM, "probe", "--json", "--seconds", "0.3"]
        found.append(json.loads(cluster.run("srun", f"--nodelist={node.name}", "--gpus=1", "--chdir=/", *probe)))
    assert [one["host"] for one in found] == ["node1", "node2"]
    assert len({one["boot_id"] for one in found}) == 2
    assert len({gpu["uuid"] for one in found for gpu in one["gpus"]}) == 4
    for one in found:
        powers = {sensor["component"]: sensor["power_W"] for sensor in one["sensors"]}
        assert all(powers[component]["value"] > 0 for component in ("cpu", "dram", "gpu"))
