"""What does each compression save? Parameters, bytes, memory, operations and time per token, side by side.

    python benchmarks/compression.py                                # random weights: base, 20 million parameters
    python benchmarks/compression.py --size tiny                    # other things than weights take most time
    python benchmarks/compression.py --size large                   # 85 million parameters
    python benchmarks/compression.py --model results/models/…/model

Each model answers in a separate process, on the engine that serves it, one prompt at a time; they take turns, and times
are medians over the rounds. Pruned models are not trained again: that changes no shapes, and so no times.
Target: structured pruning by half, within each layer or of whole layers, takes at most 0.6 of the time per token.
Exit status 1 if both miss it.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny_models

from greenllm.meter.threads import usable_threads
from greenllm.training.model_sizes import SIZES, Size

# The engine's setting; set before anything here loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SIZES_HERE = SIZES | {"large": Size(hidden=768, layers=12, feed_forward=2048, heads=12)}
MOST = 0.6  # time per token of a model pruned by half, over that of the whole model
HALVED = "half of each layer"
PRUNED = {
    HALVED: {"heads": 0.5, "feed_forward": 0.5, "layers": 0.0},
    "half of the layers": {"heads": 0.0, "feed_forward": 0.0, "layers": 0.5},
}
RECIPES = {
    "half of the weights zero": "sparsify: {share: 0.5}",
    "bf16": "precision: bf16",
    "int8": "quantize: int8",
    "int4": "quantize: int4",
    "int4, k-quant mixed": "quantize: {format: int4, method: k_quant_mixed}",
}


@dataclass(frozen=True)
class Contestant:
    """A model in a separate process, loaded and warmed up."""

    pipe: Connection
    memory_MB: float

    def seconds_per_token(self, prompt: str, tokens: int) -> float:
        self.pipe.send((prompt, tokens))
        return self.pipe.recv()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="fp32 model folder (default: random weights)")
    parser.add_argument("--size", choices=[*SIZES_HERE], default="base", help="size of the random model")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads")
    parser.add_argument("--rounds", type=int, default=15, help="rounds; in each, every model answers once")
    parser.add_argument("--tokens", type=int, default=64, help="largest number of tokens of an answer")
    arguments = parser.parse_args()
    threads = usable_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        whole = arguments.model or tiny_models.make_fp32(Path(place) / "fp32", size=SIZES_HERE[arguments.size])
        models = _models(whole, Path(place))
        running = {name: stack.enter_context(_running(folder, threads)) for name, folder in models.items()}
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(arguments.rounds):
            for name, contestant in running.items():
                times[name].append(contestant.seconds_per_token(tiny_models.PROMPTS[0], arguments.tokens))
        rows = [
            [name, *_size(folder, whole), running[name].memory_MB, *_time(times[name], times["fp32"])]
            for name, folder in models.items()
        ]
    headers = [
        "model",
        "parameters (M)",
        "on disk (MB)",
        "MFLOP/token",
        "resident (MB)",
        "ms/token",
        "of fp32",
        "range",
    ]
    print(
        f"\n{arguments.model or arguments.size}, one prompt at a time, {threads} threads, {arguments.rounds} rounds\n"
    )
    print(tabulate(rows, headers, tablefmt="github", floatfmt=("", ".2f", ".2f", ".2f", ".0f", ".3f", ".2f", "")))
    ratios = {name: _time(times[name], times["fp32"])[1] for name in PRUNED}
    reported = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    met = min(ratios.values()) <= MOST
    print(f"\nStructured pruning by half, time per token over that of fp32: {reported}")
    print(f"Target: at most {MOST} by one of the two: {'met' if met else 'MISSED'}")
    return 0 if met else 1


def _models(whole: Path, place: Path) -> dict[str, Path]:
    """Return the folders of the whole model and of each recipe's result."""
    models = {"fp32": whole}
    for name, shares in PRUNED.items():
        models[name] = _pruned(whole, place / name.replace(" ", "-"), shares)
    for name, recipe in RECIPES.items():
        models[name] = tiny_models.compress(whole, place / recipe.replace(" ", ""), recipe)
    models[f"{HALVED}, int8"] = tiny_models.compress(models[HALVED], place / "pruned-int8", "quantize: int8")
    return models


def _pruned(whole: Path, folder: Path, shares: dict[str, float]) -> Path:
    """Prune as the recipe does, but by importance on test sentences, and without training again."""
    from greenllm.compression.cutting import choose, cut
    from greenllm.compression.importance import measure
    from greenllm.compression.llama_like import decoder_of
    from greenllm.compression.models import describe, load
    from greenllm.engines.text import Text
    from greenllm.model_folder.weights import save_weights

    decoder = decoder_of(load(whole), whole)
    rows = [Text(whole).prompt_ids(text) for text in tiny_models.PROMPTS]
    save_weights(cut(decoder, choose(measure(decoder, rows), decoder.shape, **shares)), folder)
    describe(folder, whole, engine="transformers", precision="fp32")
    return folder


@contextmanager
def _running(folder: Path, threads: int) -> Iterator[Contestant]:
    """Load a model in a separate process and let it answer once."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_answer, args=(folder, threads, there), daemon=True)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    process.start()
    try:
        here.recv()
        assert process.pid is not None
        yield Contestant(here, psutil.Process(process.pid).memory_info().rss / 1e6)
    finally:
        process.terminate()
        process.join()


def _answer(folder: Path, threads: int, pipe: Connection) -> None:
    from greenllm.engines import load_engine

    engine = load_engine(folder, threads=threads, device="cpu")
    engine.generate([tiny_models.PROMPTS[0]], 16)
    pipe.send("ready")
    while True:
        prompt, most = pipe.recv()
        began = time.perf_counter()
        answered = engine.generate([prompt], most)[0]
        pipe.send((time.perf_counter() - began) / answered.tokens)


def _size(folder: Path, whole: Path) -> tuple[float, float, float]:
    """Return a model's parameters in millions, MB on disk, and millions of operations for a token."""
    from greenllm.model_folder.inspection import manifest_of
    from greenllm.model_folder.manifest import read_manifest

    described = manifest_of(whole) if folder == whole else read_manifest(folder)
    assert described.parameters is not None
    assert described.forward_flops is not None
    parameters, operations = described.parameters, described.forward_flops.per_token
    files = [file for end in ("*.safetensors", "*.onnx*") for file in folder.glob(end)]
    return parameters / 1e6, sum(file.stat().st_size for file in files) / 1e6, operations / 1e6


def _time(own: list[float], whole: list[float]) -> tuple[float, float, str]:
    """Return ms per token, and the median and range of the ratios to the whole model's."""
    ratios = [a / b for a, b in zip(own, whole, strict=True)]
    return statistics.median(own) * 1000, statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"


if __name__ == "__main__":
    sys.exit(main())
