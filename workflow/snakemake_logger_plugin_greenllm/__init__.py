"""Snakemake's console, one line a job: what runs, what is done and left, how long it took and what it cost."""

import json
import logging
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from snakemake.logging import ColorizingTextHandler, DefaultFormatter, get_event
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


@dataclass(frozen=True)
class StartedJob:
    """What the line of a job's end needs of its start: a workflow of 10,000 jobs would keep all inputs otherwise."""

    name: str
    output: list[str]
    started_s: float  # CLOCK_MONOTONIC


class OneLineFormatter(DefaultFormatter):
    """Say of each job when it starts and when it ends; leave everything else as Snakemake has it."""

    def __init__(self, *arguments: Any, dryrun: bool, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.dryrun = dryrun
        self.jobs: dict[int, StartedJob] = {}
        self.finished: list[str] = []

    def format(self, record: logging.LogRecord) -> str:
        """Return the console's text of a record; nothing where Snakemake speaks of its own doings."""
        own_doings = get_event(record) is LogEvent.JOB_STARTED or record.getMessage() == "Select jobs to execute..."
        return "" if own_doings else str(super().format(record))

    def format_workflow_started(self, msg: dict[str, Any]) -> str:
        """Leave out what a reader of the console knows already."""
        return ""

    def format_job_info(self, msg: dict[str, Any]) -> str:
        """Return the line of a job that starts."""
        if not self.dryrun:
            self.jobs[msg["jobid"]] = StartedJob(self._name(msg), msg["output"], time.monotonic())
        beside = msg["reason"] if self.dryrun else ", ".join(msg["log"])
        return f"{_now()}  {self._name(msg)} …" + (f"  ({beside})" if beside else "")

    def format_job_finished(self, msg: dict[str, Any]) -> str:
        """Keep the line of a job that has ended until its count of jobs done and left is known."""
        job = self.jobs.pop(msg["job_id"], None)
        if job is not None and job.output:
            duration_s = time.monotonic() - job.started_s
            self.finished.append(f"{job.name}: done in {duration_s:.0f} s{_energy(job.output)}")
        return ""

    def format_progress(self, msg: dict[str, Any]) -> str:
        """Return the lines of the jobs that have ended since the last count."""
        lines = [f"{_now()}  {line}  [{msg['done']} of {msg['total']}]" for line in self.finished]
        self.finished.clear()
        return "\n".join(lines)

    def format_job_error(self, msg: dict[str, Any]) -> str:
        """Return what failed and the end of its log, where the cause stands."""
        job = self.jobs.get(msg["jobid"])
        name = self._name(msg) if job is None else job.name
        lines = [f"{_now()}  {name}: FAILED; log: {', '.join(msg['log']) or 'none'}"]
        for log in msg["log"]:
            if (path := Path(log.split(" ")[0])).is_file():
                lines += [f"    {line}" for line in path.read_text(errors="replace").splitlines()[-5:]]
        return "\n".join(lines)

    @staticmethod
    def _name(job: dict[str, Any]) -> str:
        return str(job.get("rule_msg") or job["rule_name"])


def _now() -> str:
    return datetime.now().strftime("%H:%M:%S")


def _energy(outputs: list[str]) -> str:
    """Return `, 1234 J (modelled)`: the sum of the job's energy logs, which are among its outputs."""
    logs = [
        json.loads(path.read_text())
        for path in (Path(output.split(" ")[0]) for output in outputs)
        if "energy" in path.parts and path.is_file()
    ]
    if not logs:
        return ""
    if any(log["energy_J"] is None for log in logs):
        return ", energy unknown"
    components = [part for log in logs for part in log["components"] if part["component"] != "platform"]
    qualities = sorted({part["quality"] for part in components if part["energy_J"] is not None})
    return f", {sum(log['energy_J']['value'] for log in logs):.3g} J ({' and '.join(qualities)})"


class LogHandler(ColorizingTextHandler, LogHandlerBase):
    """Write to the console in place of Snakemake's own handler."""

    def __init__(self, common_settings: Any, settings: Any) -> None:
        stream = sys.stdout if common_settings.stdout else sys.stderr
        LogHandlerBase.__init__(self, common_settings, settings)
        ColorizingTextHandler.__init__(self, nocolor=common_settings.nocolor, stream=stream)
        self.setFormatter(
            OneLineFormatter(common_settings.quiet, common_settings.show_failed_logs, dryrun=common_settings.dryrun)
        )

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
        """Leave filtering by `--quiet` and `--verbose` to Snakemake."""
        return False

    @property
    def has_formatter(self) -> bool:
        """Bring the formatter above."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Need no rule graph."""
        return False
