#!/usr/bin/env python3
"""A real SLURM cluster of two nodes on this machine, for trying things out: see tests/slurm/README.md."""

import argparse
import sys
from pathlib import Path

from cluster.slurm import ClusterError, SlurmCluster


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["up", "down", "kill", "start", "counters"])
    parser.add_argument("folder", type=Path, help="folder of the cluster's files")
    parser.add_argument("argument", nargs="?", help="number of nodes (up, counters), or a node's number (kill, start)")
    arguments = parser.parse_args()
    number = int(arguments.argument or 2)
    size = number if arguments.action in ("up", "counters") else 2
    cluster = SlurmCluster(arguments.folder, size)
    try:
        match arguments.action:
            case "up":
                cluster.up()
                print("\n".join(f"export {name}={value}" for name, value in cluster.environment.items()))
            case "down":
                cluster.down()
            case "kill":
                cluster.kill(cluster.nodes[number - 1])
            case "start":
                cluster.start(cluster.nodes[number - 1])
            case "counters":
                cluster.simulate_counters()
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
