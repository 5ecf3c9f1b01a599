"""`greenllm footprint`: what a study's energy means, from account.json and attribution.json alone."""

import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulated_study import CPUS, Simulation, config, study_with_a_gpu, whole_study

from greenllm.account.consumed import Consumed
from greenllm.account.document import Account
from greenllm.account.footprint import footprint
from greenllm.account.footprint_document import Footprint
from greenllm.account.ranking import GRID, Option, Point, Ranking
from greenllm.attribution.stored import StoredAttribution
from greenllm.cli import main
from greenllm.files import write_json
from greenllm.footprint.consequences import ImpactModel
from greenllm.footprint.draws import Drawn, Draws
from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import Equipment, SiteFactors
from greenllm.report.robustness import sentence

kWh = 3.6e6


def accounted(study: Simulation) -> Path:
    """Run `greenllm account`, then remove the ledgers; return the results folder."""
    settings = study.config.model_dump_json(by_alias=True, exclude_unset=True)
    out = str(study.results / "account")
    assert main(["account", "--config", settings, "--results", str(study.results), "--out", out]) == 0
    shutil.rmtree(study.results / "ledger")
    return study.results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return accounted(whole_study(tmp_path_factory.mktemp("study") / "results"))


@pytest.fixture(scope="module")
def with_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return accounted(study_with_a_gpu(tmp_path_factory.mktemp("gpu") / "results"))


def made(folder: Path, tmp_path: Path, *options: str) -> dict[str, Any]:
    """Run the command; return its JSON."""
    out = tmp_path / "footprint.json"
    assert main(["footprint", str(folder), "--out", str(out), "--draws", "2000", *options]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def account_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "account" / "account.json").read_text())
    return found


def value(found: dict[str, Any] | None) -> float:
    assert found is not None
    return float(found["value"])


EXACT = ("--pue", "1.25", "--carbon", "400", "--price", "0.3", "--currency", "EUR")


def test_rows_have_the_energy_of_the_table_impact(results: Path, tmp_path: Path) -> None:
    found, account = made(results, tmp_path, *EXACT), account_of(results)
    keys = ("experiment", "recipe", "stage", "attempts")
    impact = {tuple(row[key] for key in keys): row["energy_J"] for row in account["impact"]}
    rows = {tuple(row[key] for key in keys): row["host_J"] for row in found["rows"]}
    assert rows.keys() == impact.keys()
    for key, energy in impact.items():
        assert rows[key]["value"] == pytest.approx(energy["value"])
        assert rows[key]["high"] == pytest.approx(energy["high"], rel=0.05)  # in quadrature there, by draws here


def test_every_joule_that_devices_counted_is_with_a_job(results: Path, tmp_path: Path) -> None:
    found, account = made(results, tmp_path), account_of(results)
    counted = [device for host in account["hosts"] for device in host["devices"]]
    jobs = sum(value(job["it_J"]) for job in found["jobs"])
    assert jobs == pytest.approx(sum(device["jobs_J"] + device["idle_J"] for device in counted))
    assert value(found["rows"][-1]["it_J"]) == pytest.approx(jobs)


def test_idle_energy_goes_to_jobs_by_their_energy(tmp_path: Path) -> None:
    study = Simulation(tmp_path / "results", config())
    small, large = (
        study.job("train", 60, busy, reserved=0.5, experiment="support", recipe=recipe, seed=1)
        for busy, recipe in ((0.2, "baseline"), (0.4, "int8"))
    )
    found = {job["id"]: job for job in made(accounted(study), tmp_path)["jobs"]}
    idle, own = ([value(found[one][name]) for one in (small, large)] for name in ("idle_J", "host_J"))
    assert idle[0] > 0
    assert idle[0] / idle[1] == pytest.approx(own[0] / own[1])


def test_site_carbon_and_cost_of_the_study(results: Path, tmp_path: Path) -> None:
    total = made(results, tmp_path, *EXACT)["rows"][-1]
    it_kWh = value(total["it_J"]) / kWh
    assert value(total["site_J"]) / kWh == pytest.approx(1.25 * it_kWh)
    assert value(total["carbon_it_g"]) == pytest.approx(400 * it_kWh)
    assert value(total["carbon_g"]) == pytest.approx(500 * it_kWh)
    assert value(total["cost"]) == pytest.approx(0.375 * it_kWh)
    assert total["market_carbon_g"] is None
    assert total["heat_reused_kWh"] is None


def test_unknown_consequences_have_a_reason(results: Path, tmp_path: Path) -> None:
    unknown = made(results, tmp_path, *EXACT)["unknown"]
    assert unknown["heat_reused_kWh"] == "unknown: ERF"
    assert "water_L" not in unknown
    assert "carbon_g" not in unknown


def test_without_embodied_carbon_nothing_is_called_sci(results: Path, tmp_path: Path) -> None:
    found = made(results, tmp_path, *EXACT)
    rates = [
        *(row["sci"] for row in found["requests"]),
        *found["scores"],
        *(s for j in found["jobs"] for s in j["sci"]),
    ]
    assert rates
    for rate in rates:
        assert rate["is_sci"] == (rate["embodied_g"] is not None) == (rate["lacks"] == [])
        assert rate["is_sci"] == (rate["value_g"] is not None)
        assert value(rate["operational_g"]) > 0
    # A request's share of the memory is that of its server; a job that reserves none has the host's, which is unknown.
    assert all(row["sci"]["is_sci"] for row in found["requests"])
    lacking = {reason for rate in found["scores"] for reason in rate["lacks"]}
    assert lacking == {"embodied carbon: the host's memory is unknown"}


def test_an_interval_in_the_options_widens_what_depends_on_it(results: Path, tmp_path: Path) -> None:
    narrow, wide = (
        made(results, tmp_path, *EXACT, "--carbon", carbon)["rows"][-1] for carbon in ("400", "100:400:900")
    )
    assert wide["it_J"] == narrow["it_J"]
    assert wide["cost"] == narrow["cost"]
    assert wide["carbon_g"]["high"] > narrow["carbon_g"]["high"]
    assert wide["carbon_g"]["value"] == narrow["carbon_g"]["value"]


def test_what_widens_an_interval_most_is_named(results: Path, tmp_path: Path) -> None:
    found = made(results, tmp_path, *EXACT, "--carbon", "100:400:900")["widening"]
    carbon = {
        row["constant"]: row["share"] for row in found if (row["experiment"], row["quantity"]) == (None, "carbon_g")
    }
    assert next(iter(carbon)) == "grid carbon: given with the command"
    assert carbon["grid carbon: given with the command"] > 0.5
    assert carbon["cpu.busy_W_per_core"] > 0.02
    assert sum(carbon.values()) == pytest.approx(1, abs=0.02)


def test_another_place_is_marked_as_a_projection(results: Path, tmp_path: Path) -> None:
    assert made(results, tmp_path)["projection"] == []
    earlier = made(results, tmp_path, "--country", "FRA", "--year", "2024")
    assert earlier["projection"] == ["place FRA instead of WORLD", "factors of 2024 instead of 2026"]
    there = made(results, tmp_path, "--country", "FRA")
    assert "France" in there["site"]["place"]
    beside = made(results, tmp_path, "--elsewhere", "FRA")["elsewhere"]
    assert [row["place"] for row in beside] == [there["site"]["place"]]
    assert beside[0]["carbon_it_g"]["value"] == pytest.approx(there["rows"][-1]["carbon_it_g"]["value"])


def test_the_same_seed_gives_the_same_file_and_reading_it_changes_nothing(results: Path, tmp_path: Path) -> None:
    first = made(results, tmp_path, *EXACT)
    assert made(results, tmp_path, *EXACT) == first
    assert made(results, tmp_path, *EXACT, "--seed", "2") != first
    again = Footprint.read(tmp_path / "footprint.json").model_dump(mode="json", by_alias=True)
    write_json(tmp_path / "again.json", again)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "footprint.json").read_bytes()


def test_the_tables_name_place_and_recipes(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["footprint", str(results), *EXACT, "--country", "DEU", "--draws", "1000"]) == 0
    text = capsys.readouterr().out
    assert "Germany" in text
    assert "Projection: place DEU instead of WORLD." in text
    assert "int8 is recommended. Does that hold?" in text
    assert "Unknown for lack of ERF: heat_reused_kWh, heat_displaced_g" in text


def test_the_table_has_the_energies_of_the_account_and_their_consequences(results: Path, tmp_path: Path) -> None:
    found = made(results, tmp_path, *EXACT, "--table", str(tmp_path / "impact.csv"))
    table, account = pd.read_csv(tmp_path / "impact.csv"), account_of(results)
    assert len(table) == len(account["impact"]) == len(found["rows"])
    assert table["energy_J"].tolist() == pytest.approx([row["energy_J"]["value"] for row in account["impact"]])
    assert table["waste_J"].tolist() == pytest.approx([row["waste_J"]["value"] for row in account["impact"]])
    whole = table[(table["experiment"] == "all")].iloc[0]
    assert whole["carbon_site_gCO2e"] == pytest.approx(whole["energy_kWh"] * 1.25 * 400)
    assert whole["carbon_site_gCO2e_low"] < whole["carbon_site_gCO2e"] < whole["carbon_site_gCO2e_high"]
    assert whole["water_grid_L"] > 0
    assert pd.isna(whole["carbon_market_gCO2e"])
    assert (whole["grid_gCO2e_per_kWh"], whole["grid_source"]) == (400, "given with the command")
    assert {path.name for path in tmp_path.glob("impact.*")} == {
        f"impact.{kind}" for kind in ("csv", "parquet", "md", "tex")
    }


def test_json_on_standard_output_is_that_of_the_file(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made(results, tmp_path, *EXACT, "--json")
    assert json.loads(capsys.readouterr().out) == found


def test_a_gpus_energy_is_the_first_scope(with_gpu: Path, tmp_path: Path) -> None:
    for row in made(with_gpu, tmp_path)["rows"]:
        if row["stage"] in ("train", "measure"):
            assert 0 < value(row["accelerator_J"]) < value(row["host_J"]) <= value(row["it_J"])
    for row in made(with_gpu, tmp_path)["requests"]:
        assert 0 < value(row["accelerator_J"]) < value(row["host_J"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--country", "XYZ"], "--country: 'XYZ' has no grid factor"),
        (["--elsewhere", "XYZ"], "--elsewhere: 'XYZ' has no grid factor"),
        (
            ["--country", "DEU", "--year", "1990"],
            "--year 1990: the oldest factor of the grid of Germany (DEU) is of 2023",
        ),
        (["--price", "0.3"], "--price 0.3: has no currency"),
        (["--currency", "EUR"], "--currency EUR: belongs to --price"),
        (["--pue", "0.9"], "--pue 0.9: a PUE of 0.9 kWh/kWh is not plausible; expected 1 to 5 kWh/kWh"),
        (["--carbon", "0.4"], "400 is plausible: was the value in kg?"),
        (["--carbon", "500:400:300"], "expected LOW <= VALUE <= HIGH"),
        (["--price", "cheap", "--currency", "EUR"], "--price cheap: expected a number in"),
        (["--price", "1:2", "--currency", "EUR"], "or LOW:VALUE:HIGH with its 95 % bounds"),
        (["--erf", "nan"], "expected a number in kWh/kWh"),
        (["--draws", "3"], "expected 100 to 1000000"),
        (["--start", "2025-01-01T00:00Z"], "needs a series of the grid's carbon"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_written(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    out = tmp_path / "footprint.json"
    assert main(["footprint", str(results), "--out", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not out.exists()


def change_account(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / "account" / name
    found = json.loads(path.read_text())
    change(found)
    write_json(path, found)
    return path


def drop_a_job(found: dict[str, Any]) -> None:
    found["jobs"].pop()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "account.json",
            lambda found: found.update(schema="greenllm/account/2"),
            "expected schema 'greenllm/account/3'",
        ),
        ("attribution.json", lambda found: found.update(schema="greenllm/attribution/1"), "'greenllm/attribution/1'"),
        ("attribution.json", drop_a_job, "account.json and attribution.json are of different attempts"),
        ("attribution.json", lambda found: found["hosts"][0].pop("cpus"), "hosts.0.cpus: field required"),
    ],
)
def test_a_folder_of_another_version_is_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, change: Any, said: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(results, folder)
    change_account(folder, name, change)
    assert main(["footprint", str(folder)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "run it" in error or "run `greenllm account`" in error
    assert error.count("\n") == 1


def test_a_folder_without_an_account_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["footprint", str(tmp_path)]) == 2
    assert "account/account.json: no such file; expected a results folder" in capsys.readouterr().err


# --- embodied carbon, by hardware that is known ---


def factor(name: str, middle: float, low: float | None = None, high: float | None = None) -> Factor:
    low, high = (middle, middle) if low is None else (low, high)
    return Factor(
        name=name, place="test", value=middle, low=low, high=high, interval="", unit="1", year=2026, source="test"
    )


def equipment(kind: Any, name: str, embodied_kg: float) -> Equipment:
    return Equipment(
        kind=kind, name=name, embodied=factor(f"embodied {kind}", embodied_kg), life=factor(f"life of {kind}", 4.0)
    )


HARDWARE = [
    equipment("gpu", "H100", 273),
    equipment("processor", "processor", 20),
    equipment("memory", "memory", 0.5),
    equipment("server", "server", 1000),
]
SITE = SiteFactors(place="test", grid_carbon=factor("grid carbon", 300), pue=factor("PUE", 1.5))
GRAMS_PER_s = {"gpu": 273e3, "host": (20 + 0.5 * 8 + 1000) * 1e3}


@dataclasses.dataclass(frozen=True)
class Course:
    """A grid that is dirty from a moment on; before it, and for a day, the series has values."""

    moment: datetime.datetime

    def mean_between(self, start: datetime.datetime, end: datetime.datetime) -> tuple[float | None, float]:
        return (600.0, 1.0) if start >= self.moment else (100.0, 0.5)


def consumed(folder: Path, **more: Any) -> Consumed:
    account = folder / "account"
    stored = StoredAttribution.read(account / "attribution.json")
    return Consumed(Account.read(account / "account.json"), stored, HARDWARE, 300.0, **more)


def found_with_hardware(folder: Path, site: SiteFactors = SITE, **more: Any) -> Footprint:
    own = consumed(folder, **more)
    return footprint(own, ImpactModel(own.parameters, site, HARDWARE, Draws(500)), 2026, [])


def test_reserved_hardware_of_a_study_counts_once(with_gpu: Path) -> None:
    """Servers and loads run inside the job that reserved the host, so the study has the time of outer jobs alone."""
    attribution = json.loads((with_gpu / "account" / "attribution.json").read_text())
    outer_s = sum(job["duration_s"] for job in attribution["jobs"] if job["parent"] is None)
    found = found_with_hardware(with_gpu)
    grams = sum(GRAMS_PER_s.values()) / (4 * 365 * 86400) * outer_s
    assert found.total.embodied_g is not None
    assert found.total.embodied_g.value == pytest.approx(grams)
    assert sum(job.embodied_g.value for job in found.jobs if job.embodied_g) == pytest.approx(grams)
    assert {job["reserved_cpus"] for job in attribution["jobs"] if job["parent"] is None} == {CPUS}


def test_with_all_parts_known_it_is_sci_and_parts_sum(with_gpu: Path) -> None:
    found = found_with_hardware(with_gpu)
    for row in found.requests:
        assert row.sci.is_sci
        assert row.sci.lacks == []
        assert row.sci.value_g is not None
        assert row.sci.operational_g is not None
        assert row.sci.embodied_g is not None
        assert row.sci.value_g.value == pytest.approx(row.sci.operational_g.value + row.sci.embodied_g.value)
        assert row.embodied_g is not None
        busy_s = {"baseline": 26.0, "int8": 6.0}[row.recipe]  # for a thousand requests
        memory = {"baseline": 0.31, "int8": 0.12}[row.recipe] * 0.5
        assert row.embodied_g.value == pytest.approx(
            (273 + 20 + 1000 + memory) * 1e3 / (4 * 365 * 86400) * busy_s, rel=1e-3
        )


def test_scores_of_sci_for_ai_have_the_units_of_the_specification(with_gpu: Path) -> None:
    scores = {(one.recipe, one.score, one.unit): one for one in found_with_hardware(with_gpu).scores}
    units = {(score, unit) for _, score, unit in scores}
    assert units == {
        ("consumer", "request"),
        ("consumer", "token"),
        ("provider", "training token"),
        ("provider", "FLOP"),
        ("provider", "billion parameter"),
    }
    per_request, per_token = scores["int8", "consumer", "request"], scores["int8", "consumer", "token"]
    assert per_request.value_g is not None
    assert per_token.value_g is not None
    assert per_request.value_g.value == pytest.approx(4 * per_token.value_g.value)
    assert scores["int8", "provider", "training token"].units == 2.4e6  # of the baseline that it is made from


def test_the_score_of_a_parameter_does_not_grow_with_the_seeds(tmp_path: Path) -> None:
    units = {}
    for seeds in ([1], [1, 2, 3]):
        study = Simulation(tmp_path / str(len(seeds)), config(["baseline"], seeds))
        study.prepare("support")
        for seed in seeds:
            study.train("support", "baseline", seed)
        scores = made(accounted(study), tmp_path / f"out{len(seeds)}")["scores"]
        (units[len(seeds)],) = (one["units"] for one in scores if one["unit"] == "billion parameter")
    assert units[3] == pytest.approx(3 * units[1])


def test_a_model_with_an_unknown_training_has_no_footprint(tmp_path: Path) -> None:
    study = Simulation(tmp_path / "results", config(["baseline", "long"], decision={"requests": 1000}))
    study.prepare("support")
    for recipe in ("baseline", "long"):
        before = set(study.results.rglob("*.jsonl"))
        study.train("support", recipe, 1)
        study.evaluate("support", recipe, 1, 0.9)
        if recipe == "long":
            for path in {*study.results.rglob("ledger/**/*.jsonl")} - before:
                path.unlink()
    study.measure("support", 1, {"baseline": 20, "long": 10})
    found = made(accounted(study), tmp_path)
    assert [one["recipe"] for one in found["production"] if one["experiment"] == "support"] == ["baseline"]
    (decision,) = (one for one in found["decisions"] if one["experiment"] == "support")
    assert decision["repayments"] == [] or all(one["requests"] is None for one in decision["repayments"])


def test_carbon_follows_the_hours_of_a_series(with_gpu: Path) -> None:
    account = Account.read(with_gpu / "account" / "account.json")
    starts = sorted(datetime.datetime.fromisoformat(row.started) for row in account.jobs)
    middle = starts[len(starts) // 2]
    found = found_with_hardware(with_gpu, course=Course(middle))
    for row, job in zip(account.jobs, found.jobs, strict=True):
        assert job.it_J is not None
        assert job.carbon_g is not None
        late = datetime.datetime.fromisoformat(row.started) >= middle
        grid = 600 if late else 0.5 * 100 + 0.5 * 300  # the year's mean for what the series leaves out
        assert job.carbon_g.value == pytest.approx(job.it_J.value / kWh * 1.5 * grid)
    assert found.covered is not None
    assert 0.5 < found.covered < 1
    moved = found_with_hardware(with_gpu, course=Course(middle), shift=datetime.timedelta(days=30))
    assert moved.total.carbon_g is not None
    assert found.total.carbon_g is not None
    assert moved.total.carbon_g.value > found.total.carbon_g.value


def test_a_recorded_series_has_its_own_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its hours replace the year's mean, so the mean's error is none of theirs."""
    series = tmp_path / "grid.csv"
    hours = "".join(f"2026-11-{day}T{hour:02}:00,400,380,420\n" for day in (18, 19) for hour in range(24))
    series.write_text("time (UTC),value (gCO2e/kWh),low (gCO2e/kWh),high (gCO2e/kWh)\n" + hours)
    study = study_with_a_gpu(tmp_path / "results")
    site = {"series": str(series)}
    study.config = study.config.model_copy(update={"site": study.config.site.model_copy(update=site)})
    found = made(accounted(study), tmp_path)
    grid = found["site"]["grid_carbon"]
    assert (grid["low"] / grid["value"], grid["high"] / grid["value"]) == pytest.approx((0.95, 1.05))
    assert found["covered"] == pytest.approx(1)
    total = found["rows"][-1]
    assert value(total["carbon_it_g"]) == pytest.approx(value(total["it_J"]) / kWh * 400)
    said = capsys.readouterr().out
    assert "The recorded series covers 100\u202f% of the jobs' time." in said


# --- decisions ---


def drawn(middle: float, spread: float = 0.0) -> Drawn:
    normal = np.random.default_rng(1).standard_normal((1, 500))
    return Drawn(np.array([middle]), middle * np.exp(spread * normal))


def option(recipe: str, request_J: float, embodied_g: float, **more: Any) -> Option:
    given: dict[str, Any] = {
        "idle_W": drawn(10), "busy_s": 0.1, "held_g_per_s": drawn(0), "made_J": drawn(0), "made_g": drawn(0), **more,
    }  # fmt: skip
    return Option(recipe=recipe, request_J=drawn(request_J), embodied_g=drawn(embodied_g), **given)


def ranking(*options: Option) -> Ranking:
    return Ranking(
        options=options, requests=1000, grid=drawn(300), pue=drawn(1.0), price=drawn(0.3), with_embodied=True
    )


def test_the_grid_at_which_another_recipe_is_better_is_found() -> None:
    """1 J less for 120/3.6e6 g more of hardware: even at 120 g/kWh."""
    found = ranking(option("baseline", 2, 0), option("int8", 1, 120 / kWh)).sweep(
        "carbon", GRID, lambda grid: Point(grid=grid), "int8"
    )
    assert found is not None
    assert [stretch.recipes for stretch in found.best] == [["baseline"], ["int8"]]
    assert found.best[0].high == pytest.approx(120, rel=1e-6)
    assert not found.holds
    assert sentence(found, "int8") == (
        "int8 has the least carbon by grid carbon only above 120\u202fg CO₂e/kWh; baseline below 120\u202fg CO₂e/kWh"
    )


def test_a_recipe_that_is_better_in_both_holds_for_every_grid() -> None:
    both = ranking(option("baseline", 2, 1e-5), option("int8", 1, 1e-5))
    found = both.sweep("carbon", GRID, lambda grid: Point(grid=grid), "int8")
    assert found is not None
    assert found.holds
    said = sentence(found, "int8")
    assert said == "int8 has the least carbon for every grid carbon in range (10 to 1\u202f000\u202fg CO₂e/kWh)"
    assert both.everywhere("int8", [None]) is True
    assert ranking(option("baseline", 2, 0), option("int8", 1, 120 / kWh)).everywhere("int8", [None]) is False


def noisy(recipe: str, request_J: float, seed: int) -> Option:
    """A recipe whose energy is known to about 4 %, apart from what it shares with others."""
    own = np.random.default_rng(seed).standard_normal((1, 500))
    return dataclasses.replace(
        option(recipe, request_J, 0), request_J=Drawn(np.array([request_J]), request_J * np.exp(0.02 * own))
    )


def test_recipes_that_cannot_be_told_apart_share_first_place() -> None:
    """A simpler recipe that takes 1 % more than the best holds as well; one that takes twice as much does not."""
    three = ranking(noisy("baseline", 2, 1), noisy("exported", 1.01, 2), noisy("int8", 1, 3))
    assert three.first("carbon", Point()) == ("exported", "int8")
    found = three.sweep("carbon", GRID, lambda grid: Point(grid=grid), "exported")
    assert found is not None
    assert found.holds
    assert [stretch.recipes for stretch in found.best] == [["exported", "int8"]]
    assert sentence(found, "exported").startswith("exported and int8, which can't be told apart, have the least carbon")
    assert three.everywhere("exported", [None]) is True
    lost = three.sweep("carbon", GRID, lambda grid: Point(grid=grid), "baseline")
    assert lost is not None
    assert not lost.holds
    assert "does not have the least carbon for any grid carbon" in sentence(lost, "baseline")


def test_a_difference_below_what_the_host_resolves_is_none() -> None:
    """3 % less without an error of its own is a difference, unless the same model twice differs by as much."""
    two = ranking(option("baseline", 1.03, 0), option("int8", 1, 0))
    assert two.first("energy", Point()) == ("int8",)
    assert dataclasses.replace(two, resolvable=0.05).first("energy", Point()) == ("baseline", "int8")


def test_a_request_pays_for_the_idle_time_between_requests() -> None:
    one = option("baseline", 2, 0)
    at = ranking(one)
    energy = at.energy_J(one, Point(per_day=1000), made=False)
    assert energy is not None
    assert energy.value[0] == pytest.approx(2 + 10 * (86400 / 1000 - 0.1))
    busy = at.energy_J(one, Point(per_day=864_000), made=False)
    assert busy is not None
    assert busy.value[0] == pytest.approx(2)


def test_making_the_model_is_divided_among_the_requests() -> None:
    one = option("int8", 2, 0, made_J=drawn(5000), made_g=drawn(100))
    energy, carbon = ranking(one).energy_J(one, Point()), ranking(one).carbon_g(one, Point())
    assert energy is not None
    assert carbon is not None
    assert energy.value[0] == pytest.approx(7)
    assert carbon.value[0] == pytest.approx(7 / kWh * 300 + 0.1)


def test_break_even_is_that_of_the_account_and_has_grams_and_money(results: Path, tmp_path: Path) -> None:
    decision = made(results, tmp_path, *EXACT)["decisions"][0]
    row = next(
        r for r in account_of(results)["experiments"]["support"]["comparison"]["recipes"] if r["recipe"] == "int8"
    )
    repaid = {one["measure"]: one for one in decision["repayments"] if one["recipe"] == "int8"}
    assert value(repaid["energy"]["requests"]) == pytest.approx(value(row["break_even_requests"]), rel=1e-6)
    assert value(repaid["cost"]["requests"]) == pytest.approx(value(repaid["energy"]["requests"]))
    site_kWh = value(repaid["energy"]["extra"]) / kWh * 1.25
    assert value(repaid["carbon"]["extra"]) == pytest.approx(site_kWh * 400)
    assert value(repaid["cost"]["extra"]) == pytest.approx(site_kWh * 0.3)


def test_a_recommendation_is_tried_over_every_factor(results: Path, tmp_path: Path) -> None:
    decision = made(results, tmp_path, *EXACT)["decisions"][0]
    assert decision["recommended"] == "int8"
    tried = {(sweep["measure"], sweep["factor"]): sweep for sweep in decision["sweeps"]}
    assert tried.keys() == {
        ("carbon", "grid carbon"),
        ("carbon", "PUE"),
        ("carbon", "number of requests a day"),
        ("energy", "number of requests a day"),
        ("cost", "price"),
    }
    assert all(sweep["holds"] for sweep in tried.values())
    assert decision["everywhere"] is True
    assert decision["combinations"] > 0.95
    per_day = [row for row in decision["per_day"] if row["recipe"] == "int8"]
    energies = [value(row["energy_J"]) for row in per_day]
    assert energies == sorted(energies, reverse=True)
