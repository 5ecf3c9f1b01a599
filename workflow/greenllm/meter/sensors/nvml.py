"""NVIDIA GPUs through NVML: the total-energy counter, or, where a card has none, its power polled."""

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenllm.estimate import Parameter
from greenllm.meter.host import procfs, sysfs
from greenllm.meter.sensors import Counter, Gauge, Sensor, SensorError, Term

COUNTER, POWER = "nvml-energy-counter", "nvml-power"

# Z. Yang, K. Adamek, W. Armour, "Part-time Power Measurements: nvidia-smi's Lack of Attention", SC24 (arXiv
# 2312.02741): about 5 % of proportional error remains per card once its refresh and its window are taken into account,
# as attribution does.
GAIN = (1.0, 0.95, 1.05, "J/J", "arXiv 2312.02741: 5 % per card")
# A quarter of the usual refresh period (100 ms), so that no renewal is missed and each is known to some milliseconds.
POLL_S = 0.025
GA100 = re.compile(r"\b(A100|A800|A30)\b")
# Return codes of nvmlInit (nvml.h, nvmlReturn_t). Without a driver: NVML_ERROR_DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND,
# FUNCTION_NOT_FOUND.
NOT_LOADED = (9, 12, FUNCTION_NOT_FOUND := 13)
# Codes that come from a loaded driver or a card: INSUFFICIENT_POWER, IRQ_ISSUE, CORRUPTED_INFOROM, GPU_IS_LOST,
# RESET_REQUIRED, LIB_RM_VERSION_MISMATCH.
OF_A_CARD = (8, 11, 14, 15, 16, 18)
# A working counter is renewed every 20 to 100 ms (arXiv 2312.02741), and every card that is on draws power.
STILL_S = 0.5
REBOOT = "`nvidia-smi` should say the same, a reboot often mends it"
INSTALL_BINDING = "install it with `pip install nvidia-ml-py`"
MIG_REASON = "the card does not say what one of its MIG instances draws, only what all of it does"


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML numbers it (in the order of the PCI bus)."""

    index: int
    uuid: str
    name: str


def find() -> tuple[list[Gpu], list[Sensor]]:
    """Return the host's GPUs and a sensor for each; a null sensor where there is a GPU that NVML cannot reach."""
    try:
        count = _count()
    except _NoGpuError as error:
        return [], [null("nvml", error.reason)] if error.reason else []
    try:
        import pynvml
    except ImportError as error:
        return [], [null("nvml", f"NVIDIA driver installed, but {error}; {INSTALL_BINDING}")]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], [null("nvml", f"NVML: {error}; {REBOOT}")]
    gpus, sensors = [], []
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = _text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle))
        except pynvml.NVMLError_NoPermission:  # another job's: the scheduler's device cgroup denies it
            continue
        except pynvml.NVMLError as error:  # fallen off the bus
            sensors.append(null(f"nvml-{index}", f"NVML: GPU {index}: {error}"))
            continue
        gpus.append(Gpu(index, uuid, name))
        sensors.append(_sensor(pynvml, handle, uuid))
    return gpus, sensors


class _NoGpuError(Exception):
    """NVML reaches no GPU: there is none (no `reason`), or `reason` says why and what to do."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


def _count() -> int:
    """Return how many GPUs NVML reaches. Raises _NoGpuError where it reaches none.

    The library alone does not prove that there is a card: packages and images for hosts without GPUs contain it, too.
    Whether a card is absent or broken is decided by the PCI bus and by the files of a loaded driver in /proc and /dev.
    The driver loads only if there is a card (without one its module ends with "No NVIDIA GPU found"), so an error of
    the driver or of a card proves that there is one. Without any of these signs, all other errors (driver not loaded,
    no permission, not found, unknown) mean that there is no card.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        if _driver_is_loaded():
            raise _NoGpuError(f"NVIDIA driver loaded, but {error}; install the driver's libnvidia-ml.so.1") from None
        raise _NoGpuError(_not_loaded(_cards())) from None
    found, number = ctypes.c_uint(0), 0
    try:  # without the binding: its import takes time, also on hosts without a card
        code = library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(found))
    except AttributeError:
        code = FUNCTION_NOT_FOUND
    cards = _cards()
    if code == 0 and (number := found.value):
        return number
    if code in NOT_LOADED and not _driver_is_loaded():
        raise _NoGpuError(_not_loaded(cards))
    said = _message(library, code) if code else "it finds no GPU"
    if cards and code == 0:
        raise _NoGpuError(
            f"NVIDIA card at PCI {', '.join(cards)}, but NVML: {said}; `sudo dmesg | grep NVRM` says why, where the "
            "card is this host's to use; a container needs it passed in (`--gpus all`)"
        )
    if code in OF_A_CARD or (code and (cards or _driver_is_loaded())):
        raise _NoGpuError(f"NVML: {said}; {REBOOT}")
    raise _NoGpuError


def _message(library: Any, code: int) -> str:
    try:
        library.nvmlErrorString.restype = ctypes.c_char_p
        return _text(library.nvmlErrorString(code) or f"error {code}")
    except AttributeError:
        return f"error {code}"


def _driver_is_loaded() -> bool:
    return (procfs() / "driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()


def _not_loaded(cards: list[str]) -> str | None:
    """Return the reason if the driver is not loaded; None where there is no card that needs it."""
    if not cards:
        return None
    return (
        f"NVIDIA card at PCI {', '.join(cards)}, but NVIDIA's driver is not loaded: install it or load it "
        "(`sudo modprobe nvidia`), until `nvidia-smi` lists it; a container needs it passed in (`--gpus all`)"
    )


def _cards() -> list[str]:
    """PCI addresses of NVIDIA's display controllers (class 03; a card's sound and USB are separate devices)."""

    def attribute(device: Path, name: str) -> str:
        try:
            return (device / name).read_text().strip()
        except OSError:
            return ""

    return sorted(
        device.name
        for device in (sysfs() / "bus/pci/devices").glob("*")
        if attribute(device, "vendor") == "0x10de" and attribute(device, "class").startswith("0x03")
    )


def _sensor(pynvml: Any, handle: Any, uuid: str) -> Sensor:
    def asked(query: Callable[[Any], float], what: str) -> Callable[[], float]:
        def read() -> float:
            try:
                raw = float(query(handle))
            except pynvml.NVMLError as error:
                raise SensorError(f"NVML: {uuid}: {error}") from None
            if raw == 0:
                raise SensorError(f"NVML: {uuid}: {what} of 0, which no card that is on has: it is not measured")
            return raw

        return read

    def processes() -> int:
        try:
            return len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
        except pynvml.NVMLError:
            return 0

    def memory() -> float | None:
        try:
            return float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
        except pynvml.NVMLError:  # as where the processor's memory is the GPU's
            return None

    parameter = f"nvml.gain@{uuid}"
    sensor = Sensor("gpu", uuid, COUNTER, "measured", [Term(parameter, "counter")])
    sensor.parameters = {parameter: Parameter(*GAIN)}
    energy_mJ = asked(pynvml.nvmlDeviceGetTotalEnergyConsumption, "an energy")
    power_mW = asked(pynvml.nvmlDeviceGetPowerUsage, "a power")
    instant_mW = asked(lambda handle: _instant_power_mW(pynvml, handle), "a power")
    try:
        energy_mJ()
    except SensorError as without_counter:
        reasons = [str(without_counter)]
        for read, mean_s in ((instant_mW, 0.0), (power_mW, _mean_s(pynvml, handle))):
            try:
                read()
            except SensorError as error:
                reasons.append(str(error))
                continue
            sensor.method, sensor.gauge, sensor.read = POWER, Gauge(1e-3, mean_s), read
            sensor.poll_s = POLL_S
            break
        else:
            return null(uuid, "; ".join(dict.fromkeys(reasons)))
    else:
        sensor.counter, sensor.read = Counter(unit_J=1e-3, ticks=True, still_s=STILL_S), energy_mJ
    sensor.processes, sensor.memory = processes, memory
    sensor.limit_W = _limit_W(pynvml, handle)
    return sensor


def _limit_W(pynvml: Any, handle: Any) -> float | None:
    """Return the highest power limit (W) that the card may be set to; None where the driver does not say."""
    try:
        _, most_mW = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
    except pynvml.NVMLError:
        return None
    return most_mW * 1e-3 if most_mW > 0 else None


def _instant_power_mW(pynvml: Any, handle: Any) -> float:
    """Return the card's power now (mW), if its driver shows it apart from the mean; otherwise raises NVMLError."""
    (field,) = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return float(field.value.uiVal)


def _mean_s(pynvml: Any, handle: Any) -> float:
    """Return the time (s) of which the card's power reading is the mean; 0 for a part of a refresh period.

    nvmlDeviceGetPowerUsage, NVML API reference: a second from Ampere on, but not on GA100.
    """
    try:
        averages = pynvml.nvmlDeviceGetArchitecture(handle) >= pynvml.NVML_DEVICE_ARCH_AMPERE
        name = _text(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError:
        return 0.0
    return 1.0 if averages and not GA100.search(name) else 0.0


def instance(uuid: str) -> Sensor:
    """Return the sensor of a MIG instance; a null sensor if its card, like most, shows only the power of all of it."""
    try:
        import pynvml
    except ImportError as error:
        return null(uuid, f"{error}; {INSTALL_BINDING}")
    try:
        pynvml.nvmlInit()
        sensor = _sensor(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid), uuid)
    except pynvml.NVMLError as error:
        return null(uuid, f"NVML: {uuid}: {error}")
    return sensor if sensor.terms else null(uuid, f"{MIG_REASON} ({sensor.reason})")


def null(device: str, reason: str) -> Sensor:
    """Return the sensor of a GPU that cannot be read, with the reason."""
    return Sensor("gpu", device, COUNTER, "measured", reason=reason)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
