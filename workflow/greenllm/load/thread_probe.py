"""A probe of the number of threads: the same prompts are answered with each number, in rounds of random order."""

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from greenllm.device_choice import DeviceChoice
from greenllm.documents.measurement import MeasurementWindow
from greenllm.load.ordered_process import running_ordered

# A round is about this long, or as long as the answers of one batch.
ROUND_s = 0.25
# Each number of threads has one round in each pass. Their differences are paired within passes.
PASSES = 5
# If a batch takes longer than this, smaller numbers of threads are not probed: they would take even longer.
LONGEST_s = 10


@dataclass(frozen=True)
class ProbeOrder:
    """An order to answer a round of prompts with a number of threads."""

    threads: int
    requests: int
    """Number of prompts."""
    start: int = 0
    """Index of the first prompt; after the last prompt the first follows."""
    together: int = 1
    """Prompts that are answered in one batch."""
    least_s: float = 0.0
    """Least duration: all prompts are answered again until it is reached."""


@dataclass(frozen=True)
class ProbedRound:
    """A round that was answered: its window, the number of answers, and the processor time that they took (s).

    `gpus` is the number of GPUs that the engine computes on.
    """

    order: ProbeOrder
    window: MeasurementWindow
    answered: int
    cpu_s: float
    gpus: int = 0

    @property
    def time_per_request_s(self) -> float:
        """The time of one batch, which is that of each request in it (s)."""
        return self.window.duration_s * self.order.together / self.answered

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ProbedRound":
        """Return the round in a JSON object, made by `dataclasses.asdict`."""
        order, window = ProbeOrder(**value["order"]), MeasurementWindow(**value["window"])
        return cls(order, window, value["answered"], value["cpu_s"], value["gpus"])


def candidates(threads: int) -> list[int]:
    """Return the numbers of threads to probe: the powers of two below `threads`, and `threads` itself."""
    powers = itertools.takewhile(lambda power: power < threads, (2**exponent for exponent in itertools.count()))
    return [*powers, threads]


def probe_words(folder: Path, predictions: Path, *, max_tokens: int, device: DeviceChoice) -> list[str]:
    """Return the words of `greenllm probe-threads` after `greenllm`."""
    words = ["probe-threads", str(folder), "--predictions", str(predictions)]
    return [*words, "--max-tokens", str(max_tokens), "--device", device]


def probed_rounds(
    command: Sequence[str],
    *,
    threads: int,
    together: int,
    seed: int,
    at_edge: Callable[[int], object] = lambda meter_pid: None,
) -> list[ProbedRound]:
    """Run `greenllm probe-threads` under a meter (`command`, whole) and return its rounds.

    See `probe`. `at_edge` is called with the meter's process id just before and after each round, so that the sensors
    can be read then. Raises UserError if the command fails.
    """
    with running_ordered(command, "greenllm probe-threads") as process:
        return probe(
            lambda order: ProbedRound.from_json(process.reply(order)),
            candidates(threads),
            together=together,
            seed=seed,
            at_edge=lambda: at_edge(process.process.pid),
        )


def probe(
    answer: Callable[[ProbeOrder], ProbedRound],
    threads: Sequence[int],
    *,
    together: int,
    seed: int,
    at_edge: Callable[[], object],
) -> list[ProbedRound]:
    """Have rounds answered with each of `threads`, ascending, and return them.

    Each pass has one round of each number, in random order, all with the same prompts. Before a round one batch is
    answered that does not count, since a changed number of threads makes the first answer slow.
    """
    per_request_s: dict[int, float] = {}
    for number in reversed(threads):
        order = ProbeOrder(number, together, together=together)
        answer(order)
        warm = answer(replace(order, least_s=ROUND_s))
        per_request_s[number] = warm.window.duration_s / warm.answered
        if warm.time_per_request_s > LONGEST_s:
            break
    requests = together * math.ceil(ROUND_s / (together * min(per_request_s.values())))
    chance = random.Random(seed)
    rounds = []
    for number_of_pass in range(PASSES):
        for number in chance.sample(sorted(per_request_s), len(per_request_s)):
            order = ProbeOrder(number, requests, number_of_pass * requests, together)
            answer(replace(order, requests=together))
            at_edge()
            rounds.append(answer(order))
            at_edge()
    return rounds
