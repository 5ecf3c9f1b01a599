"""The language of a report: its texts by a gettext catalogue, its numbers, lists and times by Unicode CLDR (Babel).

English is the language of the source: a text is its own key. `languages/zh.po` has the Chinese of each.
"""

import contextlib
import functools
import gettext
import importlib.resources
import io
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from babel import Locale
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

ENGLISH = "en"
# The locale of each language: it decides how numbers, lists and times are written.
LOCALES = {ENGLISH: "en_GB", "zh": "zh_Hans_CN"}


@dataclass(frozen=True)
class Language:
    """A language: its code, its locale and its texts."""

    code: str
    locale: Locale
    texts: gettext.NullTranslations = field(default_factory=gettext.NullTranslations)


@functools.cache
def language(code: str) -> Language:
    """Return a language by its code. Raises KeyError for one that `LOCALES` does not have."""
    locale = Locale.parse(LOCALES[code])
    return Language(code, locale) if code == ENGLISH else Language(code, locale, _catalogue(code))


def _catalogue(code: str) -> gettext.GNUTranslations:
    with (importlib.resources.files("greenllm.report") / "languages" / f"{code}.po").open("rb") as source:
        found = read_po(source, locale=code)
    compiled = io.BytesIO()
    write_mo(compiled, found)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


_current: ContextVar[Language | None] = ContextVar("language", default=None)


def current() -> Language:
    """Return the language that texts are in now: English where none was chosen."""
    return _current.get() or language(ENGLISH)


@contextlib.contextmanager
def speaking(chosen: Language) -> Iterator[None]:
    """Return the texts of this block in a language."""
    token = _current.set(chosen)
    try:
        yield
    finally:
        _current.reset(token)


def text(message: str, /, **values: object) -> str:
    """Return a message in the current language, with `values` in place of its {names}."""
    found = current().texts.gettext(message) if message else ""
    return found.format(**values) if values else found


def plural(one: str, several: str, count: int, /, **values: object) -> str:
    """Return the message for a count, with the count in place of {count}."""
    return current().texts.ngettext(one, several, count).format(count=count, **values)


def noted(message: str) -> str:
    """Return a message unchanged; it is in the catalogues, and `text` translates it where it is shown."""
    return message


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words, such as "a, b and c"."""
    return str(format_list(list(names), locale=current().locale))
