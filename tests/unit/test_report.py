import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from simulated_study import MODELLED, UNKNOWN, Simulation, config, whole_study

from greenllm.account.document import Account
from greenllm.account.footprint_document import Footprint
from greenllm.account.results_folder import read_results_folder
from greenllm.cli import main
from greenllm.config.read import validate
from greenllm.estimate import Interval, PartialInterval
from greenllm.report.figures.factors import factors
from greenllm.report.figures.quality_energy import quality_energy
from greenllm.report.figures.stages import stage_colour, stage_pattern
from greenllm.report.numbers import quantity
from greenllm.report.page import write_report
from greenllm.report.table import Column, Table
from greenllm.report.tables.causes import causes
from greenllm.report.tables.comparison import comparison
from greenllm.report.tables.quality import hand_over, subsets
from greenllm.report.tables.recommendation import recommendation
from greenllm.report.tables.scopes import ScopeRow, scopes
from greenllm.report.tables.sizes import sizes
from greenllm.report.tables.threads import threads
from greenllm.study.models import Config


def make(results: Path, study: Simulation, drawn: bool = True) -> Path:
    """Run `greenllm account` and `greenllm report` on a study; return the report's folder.

    A page whose figures are not `drawn` takes a tenth of the time.
    """
    settings = study.config.model_dump_json(by_alias=True)
    assert main(["account", "--config", settings, "--results", str(results), "--out", str(results / "account")]) == 0
    account = results / "account/account.json"
    if drawn:
        assert main(["report", "--account", str(account), "--out", str(results / "report")]) == 0
    else:
        write_report(Account.read(account), results / "report", drawn=False)
    return results / "report"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("study")
    return make(results, whole_study(results))


def test_figures_of_many_recipes_show_a_dozen_and_tables_all(tmp_path: Path) -> None:
    names = ["baseline", *(f"recipe-{number}" for number in range(1, 15))]
    values = config(names).model_dump(mode="json", by_alias=True, exclude_unset=True)
    experiments = {"support": values["experiments"]["support"]}
    recipes: dict[str, Any] = {name: {"train": {}} for name in names}
    settings: Config = validate({**values, "experiments": experiments, "recipes": recipes}, Config, "test")
    study = Simulation(tmp_path, settings)
    study.prepare("support")
    for name in names:
        study.train("support", name, 1)
        study.evaluate("support", name, 1, 0.9, 50)
    study.measure("support", 1, {name: 30 - place for place, name in enumerate(names)})
    folder = make(tmp_path, study)
    page = (folder / "index.html").read_text()
    assert "12 recipes of support are drawn, those of the least energy; 3 more are in the tables." in page
    shown = " ".join(re.findall(r'<svg[^>]* aria-label="([^"]*)"', page))
    assert "baseline:" in shown
    assert "recipe-14:" in shown
    assert "recipe-1:" not in shown, "the most energy of all but the baseline"
    assert len(pd.read_csv(folder / "tables/comparison.csv")) == len(names)


class Reader(HTMLParser):
    """Collects a page's text, tags, ids, and whatever would be fetched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "xlink:href", "srcset") or (name == "href" and tag == "link"):
                self.fetched.append(str(value))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_whole_and_self_contained(report: Path) -> None:
    page = Reader((report / "index.html").read_text())
    assert page.tags.count("figure") == 6, "no batch curve of one concurrency"
    assert [link for link in page.fetched if not link.startswith(("#", "data:"))] == []
    assert len(page.ids) == len(set(page.ids)), "no id twice, also in the figures"
    assert "support: deploy int8. A request takes" in page.text
    assert "times less energy than with baseline" in page.text
    assert "most of it of 2025" in page.text, "the year of the grid factor"
    assert "<客服>" in page.text, "text from the data card is escaped, and shown unchanged"


def test_the_total_says_of_how_many_attempts_the_energy_is_unknown(report: Path, tmp_path: Path) -> None:
    known = Reader((report / "index.html").read_text()).text
    assert "of them, or a part of it, is unknown" not in known
    assert "at least: the energy of" not in known
    account = Account.read(report.parent / "account/account.json")
    total = account.spent.total.model_copy(update={"unknown": 2})
    account = account.model_copy(update={"spent": account.spent.model_copy(update={"total": total})})
    write_report(account, tmp_path)
    assert "at least: the energy of 2 attempts, or a part of it, is unknown" in (tmp_path / "index.html").read_text()


def test_summary_names_the_ledgers_it_is_computed_from(report: Path) -> None:
    summary = json.loads((report / "summary.json").read_text())
    ledgers = list((report.parent / "ledger").glob("*/*.jsonl"))
    assert len(summary["ledgers"]) == len(ledgers) > 20
    for ledger in summary["ledgers"]:
        content = (report.parent / "ledger" / ledger["path"]).read_bytes()
        assert (ledger["bytes"], ledger["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert json.loads(content.splitlines()[0])["id"] == ledger["id"]
    assert [one["experiment"] for one in summary["findings"]] == ["support", "dates"]


def test_figures_and_tables_are_beside_the_page(report: Path) -> None:
    for name in ("quality-energy", "energy-by-stage", "power"):
        assert (report / f"figures/{name}.svg").read_text().startswith("<?xml")
        assert (report / f"figures/{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (report / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    frame = pd.read_csv(report / "tables/comparison.csv")
    again = pd.read_parquet(report / "tables/comparison.parquet")
    assert list(frame) == list(again)
    assert frame["energy_per_request_J_low"].lt(frame["energy_per_request_J"]).all()
    assert "| support" in (report / "tables/comparison.md").read_text()
    assert r"\toprule" in (report / "tables/comparison.tex").read_text()


def test_same_account_same_bytes(report: Path, tmp_path: Path) -> None:
    assert main(["report", "--account", str(report.parent / "account/account.json"), "--out", str(tmp_path)]) == 0
    for path in sorted(path for path in report.rglob("*") if path.is_file()):
        assert (tmp_path / path.relative_to(report)).read_bytes() == path.read_bytes(), path.name


def derived(report: Path) -> Any:
    """Return how the numbers of the page's tables are derived."""
    page = (report / "index.html").read_text()
    return json.loads(page.split('<script type="application/json" id="derivations">')[1].split("</script>")[0])


def test_every_number_of_energy_names_its_formula_and_the_files_it_is_computed_from(report: Path) -> None:
    found = derived(report)
    results = report.parent
    assert all((results / path).is_file() for path in found["files"])
    for name in ("thousand-requests", "comparison", "impact", "efficiency", "produced", "recommendation", "quality"):
        table = found["tables"][name]
        assert all(files for rows in (table["rows"], *table["own"].values()) for files, _, _ in rows), name
        for column in table["columns"].values():
            assert column["formula"]
            assert set(column["factors"]) <= set(found["factors"])
    recipes = pd.read_csv(report / "tables/comparison.csv")
    int8 = recipes.index[(recipes["experiment"] == "support") & (recipes["recipe"] == "int8")][0]
    comparison = found["tables"]["comparison"]
    own, ratio = comparison["rows"][int8][0], comparison["own"]["times_less"][int8][0]
    assert len(ratio) == 1 + len(own), "of the baseline's server as well"


def test_a_sum_is_that_of_the_ledgers_it_names(report: Path) -> None:
    found = derived(report)
    energy_J = pd.read_csv(report / "tables/ledgers.csv").set_index("path")["energy_J"]
    prefix = report.parent / "impact"
    arguments = ["--account", str(report.parent / "account/account.json"), "--table", "impact", "--out", str(prefix)]
    assert main(["report", *arguments]) == 0
    impact = pd.read_csv(prefix.with_suffix(".csv"))
    checked = 0
    for whole_J, (files, more, _) in zip(impact["energy_J"], found["tables"]["impact"]["rows"], strict=True):
        if not more:
            paths = [found["files"][index].removeprefix("ledger/") for index in files]
            assert sum(energy_J[paths].fillna(0)) == pytest.approx(whole_J)
            checked += 1
    assert checked > 10


def test_a_thousand_requests_are_said_in_energy_carbon_and_what_is_unknown(report: Path) -> None:
    frame = pd.read_csv(report / "tables/thousand-requests.csv")
    per_request = pd.read_csv(report / "tables/comparison.csv")["energy_per_request_J"]
    assert frame["energy_J"].tolist() == pytest.approx((1000 * per_request).tolist())
    grid = json.loads((report / "summary.json").read_text())["grid"]["value"]
    assert frame["carbon_g"].tolist() == pytest.approx((frame["energy_J"] / 3.6e6 * grid).tolist())
    assert frame["water_L"].isna().all()
    page = " ".join(Reader((report / "index.html").read_text()).text.split())
    assert "no footprint of this account was made" in page
    assert "One phone charge answers" in page
    assert "US EPA" in page, "what is known has its source"
    chance = read_results_folder(report.parent).account().experiments["support"].comparison.chance
    assert f"a model that ignores its input: {chance:.2g}" in page


def test_a_scope_without_carbon_says_why(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(site={"country": None}), memory_B=8e9)
    study.prepare("support")
    settings, footprint = study.config.model_dump_json(by_alias=True), tmp_path / "footprint.json"
    assert main(["account", "--config", settings, "--results", str(tmp_path), "--out", str(tmp_path / "account")]) == 0
    assert main(["footprint", str(tmp_path), "--draws", "500", "--out", str(footprint)]) == 0
    found = Footprint.read(footprint)
    assert found.total.embodied_g is not None
    rows = scopes(Account.read(tmp_path / "account/account.json"), found).rows
    unknown = [row.why for row in rows if isinstance(row, ScopeRow) and "carbon_g" in row.known and not row.carbon_g]
    assert len(unknown) == 3
    assert all("site.country" in why for why in unknown)


def test_a_known_energy_is_shown_beside_an_unknown_one_with_its_reason(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(decision={"quality": 0.8, "worse_by": None}))
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.compress("support", "int8", 1)
    for recipe, accuracy in (("baseline", 0.5), ("int8", 0.95)):
        study.evaluate("support", recipe, 1, accuracy, 400)
    study.measure("support", 1, {"baseline": 20, "int8": 5}, failed={"baseline": "the server ended early"})
    page = (make(tmp_path, study, drawn=False) / "index.html").read_text()
    (row,) = re.findall(r'<th scope="row">Energy</th>(.*?)</tr>', page)[:1]
    unknown, known = re.findall(r"<td>(.*?)</td>", row)
    assert "the server ended early" in unknown
    assert "thousand-requests" in known
    assert "unknown" not in known


def test_the_paper_kit_has_the_methods_and_every_source(report: Path) -> None:
    methods = (report / "paper/methods.md").read_text()
    assert "cpu-model" in methods
    assert "deploy int8. A request takes" in methods
    sources = (report / "paper/sources.bib").read_text()
    assert sources.count("@misc{") == sources.count("\n}")
    for part in ("Ember", "a grammar of our own", "simulated", "US EPA"):
        assert part in sources


@pytest.mark.parametrize("ending", ["", ".csv"])
def test_named_tables(report: Path, tmp_path: Path, ending: str) -> None:
    account = str(report.parent / "account/account.json")
    for table in ("efficiency", "impact"):
        assert main(["report", "--account", account, "--table", table, "--out", str(tmp_path / table) + ending]) == 0
    assert sorted(path.suffix for path in tmp_path.glob("efficiency*")) == [".csv", ".md", ".parquet", ".tex"]
    efficiency = pd.read_csv(tmp_path / "efficiency.csv")
    preprocess = efficiency[efficiency["stage"] == "preprocess"].iloc[0]
    assert preprocess["J_per_sample"] == pytest.approx(preprocess["energy_J"] / 11800)
    assert pd.isna(preprocess["J_per_request"])
    impact = pd.read_parquet(tmp_path / "impact.parquet")
    whole = impact[(impact["experiment"] == "all")].iloc[0]
    assert whole["carbon_gCO2e"] == pytest.approx(whole["energy_kWh"] * whole["grid_gCO2e_per_kWh"])
    assert "Ember" in whole["grid_source"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"schema": "something/1"}'])
def test_bad_account_is_one_line(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", "--account", str(path), "--out", str(tmp_path / "report")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "account.json" in message
    assert not (tmp_path / "report").exists()


def test_results_without_ledgers_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = config().model_dump_json(by_alias=True)
    for results in (tmp_path / "nowhere", tmp_path):
        arguments = ["account", "--config", settings, "--results", str(results), "--out", str(tmp_path / "account")]
        assert main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "account").exists()


def test_partial_results_still_make_a_page(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(), sensors=[UNKNOWN])
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.evaluate("support", "baseline", 1, 0.9)
    study.measure("support", 1, {"baseline": 5}, status="failed")
    page = Reader((make(tmp_path, study, drawn=False) / "index.html").read_text())
    assert "Missing results" in page.text
    assert "failed in attempt 1 (exit status 1)" in page.text
    assert "energy_uj can only be read by root" in page.text
    assert "nothing can be recommended yet" in page.text
    assert "Wastedunknown" in page.text


def test_an_unknown_component_of_one_job_is_named_beside_what_is_known_of_others(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config())
    study.prepare("support")
    study.sensors = [UNKNOWN, MODELLED[1]]
    study.train("support", "baseline", 1)
    page = Reader((make(tmp_path, study, drawn=False) / "index.html").read_text())
    assert "CPU unknown in 1 of 3 attempts" in page.text


def served(results: Path, seconds: dict[str, float], **measured: Any) -> str:
    """Return the text of the page of a study whose recipes of support are busy for `seconds`."""
    study = Simulation(results, config(list(seconds)))
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.compress("support", "int8", 1)
    for recipe in seconds:
        study.evaluate("support", recipe, 1, 0.9)
    study.measure("support", 1, seconds, **measured)
    return " ".join(Reader((make(results, study, drawn=False) / "index.html").read_text()).text.split())


def test_a_server_that_failed_is_missing_with_its_reason(tmp_path: Path) -> None:
    reason = "the server ended in block 3 (signal 9)"
    text = served(tmp_path, {"baseline": 20, "int8": 5}, failed={"int8": reason})
    assert f"int8: its energy against baseline's is unknown ({reason})." in text
    assert text.index("Missing results") < text.rindex(reason)


def test_where_the_baselines_server_failed_no_saving_is_known(tmp_path: Path) -> None:
    reason = "the server ended in block 3 (signal 9)"
    text = served(tmp_path, {"baseline": 20, "int8": 5}, failed={"baseline": reason}, twin=20)
    assert f"baseline would be good enough, but energy is unknown ({reason})." in text
    assert f"How far the same model, deployed twice, differs is unknown ({reason})." in text
    assert f"modelled – unknown: {reason} 4.80" in text, "int8: its own energy is known, its ratio is not"
    assert f"support baseline 1 measure {reason}" in text[text.index("Missing results") :]


def test_where_the_twins_server_failed_the_others_measurement_counts(tmp_path: Path) -> None:
    reason = "the server ended in block 3 (signal 9)"
    text = served(tmp_path, {"baseline": 20, "int8": 5}, failed={"baseline~twin": reason}, twin=20)
    assert "int8 takes 4.0" in text
    assert f"How far the same model, deployed twice, differs is unknown ({reason})." in text


def test_an_experiment_with_one_recipe_still_has_its_twin(tmp_path: Path) -> None:
    text = served(tmp_path, {"baseline": 20}, twin=20)
    assert "support: deploy baseline, the only recipe. A request takes 260 mJ" in text
    assert "The same model, deployed twice, differs by 1.000 (" in text


def test_a_single_round_resolves_nothing(tmp_path: Path) -> None:
    """Not even that the host was not steady: the twin took a sixth more."""
    text = served(tmp_path, {"baseline": 20, "int8": 5}, twin=23, rounds=1)
    assert "support: deploy int8" not in text
    assert "int8 is not resolvable: a single round shows no spread. Measured: 0.25" in text
    assert "The same model, deployed twice, differs by 0.870. The spread between starts is unknown" in text
    assert "the host was not steady" not in text
    assert "4.00–4.00 not resolvable" in text


def test_where_the_same_model_differs_from_itself_no_recipe_is_shown_to_save(tmp_path: Path) -> None:
    text = served(tmp_path, {"baseline": 20, "int8": 5}, twin=26)
    assert "support: deploy int8" not in text
    assert "int8 is not resolvable: the host was not steady. Measured: 0.25" in text
    assert "the host was not steady, so no difference is resolvable. Measure again with nothing else running" in text


def test_an_empty_ledger_still_makes_a_page(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    page = Reader((make(tmp_path, Simulation(tmp_path, config()), drawn=False) / "index.html").read_text())
    assert "not run yet" in page.text
    assert "Wastednone" in page.text


# --- what an account holds, in tables and figures ---


@pytest.fixture
def account(report: Path) -> dict[str, Any]:
    """The whole study's account, to be changed."""
    found: dict[str, Any] = json.loads((report.parent / "account/account.json").read_text())
    return found


def compared(account: dict[str, Any], experiment: str, recipe: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = account["experiments"][experiment]["comparison"]["recipes"]
    return next(row for row in rows if row["recipe"] == recipe)


def of(frame: pd.DataFrame, experiment: str, recipe: str) -> pd.DataFrame:
    return frame[(frame["experiment"] == experiment) & (frame["recipe"] == recipe)]


def test_several_concurrencies_make_a_batch_curve(tmp_path: Path) -> None:
    study = Simulation(tmp_path, config(["baseline"]))
    study.prepare("support")
    study.train("support", "baseline", 1)
    study.evaluate("support", "baseline", 1, 0.9)
    study.measure("support", 1, {"baseline": 9}, concurrency=(1, 4))
    folder = make(tmp_path, study)
    page = Reader((folder / "index.html").read_text())
    assert page.tags.count("figure") == 6, "no causes of one recipe"
    assert (folder / "figures/batch-curve.svg").is_file()
    assert "support: deploy baseline, the only recipe." in page.text
    serving = pd.read_csv(folder / "tables/serving.csv")
    assert serving["concurrency"].tolist() == [1, 4]
    first, second = serving["energy_per_request_J"]
    assert second < 0.6 * first
    size = of(pd.read_csv(folder / "tables/sizes.csv"), "support", "baseline")
    assert size["time_per_token_s"].item() == pytest.approx(9 / 4000), "of the concurrency that is compared"


def test_sizes_say_what_a_model_takes(report: Path) -> None:
    frame = pd.read_csv(report / "tables/sizes.csv")
    baseline, int8 = (of(frame, "support", recipe).iloc[0] for recipe in ("baseline", "int8"))
    assert int8["model_bytes"] < baseline["model_bytes"]
    assert int8["memory_bytes"] < baseline["memory_bytes"]
    assert int8["time_per_token_s"] < 0.3 * baseline["time_per_token_s"]
    assert baseline["idle_power_W_low"] < baseline["idle_power_W"] < baseline["idle_power_W_high"]
    assert "Accelerators, 1000 requests" not in (report / "index.html").read_text(), "no accelerator, no column"


def test_where_less_is_better_the_axis_is_inverted(account: dict[str, Any]) -> None:
    support = account["experiments"]["support"]
    drawn = quality_energy(Account.model_validate(account))
    assert not drawn.figure.axes[0].yaxis_inverted()
    support["higher_is_better"] = False
    drawn = quality_energy(Account.model_validate(account))
    assert drawn.figure.axes[0].yaxis_inverted()
    assert not drawn.figure.axes[1].yaxis_inverted()
    assert "where less is better" in drawn.caption
    assert f"support, {support['recommendation']['recipe']}" in drawn.alt
    assert drawn.alt.count("recommended") == len(account["experiments"])


def test_never_is_not_unknown(account: dict[str, Any], tmp_path: Path) -> None:
    compared(account, "support", "int8")["break_even_requests"] = "never"
    compared(account, "dates", "int8")["break_even_requests"] = None
    table = recommendation(Account.model_validate(account))
    table.write(tmp_path / "recommendation")
    frame = pd.read_csv(tmp_path / "recommendation.csv")
    assert of(frame, "support", "int8")["break_even_requests"].item() == float("inf")
    assert of(frame, "dates", "int8")["break_even_requests"].isna().all()
    assert "| never" in (tmp_path / "recommendation.md").read_text()
    position = [column.key for column in table.columns].index("break_even_requests")
    assert [row[position].sort for row in table.cells()].count("Infinity") == 1


def test_what_is_null_is_unknown(account: dict[str, Any]) -> None:
    for experiment in account["experiments"].values():
        for row in experiment["comparison"]["recipes"]:
            row |= dict.fromkeys(("quality", "quality_difference", "total_energy_per_request_J", "memory_bytes"))
    found = Account.model_validate(account)
    for table, title in ((recommendation, "Total per request"), (sizes, "Server's memory"), (comparison, "Quality")):
        position = [column.title for column in table(found).columns].index(title)
        assert {row[position].text for row in table(found).cells()} == {"unknown"}
    assert quality_energy(found).alt == "No data."


def test_kinds_of_example_and_handed_over_answers_have_a_row_each(account: dict[str, Any]) -> None:
    share = {"value": 0.8, "low": 0.7, "high": 0.9}
    row = compared(account, "support", "int8")
    row["subsets"] = {"held_out": {"accuracy": share, "macro_f1": share, "examples": 120}}
    row["hand_over"] = {"threshold": 0.5, "coverage": share, "examples": 320, "metrics": {"accuracy": share}}
    kinds = subsets(Account.model_validate(account)).frame()
    assert kinds["subset"].tolist() == ["held out"] * 2
    assert kinds["metric"].tolist() == ["accuracy", "macro-F1"]
    assert kinds["examples"].tolist() == [120, 120]
    kept = hand_over(Account.model_validate(account)).frame().iloc[0]
    assert (kept["recipe"], kept["threshold"], kept["coverage_low"], kept["value"]) == ("int8", 0.5, 0.7, 0.8)
    row["hand_over"] |= {"examples": 0, "metrics": {}}
    frame = hand_over(Account.model_validate(account)).frame()
    assert frame["examples"].tolist() == [0], "a row where all are handed over"


# --- causes, controls, twin, threads ---


def ratio(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


@pytest.fixture
def caused(account: dict[str, Any]) -> dict[str, Any]:
    """The account with the causes, the twin and the threads of support's int8, which has a control."""
    probed = [
        {
            "threads": count,
            "rounds": 3,
            "energy_per_request_J": ratio(energy_J, 0.9 * energy_J, 1.1 * energy_J),
            "cpu_s_per_request": 0.01,
            "time_per_request_s": 0.01,
        }
        for count, energy_J in ((1, 0.02), (2, 0.03))
    ]
    by_engine = {"change": "engine", "before": "baseline", "after": "baseline-onnxruntime", "verdict": "saves"}
    by_int8 = {"change": "int8", "before": "baseline-onnxruntime", "after": "int8", "verdict": "not resolvable"}
    engine = by_engine | {"times_less": ratio(6.3, 5.9, 6.7)}
    row = compared(account, "support", "int8")
    row["parts"] = [engine, by_int8 | {"times_less": ratio(1.02, 0.97, 1.07)}]
    row["threads"] = {"threads": 1, "reason": "the least energy per request", "probed": probed}
    found = account["experiments"]["support"]["comparison"]
    alone = row | {"recipe": "baseline-onnxruntime", "is_control": True, "parts": [engine], "threads": None}
    found["recipes"].append(alone | {"times_less": engine["times_less"]})
    found["twin"] = {
        "name": "baseline~twin",
        "times_less": ratio(1.01, 0.97, 1.05),
        "times_less_99": ratio(1.01, 0.95, 1.07),
        "steady": True,
        "resolvable": 0.042,
        "reason": None,
    }
    found |= {"starts": 4, "rounds": 16}
    account["experiments"]["dates"]["comparison"]["twin"] = None
    return account


def test_tables_hold_the_causes_the_roles_and_the_threads(caused: dict[str, Any]) -> None:
    found = Account.model_validate(caused)
    frame = comparison(found).frame()
    int8, alone = (of(frame, "support", name).iloc[0] for name in ("int8", "baseline-onnxruntime"))
    assert (int8["by_engine"], int8["by_engine_high"], int8["by_numerics"]) == (6.3, 6.7, 1.02)
    assert int8["causes"].startswith("engine 6.3 (5.9 to 6.7), int8 1.02 (0.97 to 1.07), not resolvable")
    assert (alone["role"], alone["by_engine"]) == ("control: the engine alone", 6.3)
    assert pd.isna(alone["by_numerics"])
    each = of(causes(found).frame(), "support", "int8")
    assert each["change"].tolist() == ["engine", "int8"]
    assert each["verdict"].tolist() == ["saves", "not resolvable"]
    curve = of(threads(found).frame(), "support", "int8")
    assert curve["threads"].tolist() == [1, 2]
    assert curve["chosen"].tolist() == [True, False]
    assert curve["energy_per_request_J"].tolist() == [0.02, 0.03]


def test_the_page_names_the_causes_and_what_the_host_can_resolve(caused: dict[str, Any], tmp_path: Path) -> None:
    caused["experiments"]["dates"]["comparison"]["twin"] = None
    write_report(Account.model_validate(caused), tmp_path, drawn=False)
    text = " ".join(Reader((tmp_path / "index.html").read_text()).text.replace("\u202f", " ").split())
    assert "engine 6.3 (5.9 to 6.7), int8 1.02 (0.97 to 1.07), not resolvable" in text
    assert "The same model, deployed twice, differs by 1.01 (0.97 to 1.05). Differences below about 4 % can't" in text
    assert "control: the engine alone" in text
    assert "the least energy per request" in text
    assert "The same model was not deployed twice (deploy.twin)" in text, "of the other experiment"


def test_the_figure_of_causes_says_all_it_shows(caused: dict[str, Any]) -> None:
    drawing = factors(Account.model_validate(caused))
    assert drawing is not None
    assert "by engine 6.3 (5.9 to 6.7); by int8 1.02 (0.97 to 1.07), not resolvable" in drawing.alt
    assert "baseline-onnxruntime (control) 6.3" in drawing.alt
    assert "can't be resolved" in drawing.alt
    first, _ = drawing.figure.axes
    assert first.get_xscale() == "log"
    low, high = first.get_xlim()
    assert low < 0.97 < 1 < 6.7 < high


def test_stages_differ_in_black_and_white() -> None:
    stages = ["collect", "preprocess", "train", "compress", "evaluate", "deploy", "measure", "probe", "serve", "load"]
    for first, second in itertools.combinations([*stages, "collect_model"], 2):
        if stage_pattern(first) == stage_pattern(second):
            grey, other = (luma(stage_colour(stage)) for stage in (first, second))
            assert abs(grey - other) > 0.12, f"{first} and {second}"


def luma(colour: str) -> float:
    """Return the luma of a colour (ITU-R BT.709), as a printer without colours shows it."""
    red, green, blue = to_rgb(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_no_ratio_makes_no_figure_of_causes(account: dict[str, Any]) -> None:
    for experiment in account["experiments"].values():
        for row in experiment["comparison"]["recipes"]:
            row["times_less"] = None
    assert factors(Account.model_validate(account)) is None


def test_an_unsteady_host_is_named_in_the_table(caused: dict[str, Any]) -> None:
    caused["experiments"]["support"]["comparison"]["steady"] = False
    compared(caused, "support", "int8")["verdict"] = "not resolvable"
    frame = comparison(Account.model_validate(caused)).frame()
    assert of(frame, "support", "int8")["verdict"].item() == "not resolvable: the host was not steady"


def test_a_study_that_cannot_compare_says_that_first(account: dict[str, Any], tmp_path: Path) -> None:
    account["experiments"]["dates"]["recommendation"] |= {"recipe": None, "at_chance": "no answer is right"}
    write_report(Account.model_validate(account), tmp_path, drawn=False)
    text = Reader((tmp_path / "index.html").read_text()).text
    warning = text.index("This study can't compare the recipes of dates: no answer is right.")
    assert warning < text.index("support: deploy int8")
    assert "dates: deploy" not in text


# --- numbers and tables ---


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (Interval(0.0521, 0.0411, 0.0633), "J", "52 mJ (41–63)"),
        (Interval(4987.0, 3590.0, 7100.0), "J", "5.0 kJ (3.6–7.1)"),
        (1_234_567, "B", "1.23 MB"),
        (0.00042, "s", "420 µs"),
        (130, "s", "130 s"),
        (0.00139, "kWh", "1.39 Wh"),
        (None, "J", "unknown"),
        (PartialInterval(42.0, None, None), "g CO₂e", "42.0 g CO₂e"),
        (Interval(0.455, 0.273, 0.637), "J", "460 mJ (270–640)"),
        (Interval(0.4551, 0.4376, 0.4733), "J", "455 mJ (438–473)"),
        (Interval(9.96, 9.0, 10.9), "J", "10.0 J (9.0–10.9)"),
        (0.0, "J", "0 J"),
    ],
)
def test_quantities_carry_unit_and_sensible_digits(value: Any, unit: str, expected: str) -> None:
    assert quantity(value, unit).replace("\u202f", " ") == expected


class Spent(NamedTuple):
    name: str
    energy_J: Interval | None

    @property
    def least(self) -> Interval:
        return self.energy_J or Interval(0.0, 0.0, 0.0)


@pytest.mark.parametrize("field", ["energy", "energy_J.lowest", "least.lowest", "name.low"])
@pytest.mark.parametrize("rows", [[], [Spent("a", Interval(1.0, 0.5, 2.0))]])
def test_a_column_that_no_row_has_is_refused(field: str, rows: list[Spent]) -> None:
    for column in (Column("key", "Energy", "J", field=field), Column("name", "Energy", "J", like=field)):
        with pytest.raises(AttributeError, match=f"has no field '{field.split('.')[-1]}'"):
            Table("t", "Caption", Spent, [column], rows)


def test_a_column_can_be_a_field_of_a_field_or_a_property() -> None:
    columns = [Column("low_J", "Low", "J", "number", field="energy_J.low"), Column("least", "Least", "J", "interval")]
    frame = Table("t", "Caption", Spent, columns, [Spent("a", Interval(1.0, 0.5, 2.0)), Spent("b", None)]).frame()
    assert frame["low_J"].tolist()[0] == 0.5
    assert frame["low_J"].isna().tolist() == [False, True]
    assert frame["least_high"].tolist() == [2.0, 0.0]


def test_null_stays_null_in_files(tmp_path: Path) -> None:
    table = Table(
        "t",
        "Caption",
        Spent,
        [Column("name", "Name"), Column("energy_J", "Energy", "J", "interval", "unknown")],
        [Spent('a, "b"\nc', Interval(1500.0, 1000.0, 2000.0)), Spent("客服 & 100 %", None)],
    )
    table.write(tmp_path / "t")
    frame = pd.read_csv(tmp_path / "t.csv")
    assert list(frame) == ["name", "energy_J", "energy_J_low", "energy_J_high"]
    assert frame["energy_J"].tolist()[0] == 1500
    assert frame["energy_J"].isna().tolist() == [False, True]
    assert frame["name"].tolist() == ['a, "b"\nc', "客服 & 100 %"]
    assert pd.read_parquet(tmp_path / "t.parquet")["energy_J_high"].isna().tolist() == [False, True]
    markdown = (tmp_path / "t.md").read_text()
    assert "unknown" in markdown
    assert "| Energy (kJ)" in markdown
    assert r"客服 \& 100 \%" in (tmp_path / "t.tex").read_text()
