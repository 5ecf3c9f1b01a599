"""Embodied carbon and life of the equipment of hosts: the user's own, else that of our tables."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from greenllm.config.models import EquipmentKind, OwnEquipment
from greenllm.errors import UserError
from greenllm.footprint.factor import Factor
from greenllm.footprint.factor_kinds import KINDS, require_plausible
from greenllm.footprint.factor_tables import FactorTables
from greenllm.footprint.grid_carbon import tables
from greenllm.footprint.places import UNKNOWN
from greenllm.footprint.site_factors import Equipment

EQUIPMENT_KINDS: tuple[EquipmentKind, ...] = get_args(EquipmentKind)
DISK = "SSD"  # of a disk whose kind is not known


def equipment_of(
    hardware: Mapping[str, OwnEquipment], gpus: Iterable[str], year: int, own_tables: tuple[Path, ...] = ()
) -> list[Equipment]:
    """Return the equipment of hosts: each model of GPU in `gpus` (as NVML names them), then the other kinds.

    Embodied carbon of memory and disks is in kgCO2e for each GB, of all else in kgCO2e for each device. A server is
    what remains without its processors, memory, disks and GPUs. What `hardware` does not say is that of the user's
    own tables, else of ours. Raises UserError for a value of the user's that is not plausible or has no source.
    """
    own = {name: _own_factors(name, given) for name, given in hardware.items()}
    for name, given in hardware.items():
        if name in EQUIPMENT_KINDS and given.kind not in (None, name):
            raise UserError(f"config: hardware.{name}.kind: {name!r} is a kind itself; remove the key")
    known = tables(own_tables)
    named: list[tuple[EquipmentKind, str]] = [("gpu", name) for name in sorted(set(gpus))]
    named += [(given.kind or "gpu", name) for name, given in hardware.items() if name not in EQUIPMENT_KINDS]
    found: dict[tuple[EquipmentKind, str], Equipment] = {}
    for kind, name in [*named, *((kind, kind) for kind in EQUIPMENT_KINDS if kind != "gpu")]:
        embodied, life = _of_the_users(own, hardware, kind, name)
        found[kind, name] = Equipment(
            kind=kind,
            name=name,
            embodied=embodied or known.find(f"embodied {kind}", _model(known, f"embodied {kind}", name), year),
            life=life or known.find(f"life of {kind}", _model(known, f"life of {kind}", name), year),
        )
    return list(found.values())


def _of_the_users(
    own: Mapping[str, tuple[Factor | None, Factor | None]],
    hardware: Mapping[str, OwnEquipment],
    kind: EquipmentKind,
    name: str,
) -> tuple[Factor | None, Factor | None]:
    """Return the user's own embodied carbon and life of a device, each by its closest name, else by its kind."""
    named = [key for key, given in hardware.items() if key not in EQUIPMENT_KINDS and (given.kind or "gpu") == kind]
    found = [own[key] for key in (*_models(named, name), kind) if key in own]
    return (
        next((embodied for embodied, _ in found if embodied is not None), None),
        next((life for _, life in found if life is not None), None),
    )


def _words(name: str) -> frozenset[str]:
    """Return the words of a name; drivers join some of them by hyphens, as in "NVIDIA A100-SXM4-80GB"."""
    return frozenset(re.split(r"[\s-]+", name.casefold()))


def _models(names: Iterable[str], device: str) -> list[str]:
    """Return the names of which a device's name has all words, such as "NVIDIA H100" of "NVIDIA H100 80GB HBM3".

    The closest one, with most words, comes first.
    """
    return sorted((name for name in names if _words(name) <= _words(device)), key=lambda name: -len(_words(name)))


def _model(known: FactorTables, name: str, device: str) -> str:
    """Return the closest name of a device in the user's tables, else in ours; else that of an unknown device."""
    default = DISK if name == "embodied disk" else UNKNOWN
    return next((model for places in known.places_by_layer(name) for model in _models(places, device)), default)


def _own_factors(name: str, given: OwnEquipment) -> tuple[Factor | None, Factor | None]:
    """Return the user's own embodied carbon and life. Raises UserError if a value has no source or is implausible."""
    kind = name if name in EQUIPMENT_KINDS else given.kind or "gpu"
    made: list[Factor | None] = []
    for key, factor, value in (
        ("embodied_kg", f"embodied {kind}", given.embodied_kg),
        ("life_years", f"life of {kind}", given.life_years),
    ):
        if value is None:
            made.append(None)
            continue
        require_plausible(factor, value, f"config: hardware.{name}.{key}")
        made.append(
            Factor(
                name=factor,
                place=name,
                value=value,
                low=value,
                high=value,
                interval="none given with the factor, which is taken as exact",
                unit=KINDS[factor].unit,
                year=given.year,
                source=given.source,
            )
        )
    return made[0], made[1]
