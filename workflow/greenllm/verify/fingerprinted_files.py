"""Each result is as the job that made it left it, and each job read what the job before it had left."""

import posixpath
from collections.abc import Collection, Iterator, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import Any

from greenllm.attribution import Attempt
from greenllm.documents.verification import CheckOutcome
from greenllm.errors import listed
from greenllm.meter.fingerprints import fingerprints, hashed, same_but_for_time
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence
from greenllm.written import NOT_THE_USERS

OF_THE_METER = ("ledger", "energy", "benchmarks")  # folders whose files other checks compare, or that hold no result
# Made from the account, perhaps while it is being verified: left out where only what the page rests on is verified.
FROM_THE_ACCOUNT = (
    layout.located(layout.FOOTPRINT, "."),
    layout.located(layout.EXPORTS, "."),
    layout.located(layout.PAGE, ".").parent,
)
DRAWINGS = "report/figures"  # the report's other files are compared with the report made again


def check_files(evidence: Evidence) -> CheckOutcome:
    """Compare each file and folder with the fingerprint in the ledger of the last job that made it."""
    check = Check(
        "files", "models, data, evaluations and measurements are as their jobs left them", "files and folders"
    )
    recorded = _compare_outputs(check, evidence)
    _compare_inputs(check, evidence)
    unrecorded = [name for name in _files(evidence) if not _within(name, recorded)]
    _skip(check, "files without a recorded hash", unrecorded)
    if not evidence.with_report:
        check.skip("footprint, exports and report: only what they are made from is verified with `--record`")
    return check.outcome()


def _compare_outputs(check: Check, evidence: Evidence) -> Collection[Path]:
    """Compare what jobs made; return the paths, relative to the results folder, whose fingerprints are recorded."""
    root = _root(evidence)
    recorded: set[Path] = set()
    outside: list[str] = []
    unnamed: list[str] = []
    by_size: list[str] = []
    for path, maker in evidence.lineage.artefacts():
        inside = posixpath.relpath(path, root)
        expected = (evidence.lineage.outputs(maker) or {})[path]
        if inside.startswith(".."):
            outside.append(path)
        elif _is_left_out(inside, evidence):
            continue
        elif expected is None:
            unnamed.append(inside)
        else:
            recorded.add(Path(inside))
            if not (evidence.folder / inside).exists() and _tried_again(evidence, maker):
                check.skip(f"{inside}: gone, since a later attempt to make it failed, or is running")
            elif not _compare(check, evidence.folder / inside, inside, expected):
                by_size.append(inside)
    _skip(check, "outputs outside of the results folder", outside)
    _skip(check, "outputs that were missing or unreadable when their jobs ended", unnamed)
    _skip(check, "of them by the number and the size of their files only: the ledger has no hash of them", by_size)
    return recorded


def _skip(check: Check, what: str, names: Sequence[str]) -> None:
    if names:
        check.skip(f"{len(names)} {what}: {listed(names[:3])}")


def _is_left_out(inside: str, evidence: Evidence) -> bool:
    return not evidence.with_report and _within(inside, FROM_THE_ACCOUNT)


def _within(name: str, folders: Collection[Path]) -> bool:
    """Whether a path is one of others, or below one of them."""
    return any(path in folders for path in (Path(name), *Path(name).parents))


def _tried_again(evidence: Evidence, maker: Attempt) -> bool:
    """Whether a later attempt at the same job did not succeed: Snakemake removes what a job is to make again."""
    later = dropwhile(lambda one: one.id != maker.id, evidence.lineage.in_order)
    job = maker.start.job
    return any(
        one.status != "succeeded" and (one.start.job.rule, one.start.job.wildcards) == (job.rule, job.wildcards)
        for one in later
    )


def _root(evidence: Evidence) -> str:
    """Return the results folder as the lineage names paths; the ledgers are in it."""
    return posixpath.dirname(evidence.lineage.ledger_folder or "results/ledger")


def _compare(check: Check, path: Path, place: str, expected: Any) -> bool:
    """Compare a file or folder with its fingerprint; return whether that has a hash.

    Times of modification are not compared: a folder that was copied, unpacked or checked out has others.
    """
    found = fingerprints({place: path})[place]
    if found is None:
        check.expect(False, place, "is missing or unreadable", "as its job left it", "nothing")
        return True
    same = same_but_for_time(expected, found)
    check.expect(same, place, "is not as its job left it", *map(_words, (expected, found)))
    return not same or hashed(expected, found)


def _words(fingerprint: Any) -> str:
    if isinstance(fingerprint, dict):
        return ", ".join(f"{key} {str(value)[:12]}" for key, value in fingerprint.items() if key != "modified")
    return f"SHA-256 {str(fingerprint)[:12]}…"


def _compare_inputs(check: Check, evidence: Evidence) -> None:
    """Find inputs that were changed between the job that made them and the job that read them."""
    unnamed, retimed = 0, list[str]()
    for attempt in evidence.lineage.in_order:
        origins = evidence.lineage.origins(attempt)
        if origins is None:
            unnamed += attempt.parent is None
            continue
        for origin in origins:
            place = f"ledger/{attempt.path}: input {origin.path}"
            check.expect(not origin.changed, place, "was changed before the job read it", found=origin.unknown)
            if origin.retimed:
                retimed.append(origin.path)
    if unnamed:
        check.skip(f"inputs of {unnamed} attempts whose ledgers name none")
    _skip(check, "inputs by the number and the size of their files only: no hash, and another time", retimed)


def _files(evidence: Evidence) -> Iterator[str]:
    """Yield the files of a results folder that hold results and that no other check compares."""
    for path in sorted(evidence.folder.rglob("*")):
        inside = path.relative_to(evidence.folder)
        name = inside.as_posix()
        if len(inside.parts) < 2 or inside.parts[0] in OF_THE_METER or inside.name in NOT_THE_USERS:
            continue
        of_the_report = _within(name, FROM_THE_ACCOUNT) and not _within(name, [Path(DRAWINGS)])
        if not of_the_report and not _is_left_out(name, evidence) and path.is_file():
            yield name
