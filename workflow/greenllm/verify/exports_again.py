"""The exports, made again from the account."""

from pathlib import Path

from greenllm import __version__
from greenllm.documents.verification import CheckOutcome
from greenllm.exports.form import DoesNotApplyError, Files, NotHereError
from greenllm.exports.forms import FORMS
from greenllm.exports.ro_crate import SNAKEFILE
from greenllm.exports.writing import INDEX, index, read_exported
from greenllm.files import sha256_of
from greenllm.study import layout
from greenllm.verify.check import Check
from greenllm.verify.evidence import Evidence
from greenllm.verify.made_again import compare_content
from greenllm.written import NOT_THE_USERS


def check_exports(evidence: Evidence) -> CheckOutcome:
    """Make each form again, in memory, and compare its files. No form holds a date of writing."""
    check = Check("exports", "the exports are what `greenllm export` makes of the account", "values")
    folder, made_by = layout.located(layout.EXPORTS, evidence.folder), evidence.account.packages.get("greenllm")
    if not folder.is_dir():
        check.skip("the exports: none have been made")
    elif made_by != __version__:
        check.skip(f"the exports: made by greenllm {made_by}, this is {__version__}, which may write them otherwise")
    else:
        _compare_forms(check, evidence, folder)
    return check.outcome()


def _compare_forms(check: Check, evidence: Evidence, folder: Path) -> None:
    exported = read_exported(evidence.folder)
    all_were_made = (folder / INDEX).is_file()
    outcomes: dict[str, str | None] = {}
    for name, form in FORMS.items():
        place = folder / name
        try:
            files = form.make(exported)
        except NotHereError as error:
            check.skip(f"exports/{name}: {error}")
            all_were_made = False
            continue
        except DoesNotApplyError as error:
            outcomes[name] = str(error)
            check.expect(not place.exists(), f"exports/{name}", "is there, and the form does not apply", found=error)
            continue
        outcomes[name] = None
        if place.is_dir():
            _compare_files(check, evidence, name, files, place)
        elif all_were_made:
            check.find(f"exports/{name}", "is missing")
    if all_were_made:
        place = folder / INDEX
        compare_content(check, evidence, f"exports/{INDEX}", index(outcomes).encode(), place.read_bytes())


def _compare_files(check: Check, evidence: Evidence, form: str, files: Files, folder: Path) -> None:
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(there - files.keys() - set(NOT_THE_USERS)):
        check.find(f"exports/{form}/{name}", "is one too many")
    for name, made in files.items():
        place = f"exports/{form}/{name}"
        if name not in there:
            check.find(place, "is missing")
        elif isinstance(made, str):
            compare_content(check, evidence, place, made.encode(), (folder / name).read_bytes())
        elif name == SNAKEFILE:
            check.skip(f"{place}: the workflow may have been edited since (its hash, where recorded: files)")
        else:
            check.expect(sha256_of(folder / name) == sha256_of(made), place, f"is no copy of {evidence.name_of(made)}")
