"""`greenllm verify`: nothing found in honest results; each kind of tampering or damage found, at its place."""

import fcntl
import json
import os
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import simulated_study
from metered_results import EPOCH_s, again, ledger_of, metered_results, read_records, write_records
from simulated_study import whole_study
from tampering import KINDS, Tampering, in_json, put

from greenllm import __version__
from greenllm.account.document import SCHEMA
from greenllm.cli import main


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return metered_results(tmp_path_factory.mktemp("honest"))


@pytest.fixture
def results(honest: Path, tmp_path: Path) -> Path:
    """A copy, with the files' times."""
    return shutil.copytree(honest, tmp_path / "results")


def verified(results: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """Run `greenllm verify --json`; return its exit status and answer."""
    status = main(["verify", str(results), "--json", *options])
    return status, json.loads(capsys.readouterr().out)


def findings(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [finding for check in answer["checks"] for finding in check["findings"]]


def test_nothing_is_found_in_an_honest_run(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer = verified(results, capsys)
    assert (status, findings(answer)) == (0, [])
    assert answer["version"] == __version__
    compared = {check["name"]: check["checked"] for check in answer["checks"]}
    assert [name for name, number in compared.items() if number == 0] == []
    assert (
        compared["ledgers"]
        == answer["ledgers"]
        == len(json.loads((results / "account/account.json").read_text())["jobs"])
    )


def test_what_the_account_has_not_read_of_its_own_job_is_not_unknown(honest: Path) -> None:
    """It finds its own ledger with one sample: none of its joules is counted yet."""
    account = json.loads((honest / "account/account.json").read_text())
    own = next(job for job in account["jobs"] if job["rule"] == "account")
    assert (own["standing"], own["energy_J"], own["unknown"]) == ("running", None, [])
    assert account["spent"]["total"]["unknown"] == 0
    assert "at least: the energy" not in (honest / "report/index.html").read_text()


def test_files_beside_the_report_are_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, honest = verified(results, capsys)
    assert not [line for check in honest["checks"] for line in check["skipped"] if "does not make" in line]
    (results / "report/tables/cheap.csv").write_text("recipe\n")
    status, answer = verified(results, capsys)
    assert status == 0
    (line,) = [line for check in answer["checks"] for line in check["skipped"] if "does not make" in line]
    assert line == "1 files in report/ that the report does not make: tables/cheap.csv"


def test_nothing_is_found_in_a_report_in_chinese_with_factors_of_the_users_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = {"country": "FRA", "carbon_g_per_kWh": 50.0, "carbon_source": "our contract", "carbon_year": 2025}
    hardware = {"processor": {"embodied_kg": 20.0, "life_years": 4.0, "source": "our supplier", "year": 2025}}
    results = metered_results(tmp_path, report={"language": "zh"}, site=site, hardware=hardware)
    capsys.readouterr()
    status, answer = verified(results, capsys)
    assert (status, findings(answer)) == (0, [])


def test_a_footprint_elsewhere_changes_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = str(results.parent / "elsewhere.json")
    assert main(["footprint", str(results), "--country", "FRA", "--pue", "1.3", "--out", other]) == 0
    capsys.readouterr()
    status, answer = verified(results, capsys)
    assert (status, findings(answer)) == (0, [])


def test_a_footprint_is_computed_again_with_the_options_of_its_job(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command in the ledger says the options; a footprint of other options in its place is found."""
    footprint = results / "account/footprint.json"
    assert main(["footprint", str(results), "--pue", "1.1:1.2:1.3", "--out", str(footprint)]) == 0
    capsys.readouterr()
    _, answer = verified(results, capsys)
    assert "account/footprint.json: site.pue.value" in {one["place"] for one in findings(answer)}
    path = ledger_of(results, "impact")
    path.write_text(path.read_text().replace('"results", "--out"', '"results", "--pue", "1.1:1.2:1.3", "--out"'))
    _, answer = verified(results, capsys)
    assert [one for one in findings(answer) if one["check"] == "footprint"] == []


def test_a_series_of_the_users_own_that_is_gone_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_json("account/account.json", put("config", "site", value={"series": "gone.csv"}))(results)
    _, answer = verified(results, capsys)
    footprint = next(check for check in answer["checks"] if check["name"] == "footprint")
    assert footprint["findings"] == []
    assert any("gone.csv" in reason for reason in footprint["skipped"])


def test_nothing_is_found_where_only_the_account_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(simulated_study, "EPOCH_s", EPOCH_s)
    results = tmp_path / "results"
    study = whole_study(results, measured=True)
    settings = study.config.model_dump_json(by_alias=True)
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    capsys.readouterr()
    assert main(["verify", str(results)]) == 0
    said = capsys.readouterr().out
    assert "skipped: the report: none has been made" in said
    assert f"nothing found by greenllm {__version__}" in said


def retimed(results: Path) -> None:
    """Give every file another time, as `cp -r`, a zip archive and a git checkout do."""
    for path in results.rglob("*"):
        os.utime(path, (EPOCH_s, EPOCH_s))


def test_nothing_is_found_in_a_copy_with_other_times(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retimed(results)
    status, answer = verified(results, capsys)
    assert (status, findings(answer)) == (0, [])


@pytest.fixture
def by_size_alone(results: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Results whose ledgers and logs know folders by number, size and time, as those of earlier versions do."""
    for path in [*(results / "ledger").rglob("*.jsonl"), *(results / "energy").rglob("*.json")]:
        path.write_text(re.sub(r',\s*"sha256": "[0-9a-f]{64}"(?=\s*})', "", path.read_text()))
    again(results)
    capsys.readouterr()
    return results


def test_what_is_known_by_size_alone_is_named_and_not_its_time(
    by_size_alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retimed(by_size_alone)
    status, answer = verified(by_size_alone, capsys)
    assert (status, findings(answer)) == (0, [])
    files = next(check for check in answer["checks"] if check["name"] == "files")
    assert any("size of their files only" in reason and "data/support" in reason for reason in files["skipped"])


def test_another_size_is_found_where_no_hash_is_known(by_size_alone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (by_size_alone / "models/support/int8/seed-1/model/model.safetensors").open("ab") as file:
        file.write(b"0")
    _, answer = verified(by_size_alone, capsys, "--record", str(by_size_alone.parent / "verification.json"))
    assert "models/support/int8/seed-1/model" in {one["place"] for one in findings(answer)}


@pytest.mark.parametrize("named", [True, False], ids=["ledgers-that-name-their-folder", "older-ledgers"])
def test_a_study_that_was_moved_and_then_continued_is_honest(
    named: bool, honest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The account is made again in another place: the last finished attempt counts, wherever it ran."""
    (tmp_path / "elsewhere").mkdir()
    results = shutil.copytree(honest, tmp_path / "elsewhere/results")
    retimed(results)
    again(results, named)
    capsys.readouterr()
    status, answer = verified(results, capsys)
    files = next(check for check in answer["checks"] if check["name"] == "files")
    assert files["findings"] == []
    assert not any("outside" in reason for reason in files["skipped"])
    assert (status, findings(answer)) == (0, [])
    edited = results / "account/account.json"
    edited.write_text(edited.read_text() + "\n")
    _, answer = verified(results, capsys)
    assert "account/account.json" in {one["place"] for one in findings(answer) if one["check"] == "files"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_tampering_is_found(kind: Tampering, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kind.edit(results)
    # Drawing the report again takes most of the time.
    options = () if kind.of_the_report else ("--record", str(results.parent / "verification.json"))
    status, answer = verified(results, capsys, *options)
    found = findings(answer)
    assert status == (1 if kind.of_the_report else 0)
    assert {finding["check"] for finding in found} >= set(kind.checks)
    assert any(kind.place in finding["place"] for finding in found if finding["check"] in kind.checks)


def test_there_are_thirty_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 30


def test_an_input_that_was_changed_in_between_is_found(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = ledger_of(results, "account")
    inputs = read_records(path)[0]["inputs"]
    name = next(iter(inputs))
    path.write_text(path.read_text().replace(inputs[name], "0" * 64))
    _, answer = verified(results, capsys)
    assert f"input {name}" in "".join(f["place"] for f in findings(answer) if f["check"] == "files")


def test_a_job_that_ends_while_ledgers_are_read_is_no_finding(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rules `impact` and `verify` run side by side: a ledger is read, then its job ends and has a log."""
    log, ledger = results / "energy/impact.json", ledger_of(results, "impact")
    ended, first = log.read_text(), min((results / "ledger").glob("*/*.jsonl"))
    log.unlink()
    write_records(ledger, read_records(ledger)[:-1])
    content = first.read_bytes()
    first.unlink()
    os.mkfifo(first)

    def end() -> None:
        with first.open("wb") as file:  # waits until the first ledger is being read
            log.write_text(ended)
            file.write(content)

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    with ledger.open() as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        _, answer = verified(results, capsys, "--record", str(results.parent / "verification.json"))
    ending.join(timeout=60)
    assert log.is_file()
    assert findings(answer) == []


def test_what_is_found_is_printed_with_what_was_expected(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = results / "account/account.json"
    account = json.loads(path.read_text())
    account["grid"]["year"] += 2
    path.write_text(json.dumps(account))
    assert main(["verify", str(results)]) == 1
    said = capsys.readouterr().out
    year = account["grid"]["year"]
    assert f"account/account.json: grid.year: differs: expected {year - 2}, found {year}" in said


def test_the_page_says_that_it_was_verified_and_by_which_version(results: Path) -> None:
    class Reader(HTMLParser):
        text, inside = "", False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.inside = ("id", "verified") in attrs

        def handle_data(self, data: str) -> None:
            self.text += data if self.inside else ""

    page = Reader()
    page.feed((results / "report/index.html").read_text())
    assert f"Verified by greenllm {__version__}" in page.text
    assert "nothing was found" in page.text


def test_a_record_says_what_was_found_and_the_page_quotes_it(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger_of(results, "compress").unlink()
    record, account = str(results / "account/verification.json"), str(results / "account/account.json")
    status, answer = verified(results, capsys, "--record", record)
    assert status == 0, "the page is made nevertheless"
    assert main(["report", "--account", account, "--verification", record, "--out", str(results / "report")]) == 0
    assert f"and {len(findings(answer))} differences were found" in (results / "report/index.html").read_text()


def test_a_page_without_a_verification_says_so(results: Path) -> None:
    account = str(results / "account/account.json")
    assert main(["report", "--account", account, "--out", str(results / "report")]) == 0
    assert "Not verified" in (results / "report/index.html").read_text()


def test_the_verification_of_another_account_is_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    account, record = results / "account/account.json", results / "account/verification.json"
    account.write_text(account.read_text() + "\n")
    command = ["report", "--account", str(account), "--verification", str(record), "--out", str(results / "report")]
    assert main(command) == 2
    assert "account_sha256: is not that of" in capsys.readouterr().err


def test_mistakes_of_the_user_are_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(folder: Path) -> str:
        assert main(["verify", str(folder)]) == 2
        return capsys.readouterr().err

    assert "no such results folder" in refused(results / "nowhere")
    assert "expected a results folder in which `greenllm account` has been run" in refused(results / "ledger")
    ledgers = sorted((results / "ledger").glob("*/*.jsonl"))
    for path in ledgers[: len(ledgers) // 2 + 1]:
        path.unlink()
    said = refused(results)
    assert f"{ledgers[0].name}" in said
    assert "are gone" in said
    account = results / "account/account.json"
    account.write_text(account.read_text().replace(SCHEMA, "greenllm/account/0"))
    assert f"expected schema {SCHEMA!r}" in refused(results)
