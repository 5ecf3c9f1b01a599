"""Modelled memory, for hosts without a readable memory counter: a power per module, else per GiB.

A module's power depends little on its size: a module of 16 GB takes little more than one of 4 GB, and an idle one a
tenth of a busy one. So the number of modules and their generation say more than the size. Where the firmware does not
list them (it lists them to root alone, and in virtual machines not at all), a wide range per gigabyte remains.

The value is halfway between idle and busy, low is idle, high is busy; how busy a memory is is unknown.
"""

from collections.abc import Sequence

from greenllm.estimate import Parameter
from greenllm.meter.host import host_name, memory_GiB
from greenllm.meter.sensors import Sensor, Term
from greenllm.meter.sensors.memory_modules import Module, memory_modules

METHOD = "dram-model"

# DDR3: a server with two Xeon L5520 takes 5 W more when idle, and 32 W more under SPECpower_ssj2008's full load, with
# six more modules of 4 GB at 1066 MT/s: 0.83 and 5.33 W each, the losses of the power supply included (C. Vilsbeck,
# TecChannel, "Xeon-Server optimal konfigurieren").
# DDR4: four more modules of 16 GB took less than 1.5 W when idle, 0.375 W each (Green Algorithms, issue 14: a desktop,
# at the wall); a module of 8 GB at 2133 MT/s takes 2.98 W when busy (Tom's Hardware, 2014-08-29, "Measuring DDR4
# Power Consumption"). High is Crucial's 5 W, by which power supplies are dimensioned ("How much power does memory
# use?").
# DDR5: no measurement was found. Value and low are DDR4's: the voltage is lower (1.1 for 1.2 V), but the module has
# its own regulator. High is large modules'.
_DDR4_SOURCE = "Green Algorithms, issue 14 (idle); Tom's Hardware 2014-08-29 (busy); high: Crucial, 5 W a module"
W_PER_MODULE = {
    "DDR3": (3.1, 0.83, 5.33, "TecChannel, six more modules of 4 GB in a server, idle and at full load"),
    "DDR4": (1.7, 0.375, 5.0, _DDR4_SOURCE),
    "DDR5": (1.7, 0.375, 10.0, f"as DDR4 (no measurement found): {_DDR4_SOURCE}; high: as of large modules"),
}
# Larger modules have more ranks, and buffers: 10 W is what a DDR5 module of 128 GB is reported to take (Micron, 2024).
LARGE_MIB, LARGE_W = 32 * 1024, 10.0

# Idle: 0.125 W per GB, the allowance for servers in ENERGY STAR's draft 2 of version 3 (NRDC's comments of 2017-10-10).
# Busy: 0.392 W per GB, Cloud Carbon Footprint's coefficient (Apache-2.0), the mean of Crucial's 0.375 and Micron's
# 0.4083. Low: the idle DDR4 modules of 16 GB above; high: Crucial's 5 W for a module of 8 GB.
W_PER_GB = (0.26, 0.023, 0.625)
SOURCE = (
    "halfway between 0.125 (ENERGY STAR, servers 3.0 draft 2, idle) and 0.392 W/GB (Cloud Carbon Footprint, "
    "Apache-2.0); low: Green Algorithms, issue 14 (DDR4, idle); high: Crucial, 5 W for 8 GB"
)
GB_PER_GIB = 1.073741824


def find() -> list[Sensor]:
    """Return the model of the host's memory."""
    size_GiB = memory_GiB()
    if size_GiB is None:
        reason = "/proc/meminfo does not say how much memory there is"
        return [Sensor("dram", "dram", METHOD, "modelled", reason=reason)]
    modules = memory_modules()
    generations = {module.generation for module in modules}
    if len(generations) == 1 and (generation := generations.pop()) in W_PER_MODULE:
        name, factor = f"dram.W_per_module@{host_name()}", float(len(modules))
        parameter = _per_module(generation, modules)
    else:
        name, factor = f"dram.W_per_GiB@{host_name()}", round(size_GiB, 3)
        value, low, high = (watts * GB_PER_GIB for watts in W_PER_GB)
        parameter = Parameter(value, low, high, "W/GiB", SOURCE)
    return [
        Sensor("dram", "dram", METHOD, "modelled", terms=[Term(name, "time", factor)], parameters={name: parameter})
    ]


def _per_module(generation: str, modules: Sequence[Module]) -> Parameter:
    value, low, high, source = W_PER_MODULE[generation]
    if any(module.size_MiB is None or module.size_MiB > LARGE_MIB for module in modules):
        high = max(high, LARGE_W)
    return Parameter(value, low, high, "W/module", f"{len(modules)} modules of {generation}: {source}")
