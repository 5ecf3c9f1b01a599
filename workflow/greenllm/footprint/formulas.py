"""The formulas of an impact account, of numbers or of draws in their place.

Sources: SCI is ISO/IEC 21031:2024 (Green Software Foundation, SCI 1.1); SCI for AI is its specification of December
2025; PUE, REF, ERF, CUE and WUE are ISO/IEC 30134-2, -3, -6, -8 and -9; ERE is The Green Grid, White Paper 29 (2010).
"""

from typing import TypeVar

from greenllm.footprint.draws import Array, Drawn

J_PER_kWh = 3.6e6
HOURS_PER_YEAR = 8760.0

Number = TypeVar("Number", float, Array, Drawn)


def device_energy_kWh(device_h: Number, power_W: Number | float) -> Number:
    """Return the energy of devices that drew a mean power for so many device hours."""
    return device_h * power_W / 1000


def site_energy(it_energy: Number, pue: Number | float) -> Number:
    """Return the energy of a site, in the unit of that of its IT equipment: times PUE."""
    return it_energy * pue


def operational_g(energy_kWh: Number, g_per_kWh: Number | float) -> Number:
    """Return the carbon of electricity: O = E · I (SCI)."""
    return energy_kWh * g_per_kWh


def embodied_g(
    total_g: Number, reserved_h: Number | float, life_years: Number | float, share: Number | float
) -> Number:
    """Return the part of equipment's embodied carbon that a job has: M = TE · TiR / EL · RR / ToR (SCI).

    `share` is RR / ToR, the part of the equipment's resources that was reserved, for `reserved_h` hours (TiR).
    """
    return total_g * (reserved_h / (life_years * HOURS_PER_YEAR)) * share


def sci_g(operational: Number, embodied: Number | float, units: Number | float) -> Number:
    """Return grams for each functional unit: SCI = (O + M) per R.

    With the tokens or requests that users get it is SCI for AI's consumer score, with training tokens, parameters or
    operations its provider score.
    """
    return (operational + embodied) / units


def water_on_site_L(it_kWh: Number, wue: Number | float) -> Number:
    """Return the water that a site uses: its WUE times the energy of the IT equipment."""
    return it_kWh * wue


def water_in_grid_L(site_kWh: Number, L_per_kWh: Number | float) -> Number:
    """Return the water that is consumed where a site's electricity is generated."""
    return site_kWh * L_per_kWh


def cost(site_kWh: Number, price_per_kWh: Number | float) -> Number:
    """Return what a site's electricity costs, in the currency of the price."""
    return site_kWh * price_per_kWh


def reused_heat_kWh(site_kWh: Number, erf: Number | float) -> Number:
    """Return the heat that is used outside of the data centre: ERF times the energy of the site."""
    return site_kWh * erf


def energy_reuse_effectiveness(pue: Number, erf: Number | float) -> Number:
    """Return ERE = (1 - ERF) · PUE: the energy that is not reused for each kWh of the IT equipment."""
    return (1 - erf) * pue


def water_usage_effectiveness(water_L: Number, it_kWh: Number | float) -> Number:
    """Return WUE: litres for each kWh of the IT equipment."""
    return water_L / it_kWh


def carbon_usage_effectiveness(carbon_kg: Number, it_kWh: Number | float) -> Number:
    """Return CUE: kilograms of CO2 equivalent for each kWh of the IT equipment."""
    return carbon_kg / it_kWh
