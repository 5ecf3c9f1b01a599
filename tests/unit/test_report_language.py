"""The report's languages: every text is in each catalogue, and none goes around it."""

import gettext
import re
import string
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args

import pytest
from babel import Locale
from babel.messages.pofile import read_po
from report_texts import ROOM, Text, texts
from simulated_study import whole_study

from greenllm.account.document import Account
from greenllm.cli import main
from greenllm.config.models import Report
from greenllm.report.language import ENGLISH, LOCALES, Language, language, listed, speaking
from greenllm.report.numbers import plain
from greenllm.report.page import write_report

OTHERS = [code for code in LOCALES if code != ENGLISH]


def fields(said: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(said) if name is not None}


@pytest.fixture(scope="module", params=OTHERS)
def catalogue(request: pytest.FixtureRequest) -> dict[Text, list[str]]:
    with (ROOM / "languages" / f"{request.param}.po").open("rb") as source:
        found = read_po(source)
    assert not [message.id for message in found if message.fuzzy and message.id]
    translated = {}
    for message in found:
        if message.id:
            many = not isinstance(message.id, str)
            translated[tuple(message.id) if many else (message.id,)] = list(
                message.string if many else (message.string,)
            )
    return translated


def test_the_configuration_offers_the_languages_that_have_a_catalogue() -> None:
    assert set(get_args(Report.model_fields["language"].annotation)) == set(LOCALES)
    assert {path.stem for path in (ROOM / "languages").glob("*.po")} == set(OTHERS)


def test_every_text_is_translated_and_no_translation_is_left_over(catalogue: dict[Text, list[str]]) -> None:
    said = texts()
    assert len(said) > 400
    assert {text: where for text, where in said.items() if not all(catalogue.get(text, [""]))} == {}
    assert [text for text in catalogue if text not in said] == []


def test_a_translation_has_the_values_of_its_text(catalogue: dict[Text, list[str]]) -> None:
    # A plural form for one thing may leave its number out, and a language may have one form for both.
    wrong = [
        text
        for text, translations in catalogue.items()
        for translation in translations
        if fields(translation) != fields(text[-1])
    ]
    assert wrong == []


# --- a page in a language in which every text is in brackets: what is outside them went around the catalogue ---


class Bracketed(gettext.NullTranslations):
    """Texts with all that is not a value in brackets."""

    def gettext(self, message: str) -> str:
        parts = []
        for literal, name, _, _ in string.Formatter().parse(message):
            tags = re.split(r"(<[^>]*>)", literal)
            parts += [part if part.startswith("<") or not part.strip() else f"⟦{part}⟧" for part in tags]
            parts += [] if name is None else [f"{{{name}}}"]
        return "".join(parts)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


class Words(HTMLParser):
    """Collects the texts of a page, and those of the attributes that are read out or shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag in ("style", "script", "pre", "code")
        self.found += [str(value) for name, value in attrs if name in ("aria-label", "title", "alt")]

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in ("style", "script", "pre", "code")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.found.append(data)


def strings(value: Any) -> set[str]:
    """Return all strings in a JSON value, keys as well."""
    if isinstance(value, dict):
        return set().union(*(strings(one) | {str(key)} for key, one in value.items()))
    if isinstance(value, list):
        return set().union(*map(strings, value)) if value else set()
    return {value} if isinstance(value, str) else set()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    results = tmp_path_factory.mktemp("study")
    settings = whole_study(results).config.model_dump_json(by_alias=True)
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    return Account.read(results / "account/account.json")


# Names of formats, units and programs, which no language translates.
NAMES = {"GreenLLM", "csv", "parquet", "md", "tex", "svg", "pdf", "png", "UTC", "CPU", "DRAM", "Wh", "kWh"}


def test_no_text_of_the_page_goes_around_the_catalogue(account: Account, tmp_path: Path) -> None:
    bracketed = Language("en", Locale.parse("en_GB"), Bracketed())
    write_report(account, tmp_path, bracketed)
    known = strings(account.to_json())
    around = set()
    for said in Words((tmp_path / "index.html").read_text()).found:
        for left in re.split(r"⟦[^⟧]*⟧|[\d\s.,;:()·–−×%/=]+", said):
            word = left.strip(" '\"+<>…")
            if re.search(r"[A-Za-z]{3}", word) and word not in NAMES and not any(word in one for one in known):
                around.add(f"{word!r} in {said.strip()[:80]!r}")
    assert sorted(around) == []


def test_the_configuration_chooses_the_language_of_the_page(account: Account, tmp_path: Path) -> None:
    chinese = account.model_copy(update={"config": {**account.config, "report": {"language": "zh"}}})
    write_report(account, tmp_path)
    write_report(chinese, tmp_path)  # over the page in English
    page = (tmp_path / "index.html").read_text()
    assert '<html lang="zh">' in page
    assert "部署 int8。单次请求的能耗降至 baseline 的 1/" in page
    assert "次请求" in page
    assert "| 实验" in (tmp_path / "tables/comparison.md").read_text()
    assert "experiment,recipe" in (tmp_path / "tables/comparison.csv").read_text(), "keys of files are not translated"


def test_the_command_can_choose_another_language(account: Account, tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text(account.model_dump_json(by_alias=True))
    assert main(["report", "--account", str(path), "--language", "zh", "--out", str(tmp_path / "report")]) == 0
    assert '<html lang="zh">' in (tmp_path / "report/index.html").read_text()
    out = tmp_path / "impact"
    assert main(["report", "--account", str(path), "--table", "impact", "--language", "zh", "--out", str(out)]) == 0
    assert "碳排放" in (tmp_path / "impact.md").read_text()


def test_numbers_and_lists_follow_the_language() -> None:
    assert plain(-1234567.25, 2) == "−1\u202f234\u202f567.25"
    with speaking(Language("de", Locale.parse("de"))):
        assert plain(1234.5, 1) == "1\u202f234,5"
    assert listed(["a", "b", "c"]) == "a, b and c"
    with speaking(language("zh")):
        assert listed(["a", "b", "c"]) == "a、b和c"
