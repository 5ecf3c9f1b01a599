"""A results folder as the workflow leaves it: ledgers of jobs that keep known shares of a simulated host busy.

Nothing here is a result: the ledgers hold raw samples, and every joule of a test comes from attributing them.
"""

import datetime
import json
import random
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenllm.config.read import validate
from greenllm.documents.card import CardFile, DataCard
from greenllm.documents.evaluation import EvaluationReport
from greenllm.documents.measurement import (
    AgreementCounts,
    IdleTime,
    Latency,
    LoadPoint,
    MeasuredRound,
    MeasurementWindow,
    Percentiles,
    PlannedStarts,
    ServerMeasurement,
    SideBySide,
    ThreadChoice,
    Throughput,
)
from greenllm.documents.prediction import Prediction
from greenllm.documents.preparation import PreparationReport, RowCounts
from greenllm.documents.training import TrainingReport
from greenllm.files import write_json
from greenllm.ledger.file import SCHEMA, counter_columns, memory_column
from greenllm.model_folder.flops import Flops
from greenllm.model_folder.manifest import EngineName, Manifest, Precision
from greenllm.study.models import Config
from greenllm.tasks import TASKS
from greenllm.tasks.bootstrap import scores_with_intervals

EPOCH_s = 1_795_000_000.0  # November 2026
CPUS = 2
INTENTS = ["card_arrival", "lost_card", "exchange_rate", "top_up_failed", "refund_status", "change_pin"]

PARAMETERS = {
    "cpu.idle_W_per_core": {"value": 2.0, "low": 1.0, "high": 3.5, "unit": "W", "source": "simulated"},
    "cpu.busy_W_per_core": {"value": 5.0, "low": 3.0, "high": 8.0, "unit": "W", "source": "simulated"},
    "dram.W_per_GiB": {"value": 0.3, "low": 0.1, "high": 0.6, "unit": "W/GiB", "source": "simulated"},
}
MODELLED = [
    {
        "component": "cpu", "device": "2 cores", "method": "cpu-model", "quality": "modelled", "reason": None,
        "counter": None,
        "terms": [
            {"parameter": "cpu.idle_W_per_core", "of": "time", "factor": CPUS},
            {"parameter": "cpu.busy_W_per_core", "of": "busy", "factor": 1.0},
        ],
    },
    {
        "component": "dram", "device": "8 GiB", "method": "dram-model", "quality": "modelled", "reason": None,
        "counter": None, "terms": [{"parameter": "dram.W_per_GiB", "of": "time", "factor": 8}],
    },
]  # fmt: skip
RAPL = {
    "component": "cpu", "device": "package-0", "method": "rapl", "quality": "measured", "reason": None,
    "counter": {"unit_J": 1e-6, "wrap": None, "shared": True},
    "terms": [{"parameter": "rapl.gain", "of": "counter", "factor": 1.0}],
}  # fmt: skip
RAPL_GAIN = {"rapl.gain": {"value": 1.0, "low": 0.97, "high": 1.03, "unit": "1", "source": "simulated"}}
GPU = {
    "component": "gpu", "device": "GPU-0", "method": "nvml-energy-counter", "quality": "measured", "reason": None,
    "counter": {"unit_J": 1e-6, "wrap": None, "shared": True},
    "terms": [{"parameter": "nvml.gain@GPU-0", "of": "counter", "factor": 1.0}],
}  # fmt: skip
GPU_GAIN = {"nvml.gain@GPU-0": {"value": 1.0, "low": 0.95, "high": 1.05, "unit": "1", "source": "simulated"}}
UNKNOWN: dict[str, Any] = {
    "component": "cpu", "device": "package-0", "method": "rapl", "quality": "measured", "counter": None,
    "reason": "energy_uj can only be read by root", "terms": [],
}  # fmt: skip


def config(recipes: list[str] | None = None, seeds: list[int] | None = None, **sections: Any) -> Config:
    """Return a configuration of two experiments and the recipes baseline and int8 (and a wider one)."""
    recipes = recipes or ["baseline", "int8"]
    experiments = {
        name: {"task": task, "data": {"source": "embedded"}, "recipes": recipes, "seeds": seeds or [1]}
        for name, task in (("support", "customer-service"), ("dates", "translation"))
    }
    values = {
        "experiments": experiments,
        "recipes": {
            "baseline": {"train": {}},
            "baseline-onnxruntime": {"from": "baseline", "export": "onnxruntime"},
            "int8": {"from": "baseline", "quantize": "int8"},
            "long": {"train": {"epochs": 20}},
        },
        "deploy": {"controls": False},  # so that a test names all of its recipes
        **sections,
    }
    config: Config = validate(values, Config, "test")
    return config


@dataclass
class Simulation:
    """A host on which jobs run one after another; writes their ledgers and their stages' files."""

    results: Path
    config: Config
    sensors: list[dict[str, Any]] = field(default_factory=lambda: MODELLED)
    parameters: dict[str, Any] = field(default_factory=lambda: PARAMETERS)
    host: str = "node1"
    memory_B: float | None = None
    gpu_name: str | None = None
    now_s: float = 1000.0
    busy_s: float = 50.0
    run_id: str = "run-1"
    jobs: int = 0
    # Whether a job of a rule and recipe uses the GPU that it holds; None: the ledgers don't say, as older ones.
    uses_gpu: Callable[[str, str | None], bool] | None = None

    def utc(self, monotonic_s: float) -> str:
        """Return the wall clock's reading at a monotonic time."""
        return datetime.datetime.fromtimestamp(EPOCH_s + monotonic_s, datetime.UTC).isoformat().replace("+00:00", "Z")

    def job(
        self,
        rule: str,
        duration_s: float,
        busy_cpus: float,
        status: str = "succeeded",
        work: Mapping[str, float] | None = None,
        attempt: int = 1,
        parent: str | None = None,
        at_s: float | None = None,
        config_hash: str = "same",
        beside: float = 0.0,
        on_gpu: bool = True,
        reserved: float = CPUS,
        turns: Sequence[tuple[float, float]] | None = None,
        **wildcards: Any,
    ) -> str:
        """Write one attempt's ledger: `busy_cpus` CPUs busy for `duration_s`; return its id.

        Others keep `beside` CPUs busy meanwhile. Where the host has a GPU, the job holds it if it is `on_gpu`. With
        `turns` (start, end) it is busy only in these, and its ledger has samples at their edges.
        """
        self.jobs += 1
        name = f"{parent}.{rule}{self.jobs}" if parent else f"{self.run_id}-{self.jobs:03d}"
        start_s = self.now_s if at_s is None else at_s
        counters = [sensor for sensor in self.sensors if sensor["counter"]]
        columns = ["monotonic_s", "wall_s", "busy_s", "steal_s", "cpu_s"]
        for sensor in counters:
            columns += counter_columns(sensor["component"], sensor["device"])
        held = [s["device"] for s in self.sensors if on_gpu and s["component"] == "gpu"]
        seen = held if self.uses_gpu is not None else []
        columns += [memory_column(gpu) for gpu in seen]
        context_B = 400e6 if self.uses_gpu is not None and self.uses_gpu(rule, wildcards.get("recipe")) else 0.0
        begin = {
            "record": "start", "schema": SCHEMA, "id": name, "parent": parent, "run_id": self.run_id, "host": self.host,
            "boot_id": f"boot-{self.host}", "cpus": CPUS, "columns": columns, "sensors": self.sensors,
            "parameters": self.parameters, "interval_s": 1.0, "started": self.utc(start_s), "monotonic_s": start_s,
            "wall_s": EPOCH_s + start_s, "threads": CPUS, "reserved_cpus": reserved,
            "gpus": [{"uuid": gpu, "index": 0, "name": self.gpu_name} for gpu in held],
            **({} if self.memory_B is None else {"memory_B": self.memory_B}),
            "config_hash": config_hash,
            "job": {"rule": rule, "wildcards": {k: str(v) for k, v in wildcards.items()}, "attempt": attempt},
        }  # fmt: skip
        lines: list[Any] = [begin]
        steps = max(2, round(duration_s) + 1)
        regular = [duration_s * index / (steps - 1) for index in range(steps)]
        edges = [edge_s - start_s for turn in turns or () for edge_s in turn]
        for passed in sorted({round(moment, 6) for moment in (*regular, *edges)}):
            host_busy = self.busy_s + passed * (busy_cpus + beside)
            used_s = passed if turns is None else sum(max(0.0, min(start_s + passed, b) - a) for a, b in turns)
            row = [start_s + passed, EPOCH_s + start_s + passed, host_busy, 0.0, used_s * busy_cpus]
            for _ in counters:  # the simulated package or GPU draws 3 W and 6 W more for each busy CPU
                row += [start_s + passed, 1e6 * (3.0 * (start_s + passed) + 6.0 * host_busy)]
            row += [context_B if 0 < passed < regular[-1] else 0.0 for _ in seen]
            lines.append([round(value, 6) for value in row])
        if status != "lost":
            end_s = start_s + duration_s
            lines.append(
                {
                    "record": "end",
                    "status": status,
                    "ended": self.utc(end_s),
                    "monotonic_s": end_s,
                    "work": dict(work or {}),
                }
                | {"exit_code": {"succeeded": 0, "failed": 1, "killed": 137}[status], "cpu_s": lines[-1][4]}
            )
        path = self.results / "ledger" / self.host / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if parent is None:
            self.now_s, self.busy_s = start_s + duration_s + 0.5, self.busy_s + duration_s * busy_cpus
        return name

    def prepare(self, experiment: str) -> None:
        """Run collect and preprocess."""
        self.job("collect", 2, 0.9, work={"samples": 12000}, experiment=experiment)
        card = DataCard(
            source="embedded",
            origin="a grammar of our own <客服>",
            revision="1",
            licence="Apache-2.0",
            rows=12000,
            bytes=700000,
            files=[CardFile(part="train", file="train.parquet", sha256="ab" * 32, rows=12000, bytes=700000)],
            bad_row_count=0,
        )
        card.write(self.results / f"data/{experiment}/collected/card.json")
        self.job("preprocess", 4, 1.0, work={"samples": 11800}, experiment=experiment)
        report = PreparationReport(rows=RowCounts(collected=12000, train=10000, test=1200))
        # Without a schema, which is not required: the stored account has it so.
        write_json(self.results / f"data/{experiment}/prepared/report.json", report.model_dump())

    def train(self, experiment: str, recipe: str, seed: int, duration_s: float = 60, killed_s: float = 0) -> None:
        """Run train; with `killed_s` a first attempt is killed after so long, and the second resumes."""
        names: dict[str, Any] = {"experiment": experiment, "recipe": recipe, "seed": seed}
        if killed_s:
            self.job("train", killed_s, 1.9, status="killed", **names)
        work = {"samples": 80000, "tokens": 2.4e6, "flops": 1.9e13}
        self.job("train", duration_s, 1.9, work=work, attempt=2 if killed_s else 1, **names)
        report = TrainingReport(
            steps=1250, epochs=8, **work, precision="bf16", resumed_from_step=400 if killed_s else None
        )
        report.write(self.model_folder(experiment, recipe, seed) / "training.json")
        self.describe(experiment, recipe, seed, "transformers", "fp32")

    def model_folder(self, experiment: str, recipe: str, seed: int) -> Path:
        """Return the folder of a model."""
        return self.results / f"models/{experiment}/{recipe}/seed-{seed}/model"

    def describe(self, experiment: str, recipe: str, seed: int, engine: EngineName, precision: Precision) -> None:
        """Write a model folder's greenllm.json."""
        flops = Flops(per_token=2.1e6, per_pair=512.0)
        manifest = Manifest(engine=engine, precision=precision, parameters=1_214_000, forward_flops=flops)
        manifest.write(self.model_folder(experiment, recipe, seed))

    def compress(self, experiment: str, recipe: str, seed: int) -> None:
        """Run compress."""
        self.job("compress", 7, 1.2, experiment=experiment, recipe=recipe, seed=seed)
        self.describe(experiment, recipe, seed, "onnxruntime-genai", "int8")

    def evaluate(self, experiment: str, recipe: str, seed: int, accuracy: float, examples: int = 400) -> None:
        """Run evaluate: answers of which about `accuracy` are right, scored as the task scores them."""
        task = TASKS[self.config.experiments[experiment].task]
        draw = random.Random(f"{experiment}")  # the recipes' answers agree on most examples, as real ones do
        own = random.Random(f"{experiment} {recipe} {seed}")
        rows = []
        for index in range(examples):
            reference, hard = draw.choice(INTENTS), draw.random()
            right = hard < accuracy and own.random() > 0.004
            rows.append(
                {"id": f"row-{index}", "prompt": "".join(draw.choices(string.ascii_letters, k=12)) + "\n"}
                | {"completion": reference, "prediction": reference if right else INTENTS[own.randrange(3)] + "?"}
                | {"tokens": 4, "prompt_tokens": 14, "finish_reason": "stop"}
            )
        metrics = scores_with_intervals(task, [Prediction(**row) for row in rows], 200, seed)
        folder = f"evaluations/{experiment}/{recipe}"
        work = {"samples": examples, "tokens": 4 * examples}
        self.job("evaluate", 8, 1.8, work=work, experiment=experiment, recipe=recipe, seed=seed)
        report = EvaluationReport(
            task=task.name,
            engine="transformers",
            precision="fp32",
            examples=examples,
            seed=seed,
            primary=task.primary,
            metrics=metrics,
            bootstrap=200,
            tokens=4 * examples,
            prompt_tokens=14 * examples,
            finish={"stop": examples, "length": 0},
        )
        report.write(self.results / folder / f"seed-{seed}.json")
        path = self.results / folder / f"seed-{seed}.predictions.jsonl"
        # As evaluate writes them: a prompt may hold characters at which only some programs end a line.
        lines = [json.dumps(row | {"prompt": "one\u2028two\x85three"}, ensure_ascii=False) + "\n" for row in rows]
        path.write_text("".join(lines), encoding="utf-8")

    def measure(
        self,
        experiment: str,
        seed: int,
        seconds: Mapping[str, float],
        status: str = "succeeded",
        concurrency: tuple[int, ...] = (1,),
        rounds: int = 10,
        starts: int = 1,
        failed: Mapping[str, str] | None = None,
        twin: float | None = None,
        on_cpu: Sequence[str] = (),
        lengths: Sequence[tuple[int, int]] = ((14, 4),),
    ) -> str:
        """Measure servers side by side: all are idle, then each is busy for its `seconds` in all, in turn.

        Each answers 1,000 requests at each concurrency. At a concurrency of c they take 1 / sqrt(c) of the time.
        Rounds differ in length by about 1 %, and are divided among the `starts`. `failed` has the reason of each server
        that failed. With `twin`, a second server of the first recipe is busy for this time. Where the host has a GPU,
        servers compute there, but for those `on_cpu`. The requests of a round have `lengths`, tokens in and out, in
        turn; a token out takes ten times as long as one in.
        """
        names: dict[str, Any] = {"experiment": experiment, "seed": seed}
        first = next(iter(seconds))
        busy_s = {**seconds, **({} if twin is None else {f"{first}~twin": twin})}
        idle_s = 2.0
        shares = {many: many**-0.5 * concurrency[0] ** 0.5 for many in concurrency}
        whole_s = sum(busy_s.values()) * sum(shares.values())
        began, busy = self.now_s, self.busy_s
        parent = self.job("measure", whole_s + idle_s + 4, 1.6, status=status, **names)
        after = self.busy_s
        start = began + 1 + idle_s
        turns: dict[str, dict[int, list[tuple[int, float, float]]]] = {name: {} for name in busy_s}
        for many in concurrency:
            for block in range(rounds):
                for name, lasting in busy_s.items():
                    weights = _weights(name, rounds, lengths)
                    length = lasting * shares[many] * weights[block] / sum(weights)
                    turns[name].setdefault(many, []).append((block, start, start + length))
                    start += length
        self.busy_s = busy + 1 * 1.6  # all meters read the same busy time of the host
        child: dict[str, Any] = {"parent": parent, "at_s": began + 1, "on_gpu": False, "reserved": 0, **names}
        served: dict[str, str] = {}
        for name in busy_s:
            spans = [(start_s, end_s) for own in turns[name].values() for _, start_s, end_s in own]
            work = {"requests": 1000 * len(concurrency)}
            lasting = whole_s + idle_s + 2
            served[name] = self.job("serve", lasting, 1.45, beside=0.15, turns=spans, recipe=name, work=work, **child)
            self.job("load", lasting, 0.1, beside=1.5, turns=spans, recipe=name, work=work, **child)
        self.busy_s = after
        if status != "succeeded":
            return parent
        idle = IdleTime(window=self.window(began + 1, began + 1 + idle_s), duration_s=idle_s)
        document = SideBySide(
            measure_id=parent,
            seed=seed,
            loaded="all",
            loaded_reason="simulated",
            reserved_threads=CPUS,
            twin=None if twin is None else f"{first}~twin",
            planned=PlannedStarts(first=starts, starts=starts, rounds=rounds // starts, round_s=0, reason="fixed"),
            concurrencies=list(concurrency),
            orders=[[list(busy_s)] * rounds for _ in concurrency],
            servers=[
                ServerMeasurement(
                    name=name,
                    recipe=name.removesuffix("~twin"),
                    engine="transformers",
                    precision="fp32",
                    threads=ThreadChoice(threads=CPUS, reason="as many as the job reserves"),
                    gpus=0 if name in on_cpu else sum(sensor["component"] == "gpu" for sensor in self.sensors),
                    batch=8,
                    metered=True,
                    energy_reason=None,
                    idle=idle,
                    agreement=AgreementCounts(equal=1000, compared=1000, share=1.0),
                    points=[]
                    if name in (failed or {})
                    else [
                        self.point(many, spans, served[name], rounds // starts, lengths)
                        for many, spans in turns[name].items()
                    ],
                    model_bytes=5_100_000 if name != "int8" else 2_300_000,
                    memory_bytes=310_000_000 if name != "int8" else 120_000_000,
                    memory_reason=None,
                    failure=(failed or {}).get(name),
                )
                for name in busy_s
            ],
        )
        document.write(self.results / f"measurements/{experiment}/seed-{seed}.json")
        return parent

    def window(self, start_s: float, end_s: float) -> MeasurementWindow:
        """Return a window of this host's time as measurements name it."""
        return MeasurementWindow(
            started=self.utc(start_s),
            ended=self.utc(end_s),
            monotonic_start_s=start_s,
            monotonic_end_s=end_s,
            boot_id=f"boot-{self.host}",
        )

    def point(
        self,
        concurrency: int,
        spans: Sequence[tuple[int, float, float]],
        serve_id: str,
        each: int,
        lengths: Sequence[tuple[int, int]],
    ) -> LoadPoint:
        """Return the measurement of 1,000 requests at one concurrency.

        `spans`: block, start and end of each round; `each`: the rounds of each start of the server.
        """
        lasting_s = sum(end_s - start_s for _, start_s, end_s in spans)
        rounds, mean = len(spans), lasting_s / 1000 * concurrency
        return LoadPoint(
            concurrency=concurrency,
            rate_per_s=None,
            requests=1000,
            answered=1000,
            failed=0,
            prompt_tokens=14000,
            completion_tokens=4000,
            rounds=[
                MeasuredRound(
                    window=self.window(start_s, end_s),
                    start=block // each,
                    block=block,
                    serve_id=serve_id,
                    answered=1000 // rounds,
                    completion_tokens=lengths[block % len(lengths)][1] * (1000 // rounds),
                    prompt_tokens=lengths[block % len(lengths)][0] * (1000 // rounds),
                )
                for block, start_s, end_s in spans
            ],
            latency_s=Latency(mean=mean, p50=mean * 0.96, p95=mean * 1.3, p99=mean * 1.7),
            time_to_first_token_s=Percentiles(p50=mean * 0.4, p95=mean * 0.6, p99=mean * 0.8),
            throughput=Throughput(requests_per_s=1000 / lasting_s, tokens_per_s=4000 / lasting_s),
        )


def _weights(name: str, rounds: int, lengths: Sequence[tuple[int, int]]) -> list[float]:
    """Return how long a server's rounds last, relative to each other."""
    chance = random.Random(name)
    work = [lengths[block % len(lengths)] for block in range(rounds)]
    mean = sum(prompt + 10 * generated for prompt, generated in work) / rounds
    return [chance.gauss(1, 0.01) * (prompt + 10 * generated) / mean for prompt, generated in work]


def whole_study(results: Path, seeds: list[int] | None = None, measured: bool = False) -> Simulation:
    """Write a study of two experiments in which int8 saves energy, and an earlier run whose training was killed."""
    study = Simulation(results, config(seeds=seeds))
    if measured:
        study.sensors = [RAPL, MODELLED[1]]
        study.parameters = {**PARAMETERS, **RAPL_GAIN}
    for experiment, scale in (("support", 1.0), ("dates", 1.5)):
        study.prepare(experiment)
        for seed in seeds or [1]:
            killed = 20 if experiment == "support" and seed == 1 else 0
            study.train(experiment, "baseline", seed, 60 * scale, killed)
            if killed:
                study.run_id, study.now_s = "run-2", study.now_s + 3600
            study.evaluate(experiment, "baseline", seed, 0.9 if experiment == "support" else 0.7, 2000)
            study.compress(experiment, "int8", seed)
            study.evaluate(experiment, "int8", seed, 0.9 if experiment == "support" else 0.62, 2000)
            slow, fast = 26 * scale + seed, 5 * scale + 0.1 * seed
            study.measure(experiment, seed, {"baseline": slow, "int8": fast}, twin=slow)
    return study


def study_with_a_gpu(results: Path) -> Simulation:
    """Write a study on a host with 8 GB and a GPU."""
    study = Simulation(results, config(), sensors=[*MODELLED, GPU], parameters={**PARAMETERS, **GPU_GAIN})
    study.uses_gpu, study.memory_B, study.gpu_name = (lambda rule, recipe: True), 8e9, "H100"
    study.prepare("support")
    study.train("support", "baseline", 1, 60)
    study.evaluate("support", "baseline", 1, 0.9, 2000)
    study.compress("support", "int8", 1)
    study.evaluate("support", "int8", 1, 0.9, 2000)
    study.measure("support", 1, {"baseline": 26, "int8": 6}, twin=26)
    return study
