"""Runs one part in a process of its own: `python -m gpu_parts.run PART SETTINGS`, the settings in JSON."""

import importlib
import sys

from gpu_parts.records import Journal, Settings


def main() -> None:
    part, settings = sys.argv[1], Settings.model_validate_json(sys.argv[2])
    importlib.import_module(f"gpu_parts.{part}_part").run(settings, Journal(settings, part))


if __name__ == "__main__":
    main()
