"""Writing an account in one form, or in all that apply: a folder for each, complete or not at all."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.errors import UserError
from greenllm.exports.form import DoesNotApplyError, Exported, Form
from greenllm.exports.forms import FORMS
from greenllm.files import replacing, replacing_folder, require_replaceable, sha256_of
from greenllm.study import layout

INDEX = "README.md"
STAGE = "export"  # the command that writes the folders
REMEDY = "expected a results folder in which `greenllm account` has been run"


def read_exported(results: Path, footprint: Path | None = None) -> Exported:
    """Read the account of a results folder, and a footprint of it: that of the folder, if it is of this account.

    Raises UserError if there is no account, or if the footprint that is named is of another account.
    """
    path, of_site = (layout.located(pattern, results) for pattern in (layout.ACCOUNT, layout.FOOTPRINT))
    account = Account.read(path, REMEDY)
    place = footprint or of_site
    found = Footprint.read(place) if footprint or of_site.is_file() else None
    if found is not None and sha256_of(path) not in {source.sha256 for source in found.sources}:
        if footprint:
            raise UserError(f"--footprint {footprint}: is of another account; run `greenllm footprint {results}` again")
        found = None  # the account was made again since
    return Exported(account, results, found)


def export(exported: Exported, form: Form, out: Path) -> None:
    """Write one form's files into the folder `out`, which is replaced.

    Raises DoesNotApplyError if the form does not apply, and the UserErrors of `require_replaceable`.
    """
    files = form.make(exported)
    with replacing_folder(out, STAGE) as beside:
        for name, content in files.items():
            place = beside / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, place)  # no link: whoever changes the copy must not change the evidence
            else:
                place.write_text(content, encoding="utf-8", newline="")


def export_all(exported: Exported, out: Path) -> dict[str, str | None]:
    """Write each form that applies into a folder of its name in `out`, and a list of all into README.md there.

    Returns {form: None, or why it does not apply}. The folder of a form that does not apply any more is removed.
    """
    found: dict[str, str | None] = {}
    for name, form in FORMS.items():
        try:
            export(exported, form, out / name)
            found[name] = None
        except DoesNotApplyError as error:
            found[name] = str(error)
            if (out / name).exists():
                shutil.rmtree(require_replaceable(out / name, STAGE))
    with replacing(out / INDEX) as beside:
        beside.write_text(index(found), encoding="utf-8")
    return found


def index(found: Mapping[str, str | None]) -> str:
    """Return the list of all forms, in Markdown: {form: None, or why it does not apply}."""
    lines = ["# Exports", "", "Written by `greenllm export`.", "", "| form | here |", "| --- | --- |"]
    for name, reason in found.items():
        here = f"[{name}/]({name}/)" if reason is None else f"does not apply: {reason}"
        lines.append(f"| {FORMS[name].title} | {here} |")
    return "\n".join(lines) + "\n"
