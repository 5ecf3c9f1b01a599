"""Published calculations of carbon, water and energy, computed again with the formulas of the footprint."""

import pytest

from greenllm.account.efficiency import efficiency_index
from greenllm.estimate import Interval
from greenllm.footprint.formulas import (
    J_PER_kWh,
    carbon_usage_effectiveness,
    cost,
    device_energy_kWh,
    embodied_g,
    energy_reuse_effectiveness,
    operational_g,
    reused_heat_kWh,
    sci_g,
    site_energy,
    water_in_grid_L,
    water_on_site_L,
    water_usage_effectiveness,
)

t, kg, mg = 1e6, 1e3, 1e-3  # in g


def test_embodied_carbon_of_a_server_for_an_hour() -> None:
    """SCI 1.1, example: 1,000 kg over 4 years, reserved as a whole for 1 h, "around 28 g"."""
    assert embodied_g(1000 * kg, 1.0, 4.0, 1.0) == pytest.approx(28.54, abs=0.005)


def test_embodied_carbon_of_an_h100_for_an_hour() -> None:
    """NVIDIA's product carbon footprint (1,312 kg for 8) and ADEME's 273 kg, over 3 years."""
    assert embodied_g(1312 * kg / 8, 1.0, 3.0, 1.0) == pytest.approx(6.24, abs=0.005)
    assert embodied_g(273 * kg, 1.0, 3.0, 1.0) == pytest.approx(10.39, abs=0.005)


def test_sci_for_ai_consumer_score() -> None:
    """SCI for AI, 9.1.1: 0.13 mg per token. 9.1.3 prints "0.13 g per million tokens": 1,000 times too little."""
    per_token = sci_g(5000 * kg, 1500 * kg, 50e9)
    assert per_token == pytest.approx(0.13 * mg)
    assert per_token * 1e6 == pytest.approx(130)  # g, for a million tokens


def test_sci_for_ai_provider_score() -> None:
    """SCI for AI, 9.1.2: 4 g for 10^15 operations. Earlier drafts printed 10^18: 1,000 times too many."""
    assert sci_g(200_000 * kg, 0.0, 5e22) * 1e15 == pytest.approx(4)


def test_sci_for_ai_of_computer_vision() -> None:
    """SCI for AI, 9.2: 0.08 g per inference; 30,000 kg per 10^9 parameters, which it prints as 3000 and as 30."""
    assert sci_g(3200 * kg, 0.0, 40e6) == pytest.approx(0.08)
    assert sci_g(75_000 * kg, 0.0, 2.5e9) * 1e9 / kg == pytest.approx(30_000)


def test_training_of_gpt_3() -> None:
    """Patterson et al. 2021 (arXiv 2104.10350): 10,000 V100 for 14.8 days, 1,287 MWh, 429 g/kWh, 552.1 t."""
    energy_kWh = site_energy(device_energy_kWh(10_000 * 14.8 * 24, 330.0), 1.1)
    assert energy_kWh == pytest.approx(1_287_000, rel=0.003)  # 14.8 days and 330 W are rounded
    assert operational_g(1_287_000.0, 429.0) / t == pytest.approx(552.1, abs=0.05)


def test_training_of_bloom() -> None:
    """Luccioni et al. 2023 (JMLR 24:253): GPUs 24.69 t, idle 14.6 t, hardware 11.2 t: 50.5 t."""
    gpus_kWh = device_energy_kWh(1_082_990.0, 400.0)
    assert gpus_kWh == pytest.approx(433_196)
    used, idle = operational_g(gpus_kWh, 57.0), operational_g(256_646.0, 57.0)
    assert used / t == pytest.approx(24.69, abs=0.005)
    assert idle / t == pytest.approx(14.6, abs=0.05)
    assert sci_g(used + idle, 11.2 * t, 1.0) / t == pytest.approx(50.5, abs=0.05)


@pytest.mark.parametrize(("gpu_h", "digit_h", "tonnes"), [(1.46e6, 1e4, 420), (7.0e6, 1e5, 2040), (30.84e6, 1e4, 8930)])
def test_training_of_llama_3_1(gpu_h: float, digit_h: float, tonnes: float) -> None:
    """Model card of Llama 3.1: GPU hours at 700 W, location-based; market-based 0 t. One factor explains all three."""
    energy_kWh = device_energy_kWh(gpu_h, 700.0)
    rounding = digit_h / 2 / gpu_h + 5 / tonnes  # of the card's hours and tonnes
    assert operational_g(energy_kWh, 413.7) / t == pytest.approx(tonnes, rel=rounding)
    assert operational_g(energy_kWh, 0.0) == 0


def test_prompt_to_gemini() -> None:
    """Google 2025 (arXiv 2508.15734): 0.24 Wh with a PUE of 1.09, 94 g/kWh, 1.15 L/kWh: 22.6 mg, 0.26 mL."""
    site_kWh = 0.24e-3
    it_kWh = site_kWh / 1.09
    assert site_energy(it_kWh, 1.09) == pytest.approx(site_kWh)
    assert 1 - it_kWh / site_kWh == pytest.approx(0.08, abs=0.005)  # the share of overhead
    assert operational_g(site_kWh, 94.0) == pytest.approx(22.6 * mg, abs=0.05 * mg)
    assert water_on_site_L(it_kWh, 1.15) == pytest.approx(0.26 * mg, abs=0.01 * mg)  # from 0.24, which is rounded


def test_a_published_model_card() -> None:
    """7 cards of 350 W for 377.8 h, PUE 1.53, 120 g/kWh: 1,416.183 kWh, 169.942 kg (Hugging Face, dev-verma)."""
    energy_kWh = site_energy(device_energy_kWh(7 * 377.8, 350.0), 1.53)
    assert energy_kWh == pytest.approx(1416.183, abs=5e-4)
    assert operational_g(energy_kWh, 120.0) / kg == pytest.approx(169.942, abs=5e-4)


def test_the_articles_index_is_halved() -> None:
    """An energy of 100 over 1,000 requests is an index of 0.1, one of 50 over the same requests 0.05."""
    before, after = (efficiency_index(Interval(joules, joules, joules), 1000) for joules in (100.0, 50.0))
    assert before is not None
    assert after is not None
    assert (before.value, after.value) == (0.1, 0.05)


def test_energy_per_token_of_a_published_report() -> None:
    """BoAmps' example of inference: 0.00267074 kWh for 828 generated tokens."""
    joules = 0.00267074 * J_PER_kWh
    index = efficiency_index(Interval(joules, joules, joules), 828)
    assert index is not None
    assert index.value == pytest.approx(11.61, abs=0.005)


def test_reused_heat() -> None:
    """ERE is the energy that is not reused over that of the IT equipment (The Green Grid, White Paper 29)."""
    it_kWh, pue, erf = 1000.0, 1.4, 0.25
    site_kWh = site_energy(it_kWh, pue)
    reused_kWh = reused_heat_kWh(site_kWh, erf)
    assert reused_kWh == 350
    assert energy_reuse_effectiveness(pue, erf) == pytest.approx((site_kWh - reused_kWh) / it_kWh)
    assert energy_reuse_effectiveness(pue, erf) == pytest.approx(1.05)
    assert operational_g(reused_kWh, 200.0) / kg == 70  # of the heating with gas that it replaces


def test_indicators_of_a_site() -> None:
    """WUE, CUE and cost of 1 GWh of IT equipment at a PUE of 1.2, 350 g/kWh, 0.2 EUR/kWh and 1,800 m3 of water."""
    it_kWh = 1e6
    site_kWh = site_energy(it_kWh, 1.2)
    assert water_usage_effectiveness(1.8e6, it_kWh) == 1.8
    assert water_on_site_L(it_kWh, 1.8) == 1.8e6
    assert water_in_grid_L(site_kWh, 2.0) == 2.4e6
    assert carbon_usage_effectiveness(operational_g(site_kWh, 350.0) / kg, it_kWh) == pytest.approx(0.42)
    assert cost(site_kWh, 0.2) == pytest.approx(240_000)
