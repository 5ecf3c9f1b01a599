"""What does it cost a server to count the energy of its answers? Its requests/s and CPU time with and without.

    python benchmarks/answer_energy.py                                        # tiny int8 model with random weights
    python benchmarks/answer_energy.py --bundle results/deployments/support/int8/seed-1/bundle

Two servers of one model run side by side, one of them with --energy. They are loaded in turn, in pairs of short blocks
whose order alternates, so that other work of the machine affects both alike. Two processes of one program differ in
speed for as long as they run, so both are started several times: a start's figure is the median of its pairs' ratios,
and the cost is the mean over the starts, with its 95 % interval. Target: at most 1 % of the requests/s. It is met or
missed if the whole interval is; otherwise more starts, or a quieter machine, are needed. Exit status 0 if it is met.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny_models

from greenllm.meter.process_tree import own_cpu_s
from greenllm.statistics import halfwidth

MOST_percent = 1.0  # of the requests/s: the target


@dataclass
class Server:
    """A running server."""

    pid: int
    client: httpx.Client

    def answer(self, requests: int, pool: ThreadPoolExecutor, max_tokens: int) -> tuple[float, float]:
        """Answer requests; return the time and the server's CPU time for each (s)."""
        prompts = [tiny_models.PROMPTS[n % len(tiny_models.PROMPTS)] for n in range(requests)]
        before_s, began_s = own_cpu_s(self.pid), time.perf_counter()
        for _ in pool.map(lambda prompt: self._ask(prompt, max_tokens), prompts):
            pass
        took_s, after_s = time.perf_counter() - began_s, own_cpu_s(self.pid)
        assert before_s is not None
        assert after_s is not None
        return took_s / requests, (after_s - before_s) / requests

    def _ask(self, prompt: str, max_tokens: int) -> None:
        body = {"prompt": prompt, "max_tokens": max_tokens}
        self.client.post("/v1/completions", json=body).raise_for_status()


@contextlib.contextmanager
def serving(bundle: Path, *options: str) -> Iterator[Server]:
    """Run a server."""
    command = [sys.executable, "-m", "greenllm", "serve", str(bundle), "--port", "0", "--threads", "1"]
    command += ["--device", "cpu", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
            yield Server(process.pid, client)
    finally:
        process.terminate()
        process.wait()


def verdict_of(cost_percent: float, half_percent: float) -> str:
    """Return whether a cost is within the target, by its 95 % interval."""
    if cost_percent + half_percent <= MOST_percent:
        return "met"
    return "MISSED" if cost_percent - half_percent > MOST_percent else "not resolvable"


def pairs_of(servers: list[Server], concurrency: int, arguments: argparse.Namespace) -> list[list[tuple[float, float]]]:
    """Return the time and CPU time of a request without and with energy, for each pair of blocks."""
    pairs = []
    with ThreadPoolExecutor(concurrency) as pool:
        for server in servers:
            server.answer(arguments.requests, pool, arguments.max_tokens)
        for pair in range(arguments.pairs):
            order = (0, 1) if pair % 2 else (1, 0)
            found = {n: servers[n].answer(arguments.requests, pool, arguments.max_tokens) for n in order}
            pairs.append([found[0], found[1]])
    return pairs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle or model folder (default: random weights, tiny, int8)")
    parser.add_argument("--starts", type=int, default=6, help="starts of both servers")
    parser.add_argument("--pairs", type=int, default=40, help="pairs of blocks after a start, at each concurrency")
    parser.add_argument("--requests", type=int, default=25, help="requests of a block")
    parser.add_argument("--max-tokens", type=int, default=12, help="largest number of tokens of an answer")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8], help="requests in flight")
    arguments = parser.parse_args()
    for name in ("starts", "pairs", "requests"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} {getattr(arguments, name)}: expected at least 1")
    measured: dict[int, list[list[list[tuple[float, float]]]]] = {many: [] for many in arguments.concurrency}
    with tempfile.TemporaryDirectory() as name:
        bundle = arguments.bundle
        if bundle is None:
            bundle = tiny_models.make_int8(tiny_models.make_fp32(Path(name) / "fp32"), Path(name) / "int8")
        for start in range(arguments.starts):
            with contextlib.ExitStack() as stack:
                options = [(), ("--energy",)]
                started = {
                    one: stack.enter_context(serving(bundle, *one)) for one in (options if start % 2 else options[::-1])
                }
                for many, starts in measured.items():
                    starts.append(pairs_of([started[one] for one in options], many, arguments))
    rows, verdicts = [], []
    for many, starts in measured.items():
        for kind, what in enumerate(("time of a request", "its CPU time")):
            ratios = [[100 * (on[kind] / off[kind] - 1) for off, on in pairs] for pairs in starts]
            costs = [statistics.median(own) for own in ratios]
            medians = [statistics.median(pair[n][kind] for pairs in starts for pair in pairs) * 1000 for n in (0, 1)]
            cost, half, target, verdict = statistics.mean(costs), halfwidth(costs), "", ""
            if kind == 0:
                target, verdict = f"at most {MOST_percent:g} %", verdict_of(cost, half)
                verdicts.append(verdict)
            shown = [f"{median:.3f} ms" for median in medians]
            rows.append([many, what, *shown, f"{cost:+.2f} ± {half:.2f} %", target, verdict])
    print(tabulate(rows, ["concurrency", "what", "off", "on", "cost", "target", ""], tablefmt="github"))
    print(f"\n{verdicts.count('met')} of {len(verdicts)} targets met")
    return 0 if set(verdicts) == {"met"} else 1


if __name__ == "__main__":
    sys.exit(main())
