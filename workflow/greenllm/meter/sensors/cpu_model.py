"""A modelled processor, for hosts without readable RAPL (most virtual machines): idle power plus busy time."""

from collections.abc import Mapping

from greenllm.estimate import Parameter
from greenllm.meter.host import host_name, processor_count, processor_identity
from greenllm.meter.sensors import Sensor, Term

METHOD = "cpu-model"

# Watts of a whole server per hardware thread, idle and at full load: means over the SPECpower_ssj2008 results by
# processor family, from Cloud Carbon Footprint's coefficients (github.com/cloud-carbon-footprint/ccf-coefficients,
# output/coefficients-aws-use.csv of 2026-03, Apache-2.0; data to SPECpower-2026-03-09). Its EPYC 5th Gen (few
# results, 3.7 and 9.0 W) is left out: such hosts get the bounds of an unknown family.
SERVER_W_PER_THREAD = {
    "Sandy Bridge": (2.21, 8.63),
    "Ivy Bridge": (1.71, 5.56),
    "Haswell": (1.86, 5.60),
    "Broadwell": (0.71, 3.69),
    "Skylake": (0.61, 4.10),
    "Cascade Lake": (0.69, 4.06),
    "Coffee Lake": (1.14, 5.42),
    "Ice Lake": (0.77, 3.76),
    "Sapphire Rapids": (1.04, 4.16),
    "Emerald Rapids": (0.81, 4.48),
    "Granite Rapids": (0.58, 2.53),
    "EPYC 1st Gen": (0.85, 2.60),
    "EPYC 2nd Gen": (0.47, 1.69),
    "EPYC 3rd Gen": (0.46, 1.96),
    "EPYC 4th Gen": (0.74, 2.28),
}
UNKNOWN_W_PER_THREAD = (0.8, 3.9)  # the medians of the table
UNKNOWN_BOUNDS = ((0.45, 3.7), (1.6, 9.0))  # its extremes, EPYC 5th Gen included

# The processors' part of a server's power: 61 % at peak (L. A. Barroso, U. Hölzle, P. Ranganathan, "The Datacenter
# as a Computer", 3rd ed., 2018, doi:10.2200/S00874ED3V01Y201809CAC046, figure of 2017's servers). Low and high are
# our own bounds, wide enough for idle servers (lower part), other models of a family, frequency and vector units.
PROCESSOR_PART = (0.61, 0.25, 1.2)
SOURCE = "Cloud Carbon Footprint 2026-03 (SPECpower_ssj2008, Apache-2.0), times 0.61 [0.25, 1.2] (Barroso et al. 2018)"

# (vendor, family) → {model: name}, as /proc/cpuinfo numbers them; the numbers are those of the kernel's
# arch/x86/include/asm/intel-family.h and of AMD's revision guides.
_INTEL = {
    45: "Sandy Bridge",
    62: "Ivy Bridge",
    63: "Haswell",
    79: "Broadwell",
    86: "Broadwell",
    158: "Coffee Lake",
    106: "Ice Lake",
    108: "Ice Lake",
    143: "Sapphire Rapids",
    207: "Emerald Rapids",
    173: "Granite Rapids",
    174: "Granite Rapids",
}
_AMD = {
    23: [(0x00, 0x0F, "EPYC 1st Gen"), (0x30, 0x3F, "EPYC 2nd Gen")],
    25: [(0x00, 0x0F, "EPYC 3rd Gen"), (0x10, 0x1F, "EPYC 4th Gen"), (0xA0, 0xAF, "EPYC 4th Gen")],
}


def family_of(identity: Mapping[str, str]) -> str | None:
    """Return the name in the table of a processor's family, from its fields in /proc/cpuinfo; None if unknown."""
    try:
        vendor = identity["vendor_id"]
        family, model = int(identity["cpu family"]), int(identity["model"])
        stepping = int(identity.get("stepping", "0"))
    except (KeyError, ValueError):
        return None
    if vendor == "GenuineIntel" and family == 6:
        if model == 85:  # one model number for both
            return "Skylake" if stepping <= 4 else "Cascade Lake"
        return _INTEL.get(model)
    if vendor == "AuthenticAMD":
        return next((name for low, high, name in _AMD.get(family, []) if low <= model <= high), None)
    return None


def find() -> list[Sensor]:
    """Return the model of the host's processors: idle power of each, and more while it is busy."""
    identity, host = processor_identity(), host_name()
    family = family_of(identity)
    value, low, high = PROCESSOR_PART
    if family is None:
        (idle, full), (idle_bounds, full_bounds) = UNKNOWN_W_PER_THREAD, UNKNOWN_BOUNDS
        source = f"processor family unknown: median and extremes of {SOURCE}"
    else:
        idle, full = SERVER_W_PER_THREAD[family]
        idle_bounds, full_bounds = (idle, idle), (full, full)
        source = f"{family}: {SOURCE}"
    more_bounds = (full_bounds[0] - idle_bounds[0], full_bounds[1] - idle_bounds[1])
    idle_name, active_name = f"cpu.idle_W_per_core@{host}", f"cpu.active_W_per_core@{host}"
    return [
        Sensor(
            "cpu",
            "cpu",
            METHOD,
            "modelled",
            terms=[Term(idle_name, "time", processor_count()), Term(active_name, "busy")],
            parameters={
                idle_name: Parameter(value * idle, low * idle_bounds[0], high * idle_bounds[1], "W", source),
                active_name: Parameter(value * (full - idle), low * more_bounds[0], high * more_bounds[1], "W", source),
            },
        )
    ]
