"""Finds what this host's energy can be read from."""

from greenllm.meter import calibration
from greenllm.meter.sensors import Sensor, cpu_model, dram_model, external, nvml, rapl


def find_sensors() -> tuple[list[nvml.Gpu], list[Sensor]]:
    """Return the host's GPUs, and its sensors: measured where possible, else modelled, with the reason.

    They are calibrated, where `greenllm calibrate` has stored how.
    """
    gpus, sensors = nvml.find()
    counters = rapl.find()
    for component, model in (("cpu", cpu_model), ("dram", dram_model)):
        own = [sensor for sensor in counters if sensor.component == component]
        if any(sensor.terms for sensor in own):
            sensors += own
        else:
            modelled = model.find()
            for sensor in modelled:
                sensor.reason = sensor.reason or "; ".join(s.reason for s in own if s.reason) or None
            sensors += modelled
    sensors += [sensor for sensor in counters if sensor.component == "platform" and sensor.terms]
    sensors += external.find()
    calibration.apply(sensors)
    return gpus, sensors
