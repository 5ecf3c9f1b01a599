"""Each result is as the job that made it left it, and each job read what the job before it had left."""

import posixpath
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from typing import Any

from greenllm.attribution import Attempt
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import listed
from greenllm.meter.fingerprints import fingerprints
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence
from greenllm.written import SNAKEMAKES_STAMP

OF_THE_METER = ("ledger", "energy", "benchmarks")  # folders whose files other checks compare, or that hold no result
OF_THE_REPORT = "report"  # left out where the report is not verified
DRAWINGS = "figures"  # of the report; its other files are compared with the report made again


def check_files(evidence: Evidence) -> CheckOutcome:
    """Compare each file and folder with the fingerprint in the ledger of the last job that made it."""
    check = Check(
        "files", "models, data, evaluations and measurements are as their jobs left them", "files and folders"
    )
    root, recorded, outside, unnamed = _root(evidence), [], [], []
    for path, maker in evidence.lineage.artefacts():
        inside = posixpath.relpath(path, root)
        if inside.startswith(".."):
            outside.append(path)
            continue
        if inside.split("/")[0] == OF_THE_REPORT and not evidence.with_report:
            continue
        expected = (evidence.lineage.outputs(maker) or {})[path]
        if expected is None:
            unnamed.append(inside)
            continue
        recorded.append(inside)
        if not (evidence.folder / inside).exists() and _tried_again(evidence, maker):
            check.skip(f"{inside}: gone, since a later attempt to make it failed, or is running")
            continue
        _compare(check, evidence.folder / inside, inside, expected)
    _compare_inputs(check, evidence)
    if outside:
        check.skip(f"{len(outside)} outputs outside of the results folder: {listed(outside[:3])}")
    if unnamed:
        check.skip(
            f"{len(unnamed)} outputs that were missing or unreadable when their jobs ended: {listed(unnamed[:3])}"
        )
    known = set(recorded)
    unrecorded = [name for name in _files(evidence) if not {name, *map(str, PurePosixPath(name).parents)} & known]
    if unrecorded:
        check.skip(f"{len(unrecorded)} files without a recorded hash: {listed(unrecorded[:3])}")
    return check.outcome()


def _tried_again(evidence: Evidence, maker: Attempt) -> bool:
    """Whether a later attempt at the same job did not succeed: Snakemake removes what a job is to make again."""
    later = dropwhile(lambda one: one.id != maker.id, evidence.lineage.in_order)
    job = maker.start.job
    return any(
        one.status != "succeeded" and (one.start.job.rule, one.start.job.wildcards) == (job.rule, job.wildcards)
        for one in later
    )


def _root(evidence: Evidence) -> str:
    """Return the results folder as the lineage names paths: relative to the folder in which the workflow ran."""
    base = next((one.start.cwd for one in evidence.attempts if one.start.cwd), None)
    results = posixpath.normpath(posixpath.join(base or "", str(evidence.account.config.get("results", "results"))))
    inside = base is not None and results.startswith(f"{base.rstrip('/')}/")
    return posixpath.relpath(results, base) if inside else results


def _compare(check: Check, path: Path, place: str, expected: Any) -> None:
    found = fingerprints({place: path})[place]
    if found is None:
        check.expect(False, place, "is missing or unreadable", "as its job left it", "nothing")
    elif isinstance(expected, dict) and isinstance(found, dict):
        common = {key: value for key, value in expected.items() if key in found}
        if "sha256" in common:  # a copy of the folder may have other times
            common.pop("modified", None)
        other = {key: found[key] for key in common}
        check.expect(common == other, place, "is not as its job left it", _words(common), _words(other))
    else:
        check.expect(expected == found, place, "is not as its job left it", _words(expected), _words(found))


def _words(fingerprint: Any) -> str:
    if isinstance(fingerprint, dict):
        return ", ".join(f"{key} {str(value)[:24]}" for key, value in fingerprint.items())
    return f"SHA-256 {str(fingerprint)[:12]}…"


def _compare_inputs(check: Check, evidence: Evidence) -> None:
    """Find inputs that were changed between the job that made them and the job that read them."""
    unnamed = 0
    for attempt in evidence.lineage.in_order:
        origins = evidence.lineage.origins(attempt)
        if origins is None:
            unnamed += attempt.parent is None
            continue
        for origin in origins:
            check.expect(
                origin.unknown is None or not origin.unknown.startswith("not as"),
                f"ledger/{attempt.path}: input {origin.path}",
                "was changed before the job read it",
                found=origin.unknown,
            )
    if unnamed:
        check.skip(f"inputs of {unnamed} attempts whose ledgers name none")


def _files(evidence: Evidence) -> Iterator[str]:
    """Yield the files of a results folder that hold results."""
    for path in sorted(evidence.folder.rglob("*")):
        inside = path.relative_to(evidence.folder)
        if len(inside.parts) < 2 or inside.parts[0] in OF_THE_METER or inside.name == SNAKEMAKES_STAMP:
            continue
        if inside.parts[0] == OF_THE_REPORT and not (evidence.with_report and inside.parts[1] == DRAWINGS):
            continue
        if path.is_file():
            yield inside.as_posix()
