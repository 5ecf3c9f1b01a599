"""After which idle time does it save energy to unload a model? Its reload in joules and seconds, and its idle power.

    python benchmarks/idle_unload.py                                         # random weights, 20 million parameters
    python benchmarks/idle_unload.py --bundle results/deployments/support/int8/seed-1/bundle

Two servers run side by side, each under the meter: one keeps its model, one unloads it at once. Both idle for
--seconds, then they answer --requests requests in turn, each in a period of its own, in which the second loads its
model and unloads it again. The differences of their idle powers, and of the energies and latencies of these periods,
are those of the model's memory and of a reload. Where the meter models memory and processor, as without RAPL, so are
these figures: the table says which. Targets: the memory of the weights is freed to 80 % at least; both servers answer
the same. Exit status 1 if a target is missed.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny_models

from greenllm.attribution import Attribution, attribute
from greenllm.ledger.energy_log import SUMMED
from greenllm.load.memory import resident_bytes

GREENLLM = [sys.executable, "-m", "greenllm"]
PROMPT = tiny_models.PROMPTS[0]
FREED = 0.8  # of the weights, at least: the target
UNLOAD_AFTER_s = 0.05
PERIOD_s = 1.0  # of a request: the model is unloaded again in it


@dataclass
class Server:
    """A metered server: the meter's rule and process id, a client, and what was found."""

    rule: str
    pid: int
    client: httpx.Client
    periods: list[tuple[float, float]] = field(default_factory=list)  # CLOCK_MONOTONIC, s
    latencies_s: list[float] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)

    def ask(self) -> None:
        """Send a request, and wait for the end of its period."""
        began_s = time.monotonic()
        answer = self.client.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 8}).json()
        self.latencies_s.append(time.monotonic() - began_s)
        self.answers.add(answer["choices"][0]["text"])
        time.sleep(max(0.0, began_s + PERIOD_s - time.monotonic()))
        self.periods.append((began_s, time.monotonic()))

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        found, reason = resident_bytes(self.pid)
        assert found is not None, reason
        return found

    def reload_s(self) -> float:
        """Return the mean time of a reload, as the server has measured it."""
        values = dict(line.rsplit(" ", 1) for line in self.client.get("/metrics").text.splitlines() if line[0] != "#")
        name = "greenllm_load_duration_seconds"
        return float(values[f"{name}_sum"]) / float(values[f"{name}_count"])


@contextlib.contextmanager
def serving(bundle: Path, ledger: Path, rule: str, threads: int, *options: str) -> Iterator[Server]:
    """Run a metered server."""
    command = [*GREENLLM, "meter", "--rule", rule, "--threads", str(threads), "--ledger", str(ledger), "--", *GREENLLM]
    command += ["serve", str(bundle), "--port", "0", "--threads", str(threads), "--device", "cpu", *options]
    environment = os.environ | {"GREENLLM_METER_INTERVAL_S": "0.2"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=600, trust_env=False) as client:
            yield Server(rule, process.pid, client)
    finally:
        process.terminate()
        process.wait()


def energy_J(
    found: Attribution, server: Server, *windows: tuple[float, float], components: Sequence[str] = SUMMED
) -> float:
    """Return a server's energy in windows."""
    (job,) = (job for job in found.jobs if job.rule == server.rule)
    energies = [found.energy_between(job.id, *window, components=components) for window in windows]
    return sum(energy.value for energy in energies if energy is not None)


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
        with (
            serving(bundle, ledger, "kept", arguments.threads) as kept,
            serving(bundle, ledger, "unloaded", arguments.threads, "--unload-after", str(UNLOAD_AFTER_s)) as unloaded,
        ):
            servers = (kept, unloaded)
            for server in servers:
                server.ask()
            memory_bytes = [server.memory_bytes() for server in servers]
            idle = time.monotonic(), time.monotonic() + arguments.seconds
            time.sleep(arguments.seconds)
            for number in range(arguments.requests):
                for server in servers if number % 2 else reversed(servers):
                    server.ask()
            reload_s = unloaded.reload_s()
            time.sleep(PERIOD_s)  # samples after the last period
        found = attribute(ledger)
    # Of memory and GPU alone: the processes sleep, so their processor time differs by chance alone.
    idle_W = [energy_J(found, one, idle, components=("dram", "gpu")) / arguments.seconds for one in servers]
    per_request_J = [energy_J(found, one, *one.periods[1:]) / arguments.requests for one in servers]
    latency_s = [statistics.median(one.latencies_s[1:]) for one in servers]
    # Both periods are equally long; in the second, the model is in memory for a moment only.
    reload_J = per_request_J[1] - per_request_J[0] + (idle_W[0] - idle_W[1]) * PERIOD_s
    saved_W, freed = idle_W[0] - idle_W[1], memory_bytes[0] - memory_bytes[1]
    methods = {part.component: part.method for job in found.jobs for part in job.components}
    rows = [
        ("weights", f"{weights / 1e6:.1f} MB"),
        ("memory, kept and unloaded", f"{memory_bytes[0] / 1e6:.0f} and {memory_bytes[1] / 1e6:.0f} MB"),
        ("idle power of memory, kept and unloaded", f"{idle_W[0]:.4f} and {idle_W[1]:.4f} W"),
        ("a reload: energy", f"{reload_J:.3f} J"),
        ("a reload: time", f"{reload_s:.3f} s"),
        ("a request: median latency", f"{latency_s[0]:.3f} and {latency_s[1]:.3f} s"),
        ("break-even idle time", f"{reload_J / saved_W:.0f} s" if saved_W > 0 else "none: unloading saves no power"),
        ("by", ", ".join(f"{component}: {method}" for component, method in sorted(methods.items()))),
    ]
    print(tabulate(rows, tablefmt="github"))
    met = [freed >= FREED * weights, kept.answers == unloaded.answers]
    print(f"\n{sum(met)} of 2 targets met (memory freed: {freed / weights:.0%} of the weights; same answers: {met[1]})")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
