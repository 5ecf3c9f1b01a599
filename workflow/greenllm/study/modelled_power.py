"""The power of a job of which no ledger is known: that of what it reserves."""

from dataclasses import dataclass

from greenllm.estimate import Interval
from greenllm.meter.host import processor_count
from greenllm.meter.sensors import cpu_model, dram_model, nvml

# A card whose limit is unknown, as on the nodes of a cluster: up to that of an NVIDIA H100 SXM (data sheet).
GPU_W = Interval(700.0, 50.0, 700.0)
IDLE_SHARE = 0.1  # a card that hardly computes, as a part of its limit


@dataclass(frozen=True)
class Reserved:
    """What a job reserves on each of its nodes: processors, GPUs, and the power limit of each GPU (W; None: none)."""

    threads: int
    gpus: int
    power_limit_W: float | None = None
    nodes: int = 1


def modelled_power(reserved: Reserved) -> Interval:
    """Return the power (W) of a job whose processors are busy and whose GPUs draw what they may.

    Processors and memory as the meter models them (docs/explanation/modelled.md); memory by the share of processors.
    """
    cpus = processor_count()
    threads = min(reserved.threads, cpus)
    total = Interval(0.0, 0.0, 0.0)
    for sensor in (*cpu_model.find(), *dram_model.find()):
        for term in sensor.terms:
            part = threads / cpus if term.of == "time" else threads
            parameter = sensor.parameters[term.parameter]
            total = _plus(total, part * term.factor, Interval(parameter.value, parameter.low, parameter.high))
    if reserved.gpus:
        total = _plus(total, reserved.gpus, _gpu(reserved.power_limit_W))
    return _plus(Interval(0.0, 0.0, 0.0), reserved.nodes, total)


def _gpu(limit_W: float | None) -> Interval:
    """Return the power (W) of a card: at most its limit, that of the job or else the highest of this host's cards."""
    if limit_W is None:
        limits = [sensor.limit_W for sensor in nvml.find()[1] if sensor.limit_W]
        if not limits:
            return GPU_W
        limit_W = max(limits)
    return Interval(limit_W, IDLE_SHARE * limit_W, limit_W)


def _plus(total: Interval, times: float, one: Interval) -> Interval:
    return Interval(total.value + times * one.value, total.low + times * one.low, total.high + times * one.high)
