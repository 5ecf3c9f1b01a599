"""How often does a comparison of equal models find a difference, and does it find a real one? Measured in one run.

    python benchmarks/twins.py                                      # 20 studies on a quiet host, 20 beside a disturber
    python benchmarks/twins.py --quiet 5 --disturbed 0 --starts 6 --rounds 24

In each study `greenllm measure` serves a baseline, its twin, five more deployments of the same model, and one whose
model has a tenth more layers. The five verdicts count as they are before the twin's rule withholds any. The disturber
is a process that loads one processor for random times of 1 to 20 s, half of the time. Exit status 1 if a target is
missed. It takes about 100 s a study; no other program may run.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path
from typing import TypeVar

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import tiny_models

from greenllm.comparison.quantity import Quantity
from greenllm.comparison.served import PointEnergy
from greenllm.comparison.spread import Repeated
from greenllm.documents.measurement import ServerMeasurement, SideBySide
from greenllm.engines import load_engine
from greenllm.estimate import Estimate, Parameter
from greenllm.training.model_sizes import Size

Known = TypeVar("Known")
GREENLLM = [sys.executable, "-m", "greenllm"]
EXACT = Parameter(1.0, 1.0, 1.0, "J", "")
COPIES, LAYERS, MAX_TOKENS = 5, 10, 12
NARROW = {"quiet": 0.05, "disturbed": 0.12}  # targets: median half width of a ratio's 95 % interval
FALSE = {"quiet": 0.10, "disturbed": 0.12}  # targets: share of false verdicts
WITHHELD, FOUND = 2 / 20, 0.80  # targets, quiet: share of studies withheld, of studies that find the real difference


@dataclass(frozen=True)
class StudyResult:
    """The verdicts of one study: of the equal models, of the larger one, and whether the twin withholds them."""

    false: list[bool]
    halves: list[float]
    found: bool
    withheld: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quiet", type=int, default=20, help="studies on a quiet host")
    parser.add_argument("--disturbed", type=int, default=20, help="studies beside the disturber")
    parser.add_argument("--starts", type=int, help="starts of each server (default: that of the configuration)")
    parser.add_argument("--rounds", type=int, help="rounds of each server (default: that of the configuration)")
    parser.add_argument("--round-s", type=float, help="shortest length of a round in s (default: the configuration's)")
    parser.add_argument("--out", type=Path, help="JSON file of all verdicts")
    arguments = parser.parse_args()
    settings = {"idle_s": 0, "threads": 1, "requests": 100}
    if arguments.starts:
        settings["starts"] = arguments.starts
    if arguments.rounds:
        settings["rounds"] = arguments.rounds
    if arguments.round_s:
        settings["round_s"] = arguments.round_s
    results: dict[str, list[StudyResult]] = {"quiet": [], "disturbed": []}
    with tempfile.TemporaryDirectory() as folder:
        bundles = _bundles(Path(folder))
        for kind, number in (("quiet", arguments.quiet), ("disturbed", arguments.disturbed)):
            for seed in range(number):
                with _disturber(seed) if kind == "disturbed" else contextlib.nullcontext():
                    result = _study(bundles, Path(folder), seed, settings)
                results[kind].append(result)
                print(kind, seed, result, file=sys.stderr, flush=True)
                if arguments.out:
                    rows = {name: [vars(one) for one in found] for name, found in results.items()}
                    arguments.out.write_text(json.dumps(rows, indent=1))
    return _report(results)


def _bundles(folder: Path) -> dict[str, Path]:
    """Make the two models, and the predictions that their answers are compared with."""
    made = {}
    for name, layers in (("model", LAYERS), ("larger", LAYERS + LAYERS // 10)):
        size = Size(hidden=128, feed_forward=512, layers=layers, heads=2)
        model = tiny_models.make_fp32(folder / f"{name}-torch", size=size)
        made[name] = tiny_models.compress(model, folder / name, "export: onnxruntime")
        engine = load_engine(made[name], threads=1, device="cpu")
        answers = engine.generate(tiny_models.PROMPTS, MAX_TOKENS)
        rows = [
            {"id": str(i), "prompt": prompt, "prediction": answer.text}
            for i, (prompt, answer) in enumerate(zip(tiny_models.PROMPTS, answers, strict=True))
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def _study(bundles: dict[str, Path], folder: Path, seed: int, settings: dict[str, object]) -> StudyResult:
    """Measure all deployments side by side, and return the verdicts."""
    out = folder / f"measurement-{time.time_ns()}.json"
    command = [*GREENLLM, "measure", "--settings", json.dumps(settings), "--device", "cpu", "--seed", str(seed)]
    command += ["--evaluation-settings", json.dumps({"max_tokens": MAX_TOKENS}), "--threads", "2", "--out", str(out)]
    servers = {"baseline": "model", **{f"copy-{i}": "model" for i in range(COPIES)}, "larger": "larger"}
    for name, model in servers.items():
        command += ["--bundle", f"{name}={bundles[model]}", "--predictions", f"{name}={folder / model}.jsonl"]
    for kind in ("serve", "load", "probe"):
        command += [f"--energy-{kind}", str(folder / "energy" / out.stem / kind)]
    ledger = folder / "ledgers" / out.stem
    meter = [*GREENLLM, "meter", "--rule", "measure", "--threads", "2", "--exclusive", "--ledger", str(ledger), "--"]
    environment = os.environ | {"GREENLLM_METER_INTERVAL_S": "1"}
    subprocess.run([*meter, *command], check=True, capture_output=True, env=environment)
    measured = SideBySide.read(out)
    requests = Quantity({server.name: {seed: _per_request(server)} for server in measured.servers})
    ratios = {name: requests.times_less("baseline", name) for name in requests.recipes}
    copies = [_known(ratios[f"copy-{i}"]) for i in range(COPIES)]
    wide = _known(requests.against_itself("baseline", "baseline~twin", 0.99))
    return StudyResult(
        [one.low > 1 or one.high < 1 for one in copies],
        [(one.high - one.low) / 2 / one.value for one in copies],
        _known(ratios["larger"]).high < 1,
        wide.low > 1 or wide.high < 1,
    )


def _per_request(server: ServerMeasurement) -> Repeated:
    """Return the energy per request of a server, with the value of each block.

    Without the sensors' errors: they cancel between equal models.
    """
    assert server.failure is None, server.failure
    point = server.points[0]
    energies = [Estimate({"joule": _known(round_.energy_J).value}, {"joule": EXACT}) for round_ in point.rounds]
    return _known(PointEnergy(point, energies, ()).per_request)


def _known(value: Known | None) -> Known:
    assert value is not None
    return value


@contextlib.contextmanager
def _disturber(seed: int) -> Iterator[None]:
    """Run a process that loads one processor for random times of 1 to 20 s, half of the time."""
    process = Process(target=_disturb, args=(seed,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _disturb(seed: int) -> None:
    chance = random.Random(seed)
    while True:
        end_s = time.monotonic() + chance.uniform(1, 20)
        while time.monotonic() < end_s:
            pass
        time.sleep(chance.uniform(1, 20))


def _report(results: dict[str, list[StudyResult]]) -> int:
    """Print the table; return 1 if a target is missed."""
    rows = []
    for kind, found in results.items():
        if not found:
            continue
        verdicts = [one for result in found for one in result.false]
        halves = [half for result in found for half in result.halves]
        false, half = statistics.mean(verdicts), statistics.median(halves)
        withheld, real = (statistics.mean(one) for one in ([r.withheld for r in found], [r.found for r in found]))
        rows += [
            (
                f"{kind}: false verdicts",
                f"{sum(verdicts)} of {len(verdicts)}",
                f"{FALSE[kind]:.0%}",
                false <= FALSE[kind],
            ),
            (f"{kind}: median half width", f"{half:.1%}", f"{NARROW[kind]:.0%}", half <= NARROW[kind]),
        ]
        if kind == "quiet":
            rows += [
                ("quiet: studies withheld by the twin", f"{withheld:.0%}", f"{WITHHELD:.0%}", withheld <= WITHHELD),
                ("quiet: a tenth more layers is found", f"{real:.0%}", f"{FOUND:.0%}", real >= FOUND),
            ]
    table = [(what, figure, target, "met" if met else "missed") for what, figure, target, met in rows]
    print(tabulate(table, headers=["what", "measured", "target", ""], tablefmt="github"))
    return 0 if all(met for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
