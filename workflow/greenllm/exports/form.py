"""A form in which others ask for an account: its name, and the files that it consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.errors import UserError

Json = dict[str, Any]
# Path below the form's folder → the file's text, or a file that is copied there.
Files = Mapping[str, str | Path]


class DoesNotApplyError(UserError):
    """Why an account can't be written in a form, in one line."""


class NotHereError(DoesNotApplyError):
    """Why a form can't be written from where GreenLLM is installed, in one line."""


@dataclass(frozen=True)
class Exported:
    """An account, the results folder that it is in, and its footprint, where one was made."""

    account: Account
    results: Path
    footprint: Footprint | None = None


@dataclass(frozen=True)
class Form:
    """A form: its name as `--to` takes it, its title, and what makes its files.

    `make` raises DoesNotApplyError where the account lacks what the form can't do without.
    """

    name: str
    title: str
    make: Callable[[Exported], Files]


def known(**values: Any) -> Json:
    """Return an object of the values that are known: those that are None are left out."""
    return {name: value for name, value in values.items() if value is not None}
