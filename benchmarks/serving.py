"""How fast are the engines behind the server, and how much time does the server add? Measured in one run.

    python benchmarks/serving.py                                    # tiny models with random weights
    python benchmarks/serving.py --size base                        # 20 million parameters
    python benchmarks/serving.py --fp32 results/models/…/model --int8 results/models/…/model \\
        --fp32-evaluation results/evaluations/….json --int8-evaluation results/evaluations/….json \\
        --predictions results/evaluations/….predictions.jsonl

Every figure is a median over rounds in which the models take turns, so that other work of the machine affects all of
them alike. Targets: int8 at least 3 times the requests/s of torch fp32 eager at concurrency 1; an HTTP
request at most 5 ms or 10 % more than calling the engine; int8's quality within the 95 % interval of fp32's.
Exit status 1 if a target is missed.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny_models

from greenllm.meter.threads import usable_threads

# The engine's setting; set before anything here loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

GREENLLM = [sys.executable, "-m", "greenllm"]
FASTER = 3  # int8's requests/s over those of fp32, at concurrency 1
OVERHEAD_ms, OVERHEAD_percent = 5, 10  # of HTTP; one of the two suffices


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fp32", type=Path, help="model folder for torch (default: random weights)")
    parser.add_argument("--int8", type=Path, help="the same model, compressed (default: random weights)")
    parser.add_argument("--fp32-evaluation", type=Path, help="what `greenllm evaluate` wrote of the fp32 model (JSON)")
    parser.add_argument("--int8-evaluation", type=Path, help="the same of the int8 model")
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="tiny", help="size of random models")
    parser.add_argument("--predictions", type=Path, help="prompts, as evaluate writes them (default: test sentences)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads")
    parser.add_argument("--requests", type=int, default=60, help="requests per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds")
    parser.add_argument("--max-tokens", type=int, default=12, help="largest number of tokens of an answer")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8], help="requests in flight")
    arguments = parser.parse_args()
    if (arguments.fp32 is None) != (arguments.int8 is None):
        parser.error("give both --fp32 and --int8, or neither")
    if (arguments.fp32_evaluation is None) != (arguments.int8_evaluation is None):
        parser.error("give both --fp32-evaluation and --int8-evaluation, or neither")
    arguments.threads = usable_threads(arguments.threads)  # as the server does
    met = []
    with tempfile.TemporaryDirectory() as folder:
        models = _models(arguments, Path(folder))
        predictions = arguments.predictions or Path(folder) / "predictions.jsonl"
        if arguments.predictions is None:
            lines = [json.dumps({"id": str(i), "prompt": prompt}) for i, prompt in enumerate(tiny_models.PROMPTS)]
            predictions.write_text("\n".join(lines) + "\n")
        with contextlib.ExitStack() as stack:
            urls = {name: stack.enter_context(_serving(model, arguments)) for name, model in models.items()}
            met += _compare_engines(arguments, urls, predictions, Path(folder) / "load.json")
            met += _compare_with_calls(arguments, models, urls, predictions)
    if arguments.fp32_evaluation:
        met.append(_compare_quality(arguments.fp32_evaluation, arguments.int8_evaluation))
    print(f"\n{sum(met)} of {len(met)} targets met")
    return 0 if all(met) else 1


def _models(arguments: argparse.Namespace, folder: Path) -> dict[str, Path]:
    if arguments.fp32:
        return {"torch fp32": arguments.fp32, "int8": arguments.int8}
    fp32 = tiny_models.make_fp32(folder / "fp32", size=arguments.size)
    return {"torch fp32": fp32, "int8": tiny_models.make_int8(fp32, folder / "int8")}


@contextlib.contextmanager
def _serving(model: Path, arguments: argparse.Namespace) -> Iterator[str]:
    command = [*GREENLLM, "serve", str(model), "--port", "0", "--threads", str(arguments.threads), "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def _compare_engines(arguments: argparse.Namespace, urls: dict[str, str], predictions: Path, out: Path) -> list[bool]:
    """Measure each model's requests/s at each concurrency, in turns; return which targets were met."""
    rates: dict[tuple[str, int], list[float]] = {}
    latencies: dict[tuple[str, int], list[float]] = {}
    for _ in range(arguments.rounds):
        for concurrency in arguments.concurrency:
            for name, url in urls.items():
                command = [*GREENLLM, "load", "--url", url, "--predictions", str(predictions), "--out", str(out)]
                command += ["--requests", str(arguments.requests), "--concurrency", str(concurrency), "--warmup", "5"]
                subprocess.run([*command, "--max-tokens", str(arguments.max_tokens)], check=True, capture_output=True)
                load = json.loads(out.read_text())
                rates.setdefault((name, concurrency), []).append(load["throughput"]["requests_per_s"])
                latencies.setdefault((name, concurrency), []).append(load["latency_s"]["p50"] * 1000)
    rows, met = [], []
    for concurrency in arguments.concurrency:
        fp32, int8 = (rates[name, concurrency] for name in ("torch fp32", "int8"))
        ratios = [b / a for a, b in zip(fp32, int8, strict=True)]
        if concurrency == 1:
            met.append(statistics.median(ratios) >= FASTER)
        rows.append(
            [
                concurrency,
                *(statistics.median(values) for values in (fp32, int8)),
                *(statistics.median(latencies[name, concurrency]) for name in ("torch fp32", "int8")),
                statistics.median(ratios),
                f"{min(ratios):.1f} to {max(ratios):.1f}",
                *((f"at least {FASTER}", _verdict(met[-1])) if concurrency == 1 else ("", "")),
            ]
        )
    headers = [
        "concurrency",
        "fp32 requests/s",
        "int8 requests/s",
        "fp32 p50 ms",
        "int8 p50 ms",
        "int8 / fp32",
        "range",
        "target",
        "",
    ]
    print(f"\nBehind the server, {arguments.threads} threads, up to {arguments.max_tokens} tokens an answer\n")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".1f"))
    return met


def _compare_with_calls(
    arguments: argparse.Namespace, models: dict[str, Path], urls: dict[str, str], predictions: Path
) -> list[bool]:
    """Compare a request over HTTP with a call of the engine in this process; return whether the target is met."""
    from greenllm.engines import load_engine
    from greenllm.load.prompts import read_prompts

    target = f"at most {OVERHEAD_ms} ms or {OVERHEAD_percent} %"
    prompts = [row.prompt for row in read_prompts(predictions)]
    rows, met = [], []
    with httpx.Client(trust_env=False, timeout=120) as client:
        for name, model in models.items():
            engine = load_engine(model, threads=arguments.threads, device="cpu")
            calls, requests = [], []
            for number in range(arguments.requests * arguments.rounds):
                prompt = prompts[number % len(prompts)]
                began = time.perf_counter()
                called = engine.generate([prompt], arguments.max_tokens)[0]
                between = time.perf_counter()
                body = {"prompt": prompt, "max_tokens": arguments.max_tokens}
                answer = client.post(f"{urls[name]}/v1/completions", json=body).json()
                ended = time.perf_counter()
                assert answer["choices"][0]["text"] == called.text
                if number >= 5:
                    calls.append((between - began) * 1000)
                    requests.append((ended - between) * 1000)
            call, request, overhead, percent = _overhead(calls, requests)
            met.append(overhead <= OVERHEAD_ms or percent <= OVERHEAD_percent)
            rows.append([name, call, request, overhead, percent, target, _verdict(met[-1])])
    headers = ["model", "engine ms", "HTTP ms", "overhead ms", "overhead %", "target", ""]
    print("\nOne request over HTTP against calling the engine (medians)\n")
    print(tabulate(rows, headers, tablefmt="github", floatfmt=".2f"))
    return met


def _overhead(calls: Sequence[float], requests: Sequence[float]) -> tuple[float, float, float, float]:
    overhead = statistics.median(b - a for a, b in zip(calls, requests, strict=True))
    call = statistics.median(calls)
    return call, statistics.median(requests), overhead, 100 * overhead / call


def _compare_quality(*files: Path) -> bool:
    """Print the primary metric of fp32 and int8; return whether int8's is within the interval of fp32's."""
    evaluations = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    same = [{key: evaluation[key] for key in ("task", "primary", "examples")} for evaluation in evaluations]
    if same[0] != same[1]:
        sys.exit(f"{files[1]}: expected an evaluation as in {files[0]}: {same[0]}, not {same[1]}")
    primary = same[0]["primary"]
    fp32, int8 = (evaluation["metrics"][primary] for evaluation in evaluations)
    met: bool = fp32["low"] <= int8["value"] <= fp32["high"]
    rows = [
        ["torch fp32", fp32["value"], f"{fp32['low']:.4f} to {fp32['high']:.4f}", "", ""],
        ["int8", int8["value"], f"{int8['low']:.4f} to {int8['high']:.4f}", "within fp32's interval", _verdict(met)],
    ]
    print(f"\nQuality on {same[0]['examples']} examples of {same[0]['task']}, with 95 % intervals\n")
    print(tabulate(rows, ["model", primary, "interval", "target", ""], tablefmt="github", floatfmt=".4f"))
    return met


def _verdict(met: bool) -> str:
    return "met" if met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
