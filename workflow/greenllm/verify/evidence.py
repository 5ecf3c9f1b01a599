"""What a verification rests on: a results folder's ledgers as the account read them, and the account computed again."""

import contextlib
import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from greenllm.account.account import account
from greenllm.account.document import Account, LedgerFile
from greenllm.account.footprint_document import Footprint
from greenllm.account.footprint_of_results import footprint_of_results
from greenllm.account.footprint_options import FootprintOptions
from greenllm.attribution import Attempt, Attribution
from greenllm.attribution.from_ledgers import attribute_attempts
from greenllm.attribution.lineage import Lineage
from greenllm.attribution.reading import attempt_of, without_copies
from greenllm.config.read import validate
from greenllm.errors import UserError, listed
from greenllm.files import read_json, sha256_of
from greenllm.ledger.file import ledger_paths, read_content
from greenllm.meter.host import boot_id
from greenllm.study import layout
from greenllm.study.models import Config
from greenllm.study.results import Study, read_study

REMEDY = "expected a results folder in which `greenllm account` has been run"


@dataclass(frozen=True)
class LedgerEvidence:
    """A ledger file. `named` is what the account says of it, None where it does not name it.

    `as_accounted` is the attempt as the account read it: of a job that was running then, such as the account's own,
    only the beginning. `attempt` is the whole. Both are None where there is no usable start record.
    """

    path: str  # relative to the ledger folder
    bytes: int
    sha256: str
    named: LedgerFile | None
    as_accounted: Attempt | None
    attempt: Attempt | None
    trouble: str | None

    @property
    def intact(self) -> bool:
        """Whether it is as the account read it, further lines at its end left out."""
        attempt = self.as_accounted
        return attempt is not None and self.named is not None and attempt.sha256 == self.named.sha256


@dataclass(frozen=True)
class Evidence:
    """The files of a results folder that a verification compares.

    `written` is account.json as JSON; `with_report`: whether what is made from the account is compared, too.
    `energy_logs` were read before the ledgers: so each has a ledger with an end, also where jobs run meanwhile.
    """

    folder: Path
    written: Mapping[str, Any]
    account: Account
    ledgers: Sequence[LedgerEvidence]
    energy_logs: Mapping[Path, bytes]
    with_report: bool

    @property
    def ledger_folder(self) -> Path:
        """The folder of the ledgers."""
        return layout.located(layout.LEDGER, self.folder)

    @property
    def missing_ledgers(self) -> list[str]:
        """The ledgers that the account names and that are not there."""
        there = {ledger.path for ledger in self.ledgers}
        return [ledger.path for ledger in self.account.ledgers if ledger.path not in there]

    @cached_property
    def ledgers_inside(self) -> dict[str, list[Path]]:
        """The ledgers of the meters inside each job, by the job's id, with which their names begin."""
        found: dict[str, list[Path]] = {}
        for ledger in self.ledgers:
            path = self.ledger_folder / ledger.path
            around = path.name.removesuffix(".jsonl")
            while "." in around:
                around = around.rpartition(".")[0]
                found.setdefault(around, []).append(path)
        return found

    @cached_property
    def attempts(self) -> list[Attempt]:
        """All attempts, those after the account included, each once."""
        return without_copies([one.attempt for one in self.ledgers if one.attempt], self.ledger_folder)[0]

    @cached_property
    def lineage(self) -> Lineage:
        """All attempts in order of time, and what each made from what."""
        return Lineage([_with_ledger_folder(one, self.account) for one in self.attempts])

    @cached_property
    def config(self) -> Config:
        """The study's configuration, as account.json has it. Raises UserError if it is not one."""
        found: Config = validate(dict(self.account.config), Config, str(layout.located(layout.ACCOUNT, self.folder)))
        return found

    @cached_property
    def study(self) -> Study:
        """What the stages wrote. Raises UserError if a file is not what its stage writes."""
        return read_study(self.config, self.folder)

    @cached_property
    def attribution_again(self) -> Attribution:
        """The energy of the ledgers that the account was computed from, attributed again."""
        # A copy or a damaged ledger counts nothing, but the account names it among its troubles.
        ids = {one.as_accounted.id for one in self.ledgers if one.named and one.as_accounted}
        read = [one for one in self.ledgers if one.named or one.as_accounted is None or one.as_accounted.id in ids]
        attempts = [one.as_accounted for one in read if one.as_accounted]
        kept, copies = without_copies(attempts, self.ledger_folder)
        troubles = [*(one.trouble for one in read if one.trouble), *copies]
        return attribute_attempts(kept, self.config.meter.policy, troubles)

    @cached_property
    def again(self) -> "Account | UserError":
        """The account, computed again from ledgers, results and factors; the error if that can't be done."""
        try:
            return account(self.study, self.attribution_again, self.account.packages)
        except UserError as error:
            return error

    def maker_of(self, pattern: str) -> Attempt | None:
        """Return the last attempt that made a file of the folder (its pattern); None where no ledger names it."""
        results = posixpath.dirname(self.lineage.ledger_folder or "")
        name = posixpath.join(results, layout.located(pattern, ".").as_posix())
        return next((maker for path, maker in self.lineage.artefacts() if path == name), None)

    @cached_property
    def footprint_command(self) -> list[str] | None:
        """The words after `greenllm footprint` of the job that made footprint.json; None where no ledger has them."""
        maker = self.maker_of(layout.FOOTPRINT)
        words = maker.start.command or [] if maker else []
        return words[words.index("footprint") + 1 :] if "footprint" in words else None

    @cached_property
    def footprint_again(self) -> "Footprint | UserError":
        """The footprint, computed again with the options of the job that made it; the error if that can't be done."""
        try:
            options = FootprintOptions.parse(self.footprint_command or [])
            return footprint_of_results(self.folder, options)[1]
        except UserError as error:
            return error

    def text(self, pattern: str) -> dict[str, Any] | None:
        """Return a JSON file of the folder (its pattern in study/layout.py); None where it is missing or damaged."""
        try:
            return read_json(layout.located(pattern, self.folder), "")
        except UserError:
            return None

    def name_of(self, path: Path) -> str:
        """Return a path relative to the results folder."""
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    @property
    def ledgers_sha256(self) -> str:
        """The SHA-256 of the account's ledgers, as `Verification.ledgers_sha256` describes it."""
        lines = sorted((ledger.path, ledger.sha256) for ledger in self.account.ledgers)
        text = "".join(f"{sha256}  {path}\n" for path, sha256 in lines)
        return hashlib.sha256(text.encode()).hexdigest()

    def sha256(self, pattern: str) -> str | None:
        """Return the SHA-256 of a file of the folder; None where it is missing."""
        path = layout.located(pattern, self.folder)
        return sha256_of(path) if path.is_file() else None


def _with_ledger_folder(attempt: Attempt, account: Account) -> Attempt:
    """Return an attempt that names its ledgers' folder: a job of the workflow has it in the results folder.

    Ledgers of earlier versions don't name it.
    """
    start = attempt.start
    if start.ledger is not None or start.cwd is None or start.job.rule is None:
        return attempt
    results = posixpath.join(start.cwd, str(account.config.get("results", "results")))
    folder = posixpath.normpath(layout.LEDGER.replace(layout.RESULTS, results, 1))
    return replace(attempt, start=replace(start, ledger=folder))


def read_evidence(folder: Path, with_report: bool) -> Evidence:
    """Read a results folder.

    Raises UserError if it is missing, has no account or one of another schema, or if half of the ledgers are gone.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such results folder; {REMEDY}")
    path = layout.located(layout.ACCOUNT, folder)
    found = Account.read(path, REMEDY)
    named = {ledger.path: ledger for ledger in found.ledgers}
    ledger_folder = layout.located(layout.LEDGER, folder)
    running = {job.id for job in found.jobs if job.status == "running"}
    here = boot_id()
    energy_logs = _energy_logs(folder / "energy")
    ledgers = [
        _read_ledger(ledger_folder, one, named.get(str(one.relative_to(ledger_folder))), running, here)
        for one in ledger_paths(ledger_folder)
    ]
    evidence = Evidence(folder, read_json(path, REMEDY), found, ledgers, energy_logs, with_report)
    gone = evidence.missing_ledgers
    if gone and 2 * len(gone) >= len(named):
        raise UserError(
            f"{ledger_folder}: {len(gone)} of the {len(named)} ledgers that {path.name} names are gone "
            f"({listed(gone)}); restore them, since without them nothing can be verified"
        )
    return evidence


def _energy_logs(folder: Path) -> dict[Path, bytes]:
    """Return the content of each energy log. Snakemake removes that of a job that it is about to run."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            found[path] = path.read_bytes()
    return found


def _read_ledger(folder: Path, path: Path, named: LedgerFile | None, running: set[str], here: str) -> LedgerEvidence:
    try:
        content, locked = read_content(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
    whole, trouble = attempt_of(folder, path, content, locked, here)
    accounted = whole
    if named is not None and len(content) > named.bytes:
        beginning = content[: named.bytes]
        if hashlib.sha256(beginning).hexdigest() == named.sha256:
            accounted, trouble = attempt_of(folder, path, beginning, False, here)
    if accounted is not None and accounted.end is None and accounted.id in running:
        accounted = replace(accounted, status="running")  # only the lock said so, which is gone
    return LedgerEvidence(
        path=str(path.relative_to(folder)),
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        named=named,
        as_accounted=accounted,
        attempt=whole,
        trouble=trouble,
    )
