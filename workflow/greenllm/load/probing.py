"""`greenllm probe-threads`: answer prompts with the numbers of threads that standard input orders, without a server."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from greenllm.device_choice import DEVICE_CHOICES
from greenllm.engines import Completion, Engine, Prompt, load_engine
from greenllm.engines.decoding_choice import Decoding
from greenllm.errors import UserError
from greenllm.load.prompts import PromptRow, read_prompts
from greenllm.load.rounds import Stopwatch
from greenllm.load.thread_probe import ProbedRound, ProbeOrder
from greenllm.orders import read_order
from greenllm.work import write_work


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm probe-threads`."""
    add = parser.add_argument
    add("folder", type=Path, help="a bundle made by `greenllm deploy`, or any model folder")
    help = "JSON lines with id and prompt, as `greenllm evaluate` writes them"
    add("--predictions", type=Path, required=True, help=help)
    add("--max-tokens", type=int, default=256, help="most tokens of an answer (default: 256)")
    add("--device", choices=DEVICE_CHOICES, default="auto", help="require: fail without a GPU (default: auto)")
    parser.description = (
        "answer prompts in rounds. Each line of standard input orders one, in JSON: threads, requests, start (index of "
        "the first prompt), together (prompts in one batch), least_s (the same prompts are repeated until then). A "
        "line on standard output with the window, the number of answers and the processor time (s) follows each."
    )


def run(arguments: argparse.Namespace) -> int:
    """Answer until standard input ends. Raises UserError if an order is not valid, or the engine has fixed threads."""
    if arguments.max_tokens < 1:
        raise UserError(f"--max-tokens {arguments.max_tokens}: expected at least 1")
    rows = read_prompts(arguments.predictions)
    probe: _Probe | None = None
    for line in sys.stdin:
        order = _order(line)
        if probe is None:
            engine = load_engine(arguments.folder, threads=order.threads, device=arguments.device)
            probe = _Probe(engine, order.threads, rows, arguments.max_tokens)
        print(json.dumps(asdict(probe.round(order))), flush=True)
    if probe is not None:
        write_work(requests=probe.requests, tokens=probe.tokens)
    return 0


class _Probe:
    """An engine and the prompts that it answers; `requests` and `tokens` count its work."""

    def __init__(self, engine: Engine, threads: int, rows: Sequence[PromptRow], max_tokens: int) -> None:
        self.requests = self.tokens = 0
        self._engine, self._threads, self._max_tokens = engine, threads, max_tokens
        self._prompts = [Prompt(row.prompt, row.prompt_ids) if row.prompt_ids else row.prompt for row in rows]
        self._decodings = [Decoding(**row.sampling) for row in rows]

    def round(self, order: ProbeOrder) -> ProbedRound:
        """Answer a round, all of its prompts at least once."""
        if order.threads != self._threads:
            self._engine.use_threads(order.threads)
            self._threads = order.threads
        asked = [(order.start + number) % len(self._prompts) for number in range(order.requests)]
        answers: list[Completion] = []
        stopwatch, begun_s, cpu_s = Stopwatch(), time.monotonic(), time.process_time()
        while not answers or time.monotonic() - begun_s < order.least_s:
            for first in range(0, len(asked), order.together):
                some = asked[first : first + order.together]
                answers += self._engine.generate(
                    [self._prompts[row] for row in some],
                    self._max_tokens,
                    decodings=[self._decodings[row] for row in some],
                )
        cpu_s = time.process_time() - cpu_s
        window = stopwatch.stop()
        self.requests += len(answers)
        self.tokens += sum(answer.tokens for answer in answers)
        return ProbedRound(order, window, len(answers), cpu_s, self._engine.gpus)


def _order(line: str) -> ProbeOrder:
    def is_valid(order: ProbeOrder) -> bool:
        return min(order.threads, order.requests, order.together) >= 1 and order.start >= 0

    return read_order(line, ProbeOrder, is_valid, '{"threads": 2, "requests": 10}, each number at least 1')
