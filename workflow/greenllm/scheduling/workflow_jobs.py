"""The jobs that a workflow would run, from Snakemake's own dry run."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from greenllm.errors import UserError, shortened

LOGGER = "greenllm-jobs"  # workflow/snakemake_logger_plugin_greenllm_jobs
REFUSED = 2  # exit status of our Snakefile for a mistake of the user, one line for each


@dataclass(frozen=True)
class WorkflowJob:
    """A job that would run, what it reserves on each of its nodes, and the names of the jobs directly before it.

    `changed`: its settings, or those of a job before it, are not those that it was run with.
    """

    rule: str
    wildcards: Mapping[str, str]
    threads: int
    gpus: int
    runtime_min: float | None
    after: tuple[str, ...]
    nodes: int = 1
    changed: bool = False

    @property
    def name(self) -> str:
        """The name of the job: rule and wildcards."""
        return name_of(self.rule, self.wildcards)


def name_of(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return the name of a job, such as "train support/baseline/1"."""
    return f"{rule} {'/'.join(wildcards.values())}".rstrip()


def dry_run(arguments: Sequence[str]) -> list[WorkflowJob]:
    """Return the jobs that `snakemake ARGUMENTS` would run, each behind those that it needs.

    Raises UserError with the last line of what our Snakefile refuses, or with Snakemake's last lines.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--logger", LOGGER, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        if done.returncode == REFUSED and lines:
            raise UserError(lines[-1])
        raise UserError(f"snakemake --dry-run failed: {shortened(' '.join(lines[-3:]))}")
    return jobs_of(done.stdout.splitlines())


def jobs_of(lines: Sequence[str]) -> list[WorkflowJob]:
    """Return the jobs of the logger's lines. A job needs those that make its inputs."""
    found = [json.loads(line) for line in lines if line.startswith("{")]
    found = [job for job in found if job["output"]]  # the others, such as the target, only name files
    makers = {path: name_of(job["rule"], job["wildcards"]) for job in found for path in job["output"]}
    jobs: dict[str, WorkflowJob] = {}
    for job in found:
        after = dict.fromkeys(makers[path] for path in job["input"] if path in makers)
        resources = job["resources"]
        made = WorkflowJob(
            job["rule"],
            job["wildcards"],
            threads=int(job["threads"]),
            gpus=int(resources.get("leased_gpu", resources.get("gpu", 0))),
            runtime_min=resources.get("runtime"),
            after=tuple(after),
            nodes=int(resources.get("nodes", 1)),
            changed=job["changed"],
        )
        jobs[made.name] = made
    changed: set[str] = set()
    in_order = []
    for made in _in_order(jobs):
        if made.changed or changed.intersection(made.after):
            changed.add(made.name)
        in_order.append(replace(made, changed=made.name in changed))
    return in_order


def _in_order(jobs: Mapping[str, WorkflowJob]) -> Iterator[WorkflowJob]:
    done: set[str] = set()

    def visit(job: WorkflowJob) -> Iterator[WorkflowJob]:
        if job.name in done:
            return
        done.add(job.name)
        for before in job.after:
            yield from visit(jobs[before])
        yield job

    for job in jobs.values():
        yield from visit(job)
