"""After which idle time does it save energy to unload a model? Its reload in joules and seconds, and its idle power.

    python benchmarks/idle_unload.py                                         # random weights, 20 million parameters
    python benchmarks/idle_unload.py --bundle results/deployments/support/int8/seed-1/bundle

Two servers, one after the other, each under the meter: one that keeps its model, one that unloads it at once. Each
idles for --seconds, then answers --requests requests with a pause after each, in which the second unloads its model
again. The difference of their idle powers, of the energies and of the latencies of these requests are those of the
model's memory and of a reload. Where the meter models memory and processor, as without RAPL, so are these figures: the
table says which. Targets: the memory of the weights is freed to 80 % at least; both servers answer the same. Exit
status 1 if a target is missed.
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
from dataclasses import dataclass
from pathlib import Path

import httpx
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny_models

from greenllm.attribution import Attribution, attribute
from greenllm.load.memory import resident_bytes

GREENLLM = [sys.executable, "-m", "greenllm"]
PROMPT = tiny_models.PROMPTS[0]
FREED = 0.8  # of the weights, at least: the target
UNLOAD_AFTER_s = 0.05
PAUSE_s = 0.5  # after each request: the model is unloaded in it


@dataclass(frozen=True)
class Ran:
    """A server's windows (CLOCK_MONOTONIC, s), the latencies of its requests (s), its memory (bytes), its answers."""

    rule: str
    idle: tuple[float, float]
    asked: tuple[float, float]
    latencies_s: list[float]
    memory_bytes: int
    answers: set[str]


@contextlib.contextmanager
def server(bundle: Path, ledger: Path, rule: str, threads: int, *options: str) -> Iterator[tuple[int, httpx.Client]]:
    """Run a metered server; yield its meter's process id and a client."""
    command = [*GREENLLM, "meter", "--rule", rule, "--threads", str(threads), "--ledger", str(ledger), "--", *GREENLLM]
    command += ["serve", str(bundle), "--port", "0", "--threads", str(threads), "--device", "cpu", *options]
    environment = os.environ | {"GREENLLM_METER_INTERVAL_S": "0.2"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
            yield process.pid, client
    finally:
        process.terminate()
        process.wait()


def run(bundle: Path, ledger: Path, rule: str, arguments: argparse.Namespace, *options: str) -> Ran:
    """Let a server idle, then ask it."""
    unloads = bool(options)
    with server(bundle, ledger, rule, arguments.threads, *options) as (pid, client):

        def ask() -> tuple[float, str]:
            began_s = time.monotonic()
            answer = client.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 8}).json()
            return time.monotonic() - began_s, answer["choices"][0]["text"]

        ask()
        time.sleep(PAUSE_s)
        while client.get("/health").json()["loaded"] == unloads:
            time.sleep(PAUSE_s)
        memory_bytes, _ = resident_bytes(pid)
        idle = time.monotonic(), time.monotonic() + arguments.seconds
        time.sleep(arguments.seconds)
        began_s, answers = time.monotonic(), []
        for _ in range(arguments.requests):
            answers.append(ask())
            time.sleep(PAUSE_s)
        asked = began_s, time.monotonic()
        time.sleep(PAUSE_s)  # a sample after the window
    return Ran(rule, idle, asked, [one for one, _ in answers], memory_bytes or 0, {text for _, text in answers})


def energy_J(found: Attribution, rule: str, window: tuple[float, float]) -> float:
    """Return a server's energy in a window."""
    (job,) = (job for job in found.jobs if job.rule == rule)
    energy = found.energy_between(job.id, *window)
    assert energy is not None
    return energy.value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle or model folder (default: random weights)")
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="base", help="size of random weights")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="idle time of each server (s)")
    parser.add_argument("--requests", type=int, default=20, help="requests to each server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = arguments.bundle or tiny_models.make_fp32(folder / "model", size=arguments.size)
        weights = sum(file.stat().st_size for pattern in ("*.safetensors", "*.onnx*") for file in bundle.glob(pattern))
        ledger = folder / "ledger"
        kept = run(bundle, ledger, "kept", arguments)
        unloaded = run(bundle, ledger, "unloaded", arguments, "--unload-after", str(UNLOAD_AFTER_s))
        found = attribute(ledger)
    idle_W = [energy_J(found, one.rule, one.idle) / arguments.seconds for one in (kept, unloaded)]
    per_request_J = [energy_J(found, one.rule, one.asked) / arguments.requests for one in (kept, unloaded)]
    lengths_s = [(one.asked[1] - one.asked[0]) / arguments.requests for one in (kept, unloaded)]
    # Beyond the idle power in the longer time between two requests, since that is spent anyway.
    reload_J = per_request_J[1] - per_request_J[0] - idle_W[1] * (lengths_s[1] - lengths_s[0])
    reload_s = statistics.median(unloaded.latencies_s) - statistics.median(kept.latencies_s)
    saved_W, freed = idle_W[0] - idle_W[1], kept.memory_bytes - unloaded.memory_bytes
    methods = {part.component: part.method for job in found.jobs for part in job.components}
    rows = [
        ("weights", f"{weights / 1e6:.1f} MB"),
        ("memory, kept and unloaded", f"{kept.memory_bytes / 1e6:.0f} and {unloaded.memory_bytes / 1e6:.0f} MB"),
        ("idle power, kept and unloaded", f"{idle_W[0]:.4f} and {idle_W[1]:.4f} W"),
        ("a reload: energy", f"{reload_J:.3f} J"),
        ("a reload: latency", f"{reload_s:.3f} s"),
        ("break-even idle time", f"{reload_J / saved_W:.0f} s" if saved_W > 0 else "none: unloading saves no power"),
        ("by", ", ".join(f"{component}: {method}" for component, method in sorted(methods.items()))),
    ]
    print(tabulate(rows, tablefmt="github"))
    met = [freed >= FREED * weights, kept.answers == unloaded.answers]
    print(f"\n{sum(met)} of 2 targets met (memory freed: {freed / weights:.0%} of the weights; same answers: {met[1]})")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
