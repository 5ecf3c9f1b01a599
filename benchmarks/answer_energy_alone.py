"""What does `greenllm serve --energy` add to a request, in processor time, where nothing is computed?

    python benchmarks/answer_energy_alone.py [--pairs 600]

Two applications of one process, one of them with --energy, answer in turn, without sockets and with an engine that
returns a text at once. So the difference is that of the accounting: answer_energy.py, where servers compute answers,
can't resolve it. Pairs of short blocks in random order; the cost is the mean of their differences, with its 95 %
interval from batches of pairs. The thread that reads the sensors is timed apart, and charged to the requests of its
time. Target: at most 1 % of a request of SmolLM2-135M-Instruct, which takes 80 ms. Exit status 0 if it is met.
"""

import argparse
import asyncio
import random
import threading
import time
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import httpx

from greenllm.engines import Completion
from greenllm.serving.app import make_app
from greenllm.serving.limits import Limits
from greenllm.serving.service import Served
from greenllm.statistics import halfwidth

MOST_us = 800.0  # 1 % of 80 ms: the target
BLOCK = 50  # requests
BATCHES = 10  # of pairs, for the interval


class Parrot:
    """An engine that answers with the prompt."""

    name, precision, context, gpus = "parrot", "fp32", 128, 0

    def generate(self, prompts: Sequence[str], max_tokens: int | Sequence[int], *_: Any, **__: Any) -> list[Completion]:
        """Return each prompt as an answer of all tokens."""
        most = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else max_tokens
        return [Completion(*asked, self.count_tokens(asked[0]), "length") for asked in zip(prompts, most, strict=True)]

    def count_tokens(self, prompt: str) -> int:
        """Return 20."""
        return 20

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the last message."""
        return messages[-1]["content"]

    def use_threads(self, threads: int) -> None:
        """Do nothing."""


async def block_s(client: httpx.AsyncClient) -> float:
    """Return the processor time of this process while a block of requests is answered (s)."""
    began_s = time.process_time()
    for _ in range(BLOCK):
        answer = await client.post("/v1/completions", json={"prompt": "a b c", "max_tokens": 12})
        answer.raise_for_status()
    return time.process_time() - began_s


async def measure(pairs: int) -> tuple[float, list[float], float]:
    """Return what a request takes without --energy, what it takes more with it, by pair, and the thread's part (µs)."""
    clients = [
        httpx.AsyncClient(transport=httpx.ASGITransport(make_app(Parrot(), "parrot", Limits(), Served(), None, **how)))
        for how in ({"energy_threads": None}, {"energy_threads": 1})
    ]
    for client in clients:
        client.base_url = httpx.URL("http://parrot")
        await block_s(client)
    (thread,) = (one for one in threading.enumerate() if one.name == "energy")
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    begun_s, off, more = time.clock_gettime(clock), [], []
    for _ in range(pairs):
        took = [0.0, 0.0]
        for which in random.sample((0, 1), 2):
            sampled_s = time.clock_gettime(clock)
            took[which] = await block_s(clients[which]) - (time.clock_gettime(clock) - sampled_s)
        off.append(1e6 * took[0] / BLOCK)
        more.append(1e6 * (took[1] - took[0]) / BLOCK)
    return mean(off), more, 1e6 * (time.clock_gettime(clock) - begun_s) / (pairs * BLOCK)


def main() -> int:
    """Measure, print, and compare with the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=600, help=f"pairs of blocks, at least {BATCHES} (default: 600)")
    pairs = parser.parse_args().pairs
    if pairs < BATCHES:
        parser.error(f"--pairs {pairs}: expected at least {BATCHES}, one for each batch of the interval")
    off_us, more_us, thread_us = asyncio.run(measure(pairs))
    batches = [mean(more_us[place::BATCHES]) for place in range(BATCHES)]
    cost_us, half_us = mean(batches), halfwidth(batches)
    print(
        f"a request without --energy: {off_us:.0f} µs of processor time; with it {cost_us:.1f} ± {half_us:.1f} µs more"
    )
    print(f"the thread that reads the sensors: {thread_us:.1f} µs for each of these requests")
    met = cost_us + half_us + thread_us <= MOST_us
    print(f"target: at most {MOST_us:.0f} µs: {'met' if met else 'missed'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
