"""The jobs of a dry run as JSON lines on standard output, for `greenllm plan`; what else is reported goes to stderr."""

import json
import logging
import sys
from typing import Any

from snakemake.logging import get_event
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase, logging.Handler):
    """Write a line for each job that would run."""

    def __init__(self, common_settings: Any, settings: Any) -> None:
        logging.Handler.__init__(self)
        LogHandlerBase.__init__(self, common_settings, settings)

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
            }
            print(json.dumps(line), flush=True)
        elif record.levelno >= logging.WARNING:
            print(record.getMessage(), file=sys.stderr)

    @property
    def writes_to_stream(self) -> bool:
        """Take the place of Snakemake's console."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Write no file."""
        return False

    @property
    def has_filter(self) -> bool:
        """Filter here."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Format here."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Need no rule graph."""
        return False
