"""Factors: the tables, what is refused in them, what a site and its equipment get, `greenllm factors`."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from greenllm.cli import main
from greenllm.config.models import OwnEquipment, Site
from greenllm.errors import UserError
from greenllm.footprint.equipment import equipment_of
from greenllm.footprint.factor_kinds import KINDS
from greenllm.footprint.factor_tables import COLUMNS, FOLDER, read_factors, shipped_factors
from greenllm.footprint.grid_carbon import grid_carbon
from greenllm.footprint.site_factors import recorded_carbon_of, site_factors_of

ROW = {
    "name": "grid carbon", "place": "DEU", "value": "45", "low": "40", "high": "50", "interval": "of the supplier",
    "unit": "gCO2e/kWh", "year": "2026", "source": "our supplier", "licence": "", "retrieved": "2026-11-29", "note": "",
}  # fmt: skip


def table(path: Path, *changes: dict[str, str]) -> Path:
    """Write a table with a row for each change to `ROW`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**ROW, **change} for change in changes)
    return path


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run `greenllm factors`, which must refuse its input in one line; return the line."""
    assert main(["factors", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """Return what `greenllm factors --json` prints."""
    assert main(["factors", *words, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


# --- the tables


def test_each_table_of_ours_is_valid_and_has_sources() -> None:
    paths = sorted(FOLDER.glob("*.csv"))
    assert len(paths) >= 5
    for path in paths:
        assert read_factors(path), path
    for factor in shipped_factors():
        assert factor.retrieved, factor
        assert factor.licence, factor
    assert {factor.name for factor in shipped_factors()} >= {name for name in KINDS if name.startswith("embodied")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": ""}, "source is empty"),
        ({"unit": " "}, "unit ' ' is not valid"),
        ({"unit": "kgCO2e/kWh"}, "unit 'kgCO2e/kWh': expected 'gCO2e/kWh'"),
        ({"value": "0.38", "low": "", "high": ""}, "0.38 gCO2e/kWh is not plausible; expected 1 to 2000"),
        ({"value": "0.38", "low": "", "high": ""}, "380 is plausible: was the value in kg"),
        ({"value": "45000", "low": "", "high": ""}, "is not plausible"),
        ({"value": "many"}, "value 'many' is not valid"),
        ({"value": "nan"}, "value 'nan' is not valid"),
        ({"low": "46"}, "expected low <= value <= high, got 46, 45 and 50"),
        ({"low": ""}, "low and high belong together"),
        ({"interval": ""}, "interval is empty"),
        ({"name": "grid carbons"}, "is no kind of factor; did you mean 'grid carbon'?"),
        ({"year": "26"}, "year '26' is not valid"),
        ({"retrieved": "yesterday"}, "retrieved 'yesterday' is not valid"),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], said: str
) -> None:
    path = table(tmp_path / "own.csv", {"place": "AAA"}, change)
    line = refusal(capsys, "--table", str(path))
    assert f"{path}: row 3: " in line
    assert said in line


def test_a_factor_twice_is_refused_with_both_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "--table", str(table(tmp_path / "own.csv", {}, {"year": "2025"}, {"value": "46"})))
    assert "row 4: grid carbon of DEU of 2026 is already in row 2" in line


def test_a_table_without_a_column_and_a_short_row_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.csv"
    path.write_text("name,place,value\ngrid carbon,DEU,45\n")
    assert "the header lacks low, high, interval, unit" in refusal(capsys, "--table", str(path))
    path.write_text(",".join(COLUMNS) + "\ngrid carbon,DEU,45\n")
    assert "row 2: expected 12 cells" in refusal(capsys, "--table", str(path))
    assert "no such file" in refusal(capsys, "--table", str(tmp_path / "none.csv"))


# --- a site


def test_a_countrys_factor_is_that_of_the_year_asked_for() -> None:
    by_year = {year: grid_carbon("DEU", year) for year in (2023, 2024, 2025, 2026)}
    found = {year: factor.year for year, factor in by_year.items() if factor}
    assert found == {2023: 2023, 2024: 2024, 2025: 2025, 2026: 2025}
    oldest = grid_carbon("DEU", 1999)
    assert oldest is not None
    assert oldest.year == 2023
    newest = by_year[2026]
    assert newest is not None
    assert newest.low is not None
    assert newest.high is not None
    assert newest.low < newest.value < newest.high


def test_the_means_of_the_world_are_those_that_ember_publishes() -> None:
    # Ember: 472.94 gCO2e/kWh in 2024; Our World in Data: 458.29 in 2025.
    for year, published in ((2024, 472.94), (2025, 458.29)):
        factor = grid_carbon("WORLD", year)
        assert factor is not None
        assert factor.value == pytest.approx(published, rel=0.02)
        assert factor.low is not None
        assert factor.high is not None
        assert factor.high / factor.low > 5


def test_parts_of_countries_are_known() -> None:
    # EPA eGRID2023: California 394.769 lb/MWh; MEE 2023: Beijing 0.5554 kg/kWh; ENTSO-E 2025: SE3 27.0 g/kWh.
    for country, region, grams in (
        ("USA", "US-CA", 394.769 * 0.45359237),
        ("USA", "California", 394.769 * 0.45359237),
        ("CHN", "CN-BJ", 555.4),
        ("SWE", "SE3", 27.0),
        ("WORLD", "US-CA", 394.769 * 0.45359237),
    ):
        factors = site_factors_of(Site(country=country, region=region), 2026)
        assert factors.grid_carbon is not None
        assert factors.grid_carbon.value == pytest.approx(grams, abs=0.01)
    quebec = site_factors_of(Site(country="CAN", region="CA-QC"), 2026).grid_carbon
    alberta = site_factors_of(Site(country="CAN", region="CA-AB"), 2026).grid_carbon
    assert quebec is not None
    assert alberta is not None
    assert quebec.value < 40 < 400 < alberta.value


def test_a_part_has_the_water_of_its_country() -> None:
    state = site_factors_of(Site(country="WORLD", region="US-CA"), 2026)
    country = site_factors_of(Site(country="USA"), 2026)
    assert state.grid_water == country.grid_water
    assert state.grid_carbon_marginal == country.grid_carbon_marginal
    without = site_factors_of(Site(country="ABW"), 2026).grid_water
    assert without is not None
    assert without.place == "WORLD"


def test_a_provider_has_its_pue_and_an_unknown_site_a_wide_one() -> None:
    google = site_factors_of(Site(provider="Google"), 2026)
    assert google.pue is not None
    assert google.wue is not None
    assert google.pue.value == 1.09
    unknown = site_factors_of(Site(), 2026)
    assert unknown.pue is not None
    assert unknown.pue.low is not None
    assert unknown.pue.high is not None
    assert unknown.pue.low < google.pue.value < unknown.pue.value < unknown.pue.high
    assert unknown.erf is None
    assert unknown.renewable is None
    assert unknown.market_carbon is None
    assert unknown.price is None


def test_the_configurations_own_factors_come_first() -> None:
    site = Site(
        country="DEU", carbon_g_per_kWh=45, carbon_source="supplier", carbon_year=2026, market_carbon_g_per_kWh=0,
        market_carbon_source="certificates", pue=1.3, wue_L_per_kWh=0.0, wue_source="dry cooling", erf=0.2,
        erf_source="heat meter", renewable_share=1.0, renewable_source="contract", price_per_kWh=-0.01, currency="EUR",
        price_source="spot market", provider="aws",
    )  # fmt: skip
    found = site_factors_of(site, 2026)
    values = {
        name: getattr(found, name).value
        for name in ("grid_carbon", "market_carbon", "pue", "wue", "erf", "renewable", "price")
    }
    assert values == {
        "grid_carbon": 45, "market_carbon": 0, "pue": 1.3, "wue": 0, "erf": 0.2, "renewable": 1, "price": -0.01,
    }  # fmt: skip
    assert found.price is not None
    assert found.price.unit == "EUR/kWh"


def test_a_series_of_prices_is_not_the_grids_carbon(tmp_path: Path) -> None:
    path = tmp_path / "series.json"
    path.write_text(json.dumps({"unix_seconds": [0, 3600], "price": [50, 60], "unit": "EUR / MWh"}))
    with pytest.raises(UserError, match="is in EUR/kWh; expected the grid's carbon in gCO2e/kWh"):
        recorded_carbon_of(Site(series=str(path)))
    path.write_text(json.dumps({"unix_seconds": [0, 3600], "co2eq": [50, 60]}))
    series = recorded_carbon_of(Site(series=str(path)))
    assert series is not None
    times = (datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(7200, UTC))
    assert series.mean_between(*times) == (55, 1)
    assert recorded_carbon_of(Site()) is None


def test_nothing_is_known_of_no_place() -> None:
    nowhere = site_factors_of(Site(country=None), 2026)
    assert nowhere.grid_carbon is None
    assert nowhere.grid_water is None


def test_own_tables_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "own.csv", {"year": "2020"})
    found = site_factors_of(Site(country="DEU", factor_tables=[str(path)]), 2026).grid_carbon
    assert found is not None
    assert (found.value, found.year, found.source) == (45, 2020, "our supplier")
    assert [one["value"] for one in listed(capsys, "DEU", "--table", str(path)) if one["name"] == "grid carbon"] == [45]


@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({"country": "USB"}, "'USB' has no grid factor in the tables"),
        ({"country": "GER"}, "did you mean"),
        ({"region": "US-XX"}, "site.region: 'US-XX' is unknown"),
        ({"country": "USA", "region": "Californa"}, "did you mean US-CA (California)?"),
        ({"country": "DEU", "region": "US-CA"}, "'US-CA' is in USA, but site.country is DEU"),
        ({"provider": "gogle"}, "did you mean google?"),
        ({"carbon_g_per_kWh": 0.35, "carbon_source": "supplier", "carbon_year": 2026}, "was the value in kg"),
        ({"market_carbon_g_per_kWh": 30}, "market_carbon_source belong together"),
        ({"wue_source": "supplier"}, "wue_source belong together"),
        ({"price_per_kWh": 0.3, "price_source": "tariff"}, "expected all or none"),
        ({"series": "nowhere.csv"}, "nowhere.csv: no such file"),
        ({"pue": 0.9}, "site.pue: input should be greater than or equal to 1, got 0.9"),
    ],
)
def test_a_mistake_in_the_site_is_one_line_of_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], site: dict[str, Any], said: str
) -> None:
    study = {
        "experiments": {
            "a": {"task": "customer-service", "data": {"source": "embedded"}, "recipes": ["baseline"]},
        },
        "recipes": {"baseline": {"train": {}}},
        "site": site,
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(study))
    assert main(["config", "check", str(path)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert str(path) in line
    assert said in line


# --- equipment


def test_a_gpu_has_the_spread_of_the_literature() -> None:
    found = {one.name: one for one in equipment_of({}, ["NVIDIA H100 80GB HBM3", "Some Other Card"], 2026)}
    h100 = found["NVIDIA H100 80GB HBM3"].embodied
    assert h100 is not None
    assert (h100.low, h100.value, h100.high, h100.unit) == (164, 273, 570, "kgCO2e")
    other = found["Some Other Card"].embodied
    assert other is not None
    assert other.place == "unknown"
    for kind in ("processor", "memory", "disk", "server"):
        one = found[kind]
        assert one.embodied is not None
        assert one.life is not None
        assert one.life.low is not None
        assert one.life.high is not None
        assert one.life.low < one.life.value < one.life.high


def test_equipment_of_the_users_own_comes_first() -> None:
    hardware = {
        "NVIDIA H100": OwnEquipment(embodied_kg=300, source="our supplier", year=2026),
        "server": OwnEquipment(embodied_kg=900, life_years=7, source="our asset list"),
        "gpu": OwnEquipment(life_years=4, source="our asset list"),
    }
    found = {one.name: one for one in equipment_of(hardware, ["NVIDIA H100 PCIe", "NVIDIA L4"], 2026)}
    values = {
        name: (one.embodied and one.embodied.value, one.life and one.life.value)
        for name, one in found.items()
        if name in ("NVIDIA H100 PCIe", "NVIDIA L4", "server")
    }
    assert values["server"] == (900, 7)
    assert values["NVIDIA H100 PCIe"] == (300, 4)
    assert values["NVIDIA L4"] == (181, 4)


@pytest.mark.parametrize(
    ("kind", "device"),
    [("gpu", "NVIDIA A100-SXM4-80GB"), ("gpu", "Tesla V100-SXM2-32GB"), ("processor", "Intel Xeon E5-2690")],
)
def test_a_device_may_be_named_as_its_driver_says_it(kind: Any, device: str) -> None:
    hardware = {device: OwnEquipment(kind=kind, embodied_kg=50, life_years=4, source="our supplier")}
    found = {one.name: one for one in equipment_of(hardware, [device] if kind == "gpu" else [], 2026)}[device]
    assert found.embodied is not None
    assert found.life is not None
    assert (found.embodied.value, found.life.value) == (50, 4)


def test_of_the_users_names_the_closest_one_counts() -> None:
    hardware = {
        "NVIDIA A100": OwnEquipment(embodied_kg=500, life_years=4, source="our supplier"),
        "NVIDIA A100 80GB": OwnEquipment(embodied_kg=501, source="our supplier"),
        "NVIDIA": OwnEquipment(kind="processor", embodied_kg=50, source="our supplier"),
    }
    devices = ["NVIDIA A100-SXM4-80GB", "NVIDIA A100-PCIE-40GB", "NVIDIA L4"]
    found = {one.name: one for one in equipment_of(hardware, devices, 2026)}
    embodied_kg = {name: one.embodied.value for name, one in found.items() if one.embodied is not None}
    life_years = {name: one.life.value for name, one in found.items() if one.life is not None}
    assert [embodied_kg[name] for name in devices] == [501, 500, 181]
    assert [life_years[name] for name in devices[:2]] == [4, 4]


def test_equipment_and_contracts_of_own_tables_come_first(tmp_path: Path) -> None:
    kg = {"unit": "kgCO2e", "low": "", "high": ""}
    path = table(
        tmp_path / "own.csv",
        {**kg, "name": "embodied gpu", "place": "A100", "value": "999"},
        {**kg, "name": "embodied gpu", "place": "unknown", "value": "333"},
        {**kg, "name": "embodied server", "place": "unknown", "value": "888"},
        {**kg, "name": "life of server", "place": "unknown", "value": "8", "unit": "years"},
        {"name": "market carbon", "place": "DEU", "value": "5", "low": "4", "high": "6"},
    )
    found = {
        one.name: one
        for one in equipment_of({}, ["NVIDIA A100-SXM4-80GB", "NVIDIA H100 PCIe", "Some Other Card"], 2026, (path,))
    }
    embodied_kg = {name: one.embodied.value for name, one in found.items() if one.embodied is not None}
    assert embodied_kg["NVIDIA A100-SXM4-80GB"] == 999
    assert embodied_kg["NVIDIA H100 PCIe"] == 273
    assert embodied_kg["Some Other Card"] == 333
    assert embodied_kg["server"] == 888
    assert found["server"].life is not None
    assert found["server"].life.value == 8
    market = site_factors_of(Site(country="DEU", factor_tables=[str(path)]), 2026).market_carbon
    assert market is not None
    assert market.value == 5


def test_kilograms_and_grams_of_equipment_are_questioned() -> None:
    with pytest.raises(UserError, match=r"hardware\.memory\.embodied_kg: .* not plausible"):
        equipment_of({"memory": OwnEquipment(embodied_kg=300, source="a shop")}, [], 2026)


# --- the command


def test_a_places_factors_are_listed_and_old_ones_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "germany", "--year", "2026"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Germany (DEU)\n")
    assert "grid carbon: 329.6 [297, 365.9] gCO2e/kWh (2025)\n" in text
    assert "gCO2e/kWh (2023, old)" in text
    assert "grid water: 1.947 L/kWh (2020, old)" in text
    assert "CC BY 4.0" in text
    by_year = {
        one["year"]: one["outdated"] for one in listed(capsys, "DEU", "--year", "2027") if "carbon" in one["name"]
    }
    assert by_year == {2025: False, 2024: True, 2023: True, 2021: True}


def test_devices_regions_and_the_world_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert {one["name"] for one in listed(capsys, "nvidia h100")} == {"embodied gpu"}
    assert {one["name"] for one in listed(capsys, "unknown")} >= {"PUE", "WUE", "embodied server", "life of gpu"}
    assert [one["place"] for one in listed(capsys, "california")] == ["US-CA"]
    assert {one["name"] for one in listed(capsys, "WORLD")} == {"grid carbon", "grid water"}


def test_without_a_place_the_places_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors"]) == 0
    text = capsys.readouterr().out
    for word in ("DEU Germany", "US-CA California", "azure", "NVIDIA H100"):
        assert word in " ".join(text.split())


def test_an_unknown_place_is_refused_with_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean DEU (Germany)" in refusal(capsys, "Germny")
    assert "did you mean NVIDIA H100" in refusal(capsys, "NVIDIA H10")
    assert "lists the places" in refusal(capsys, "Atlantis")
