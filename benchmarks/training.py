"""Tokens per second of `greenllm train` against a bare PyTorch loop: same model, batches, precision and threads.

    python benchmarks/training.py [--size tiny|small|base] [--threads N] [--steps N] [--rounds N]

Both run alternately in this process, so that what else the machine does meets both. The ratio of the medians is
what counts; at least 0.95 is wanted. Exit status 1 below that. The ratio in CPU time is less
disturbed by a busy machine, but does not see time in which a thread waits.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--size", choices=["tiny", "small", "base"], default="tiny")
parser.add_argument("--threads", type=int, default=2, help="CPU threads")
parser.add_argument("--steps", type=int, default=60, help="training steps a round")
parser.add_argument("--rounds", type=int, default=5, help="rounds of each, alternately")
parser.add_argument("--batch", type=int, default=64, help="rows a step")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402
from transformers import AutoModelForCausalLM, TrainerCallback  # noqa: E402

from greenllm.config.models import Training  # noqa: E402
from greenllm.training.batches import Collator, LengthBuckets, Row  # noqa: E402
from greenllm.training.device import precision_of  # noqa: E402
from greenllm.training.sizes import llama_config  # noqa: E402
from greenllm.training.trainer import Run, make_trainer  # noqa: E402
from greenllm.training.work import PlannedBatches  # noqa: E402

WARMUP = 5  # steps of each round before the clock starts
VOCABULARY, CONTEXT, SEED = 3000, 256, 1


def rows(count: int) -> list[Row]:
    """Return rows about as long as a customer's message and its intent."""
    chance = random.Random(SEED)
    lengths = [min(10 + int(chance.expovariate(1 / 15)), CONTEXT) for _ in range(count)]
    return [Row([chance.randrange(3, VOCABULARY) for _ in range(length)], length - 6) for length in lengths]


def network() -> torch.nn.Module:
    torch.manual_seed(SEED)
    config = llama_config(arguments.size, vocabulary=VOCABULARY, context=CONTEXT, pad_id=0, eos_id=1)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")


def now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


class Clock(TrainerCallback):
    """Takes the time of the steps after the warm-up."""

    def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:
        if state.global_step == WARMUP:
            self.started = now()
        if state.global_step == WARMUP + arguments.steps:
            self.seconds = now() - self.started


def with_greenllm(data: list[Row], folder: Path) -> np.ndarray:
    """Return the seconds, and CPU seconds, of `arguments.steps` steps by the Trainer that `greenllm train` uses."""
    clock = Clock()
    trainer = make_trainer(
        network(),
        settings,
        Run(seed=SEED, threads=arguments.threads, on_gpu=False, precision=precision, folder=folder),
        rows=data,
        validation=[],
        planned=PlannedBatches(buckets, epochs=1, flops=None),  # all rows once: WARMUP and `arguments.steps` steps
        pad_id=0,
        done=lambda step: None,
    )
    trainer.add_callback(clock)
    trainer.args.save_strategy = "no"  # checkpoints are no part of a bare loop
    trainer.train()
    return clock.seconds


def bare(data: list[Row]) -> np.ndarray:
    """Return the seconds, and CPU seconds, of the same steps by a loop that does nothing else."""
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-3, total_steps=WARMUP + arguments.steps, pct_start=0.1, cycle_momentum=False
    )
    collate = Collator(0, settings.prompt_weight)
    for step, batch in enumerate(buckets.of_epoch(0)):
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
    return now() - started


settings = Training(batch=arguments.batch)
torch.set_num_threads(arguments.threads)
precision = precision_of("auto", on_gpu=False)
data = rows((WARMUP + arguments.steps) * arguments.batch)
buckets = LengthBuckets([len(row) for row in data], arguments.batch, SEED)
tokens = sum(len(data[index]) for batch in buckets.of_epoch(0)[WARMUP:] for index in batch)
seconds: dict[str, list[np.ndarray]] = {"greenllm": [], "bare": []}
with tempfile.TemporaryDirectory() as folder:
    for number in range(arguments.rounds):
        turns = [("greenllm", lambda: with_greenllm(data, Path(folder))), ("bare", lambda: bare(data))]
        for name, turn in turns if number % 2 == 0 else reversed(turns):
            seconds[name].append(turn())
medians = {name: np.median(values, axis=0) for name, values in seconds.items()}
for name, values in seconds.items():
    rounds = ", ".join(f"{tokens / wall:.0f}" for wall, _ in values)
    print(f"{name:9} {tokens / medians[name][0]:9.0f} tokens/s (rounds: {rounds})")
ratio, cpu_ratio = medians["bare"] / medians["greenllm"]
print(
    f"ratio     {ratio:9.3f} of the bare loop's tokens/s ({arguments.size}, {precision}, {arguments.threads} threads)"
)
print(f"          {cpu_ratio:9.3f} of its tokens per CPU second")
sys.exit(0 if ratio >= 0.95 else 1)
