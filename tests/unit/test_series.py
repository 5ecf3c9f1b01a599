"""Recorded time series: the formats, time zones, gaps, and what is refused with file and row."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from greenllm.errors import UserError
from greenllm.footprint.series import RecordedSeries, read_series

HOUR_s = 3600.0


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def unix(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def written(folder: Path, content: Any, name: str = "series.csv") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def plain(folder: Path, *rows: str, header: str = "time,value (gCO2e/kWh)") -> RecordedSeries:
    return read_series(written(folder, "\n".join((header, *rows)) + "\n"))


def refusal(folder: Path, content: Any) -> str:
    path = written(folder, content)
    with pytest.raises(UserError) as caught:
        read_series(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- formats: each file below says 100, 200 and 300 from 2026-01-31T12:00Z on


def day(minutes: int) -> list[datetime]:
    return [datetime.fromisoformat("2026-01-31T12:00Z") + timedelta(minutes=minutes * step) for step in range(3)]


def electricity_maps_csv() -> str:
    header = (
        "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),"
        "Carbon intensity gCO₂eq/kWh (Life cycle),Carbon-free energy percentage (CFE%),Data source"
    )
    rows = [f"{time:%Y-%m-%d %H:%M:%S},Germany,Germany,DE,1,{100 * (i + 1)},50,x" for i, time in enumerate(day(60))]
    return "\n".join((header, *rows))


def electricity_maps_json(key: str) -> dict[str, Any]:
    entries = [
        {"zone": "DE", "carbonIntensity": 100 * (i + 1), "datetime": f"{time:%Y-%m-%dT%H:%M:%S.000Z}",
         "emissionFactorType": "lifecycle", "isEstimated": False}
        for i, time in enumerate(day(60))
    ]  # fmt: skip
    return {"zone": "DE", key: entries}


def uk(minutes: int = 30) -> dict[str, Any]:
    return {
        "data": [
            {
                "from": f"{time:%Y-%m-%dT%H:%MZ}",
                "to": f"{time + timedelta(minutes=minutes):%Y-%m-%dT%H:%MZ}",
                "intensity": {"forecast": 1, "actual": 100 * (i + 1), "index": "low"},
            }
            for i, time in enumerate(day(minutes))
        ]
    }


def carbon_aware(capital: bool) -> Any:
    rows = [
        {"location": "eastus", "time": time.isoformat(), "rating": 100.0 * (i + 1), "duration": "01:00:00"}
        for i, time in enumerate(day(60))
    ]
    if not capital:
        return rows
    return {"Emissions": [{key.capitalize(): value for key, value in row.items()} for row in rows]}


def energy_charts() -> dict[str, Any]:
    return {
        "unix_seconds": [int(time.timestamp()) for time in day(15)],
        "co2eq": [100, 200.0, 300],
        "co2eq_forecast": [1, 1, 1],
        "substitute": False,
        "deprecated": False,
    }


@pytest.mark.parametrize(
    ("content", "minutes", "place"),
    [
        ("time,value (gCO2e/kWh)\n2026-01-31T12:00Z,100\n2026-01-31T14:00+01:00,200\n2026-01-31T14:00Z,300", 60, None),
        ("time,carbon (kgCO2e/kWh)\n2026-01-31T12:00Z,.1\n2026-01-31T13:00Z,.2\n2026-01-31T14:00Z,.3", 60, None),
        ("Time (UTC);CO2 (g/kWh)\n2026-01-31 12:00;100\n2026-01-31 13:00;200\n2026-01-31 14:00;300", 60, None),
        (electricity_maps_csv(), 60, "DE"),
        (electricity_maps_json("history"), 60, "DE"),
        (electricity_maps_json("data"), 60, "DE"),
        (uk(), 30, "GBR"),
        (carbon_aware(capital=False), 60, "eastus"),
        (carbon_aware(capital=True), 60, "eastus"),
        (energy_charts(), 15, None),
    ],
    ids=[
        "plain",
        "kilograms",
        "semicolons",
        "maps-csv",
        "maps-history",
        "maps-range",
        "uk",
        "sdk",
        "sdk-file",
        "energy-charts",
    ],
)
def test_each_format_is_read_in_utc(tmp_path: Path, content: Any, minutes: int, place: str | None) -> None:
    series = read_series(written(tmp_path, content))
    start, step = at("2026-01-31T12:00Z"), timedelta(minutes=minutes)
    assert [unix(time) for time in series.times] == [start, start + step, start + 2 * step]
    assert series.values == pytest.approx([100, 200, 300])
    assert (series.unit, series.place) == ("gCO2e/kWh", place)
    assert series.mean_between(start, start + 3 * step) == pytest.approx((200, 1))
    assert series.mean_between(start + step / 2, start + step * 1.25) == pytest.approx((100 * 2 / 3 + 200 / 3, 1))


def test_a_regional_answer_of_the_uk_is_a_forecast(tmp_path: Path) -> None:
    answer = {"data": {"regionid": 13, "shortname": "London", "data": uk()["data"]}}
    series = read_series(written(tmp_path, answer))
    assert list(series.values) == [1, 1, 1]
    assert series.place == "GBR, London"
    assert "forecast" in series.source


def test_prices_may_be_negative(tmp_path: Path) -> None:
    answer = {"unix_seconds": [0, 3600, 7200], "price": [50.0, -120.5, 30], "unit": "EUR / MWh"}
    series = read_series(written(tmp_path, answer))
    assert series.unit == "EUR/kWh"
    assert series.values == pytest.approx([0.05, -0.1205, 0.03])
    assert series.mean_between(unix(0), unix(2 * HOUR_s)) == pytest.approx(((0.05 - 0.1205) / 2, 1))


def test_bounds_are_averaged_too(tmp_path: Path) -> None:
    header = "time,value (gCO2e/kWh),low (gCO2e/kWh),high"
    series = plain(tmp_path, "2026-01-31T12:00Z,100,90,120", "2026-01-31T13:00Z,200,150,260", header=header)
    times = at("2026-01-31T12:00Z"), at("2026-01-31T14:00Z")
    assert series.mean_between(*times) == pytest.approx((150, 1))
    assert series.bounds_between(*times) == pytest.approx((120, 190))
    assert series.bounds_between(at("2026-02-01T12:00Z"), at("2026-02-01T14:00Z")) is None


# --- time zones


def test_local_times_through_the_end_of_summer_time(tmp_path: Path) -> None:
    hours = ("01:00,1", "02:00,2", "02:00,3", "03:00,4")
    series = plain(tmp_path, *(f"2026-10-25T{hour}" for hour in hours), header="time (Europe/Berlin),value (gCO2e/kWh)")
    start = at("2026-10-24T23:00Z").timestamp()
    assert list(series.times) == [start + index * HOUR_s for index in range(4)]
    assert list(series.values) == [1, 2, 3, 4]
    assert (series.bridged, series.repeated) == (0, 0)


def test_local_times_through_the_start_of_summer_time(tmp_path: Path) -> None:
    header = "time (Europe/Berlin),value (gCO2e/kWh)"
    series = plain(tmp_path, "2026-03-29T01:00,1", "2026-03-29T03:00,2", "2026-03-29T04:00,3", header=header)
    assert [later - earlier for earlier, later in zip(series.times, series.times[1:], strict=False)] == [HOUR_s] * 2
    assert series.bridged == 0
    line = refusal(tmp_path, f"{header}\n2026-03-29T01:00,1\n2026-03-29T02:30,2\n")
    assert "row 3: '2026-03-29T02:30' does not exist in Europe/Berlin" in line


def test_a_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    line = refusal(tmp_path, "time,value (gCO2e/kWh)\n2026-01-31T12:00,100\n2026-01-31T13:00,200\n")
    assert "row 2: '2026-01-31T12:00' has no time zone" in line
    assert "time (Europe/Berlin)" in line
    assert "no time zone 'Berlin'" in refusal(tmp_path, "time (Berlin),value (gCO2e/kWh)\n2026-01-31T12:00,100\n")


# --- gaps and doubled hours


def test_one_missing_step_is_bridged_and_counted(tmp_path: Path) -> None:
    rows = [f"2026-01-31T{hour:02}:00Z,{hour * 10}" for hour in (1, 2, 3, 5, 6)]
    series = plain(tmp_path, *rows, "2026-01-31T07:00Z,", "2026-01-31T08:00Z,90")
    assert series.bridged == 2
    assert series.mean_between(at("2026-01-31T04:00Z"), at("2026-01-31T05:00Z")) == pytest.approx((40, 1))
    assert series.mean_between(at("2026-01-31T07:00Z"), at("2026-01-31T08:00Z")) == pytest.approx((75, 1))


def test_a_longer_gap_is_unknown(tmp_path: Path) -> None:
    series = plain(tmp_path, *(f"2026-01-31T{hour:02}:00Z,100" for hour in (1, 2, 3)), "2026-01-31T06:00Z,400")
    assert series.bridged == 0
    assert series.mean_between(at("2026-01-31T04:00Z"), at("2026-01-31T06:00Z")) == (None, 0)
    assert series.mean_between(at("2026-01-31T03:00Z"), at("2026-01-31T07:00Z")) == pytest.approx((250, 0.5))
    assert series.mean_between(at("2026-02-01T00:00Z"), at("2026-02-01T01:00Z")) == (None, 0)


def test_steps_may_become_shorter_within_a_file(tmp_path: Path) -> None:
    hours = [f"2025-09-30T{hour:02}:00Z,100" for hour in range(24) if hour != 15]
    quarters = [f"2025-10-01T{hour:02}:{minute:02}Z,200" for hour in range(24) for minute in (0, 15, 30, 45)]
    series = plain(tmp_path, *hours, *quarters)
    assert series.bridged == 1
    assert series.mean_between(at("2025-09-30T10:00Z"), at("2025-09-30T16:00Z")) == pytest.approx((100, 1))
    assert series.mean_between(at("2025-09-30T23:00Z"), at("2025-10-01T01:00Z")) == pytest.approx((150, 1))


def test_months_of_different_lengths_leave_no_gap(tmp_path: Path) -> None:
    series = plain(tmp_path, *(f"2026-{month:02}-01T00:00Z,{month}" for month in range(1, 13)))
    assert series.bridged == 0
    assert series.mean_between(at("2026-02-10T00:00Z"), at("2026-02-20T00:00Z")) == pytest.approx((2, 1))
    assert series.mean_between(at("2026-01-01T00:00Z"), at("2026-12-31T00:00Z"))[1] == pytest.approx(1)


def test_an_instant_has_the_value_of_its_step(tmp_path: Path) -> None:
    series = plain(tmp_path, "2026-01-31T01:00Z,100", "2026-01-31T02:00Z,200")
    instant = at("2026-01-31T02:30Z")
    assert series.mean_between(instant, instant) == (200, 1)
    assert series.mean_between(at("2026-01-31T03:00Z"), at("2026-01-31T03:00Z")) == (None, 0)


def test_a_doubled_hour_counts_once_or_is_refused(tmp_path: Path) -> None:
    rows = ("2026-01-31T01:00Z,100", "2026-01-31T02:00Z,200", "2026-01-31T03:00+01:00,200", "2026-01-31T03:00Z,300")
    series = plain(tmp_path, *rows)
    assert (list(series.values), series.repeated) == ([100, 200, 300], 1)
    line = refusal(tmp_path, "\n".join(("time,value (gCO2e/kWh)", *rows, "2026-01-31T02:00Z,250")))
    assert "row 6: 2026-01-31T02:00:00Z is already in row 3, with another value" in line


def test_rows_in_another_order_are_the_same_series(tmp_path: Path) -> None:
    rows = [f"2026-01-31T{hour:02}:00Z,{hour}" for hour in range(1, 6)]
    assert plain(tmp_path, *rows) == plain(tmp_path, *reversed(rows))


# --- mistakes


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,value (gCO2e/kWh)\n2026-01-31T01:00Z,lots\n", "row 2: 'lots' is no number"),
        ("time,value (gCO2e/kWh)\n31.01.2026,100\n", "row 2: '31.01.2026' is no time"),
        ("time,value (gCO2e/kWh)\n2026-01-31T01:00Z\n", "row 2: expected 2 cells"),
        (
            "time,value (gCO2e/kWh)\n2026-01-31T01:00Z,100\n2026-01-31T02:00Z,-5\n",
            "row 3: -5 gCO2e/kWh is not plausible",
        ),
        (
            "time,value (kgCO2e/kWh)\n2026-01-31T01:00Z,380\n2026-01-31T02:00Z,390\n",
            "row 2: 380000 gCO2e/kWh is not pl",
        ),
        ("time,value (gCO2e/kWh)\n2026-01-31T01:00Z,.38\n2026-01-31T02:00Z,.39\n", "are they in kgCO2e/kWh?"),
        ("time,value\n2026-01-31T01:00Z,100\n", "expected the columns `time` and `value (UNIT)`"),
        ("time,value (furlongs)\n2026-01-31T01:00Z,100\n2026-01-31T02:00Z,100\n", "unit 'furlongs' is unknown"),
        ("time,value (gCO2e/kWh)\n2026-01-31T01:00Z,100\n", "expected at least 2 values, got 1"),
        ("", "the header is empty"),
        ("{", "is not valid JSON"),
        ({"a": 1}, "is of no known format"),
        ({"unix_seconds": [1, 2], "price": [1]}, "as many entries in price as in unix_seconds"),
        ({"zone": "DE", "history": [{"datetime": "2026-01-31T01:00Z"}]}, "entry 1: expected an object with datetime"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_row(tmp_path: Path, content: Any, said: str) -> None:
    assert said in refusal(tmp_path, content)


def test_a_year_of_hours_is_averaged_exactly(tmp_path: Path) -> None:
    start, hour = at("2026-01-01T00:00Z"), timedelta(hours=1)
    seconds = [int((start + hour * number).timestamp()) for number in range(8760)]
    content = {"unix_seconds": seconds, "co2eq": [100 + number % 24 for number in range(8760)]}
    series = read_series(written(tmp_path, content))
    assert series.mean_between(start, start + 8760 * hour) == pytest.approx((111.5, 1))
    for day_number in range(365):
        noon = start + (day_number * 24 + 12) * hour
        assert series.mean_between(noon, noon + hour) == pytest.approx((112, 1))


def test_a_forecast_takes_what_is_forecast_where_nothing_is_recorded_yet(tmp_path: Path) -> None:
    answer = uk()
    answer["data"][1]["intensity"]["actual"] = None
    answer["data"][2]["intensity"] = {"forecast": 250, "actual": None, "index": "moderate"}
    path = tmp_path / "uk.json"
    path.write_text(json.dumps(answer))
    found = read_series(path, forecast=True)
    assert (list(found.values), found.source) == ([100, 1, 250], "UK Carbon Intensity API, actual and forecast")
    with pytest.raises(UserError, match="expected at least 2 values, got 1"):
        read_series(path)


def test_forecasts_of_electricity_maps_and_the_carbon_aware_sdk_are_read(tmp_path: Path) -> None:
    points = [
        {"location": "eastus", "timestamp": time.isoformat(), "duration": 60, "value": 100.0 * (i + 1)}
        for i, time in enumerate(day(60))
    ]
    for name, content, place in (
        ("maps.json", electricity_maps_json("forecast"), "DE"),
        ("sdk.json", [{"generatedAt": "2026-01-31T11:00Z", "forecastData": points}], "eastus"),
    ):
        (tmp_path / name).write_text(json.dumps(content))
        found = read_series(tmp_path / name, forecast=True)
        assert list(found.values) == [100, 200, 300]
        assert found.place == place
        assert [end - start for start, end in zip(found.times, found.ends, strict=True)] == [3600] * 3
