"""The GPUs that a job may use, by an inherited CUDA_VISIBLE_DEVICES."""

from collections.abc import Sequence

from greenllm.meter.sensors.nvml import Gpu


def visible(gpus: Sequence[Gpu], allowed: str | None) -> list[Gpu]:
    """Return the GPUs that a CUDA_VISIBLE_DEVICES value allows, in its order; None allows all.

    Entries are indices in the order of the PCI bus, or UUIDs or beginnings of them ("GPU-…"); as in CUDA, the first
    one that is invalid or repeated ends the list. A MIG instance ("MIG-…") that NVML knows is returned as a device with
    index -1, since its energy is not known apart from its GPU's.
    """
    if allowed is None:
        return list(gpus)
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in allowed.split(",")):
        if entry.startswith("MIG-"):
            found = [Gpu(-1, entry, "MIG instance")] if _is_known(entry) else []
        elif entry.isdecimal():
            found = [gpu for gpu in gpus if gpu.index == int(entry)]
        else:
            found = [gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)]
        if len(found) != 1 or found[0] in chosen:
            break
        chosen += found
    return chosen


def _is_known(instance: str) -> bool:
    """Whether NVML knows a MIG instance."""
    try:
        import pynvml
    except ImportError:
        return False
    try:
        pynvml.nvmlInit()
        pynvml.nvmlDeviceGetHandleByUUID(instance)
    except pynvml.NVMLError:
        return False
    return True
