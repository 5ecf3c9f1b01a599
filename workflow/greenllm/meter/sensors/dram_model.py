"""Modelled memory, for hosts without a readable memory counter: a power per GiB installed."""

from greenllm.estimate import Parameter
from greenllm.meter.host import host_name, memory_GiB
from greenllm.meter.sensors import Sensor, Term

METHOD = "dram-model"

# 0.392 W per GB: Cloud Carbon Footprint's memory coefficient (Apache-2.0), the mean of Crucial's 0.375 and Micron's
# 0.4083 W per GB. The bounds are ours: from idle modules of 64 GB and more to small busy ones.
W_PER_GB = (0.392, 0.05, 0.6)
SOURCE = "Cloud Carbon Footprint, methodology, memory: 0.392 W/GB (Apache-2.0); bounds 0.05 and 0.6: our assumption"
GB_PER_GIB = 1.073741824


def find() -> list[Sensor]:
    """Return the model of the host's memory."""
    size_GiB = memory_GiB()
    if size_GiB is None:
        reason = "/proc/meminfo does not say how much memory there is"
        return [Sensor("dram", "dram", METHOD, "modelled", reason=reason)]
    name = f"dram.W_per_GiB@{host_name()}"
    value, low, high = (watts * GB_PER_GIB for watts in W_PER_GB)
    return [
        Sensor(
            "dram",
            "dram",
            METHOD,
            "modelled",
            terms=[Term(name, "time", round(size_GiB, 3))],
            parameters={name: Parameter(value, low, high, "W/GiB", SOURCE)},
        )
    ]
