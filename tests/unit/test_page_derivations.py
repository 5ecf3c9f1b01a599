"""Numbers of the page, computed again by hand: from the files, the formula and the factors that their derivation names.

Twenty of them are drawn at random, the same ones in each run. A file that a derivation does not name can't be read.
"""

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from simulated_study import study_with_a_gpu

from greenllm.cli import main

SITE = (
    "--carbon", "200:400:700", "--pue", "1.1:1.25:1.5", "--wue", "0.1:0.3:0.5", "--grid-water", "1:2:3", "--price",
    "0.2:0.3:0.5", "--currency", "EUR", "--market-carbon", "20:30:40", "--erf", "0.1:0.2:0.3", "--renewable", "0.5",
)  # fmt: skip
kWh = 3.6e6
YEAR_s = 365 * 86400
NUMBER = re.compile(r" = (-?[0-9.]+(?:e[+-]?[0-9]+)?)")


class Cells(HTMLParser):
    """Collects the cells of tables that have a derivation: their addresses and raw values, and each row's cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: dict[tuple[str, int], list[str]] = {}
        self.values: dict[str, float] = {}
        self.row: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "tr":
            self.row = []
        if tag != "td" or "data-sort" not in found:
            return
        self.row.append(found["data-sort"])
        if address := found.get("data-derived"):
            table, row, _ = address.split("/")
            self.rows[table, int(row)] = self.row
            if re.fullmatch(r"-?[0-9.]+(e[+-]?[0-9]+)?", found["data-sort"]):
                self.values[address] = float(found["data-sort"])


@dataclass(frozen=True)
class Derivation:
    """What the page says of a number: the row it is in, and the files and factors that it names."""

    results: Path
    row: list[str]
    formula: str
    files: list[str]
    factors: Mapping[str, str]

    def read(self, path: str) -> Any:
        """Return a file that the derivation names."""
        assert path in self.files, f"{path} is not named"
        return json.loads((self.results / path).read_text())

    @property
    def account(self) -> Any:
        return self.read("account/account.json")

    @property
    def attempts(self) -> list[Any]:
        """The attempts whose ledgers are named."""
        by_path = {f"ledger/{one['path']}": one["id"] for one in self.account["ledgers"]}
        named = {by_path[path] for path in self.files if path in by_path}
        return [job for job in self.account["jobs"] if job["id"] in named]

    def site(self, name: str) -> float:
        """Return the value of a factor of the site, as the derivation has it."""
        found = NUMBER.search(self.factors[f"site.{name}"])
        assert found, self.factors[f"site.{name}"]
        return float(found[1])

    def energy(self, terms: Mapping[str, float]) -> float:
        """Return the energy of terms, by the constants that the derivation lists."""
        lines = self.factors["sensors"].splitlines()
        constants = {line.split(" = ")[0]: float(found[1]) for line in lines if (found := NUMBER.search(line))}
        return sum(amount * constants[name] for name, amount in terms.items() if not name.startswith("unseen"))

    def served(self, recipe: str) -> Any:
        return next(one["serving"] for one in self.account["models"] if one["recipe"] == recipe and one["serving"])

    def embodied_g(self, seconds: Mapping[str, float]) -> float:
        """Return the embodied carbon of device seconds, by the equipment that the derivation lists."""
        grams = 0.0
        for name, device_s in seconds.items():
            parts = {}
            for part in ("Embodied carbon", "Life"):
                found = re.search(rf"^{part} of {re.escape(name)} = ([0-9.]+)", self.factors["equipment"], re.MULTILINE)
                assert found, name
                parts[part] = float(found[1])
            grams += parts["Embodied carbon"] * 1000 / (parts["Life"] * YEAR_s) * device_s
        return grams


# --- each recomputed as its formula says ---


def request_J(one: Derivation, recipe: str) -> float:
    return one.energy(one.served(recipe)["request_terms"])


def request_embodied_g(one: Derivation, recipe: str) -> float:
    served = one.served(recipe)
    host = one.read("account/attribution.json")["hosts"][0]
    share, time_s = served["threads"] / host["cpus"], served["duration_s"] / served["answered"]
    seconds = {"processor": share, "server": share, "memory": served["memory_bytes"] / 1e9, "H100": served["gpus"]}
    return one.embodied_g({name: amount * time_s for name, amount in seconds.items()})


def carbon_g(one: Derivation, energy_J: float) -> float:
    return energy_J / kWh * one.site("pue") * one.site("grid_carbon")


def water_L(one: Derivation, energy_J: float) -> float:
    return energy_J / kWh * (one.site("wue") + one.site("pue") * one.site("grid_water"))


def cost(one: Derivation, energy_J: float) -> float:
    return energy_J / kWh * one.site("pue") * one.site("price")


def market_g(one: Derivation, energy_J: float) -> float:
    return energy_J / kWh * one.site("pue") * one.site("market_carbon")


def grid_water_L(one: Derivation, energy_J: float) -> float:
    return energy_J / kWh * one.site("pue") * one.site("grid_water")


def thousand(of: Callable[[Derivation, float], float]) -> Callable[[Derivation], float]:
    return lambda one: of(one, 1000 * request_J(one, one.row[1]))


def spent_J(one: Derivation) -> float:
    return sum(job["energy_J"]["value"] for job in one.attempts if job["energy_J"])


def idle_J(one: Derivation) -> float:
    """The idle energy of the host, by the attempts' share of the energy of all attempts."""
    host = one.account["hosts"][0]
    idle = sum(device["idle_J"] or 0 for device in host["devices"] if device["component"] != "platform")
    whole = sum(job["energy_J"]["value"] for job in one.account["jobs"] if job["energy_J"])
    return float(idle * spent_J(one) / whole)


def embodied_of_attempts_g(one: Derivation) -> float:
    ids = {job["id"] for job in one.attempts}
    return sum(job["embodied_g"]["value"] for job in one.read("account/footprint.json")["jobs"] if job["id"] in ids)


def accelerators_J(one: Derivation) -> float:
    parts = [part for job in one.attempts for part in job["components"] if part["component"] == "gpu"]
    return sum(part["energy_J"]["value"] for part in parts if part["energy_J"])


def scope_J(one: Derivation) -> float:
    host, idle = spent_J(one), idle_J(one)
    scopes = {"Accel": accelerators_J(one), "Hosts": host, "with the idle": host + idle}
    known = [energy for start, energy in scopes.items() if one.row[0].startswith(start)]
    return known[0] if known else (host + idle) * one.site("pue")


def scope_g(one: Derivation) -> float:
    it_g = (spent_J(one) + idle_J(one)) / kWh * one.site("grid_carbon")
    if one.row[0].startswith("with the idle"):
        return it_g
    site_g = it_g * one.site("pue")
    return site_g + embodied_of_attempts_g(one) if "embodied" in one.row[0] else site_g


def attempts(of: Callable[[Derivation, float], float]) -> Callable[[Derivation], float]:
    return lambda one: of(one, spent_J(one) + idle_J(one))


def a_day_J(one: Derivation) -> float:
    recipe, per_day = one.row[1], float(one.row[2])
    rows = one.account["experiments"][one.row[0]]["comparison"]["recipes"]
    rate = next(row["requests_per_s"] for row in rows if row["recipe"] == recipe)
    idle_W = one.energy(one.served(recipe)["idle_terms"])
    return request_J(one, recipe) + idle_W * (86400 / per_day - 1 / rate)


def score_g(one: Derivation) -> float:
    experiment, recipe, score, unit = one.row[:4]
    rows = one.read("account/footprint.json")["scores"]
    found = next(
        row for row in rows
        if (row["experiment"], row["recipe"], row["score"], row["unit"]) == (experiment, recipe, score, unit)
    )  # fmt: skip
    if score == "provider":
        return (carbon_g(one, spent_J(one) + idle_J(one)) + embodied_of_attempts_g(one)) / float(found["units"])
    if unit != "request":
        return float(found["operational_g"]["value"] + found["embodied_g"]["value"])
    return carbon_g(one, request_J(one, recipe)) + request_embodied_g(one, recipe)


def extra_J(one: Derivation) -> float:
    """What making the recipe's model takes more, by the attempts that are named."""
    energies = {job["id"]: job["energy_J"]["value"] for job in one.attempts}
    baseline = one.account["experiments"][one.row[0]]["comparison"]["baseline"]
    made_J = {
        model["recipe"]: sum(energies[one] for step in model["cost_to_produce"]["steps"] for one in step["ids"])
        for model in one.account["models"]
        if model["experiment"] == one.row[0] and model["recipe"] in (baseline, one.row[1])
    }
    return float(made_J[one.row[1]] - made_J[baseline])


def saved_J(one: Derivation) -> float:
    assert {job["recipe"] for job in one.attempts} >= {"baseline", one.row[1]}
    baseline = one.account["experiments"][one.row[0]]["comparison"]["baseline"]
    return request_J(one, baseline) - request_J(one, one.row[1])


INDICATORS: dict[str, Callable[[Derivation], float]] = {
    "PUE": lambda one: one.site("pue"),
    "WUE (L/kWh)": lambda one: one.site("wue"),
    "CUE (kg CO₂e/kWh)": lambda one: one.site("pue") * one.site("grid_carbon") / 1000,
    "REF": lambda one: one.site("renewable"),
    "ERF": lambda one: one.site("erf"),
    "ERE": lambda one: (1 - one.site("erf")) * one.site("pue"),
}
RECOMPUTED: dict[tuple[str, str], Callable[[Derivation], float]] = {
    ("thousand-requests", "energy_J"): thousand(lambda one, energy_J: energy_J),
    ("thousand-requests", "carbon_g"): thousand(carbon_g),
    ("thousand-requests", "total_g"): lambda one: (
        carbon_g(one, 1000 * request_J(one, one.row[1])) + 1000 * request_embodied_g(one, one.row[1])
    ),
    ("thousand-requests", "water_L"): thousand(water_L),
    ("thousand-requests", "cost"): thousand(cost),
    ("scopes", "energy_J"): scope_J,
    ("scopes", "carbon_g"): scope_g,
    ("scopes", "market_g"): attempts(market_g),
    ("scopes", "water_L"): attempts(water_L),
    ("scopes", "cost"): attempts(cost),
    ("impact", "energy_J"): spent_J,
    ("impact", "idle_J"): idle_J,
    ("impact", "site_J"): attempts(lambda one, energy_J: energy_J * one.site("pue")),
    ("impact", "carbon_gCO2e"): attempts(lambda one, energy_J: energy_J / kWh * one.site("grid_carbon")),
    ("impact", "carbon_site_gCO2e"): attempts(carbon_g),
    ("impact", "embodied_gCO2e"): embodied_of_attempts_g,
    ("impact", "water_grid_L"): attempts(grid_water_L),
    ("impact", "cost"): attempts(cost),
    ("scores", "value_g"): score_g,
    ("requests-a-day", "energy_J"): a_day_J,
    ("requests-a-day", "cost"): lambda one: cost(one, a_day_J(one)),
    ("repaid", "extra_energy"): extra_J,
    ("repaid", "requests_energy"): lambda one: extra_J(one) / saved_J(one),
    ("repaid", "saved_energy"): saved_J,
    ("repaid", "saved_money"): lambda one: cost(one, saved_J(one)),
    ("indicators", "value"): lambda one: INDICATORS[one.row[0]](one),
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a GPU, its account, footprint and page."""
    folder = tmp_path_factory.mktemp("derived")
    settings = study_with_a_gpu(folder).config.model_dump_json(by_alias=True)
    account = folder / "account/account.json"
    assert main(["account", "--config", settings, "--results", str(folder), "--out", str(folder / "account")]) == 0
    footprint = folder / "account/footprint.json"
    assert main(["footprint", str(folder), *SITE, "--draws", "500", "--out", str(footprint)]) == 0
    report = ["--account", str(account), "--footprint", str(footprint), "--out", str(folder / "report")]
    assert main(["report", *report, "--language", "en"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return (results / "report/index.html").read_text()


def derivation(results: Path, page: str, address: str, row: list[str]) -> Derivation:
    found = json.loads(page.split('<script type="application/json" id="derivations">')[1].split("</script>")[0])
    name, place, column = address.split("/")
    table = found["tables"][name]
    files, _, _ = table["own"].get(column, table["rows"])[int(place)]
    of_column = table["columns"][column]
    return Derivation(
        results,
        row,
        of_column["formula"],
        [found["files"][index] for index in files],
        {key: found["factors"][key] for key in of_column["factors"]},
    )


def row_of(cells: Cells, address: str) -> list[str]:
    name, place, _ = address.split("/")
    return cells.rows[name, int(place)]


def test_twenty_numbers_of_the_page_are_what_their_derivations_say(results: Path, page: str) -> None:
    cells = Cells(page)
    known = {
        address: value
        for address, value in cells.values.items()
        if (address.split("/")[0], address.split("/")[2]) in RECOMPUTED
        and (not address.startswith("indicators/") or row_of(cells, address)[0] in INDICATORS)
    }  # fmt: skip
    assert len(known) > 100
    kinds = {(name, column) for name, _, column in (address.split("/") for address in known)}
    assert kinds == RECOMPUTED.keys(), "each kind of number is on the page"
    drawn = random.Random(20).sample(sorted(known), 20)
    one_of_each = {address.split("/")[0] + address.split("/")[2]: address for address in sorted(known)}.values()
    for address in [*drawn, *one_of_each]:
        name, _, column = address.split("/")
        one = derivation(results, page, address, row_of(cells, address))
        assert one.formula
        assert RECOMPUTED[name, column](one) == pytest.approx(known[address], rel=1e-6), address


def test_each_score_is_that_of_the_attempts_that_its_derivation_names(results: Path, page: str) -> None:
    cells = Cells(page)
    scores = {address: value for address, value in cells.values.items() if re.fullmatch(r"scores/.*/value_g", address)}
    assert {row_of(cells, address)[1] for address in scores} == {"baseline", "int8"}
    for address, value in scores.items():
        one = derivation(results, page, address, row_of(cells, address))
        assert score_g(one) == pytest.approx(value, rel=1e-6), one.row
