"""How much time and memory does `greenllm attribute` need for the ledgers of a whole cluster?

    python benchmarks/attribution.py                        # 1,000 attempts of one hour at 1 Hz on 50 hosts
    python benchmarks/attribution.py --times 10             # and then ten times as many hosts
    python benchmarks/attribution.py --times 10 --longer    # and then as many hosts, but ten times as long

Each host has two RAPL counters and a GPU, and runs six attempts at a time: some hold the GPU, some are nested, some
are killed and leave no end record. The ledgers are generated in a temporary folder (0.5 GB, with `--times 10`
another 5 GB). The command runs in a separate process; its resident memory, with that of its children, is polled while
it runs. Targets: at most 10 s and 2 GB on 2 cores; with more ledgers, time and memory grow at most in proportion, plus
a fifth for other work of the machine. Exit status 1 if a target is missed.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from hardware.ledgers import RAPL, Host, gpu, piecewise, samples, start_record

MOST_s, MOST_GB = 10, 2
SLACK = 1.2  # ratio by which two equal runs may differ
HOSTS, ATTEMPTS, SAMPLES = 50, 20, 3600  # hosts, attempts on each, samples of each attempt
STAGGER_s = 600  # between the starts of two attempts, so that six run at a time
GPU = "GPU-00000000-0000-0000-0000-000000000000"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1, help="then this many times as much")
    parser.add_argument("--longer", action="store_true", help="more attempts on each host, instead of more hosts")
    arguments = parser.parse_args()
    sizes = [(HOSTS, ATTEMPTS)]
    if arguments.times > 1:
        more = arguments.times
        sizes.append((HOSTS, ATTEMPTS * more) if arguments.longer else (HOSTS * more, ATTEMPTS))
    rows: list[list[Any]] = []
    met: list[bool] = []
    most_s, most_GB = float(MOST_s), float(MOST_GB)
    for hosts, attempts in sizes:
        lines, size, elapsed_s, peak_GB = measure(hosts, attempts)
        met += [elapsed_s <= most_s, peak_GB <= most_GB]
        rows.append(
            [
                f"{hosts * attempts:,} on {hosts} hosts",
                f"{lines:,}",
                size / 1e9,
                elapsed_s,
                f"at most {most_s:.1f}",
                _verdict(met[-2]),
                peak_GB,
                f"at most {most_GB:.1f}",
                _verdict(met[-1]),
            ]
        )
        most_s, most_GB = elapsed_s * arguments.times * SLACK, peak_GB * arguments.times * SLACK
    headers = ["attempts", "samples", "GB to read", "s", "target", "", "GB resident", "target", ""]
    print(f"\n`greenllm attribute LEDGERS --json`, {len(os.sched_getaffinity(0))} cores\n")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"))
    print(f"\n{sum(met)} of {len(met)} targets met")
    return 0 if all(met) else 1


def measure(hosts: int, attempts: int) -> tuple[int, int, float, float]:
    """Generate ledgers of `attempts` on each host, attribute them, and remove them.

    Returns the number of samples, the bytes to read, the seconds that took, and the peak of resident memory in GB.
    """
    with tempfile.TemporaryDirectory() as folder:
        ledgers = Path(folder) / "ledger"
        lines, size = _write_ledgers(ledgers, hosts, attempts)
        return lines, size, *_attribute(ledgers, Path(folder) / "attribution.json", hosts * attempts)


def _write_ledgers(folder: Path, hosts: int, attempts: int) -> tuple[int, int]:
    """Write the ledgers of hosts that differ only in their names; return the number of samples and of bytes."""
    lines = size = 0
    ledgers = list(_ledgers_of_a_host(attempts))
    for host in range(hosts):
        names = {"host": f"node-{host}", "boot_id": f"boot-{host}"}
        node = folder / names["host"]
        node.mkdir(parents=True)
        for start, rows, end in ledgers:
            path = node / f"{start['id']}.jsonl"
            record = start | names | {"id": f"{host}-{start['id']}"}
            if start["parent"]:
                record["parent"] = f"{host}-{start['parent']}"
            path.write_bytes(json.dumps(record).encode() + b"\n" + rows + end)
            lines, size = lines + rows.count(b"\n"), size + path.stat().st_size
    return lines, size


def _ledgers_of_a_host(attempts: int) -> Iterator[tuple[dict[str, Any], bytes, bytes]]:
    """Yield each attempt's start record, its samples and its end record, as lines."""
    generator = np.random.default_rng(0)
    length_s = attempts * STAGGER_s + SAMPLES
    knots = np.arange(0, length_s + 60, 60.0)
    busy = generator.uniform(4, 30, len(knots) - 1)
    power = generator.uniform(80, 280, len(knots) - 1)
    host = Host(
        cpus=32,
        busy_s=piecewise(knots, busy),
        counters={
            "package-0": piecewise(knots, 1e6 * power),
            "dram-0": piecewise(knots, 1e5 * power),
            GPU: piecewise(knots, 1e3 * power),
        },
        sensors=[RAPL, RAPL | {"component": "dram", "device": "dram-0"}, gpu(GPU)],
    )
    outer = None
    for number in range(attempts):
        nested = number % 5 == 4  # inside the one before
        began_s = (number - nested) * STAGGER_s + generator.uniform(1, 2) + 5 * nested
        # the outer one lasts a little longer than the hour of the one that it holds
        count = SAMPLES + 20 * (number % 5 == 3)
        times = began_s + np.arange(count) + generator.uniform(0, 0.01, count)
        holds = number % 6 == 0  # one at a time
        job_id = f"{outer}.{number:04}" if nested else f"job-{number:04}"
        start = start_record(
            host,
            job_id,
            reserved=4,
            gpus=[GPU] if holds else [],
            parent=outer if nested else None,
            rule="train",
            wildcards={"seed": str(number)},
            began_s=float(times[0]),
        )
        table = samples(host, times, piecewise(knots, generator.uniform(0, 2, len(knots) - 1)))
        for late in (5, 7, 9):  # the counters are read one after the other
            table[:, late] += 0.0001 * late
        formats = ["%.6f", "%.6f", "%.2f", "%.2f", "%.6f", *["%.6f", "%d"] * 3]
        if not holds:
            start["columns"].append(f"gpu/{GPU}.processes")
            table = np.column_stack([table, np.ones(count)])
            formats.append("%.1f")
        line = f"[{','.join(formats)}]\n"
        rows = "".join(line % tuple(row) for row in table.tolist()).encode()
        end = {
            "record": "end",
            "status": "failed" if number % 9 == 8 else "succeeded",
            "exit_code": 0,
            "monotonic_s": float(times[-1]),
            "cpu_s": float(table[-1, 4]),
        }
        yield start, rows, b"" if number % 7 == 6 else json.dumps(end).encode() + b"\n"  # some are killed
        outer = job_id


def _attribute(ledgers: Path, out: Path, attempts: int) -> tuple[float, float]:
    """Run the command; return the seconds it took and its peak of resident memory in GB."""
    command = [sys.executable, "-m", "greenllm", "attribute", str(ledgers), "--json"]
    peak = 0
    with out.open("wb") as file:
        began = time.perf_counter()
        process = psutil.Popen(command, stdout=file)
        while process.poll() is None:
            peak = max(peak, _resident(process))
            time.sleep(0.02)
        elapsed_s = time.perf_counter() - began
    result = json.loads(out.read_bytes()) if process.returncode == 0 else None
    if result is None or len(result["jobs"]) != attempts or result["troubles"]:
        sys.exit(f"{' '.join(command)}: exit status {process.returncode}; expected {attempts} jobs and no trouble")
    return elapsed_s, peak / 1e9


def _resident(process: psutil.Popen) -> int:
    """Return the resident memory of a process and its children, in bytes; shared memory counts for each."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):  # one has just ended
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    return total


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
