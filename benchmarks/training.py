"""Tokens per second of `greenllm train` against a bare PyTorch loop, or of several processes against one.

    python benchmarks/training.py [--size tiny|small|base] [--threads N] [--steps N] [--rounds N]
    python benchmarks/training.py --processes 2 [--threads 2] …

Model, batches, precision and threads are the same. Both run alternately, so that other work of the machine affects both
alike. Targets for the ratio of the medians: at least 0.95 of the bare loop, and with `--processes` (which share the
threads) at least 0.9 of one process, with equal losses except for noise. Exit status 1 if a target is missed. The ratio
in CPU time is less disturbed by a busy machine, but leaves out the time in which a thread waits.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, TrainerCallback

from greenllm.config.models import Training
from greenllm.training.batches import Collator, LengthBuckets, Row
from greenllm.training.device import precision_of
from greenllm.training.model_sizes import llama_config
from greenllm.training.parallel import ALONE, Rank, launch, rank_of
from greenllm.training.planned_batches import PlannedBatches
from greenllm.training.trainer import Run, make_trainer

WARMUP = 5  # steps of each round before the clock starts
VOCABULARY, CONTEXT, SEED = 3000, 256, 1
NOISE = 0.02  # largest difference of the losses of one batch, relative to the first


@dataclass(frozen=True)
class Turn:
    """One round: seconds, CPU seconds of all processes, and the loss of each logged step."""

    seconds: float
    cpu_s: float
    losses: tuple[float, ...] = ()


def rows(count: int) -> list[Row]:
    """Return rows about as long as a customer's message and its intent."""
    chance = random.Random(SEED)
    lengths = [min(10 + int(chance.expovariate(1 / 15)), CONTEXT) for _ in range(count)]
    return [Row([chance.randrange(3, VOCABULARY) for _ in range(length)], length - 6) for length in lengths]


def network(size: str) -> torch.nn.Module:
    torch.manual_seed(SEED)
    config = llama_config(size, vocabulary=VOCABULARY, context=CONTEXT, pad_id=0, eos_id=1)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")


def now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


class Clock(TrainerCallback):
    """Measures the time of the steps after the warm-up."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:
        if state.global_step == WARMUP:
            self.started = now()
        if state.global_step == WARMUP + self.steps:
            self.seconds = now() - self.started


@dataclass(frozen=True)
class Benchmark:
    """The training that is timed."""

    size: str
    steps: int
    batch: int
    threads: int

    @property
    def data(self) -> list[Row]:
        return rows((WARMUP + self.steps) * self.batch)

    @property
    def buckets(self) -> LengthBuckets:
        return LengthBuckets([len(row) for row in self.data], self.batch, SEED)

    @property
    def tokens(self) -> int:
        data = self.data
        return sum(len(data[index]) for batch in self.buckets.of_epoch(0)[WARMUP:] for index in batch)

    def with_greenllm(self, rank: Rank = ALONE) -> Turn:
        """Time the Trainer that `greenllm train` uses."""
        clock = Clock(self.steps)
        torch.set_num_threads(self.threads // rank.count)
        with tempfile.TemporaryDirectory() as folder:
            trainer = make_trainer(
                network(self.size),
                Training(batch=self.batch),
                Run(SEED, self.threads, False, precision_of("auto", on_gpu=False), Path(folder), rank),
                rows=self.data,
                validation=[],
                # All rows once: WARMUP and `steps` steps.
                planned=PlannedBatches(self.buckets, epochs=1, flops=None),
                pad_id=0,
                done=lambda step: None,
                callbacks=[clock],
            )
            trainer.args.save_strategy = "no"  # a bare loop writes no checkpoints
            trainer.train()
        cpu_s = rank.sum(torch.tensor([clock.seconds[1]], dtype=torch.float64)).item()
        losses = tuple(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
        return Turn(clock.seconds[0], cpu_s, losses)

    def in_processes(self, processes: int) -> Turn:
        """Time the same training in several processes."""
        with tempfile.TemporaryDirectory() as folder:
            reported = Path(folder) / "turn.json"
            training = Training(batch=self.batch, processes=processes)
            if launch(partial(self._one_of, processes, reported), training, threads=self.threads, device="cpu"):
                sys.exit("a process failed; its message is above")
            return Turn(**json.loads(reported.read_text()))

    def _one_of(self, processes: int, reported: Path) -> None:
        rank = rank_of(processes)
        turn = self.with_greenllm(rank)
        if rank.is_first:
            reported.write_text(json.dumps({"seconds": turn.seconds, "cpu_s": turn.cpu_s, "losses": turn.losses}))

    def bare(self) -> Turn:
        """Time the same steps by a loop that does nothing else."""
        torch.set_num_threads(self.threads)
        data, settings = self.data, Training(batch=self.batch)
        precision = precision_of("auto", on_gpu=False)
        model = network(self.size).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=2e-3, total_steps=WARMUP + self.steps, pct_start=0.1, cycle_momentum=False
        )
        collate = Collator(0, settings.prompt_weight)
        for step, batch in enumerate(self.buckets.of_epoch(0)):
            if step == WARMUP:
                started = now()
            tensors = collate([data[index] for index in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = model(input_ids=tensors["input_ids"], use_cache=False).logits
            losses = functional.cross_entropy(
                logits.float().flatten(0, 1), tensors["targets"].flatten(), reduction="none"
            ).view_as(tensors["targets"])
            loss = (losses * tensors["weights"]).sum() / tensors["weights"].sum()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        return Turn(*(now() - started).tolist())


def compare(ours: str, theirs: str, turns: dict[str, Callable[[], Turn]], rounds: int, tokens: int) -> float:
    """Time both alternately, print their medians, and return the ratio of tokens per second."""
    took: dict[str, list[Turn]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, turn in list(turns.items())[:: 1 if number % 2 == 0 else -1]:
            took[name].append(turn())
    medians = {name: np.median([[turn.seconds, turn.cpu_s] for turn in took[name]], axis=0) for name in turns}
    for name in turns:
        each = ", ".join(f"{tokens / turn.seconds:.0f}" for turn in took[name])
        print(f"{name:14} {tokens / medians[name][0]:9.0f} tokens/s (rounds: {each})")
    ratio, cpu_ratio = medians[theirs] / medians[ours]
    print(f"{'ratio':14} {ratio:9.3f} of the tokens/s of {theirs}")
    print(f"{'':14} {cpu_ratio:9.3f} of its tokens per CPU second")
    one, other = (np.array(took[name][0].losses) for name in (ours, theirs))
    if len(one) and len(other):
        difference = float(np.abs(one - other).max() / other[0])
        print(f"{'losses':14} {difference:9.1e} apart at most, relative to the first")
        if difference > NOISE:
            sys.exit("the losses are not the same within noise")
    return float(ratio)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["tiny", "small", "base"], default="tiny")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads, of all processes together")
    parser.add_argument("--processes", type=int, help="compare this number of processes with one")
    parser.add_argument("--steps", type=int, default=60, help="training steps per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each, alternately")
    parser.add_argument("--batch", type=int, default=64, help="rows per step")
    arguments = parser.parse_args()
    benchmark = Benchmark(arguments.size, arguments.steps, arguments.batch, arguments.threads)
    if arguments.processes is None:
        least, ours, theirs = 0.95, "greenllm", "the bare loop"
        turns = {ours: benchmark.with_greenllm, theirs: benchmark.bare}
    else:
        least, ours, theirs = 0.9, f"{arguments.processes} processes", "one process"
        turns = {ours: partial(benchmark.in_processes, arguments.processes), theirs: benchmark.with_greenllm}
    print(f"{arguments.size}, {precision_of('auto', on_gpu=False)}, {arguments.threads} threads")
    return 0 if compare(ours, theirs, turns, arguments.rounds, benchmark.tokens) >= least else 1


if __name__ == "__main__":
    sys.exit(main())
