"""`greenllm doctor`: check a cluster before a job is submitted to it."""

import argparse
from pathlib import Path

from greenllm.option_ranges import whole_number

PROFILE, CONFIG = Path("profiles/slurm"), Path("config/config.yaml")
MOST_NODES = 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--profile", type=Path, default=PROFILE, metavar="FOLDER", help="the workflow profile (default: %(default)s)"
    )
    parser.add_argument(
        "--configfile", type=Path, default=CONFIG, metavar="FILE", help="the study (default: %(default)s)"
    )
    parser.add_argument(
        "--nodes", type=whole_number(1), default=MOST_NODES, metavar="N",
        help="run the check of a node on at most N nodes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="FOLDER",
        help="the folder that the nodes must share, where the workflow will run (default: the working folder)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; faults go to standard error, one a line, and the exit status is 2."""
    from greenllm.checks.cluster import diagnose
    from greenllm.checks.profile import read_profile
    from greenllm.checks.study import check_config
    from greenllm.config.read import ConfigError, read_yaml
    from greenllm.files import require_writable

    profile = read_profile(arguments.profile)
    study = check_config(read_yaml(arguments.configfile), str(arguments.configfile))
    if not arguments.folder.is_dir():
        raise ConfigError([f"--folder {arguments.folder}: no such folder; expected where the workflow will run"])
    require_writable(arguments.folder)
    found = diagnose(profile, study, arguments.folder.absolute(), arguments.nodes)
    for line in (*found.facts, *found.unchecked):
        print(line)
    if found.faults:
        raise ConfigError(found.faults)
    print("nothing is wrong" + (" in what was checked" if found.unchecked else ": the jobs can be submitted"))
    return 0
