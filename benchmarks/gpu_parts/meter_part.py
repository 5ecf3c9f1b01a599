"""The meter against the card's own counter and powers, under loads of different courses."""

import functools
import os
import time
from collections.abc import Callable

import torch

from gpu_parts.card_reader import CardReader
from gpu_parts.metered import metered
from gpu_parts.records import Agreement, Journal, Missing, Settings
from greenllm.meter.gpus import visible
from greenllm.meter.sensors import nvml

PART = "meter"
# Nothing is computed at both edges, so that what a late renewal misses is small and alike for all readers.
EDGE_s = 0.3


def run(settings: Settings, journal: Journal) -> None:
    """Put each load on the card, for twice a window's length, and write what each reader found."""
    (card, *_) = visible(nvml.find()[0], os.environ.get("CUDA_VISIBLE_DEVICES"))
    multiply = _multiplier(settings)
    multiply()
    length_s = 3.0 if settings.rehearse else 2 * settings.window_s
    for load, on_s, off_s in (
        ("steady", length_s, 0.0),
        ("0.65 s on, 0.65 s off", 0.65, 0.65),
        ("50 ms on, 50 ms off", 0.05, 0.05),
        ("idle", 0.0, length_s),
    ):
        if time.monotonic() + length_s + 2 > settings.deadline_s:
            journal.write(Missing(part=PART, setting=load, reason="no time was left", optional=True))
            continue
        with CardReader(card.uuid) as reader:
            time.sleep(EDGE_s)  # a renewal of the counter before the window
            found = metered(settings, f"meter {load}", functools.partial(_alternate, multiply, length_s, on_s, off_s))
            time.sleep(EDGE_s)  # and one after it
        begin_s, end_s = found.begin_s, found.end_s
        journal.write(
            Agreement(
                load=load,
                seconds=found.seconds,
                method=found.method,
                meter_J=found.energy_J,
                meter_low_J=found.low_J,
                meter_high_J=found.high_J,
                counter_J=reader.counter_J(begin_s, end_s),
                mean_power_J=reader.added_up_J(1, begin_s, end_s),
                instant_power_J=reader.added_up_J(2, begin_s, end_s),
                corrected_J=_corrected_J(reader, begin_s, end_s),
                counter_renewed_s=reader.renewed_s(0),
                power_renewed_s=reader.renewed_s(2),
            )
        )


def _multiplier(settings: Settings) -> Callable[[], None]:
    """Return a product of matrices that takes some milliseconds."""
    size = 256 if settings.rehearse else 4096
    dtype = torch.float32 if settings.rehearse else torch.bfloat16
    one, other = (torch.randn(size, size, device=settings.device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(one)

    def multiply() -> None:
        for _ in range(4):
            torch.mm(one, other, out=out)
        if settings.device == "cuda":
            torch.cuda.synchronize()

    return multiply


def _alternate(multiply: Callable[[], None], length_s: float, on_s: float, off_s: float) -> int:
    """Return how often the matrices were multiplied."""
    time.sleep(EDGE_s)
    products, end_s = 0, time.monotonic() + length_s
    while (now_s := time.monotonic()) < end_s:
        while time.monotonic() < min(now_s + on_s, end_s):
            multiply()
            products += 1
        time.sleep(max(0.0, min(off_s, end_s - time.monotonic())))
    time.sleep(EDGE_s)
    return products


def _corrected_J(reader: CardReader, begin_s: float, end_s: float) -> float | None:
    """Return the energy (J) by attribution's model of a polled power; None where its packages are not there."""
    try:
        from greenllm.attribution.polled_power import polled_power
    except ImportError:  # pyarrow
        return None
    times_s, values_W = reader.power(2, begin_s, end_s)
    if len(times_s) < 2:
        return None
    values_J = polled_power(times_s, values_W).values
    return float(values_J[-1] - values_J[0])
