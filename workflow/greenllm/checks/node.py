"""What a job on a node finds: its clock, the shared folder, the environment, its sensors. Printed as JSON."""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from greenllm import __version__
from greenllm.meter.host import boot_id, host_name
from greenllm.meter.probe import probe


@dataclass(frozen=True)
class NodeFindings:
    """`clock_s` is the node's Unix time; `sensors` has for each component how its energy is known, and why so."""

    host: str
    boot_id: str
    clock_s: float
    version: str
    python: str
    sees_file: bool
    sensors: dict[str, str]


def findings(token: Path) -> NodeFindings:
    """Return what this host finds, and leave a file beside the token, by which the login node sees that it can."""
    clock_s = time.time()
    sees_file = token.is_file()
    if sees_file:
        token.with_name(f"{token.name}.{host_name()}").write_text("seen\n")
    sensors: dict[str, str] = {}
    for sensor in probe(0.5)["sensors"]:
        reason = f" ({sensor['reason']})" if sensor["reason"] else ""
        sensors.setdefault(sensor["component"], f"{sensor['quality']} by {sensor['method']}{reason}")
    return NodeFindings(host_name(), boot_id(), clock_s, __version__, sys.executable, sees_file, sensors)


def main() -> None:
    """Print the findings for the token that the command line names."""
    print(json.dumps(asdict(findings(Path(os.fsdecode(sys.argv[1]))))))


if __name__ == "__main__":
    main()
