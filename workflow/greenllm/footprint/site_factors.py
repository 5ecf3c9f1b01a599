"""The factors of the place where a study ran, and of the equipment that it used."""

from dataclasses import dataclass
from typing import Literal

from greenllm.footprint.factor import Factor


@dataclass(frozen=True, kw_only=True)
class SiteFactors:
    """The factors of a site; None is unknown, and so is its consequence."""

    place: str
    grid_carbon: Factor | None  # gCO2e/kWh, location-based mean
    grid_carbon_marginal: Factor | None = None  # gCO2e/kWh
    market_carbon: Factor | None = None  # gCO2e/kWh, by contract
    grid_water: Factor | None = None  # L/kWh, consumed where the electricity is generated
    pue: Factor | None = None  # energy of the site / that of its IT equipment (ISO/IEC 30134-2)
    wue: Factor | None = None  # L/kWh of the IT equipment, on site (ISO/IEC 30134-9)
    erf: Factor | None = None  # energy reused / that of the site (ISO/IEC 30134-6)
    renewable: Factor | None = None  # renewable energy / that of the site (ISO/IEC 30134-3)
    heat_carbon: Factor | None = None  # gCO2e/kWh of the heating that reused heat displaces
    price: Factor | None = None  # per kWh; `unit` names the currency: "EUR/kWh"


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """A kind of equipment that a host has: its embodied carbon (kgCO2e each or for each GB) and its life (years)."""

    kind: Literal["processor", "gpu", "memory", "disk", "server"]
    name: str  # as sensors or the configuration name it
    embodied: Factor | None
    life: Factor | None
