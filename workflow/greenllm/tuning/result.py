"""What was found, as files: a fragment of the configuration (YAML), and every probe (CSV)."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from greenllm.estimate import Estimate
from greenllm.files import replacing
from greenllm.tuning.search import Cost, Found
from greenllm.tuning.space import KNOBS, Setting
from greenllm.tuning.spread import Spread

# The section of the configuration with a workload's batch and precision, and the stage whose resources it uses.
SECTIONS = {"sample": ("train", "train"), "request": ("deploy", "measure")}
MOST_NAMED = 6  # of the settings that take no more than the best one, as far as can be told


def write_fragment(path: Path, found: Found, unit: str, bound_s: float | None, spent: Estimate | None) -> None:
    """Write the best setting as a fragment of the configuration, with what it costs in comments.

    `spent` is the energy of the tuning (J), None where it is unknown.
    """
    known = {setting: found.typical(setting) for setting in found.costs}
    cost = known[found.best]
    lines = [
        f"{found.best}: {_energy(cost)} and {cost.time_s:.3g} s per {unit}, {_within(known, found, bound_s)}.",
        *(_beside(known, found, unit, bound_s) if len(known) > 1 else ()),
        f"{len(found.probes)} probes" + ("." if spent is None else f", {_joules(*spent.interval())} in all."),
        "In brackets: 95 % bounds by the sensors' errors. Most of these are the same for all settings.",
    ]
    if unit == "sample" and len({setting.batch for setting in known}) > 1:
        lines.append("Another batch trains another model: compare its quality, and adapt learning_rate.")
    text = "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(fragment(found.best, unit), sort_keys=False)
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _beside(known: Mapping[Setting, Cost], found: Found, unit: str, bound_s: float | None) -> Iterator[str]:
    """Yield how the others compare with the best: those that take resolvably more, and the one that takes the most."""
    spread = Spread.of(found)
    dearest = max(known, key=lambda one: known[one].energy_J)
    once = ", probed once" if len(found.costs[dearest]) == 1 else ""
    most = f"The most of {len(known)} settings: {_energy(known[dearest])} per {unit} ({dearest}{once})."
    if spread is None:
        yield "No setting was probed twice, so it is unknown whether others take resolvably more."
        yield most
        return
    others = sorted((one for one in known if one != found.best), key=lambda one: known[one].energy_J)
    allowed = [one for one in others if bound_s is None or known[one].time_s <= bound_s]
    alike = [str(one) for one in allowed if not spread.resolves(found, one)]
    by = f"95 %; probes of one setting differ by {100 * math.expm1(spread.deviation):.2g} %"
    if alike:
        more = f"; and {len(alike) - MOST_NAMED} more" if len(alike) > MOST_NAMED else ""
        yield f"Not resolvably more ({by}): {'; '.join(alike[:MOST_NAMED])}{more}."
    elif allowed:
        yield f"All others take resolvably more ({by})."
    if spread.resolves(found, dearest):
        yield most


def _energy(cost: Cost) -> str:
    return _joules(cost.energy_J, *(cost.bounds_J or ()))


def _joules(energy_J: float, *bounds_J: float) -> str:
    return f"{energy_J:.4g} J" + (" ({:.4g} to {:.4g})".format(*bounds_J) if bounds_J else "")


def fragment(best: Setting, unit: str) -> dict[str, Any]:
    """Return a setting as keys of the configuration."""
    section, stage = SECTIONS[unit]
    values: dict[str, Any] = {"batch": best.batch}
    if best.precision is not None:
        values["precision"] = best.precision
    if section == "deploy":
        values["threads"] = best.threads
    needs: dict[str, Any] = {"threads": best.threads}  # of a server, too: it gets no more than are reserved
    if best.power_limit_W is not None:
        needs["power_limit_W"] = best.power_limit_W
    return {section: values, "resources": {stage: needs}}


def _within(costs: Mapping[Setting, Cost], found: Found, bound_s: float | None) -> str:
    if not found.within:
        return f"the fastest, since none is within {bound_s:g} s"
    within = "" if bound_s is None else f" within {bound_s:g} s"
    allowed = [cost for cost in costs.values() if bound_s is None or cost.time_s <= bound_s]
    if costs[found.best].energy_J > min(cost.energy_J for cost in allowed):
        return f"the least energy{within} of the settings probed more than once"
    return f"the least energy probed{within}"


def write_probes(path: Path, found: Found, unit: str) -> None:
    """Write every probe, in order: its setting, energy (J) with 95 % bounds and time (s) of a unit, or why it failed.

    `front` marks the settings than which none has both less energy and less time; `best` the one that was chosen.
    """
    text = io.StringIO(newline="")
    energy = [f"energy_per_{unit}_J{bound}" for bound in ("", "_low", "_high")]
    head = ["probe", *KNOBS, *energy, f"time_per_{unit}_s", "front", "best", "failure"]
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(head)
    for number, probe in enumerate(found.probes, start=1):
        setting: Mapping[str, Any] = vars(probe.setting)
        cost = ["", "", "", ""]
        if probe.cost is not None:
            bounds_J = probe.cost.bounds_J or (None, None)
            figures = (probe.cost.energy_J, *bounds_J, probe.cost.time_s)
            cost = ["" if figure is None else f"{figure:.6g}" for figure in figures]
        marks = (int(probe.setting in found.front), int(probe.setting == found.best))
        knobs = ["" if setting[knob] is None else setting[knob] for knob in KNOBS]
        rows.writerow([number, *knobs, *cost, *marks, probe.failure or ""])
    with replacing(path) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")
