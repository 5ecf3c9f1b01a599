"""`greenllm config`: check a configuration, or print the files that are generated from the typed models."""

import argparse
from pathlib import Path

from greenllm.checks.study import check_config
from greenllm.config.read import read_yaml
from greenllm.option_ranges import whole_number
from greenllm.study.generate import default_yaml, schema


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm config`."""
    actions = parser.add_subparsers(dest="action", required=True)
    check = actions.add_parser("check", help="report all mistakes of a configuration, one line each")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--data-folder", help="folder that relative data paths start from, instead of the file's own key"
    )
    check.add_argument(
        "--gpus", type=whole_number(0), help="GPUs that the run may use at once (as in --resources gpu=N)"
    )
    actions.add_parser("default", help="print the documented default configuration (config/config.yaml)")
    actions.add_parser("schema", help="print the JSON schema of a configuration (config/schema.json)")


def run(arguments: argparse.Namespace) -> int:
    """Run `greenllm config`; return 0, or raise ConfigError."""
    if arguments.action == "check":
        values = read_yaml(arguments.file)
        if arguments.data_folder is not None and isinstance(values, dict):
            values["data_folder"] = arguments.data_folder
        config = check_config(values, str(arguments.file), arguments.gpus)
        added = [name for name in config.recipes if name not in values["recipes"]]
        controls = f", and the controls {', '.join(added)}" if added else ""
        counts = f"{len(config.experiments)} experiments, {len(config.recipes) - len(added)} recipes{controls}"
        print(f"{arguments.file}: fine ({counts})")
    else:
        print(default_yaml() if arguments.action == "default" else schema(), end="")
    return 0
