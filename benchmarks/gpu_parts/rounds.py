"""Settings measured in turns: a window of each in every round, in random order."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from gpu_parts.metered import metered
from gpu_parts.records import Journal, Missing, Settings, Window


@dataclass(frozen=True)
class Setting:
    """What is measured: one call of `work` computes `tokens` tokens."""

    name: str
    batch: int
    tokens: int
    work: Callable[[], object]


def measure(settings: Settings, journal: Journal, part: str, chosen: Mapping[str, Setting]) -> None:
    """Write a window of each setting, round by round, until all rounds or the time are over.

    A setting that fails is written as missing, and left out of the rounds that follow.
    """
    alive, longest_s = dict(chosen), 0.0
    for number in range(settings.rounds):
        order = list(alive)
        random.Random(number).shuffle(order)
        for name in order:
            began_s = time.monotonic()
            if began_s + max(longest_s, settings.window_s) > settings.deadline_s:
                if number == 0:
                    journal.write(Missing(part=part, setting=name, reason="no time was left", optional=True))
                    continue
                return
            one = alive[name]
            try:
                if number == 0:
                    one.work()  # allocates memory, chooses kernels
                journal.write(_window(settings, part, one, number))
            except Exception as error:  # out of memory, a kernel that this card lacks: the others go on
                journal.write(Missing(part=part, setting=name, reason=one_line(error), optional=False))
                del alive[name]
                if settings.device == "cuda":
                    torch.cuda.empty_cache()
            longest_s = max(longest_s, time.monotonic() - began_s)


def one_line(error: BaseException) -> str:
    """Return an error's first line, with its type."""
    first = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}"[:200]


def _window(settings: Settings, part: str, one: Setting, number: int) -> Window:
    on_gpu = settings.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()

    def work() -> int:
        calls, end_s = 0, time.monotonic() + settings.window_s
        while time.monotonic() < end_s:
            one.work()
            if on_gpu:
                torch.cuda.synchronize()
            calls += 1
        return calls * one.tokens

    found = metered(settings, f"{part} {one.name}", work)
    return Window(
        part=part,
        setting=one.name,
        batch=one.batch,
        round=number,
        tokens=found.amount,
        seconds=found.seconds,
        energy_J=found.energy_J,
        peak_memory_B=torch.cuda.max_memory_allocated() if on_gpu else 0,
    )
