"""Consequences of energies: their values, what is unknown, what intervals share, and an independent implementation."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from greenllm.estimate import Estimate, Parameter, unseen
from greenllm.footprint.consequences import Consequences, Consumption, ImpactModel, together
from greenllm.footprint.draws import Draws, distributed
from greenllm.footprint.embodied import Machine, Reservation
from greenllm.footprint.factor import Factor
from greenllm.footprint.site_factors import Equipment, SiteFactors
from greenllm.footprint.widening import widening

kWh = 3.6e6
PARAMETERS = {
    "gain": Parameter(1.0, 0.9, 1.15, "1", "test"),
    "other gain": Parameter(1.0, 0.8, 1.2, "1", "test"),
}


def factor(name: str, value: float, low: float | None = None, high: float | None = None, place: str = "here") -> Factor:
    return Factor(
        name=name, place=place, value=value, low=low, high=high, interval="test", unit="1", year=2026, source="test"
    )


def exact(name: str, value: float) -> Factor:
    return factor(name, value, value, value)


SITE = SiteFactors(
    place="here",
    grid_carbon=factor("grid carbon", 300, 200, 500),
    grid_carbon_marginal=exact("grid carbon, marginal", 600),
    market_carbon=exact("market carbon", 50),
    grid_water=exact("grid water", 3),
    pue=exact("PUE", 1.5),
    wue=exact("WUE", 2),
    erf=exact("ERF", 0.2),
    heat_carbon=exact("heat carbon", 200),
    price=exact("price", 0.25),
)
CARD = Equipment(kind="gpu", name="H100", embodied=factor("embodied gpu", 273, 164, 570), life=exact("life of gpu", 4))
EQUIPMENT = [
    CARD,
    Equipment(
        kind="processor",
        name="processor",
        embodied=exact("embodied processor", 20),
        life=exact("life of processor", 5),
    ),
    Equipment(kind="memory", name="memory", embodied=exact("embodied memory", 0.6), life=exact("life of memory", 5)),
    Equipment(kind="server", name="server", embodied=exact("embodied server", 800), life=exact("life of server", 5)),
]
YEAR_s = 365 * 86400


def energy(**terms: float) -> Estimate:
    return Estimate({name.replace("_", " "): joules for name, joules in terms.items()}, PARAMETERS)


def consumption(host: Estimate | None, **more: Any) -> Consumption:
    return Consumption(**{"accelerator": Estimate(), "idle": Estimate(), "reserved": {}, **more}, host=host)


def model(site: SiteFactors = SITE, draws: int = 10_000, seed: int = 1) -> ImpactModel:
    return ImpactModel(PARAMETERS, site, EQUIPMENT, Draws(draws, seed))


def one(row: Consumption, of: ImpactModel | None = None) -> Consequences:
    return next((of or model()).consequences([row]))


def values(found: Consequences) -> dict[str, float | None]:
    return {name: getattr(found, name) and getattr(found, name).value for name in Consequences.model_fields}


def test_each_consequence_of_a_kilowatt_hour() -> None:
    row = consumption(
        energy(gain=kWh), accelerator=energy(gain=kWh / 2), idle=energy(gain=kWh), reserved={"H100": 4 * YEAR_s}
    )
    assert values(one(row)) == pytest.approx(
        {
            "accelerator_J": kWh / 2,
            "host_J": kWh,
            "idle_J": kWh,
            "it_J": 2 * kWh,
            "site_J": 3 * kWh,
            "carbon_it_g": 600,
            "carbon_g": 900,
            "market_carbon_g": 150,
            "marginal_carbon_g": 1800,
            "embodied_g": 273_000,
            "total_g": 273_900,
            "water_site_L": 4,
            "water_grid_L": 9,
            "water_L": 13,
            "cost": 0.75,
            "heat_reused_kWh": 0.6,
            "heat_displaced_g": 120,
        }
    )


MISSING = {
    "pue": {"site_J", "carbon_g", "market_carbon_g", "marginal_carbon_g", "total_g", "water_grid_L", "water_L", "cost",
            "heat_reused_kWh", "heat_displaced_g"},
    "grid_carbon": {"carbon_it_g", "carbon_g", "total_g"},
    "grid_carbon_marginal": {"marginal_carbon_g"},
    "market_carbon": {"market_carbon_g"},
    "grid_water": {"water_grid_L", "water_L"},
    "wue": {"water_site_L", "water_L"},
    "price": {"cost"},
    "erf": {"heat_reused_kWh", "heat_displaced_g"},
    "heat_carbon": {"heat_displaced_g"},
}  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
def test_what_follows_from_an_unknown_factor_is_unknown_and_nothing_else(name: str) -> None:
    without: dict[str, Any] = {name: None}
    found = values(one(consumption(energy(gain=kWh)), model(dataclasses.replace(SITE, **without))))
    assert {quantity for quantity, value in found.items() if value is None} == MISSING[name]


def test_an_unknown_energy_leaves_the_hardware_known_and_the_other_way_round() -> None:
    without_energy, without_hardware = (
        consumption(None, reserved={"H100": 1.0}),
        consumption(energy(gain=kWh), reserved=None),
    )
    first, second = model().consequences([without_energy, without_hardware])
    known = {name for name, value in values(first).items() if value is not None}
    assert known == {"accelerator_J", "idle_J", "embodied_g"}
    assert {name for name, value in values(second).items() if value is None} == {"embodied_g", "total_g"}


def test_a_factor_without_bounds_leaves_its_consequences_without() -> None:
    site = dataclasses.replace(SITE, grid_carbon=factor("grid carbon", 300))
    found = one(consumption(energy(gain=kWh)), model(site))
    assert found.carbon_g == (450, None, None)
    assert found.total_g is not None
    assert found.total_g.low is None
    assert found.cost is not None
    assert found.cost.low is not None


def test_products_have_the_interval_of_the_product() -> None:
    """Logarithms of gain and grid are normal in halves, so their product's halves add in quadrature."""
    found = one(consumption(energy(gain=kWh)), model(draws=200_000)).carbon_g
    assert found is not None
    below = np.hypot(np.log(1 / 0.9), np.log(300 / 200))
    above = np.hypot(np.log(1.15), np.log(500 / 300))
    assert found.low == pytest.approx(450 * np.exp(-below), rel=0.03)
    assert found.high == pytest.approx(450 * np.exp(above), rel=0.03)


def test_jobs_that_share_a_parameter_share_its_error() -> None:
    rows = [consumption(energy(gain=kWh)), consumption(energy(gain=kWh)), consumption(energy(other_gain=kWh))]
    shared, apart = model().consequences([together(rows[:2]), together(rows[1:])])
    single = one(rows[0])
    assert single.host_J is not None
    assert shared.host_J is not None
    assert apart.host_J is not None
    assert shared.host_J == pytest.approx(tuple(2 * bound for bound in single.host_J if bound is not None))
    assert apart.host_J.high is not None
    assert apart.host_J.high / kWh == pytest.approx(2 + np.hypot(0.15, 0.2), rel=0.01)


def test_what_readings_left_open_adds_in_quadrature() -> None:
    rows = [consumption(energy(gain=100) + unseen(job, "cpu", 40)) for job in "abcd"]
    exactly = {**PARAMETERS, "gain": Parameter(1.0, 1.0, 1.0, "1", "test")}
    found = next(ImpactModel(exactly, SITE, EQUIPMENT, Draws()).consequences([together(rows)])).host_J
    assert found is not None
    assert found == pytest.approx((400, 400 - 80, 400 + 80), rel=0.02)


def test_a_study_is_the_same_whatever_rows_are_computed_with_it() -> None:
    rows = [consumption(energy(gain=kWh * number), reserved={"H100": number}) for number in range(1, 200)]
    together_ = list(model().consequences(rows))
    assert together_[150] == one(rows[150])
    assert together_[0] == next(model().consequences(rows[:1]))


def test_another_seed_moves_bounds_by_less_than_a_tenth_of_the_interval() -> None:
    row = consumption(energy(gain=kWh, other_gain=kWh), reserved={"H100": 1e4})
    found = [one(row, model(seed=seed)).total_g for seed in range(5)]
    lows, highs = zip(*((each.low, each.high) for each in found if each and each.low and each.high), strict=True)
    width = np.mean(highs) - np.mean(lows)
    assert 0 < max(lows) - min(lows) < width / 10
    assert max(highs) - min(highs) < width / 10


@pytest.mark.parametrize(
    ("value", "low", "high", "least"),
    [(273, 164, 570, None), (1, 0.9, 1.1, None), (1.2, 1.05, 1.6, 1.0), (0.05, -0.1, 0.3, None), (2, 2, 5, None)],
)
def test_a_distribution_has_the_bounds_as_quantiles(value: float, low: float, high: float, least: float | None) -> None:
    normal = Draws(400_000).normal("a")
    found = distributed(normal, value, low, high, least)
    assert np.quantile(found, [0.025, 0.5, 0.975]) == pytest.approx([low, value, high], rel=0.01, abs=0.002)
    assert least is None or found.min() >= least


def test_a_distribution_in_the_wrong_order_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected low <= value <= high, got 2, 1 and 3"):
        distributed(np.zeros(3), 1, 2, 3)


def reservation(**changes: Any) -> Reservation:
    given = {"cpus": 8.0, "memory_GB": 16.0, "gpus": ["H100", "H100"], "duration_s": 10.0, **changes}
    return Reservation(machine=Machine(cpus=32, packages=2, memory_GB=256.0), **given)


def test_a_known_constant_narrows_an_interval_as_the_page_says() -> None:
    """The page: by a constant of share s, an interval becomes the root of (1 - s) times as wide, in logarithms."""
    draws = Draws()
    ones = {name: distributed(draws.normal(name), 1, 1 / by, by) for name, by in (("first", 2), ("second", 3))}
    product = ones["first"] * ones["second"]
    for name, share in widening(product, ones, draws):
        if name in ones:
            width, left = (
                float(np.diff(np.quantile(np.log(one), (0.025, 0.975)))[0]) for one in (product, product / ones[name])
            )
            assert left / width == pytest.approx((1 - share) ** 0.5, rel=0.02)
    assert {name for name, _ in widening(product, ones, draws)} >= ones.keys()


def test_reserved_hardware_counts_by_time_and_share() -> None:
    amounts, unknown = reservation().by_equipment(EQUIPMENT)
    assert amounts == {"processor": 5.0, "server": 2.5, "memory": 160.0, "H100": 20.0}
    assert unknown == []


def test_memory_that_was_not_reserved_has_the_processors_share() -> None:
    assert reservation(memory_GB=None).by_equipment(EQUIPMENT)[0]["memory"] == 640


def test_a_card_of_another_model_is_unknown_hardware() -> None:
    assert reservation(gpus=["B200"]).by_equipment(EQUIPMENT)[1] == [
        "embodied carbon: the embodied carbon of B200 is unknown"
    ]
    assert reservation(gpus=[None]).by_equipment(EQUIPMENT)[0]["H100"] == 10  # the only model there is
    others = [*EQUIPMENT, dataclasses.replace(CARD, name="A100")]
    assert reservation(gpus=[None]).by_equipment(others)[1] == [
        "embodied carbon: the embodied carbon of gpu is unknown"
    ]


@pytest.mark.parametrize(
    ("parameters", "tokens", "batch", "grid"),
    list(itertools.product((8.0, 70.0), (50.0, 400.0), (16, 64), (0.0356, 0.3844))),
)
def test_ecologits_finds_the_same(parameters: float, tokens: float, batch: int, grid: float) -> None:
    """EcoLogits models a request's energy. What it derives from that, we derive from the same energy."""
    llm = pytest.importorskip("ecologits.impacts.llm", reason="ecologits, of the extra dev, is not installed")
    water, pue, wue = 3.1321, 1.2, 0.569
    given = {"model_active_parameter_count": parameters, "model_total_parameter_count": parameters}
    site = {"if_electricity_mix_gwp": grid, "if_electricity_mix_wue": water, "if_electricity_mix_adpe": 0.0,
            "if_electricity_mix_pe": 0.0, "datacenter_pue": pue, "datacenter_wue": wue}  # fmt: skip
    parts = llm.compute_llm_impacts_dag(
        **given, **site, output_token_count=tokens, request_latency=float("inf"), batch_size=batch
    )
    whole = llm.compute_llm_impacts(**given, **site, output_token_count=tokens, batch_size=batch)

    cards, latency_s = parts["gpu_required_count"], parts["generation_latency"]
    server = Equipment(
        kind="server", name="server", embodied=exact("embodied server", 5700), life=exact("life of server", 3)
    )
    card = dataclasses.replace(CARD, embodied=exact("embodied gpu", 273), life=exact("life of gpu", 3))
    ours = ImpactModel(
        {"gain": Parameter(1.0, 1.0, 1.0, "1", "test")},
        SiteFactors(
            place="there",
            grid_carbon=exact("grid carbon", grid * 1000),
            grid_water=exact("grid water", water),
            pue=exact("PUE", pue),
            wue=exact("WUE", wue),
        ),
        [server, card],
        Draws(100),
    )
    held_s = cards * latency_s / batch
    row = consumption(
        energy(gain=(cards * parts["gpu_energy"] + parts["server_energy"]) * kWh),
        accelerator=energy(gain=cards * parts["gpu_energy"] * kWh),
        reserved={"H100": held_s, "server": held_s / 8},
    )
    found = values(one(row, ours))
    assert found["site_J"] == pytest.approx(whole.energy.value * kWh, rel=1e-6)
    assert found["carbon_g"] == pytest.approx(whole.usage.gwp.value * 1000, rel=1e-6)
    assert found["embodied_g"] == pytest.approx(whole.embodied.gwp.value * 1000, rel=1e-6)
    assert found["total_g"] == pytest.approx(whole.gwp.value * 1000, rel=1e-6)
    assert found["water_L"] == pytest.approx(whole.wcf.value, rel=1e-6)
