"""RAPL: the processor's own energy counters, through Linux's powercap tree (Intel; AMD from kernel 5.8).

The control type `intel-rapl-mmio` is a second way to the counters of `intel-rapl`, and so is not read. If the kernel
registers several zones that show one counter, all are read: only their readings show that (`meter.overlap`).
"""

import contextlib
import os
from pathlib import Path

from greenllm.estimate import Parameter
from greenllm.meter.host import host_name, sysfs
from greenllm.meter.sensors import Counter, Sensor, SensorError, Term

METHOD = "rapl"

# Against an external meter: K. N. Khan et al., "RAPL in Action", ACM TOMPECS 3(2), 2018 (promising accuracy and
# linearity from Haswell on); S. Desrochers, C. Paradis, V. Weaver, "A Validation of DRAM RAPL Power Measurements",
# MEMSYS 2016 (memory's follows the truth up to an offset, worst when idle). Neither states bounds: these are ours.
PACKAGE_GAIN = (1.0, 0.95, 1.05, "J/J", "Khan et al. 2018, doi:10.1145/3177754; bounds: our assumption")
DRAM_GAIN = (1.0, 0.80, 1.20, "J/J", "Desrochers et al. 2016, doi:10.1145/2989081.2989088; bounds: our assumption")

# The most that a zone can draw: several times the highest of its limits (a package exceeds its limits for
# milliseconds), otherwise more than any socket of today draws. Only such a bound distinguishes a wrap-around from a
# reset, and one from two; it need not be tight.
OVER_LIMIT = 4.0
HIGHEST_W = 2000.0
# The processor renews its counters every millisecond (Intel SDM, volume 3, 15.10; Khan et al. 2018); this allows much
# more.
STILL_S = 1.0


def find() -> list[Sensor]:
    """Return a sensor for each package, its memory, and the platform; core and uncore are part of a package."""
    root = sysfs() / "class/powercap"
    zones = {zone.name: zone for zone in sorted(root.glob("intel-rapl:*"))}
    for zone in sorted(root.glob("intel-rapl:*/intel-rapl:*:*")):
        zones.setdefault(zone.name, zone)
    names = {}
    for key, zone in zones.items():
        with contextlib.suppress(OSError, ValueError):
            names[key] = (zone / "name").read_text().strip()
    sensors: dict[str, Sensor] = {}
    devices: dict[str, str] = {}
    for key, name in sorted(names.items()):
        around = key.rpartition(":")[0]
        component, gain = "cpu", PACKAGE_GAIN
        if name == "dram":
            name, component, gain = f"{devices.get(around, around)}-dram", "dram", DRAM_GAIN
        elif name == "psys":
            component = "platform"
        elif not name.startswith("package-"):
            continue
        # two zones of one name are two devices, unless their readings show one counter
        devices[key] = device = f"{name}@{key}" if name in sensors else name
        sensors[device] = _sensor(component, device, zones[key], gain)
    return list(sensors.values())


def _sensor(component: str, device: str, zone: Path, gain: tuple[float, float, float, str, str]) -> Sensor:
    path = zone / "energy_uj"

    def read() -> float:
        try:
            return _count(path)
        except OSError as error:
            raise SensorError(_mend(path, error)) from None
        except ValueError:
            raise SensorError(f"{path}: no number") from None

    sensor = Sensor(component, device, METHOD, "measured")  # type: ignore[arg-type]
    try:
        read()
        wrap = _count(zone / "max_energy_range_uj")
        if wrap <= 0:
            raise ValueError
    except SensorError as error:
        sensor.reason = str(error)
        return sensor
    except (OSError, ValueError):
        sensor.reason = f"{zone / 'max_energy_range_uj'}: not readable, so a wrap-around could not be recognised"
        return sensor
    parameter = f"rapl.gain@{host_name()}/{device}"
    sensor.terms = [Term(parameter, "counter")]
    sensor.parameters = {parameter: Parameter(*gain)}
    sensor.counter = Counter(unit_J=1e-6, wrap=wrap, max_W=_highest_W(zone), still_s=STILL_S)
    sensor.read = read
    return sensor


def _count(path: Path) -> int:
    """Read a whole number that is not negative. Raises OSError or ValueError where there is none."""
    text = path.read_bytes().strip()
    if not text.isdigit():
        raise ValueError(text)
    return int(text)


def _highest_W(zone: Path) -> float:
    """Return the most that a zone can draw, in watts, by its limits (powercap.rst: constraint_*_power_limit_uw)."""
    limits = []
    for name in ("constraint_*_power_limit_uw", "constraint_*_max_power_uw"):
        for path in zone.glob(name):
            with contextlib.suppress(OSError, ValueError):
                limits.append(_count(path) * 1e-6)
    return min(HIGHEST_W, OVER_LIMIT * max(limits)) if limits and max(limits) > 0 else HIGHEST_W


def _mend(path: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        everyone = path.parent.with_name("intel-rapl:*") / "energy_uj"
        return f"{path}: only root may read it; until the next boot `sudo chmod a+r {everyone}` mends that"
    return f"{path}: {os.strerror(error.errno or 0)}"
