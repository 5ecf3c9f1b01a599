"""The meter around a command or a block of Python: sensors, process tree, leases, ledger and energy log.

Nothing here imports more than the standard library (and pynvml where there is an NVIDIA driver): the meter starts
with every job.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenllm.meter.python_block import Meter

__all__ = ["Meter"]


def __getattr__(name: str) -> Any:
    """Import `Meter` where it is asked for: the sensors and the ledger format are used without it, too."""
    if name != "Meter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from greenllm.meter.python_block import Meter

    return Meter
