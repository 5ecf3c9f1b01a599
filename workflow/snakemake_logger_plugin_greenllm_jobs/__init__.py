"""The jobs of a dry run as JSON lines on standard output, for `greenllm plan`; what else is reported goes to stderr."""

import json
import logging
import sys

from snakemake.logging import get_event
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_greenllm import LogHandler as ConsoleHandler

# Reasons to run a job again, in Snakemake's words, for which it takes something else than it did before.
CHANGES = ("Params have changed", "Set of input files has changed")


class LogHandler(ConsoleHandler):
    """Write a line for each job that would run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a job, or an error."""
        if get_event(record) is LogEvent.JOB_INFO:
            found = vars(record)
            resources = found["resources"].items()
            line = {
                "rule": found["rule_name"],
                "wildcards": {name: str(value) for name, value in found["wildcards"].items()},
                "threads": found["threads"],
                "resources": {name: value for name, value in resources if isinstance(value, int | float)},
                "input": list(found["input"]),
                "output": list(found["output"]),
                "changed": any(change in found["reason"] for change in CHANGES),
            }
            print(json.dumps(line), flush=True)
        elif record.levelno >= logging.WARNING:
            print(record.getMessage(), file=sys.stderr)

    @property
    def has_filter(self) -> bool:
        """Filter here, whatever `--quiet` is."""
        return True
