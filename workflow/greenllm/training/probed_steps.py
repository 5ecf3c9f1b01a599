"""A few steps of a training, with the window in which they ran: what `greenllm probe-training` does for an order."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from greenllm.config.models import Training
from greenllm.errors import UserError
from greenllm.meter.signals import ask_for_sample
from greenllm.training.batches import LengthBuckets, Row, read_rows
from greenllm.training.device import be_deterministic, precision_of, prepare_device
from greenllm.training.model_sizes import Decoder
from greenllm.training.planned_batches import PlannedBatches
from greenllm.training.probing import ProbedSteps, TrainingOrder, TrainingProbe
from greenllm.training.starting_point import starting_point
from greenllm.training.train import LONGEST_EAGER
from greenllm.training.trainer import Run, make_trainer

# Steps before the window: the first ones allocate memory and choose kernels. The window has LEAST_STEPS at least.
WARM_STEPS, LEAST_STEPS = 3, 3
# A probe ends before this step. The schedule of the learning rate is made for it.
MOST_STEPS = 2000
# A meter takes a sample within a few ms of being asked (s).
SAMPLING_S = 0.01


class _Window(TrainerCallback):  # type: ignore[misc]
    """Opens the window after the first steps, and ends the training when it has lasted long enough."""

    def __init__(self, order: TrainingOrder, on_gpu: bool) -> None:
        self._order, self._on_gpu = order, on_gpu
        self.start_s = self.end_s = 0.0
        self.first = self.last = 0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the window."""
        if state.global_step == WARM_STEPS:
            self._edge()
            self.first, self.start_s = state.global_step, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the window if it has lasted long enough."""
        if state.global_step < WARM_STEPS + LEAST_STEPS or not self.start_s:
            return
        if time.monotonic() - self.start_s >= self._order.least_s or state.global_step == MOST_STEPS:
            if self._on_gpu:
                torch.cuda.synchronize()
            self.last, self.end_s = state.global_step, time.monotonic()
            self._edge()
            control.should_training_stop = True

    def _edge(self) -> None:
        """Have the meters take a sample, when the GPU has done what it was given."""
        if self._on_gpu:
            torch.cuda.synchronize()
        for pid in self._order.meters:
            ask_for_sample(pid)
        time.sleep(SAMPLING_S)


def train_steps(probe: TrainingProbe, settings: Training, model: Decoder | None, order: TrainingOrder) -> ProbedSteps:
    """Train for one order, with a fresh model of which nothing is saved, and return the window of its steps.

    Raises UserError if the data or the model cannot be trained on, SystemExit (status 1) if GPU memory is short.
    """
    on_gpu = prepare_device(probe.device, order.threads)
    be_deterministic(on_gpu)
    torch.manual_seed(probe.seed)
    start = starting_point(probe.data / "tokenizer", model, probe.parent)
    rows = _rows(probe.data / "train.parquet", start)
    lengths = [len(row) for row in rows]
    if not on_gpu and max(lengths) <= LONGEST_EAGER:
        start.network.set_attn_implementation("eager")
    buckets = LengthBuckets(lengths, order.batch, probe.seed)
    planned = PlannedBatches(buckets, MOST_STEPS / len(buckets), None)
    window = _Window(order, on_gpu)
    alone = {"batch": order.batch, "evaluations": 1, "patience": None, "processes": 1}
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            start.network,
            settings.model_copy(update=alone),
            Run(probe.seed, order.threads, on_gpu, precision_of(order.precision, on_gpu), Path(folder)),
            rows=rows,
            validation=[],
            planned=planned,
            pad_id=start.pad_id,
            done=lambda step: None,
            callbacks=[window],
        )
        trainer.remove_callback(trainer.progress)
        try:
            trainer.train()
        except torch.OutOfMemoryError:
            raise SystemExit(f"greenllm probe-training: batch {order.batch}: the GPU has not enough memory") from None
    work = planned.work(window.first, window.last)
    return ProbedSteps(window.start_s, window.end_s, work.samples, work.tokens, int(on_gpu))


def _rows(path: Path, start: Any) -> list[Row]:
    rows = read_rows(path, start.tokenizer, eos_id=start.eos_id, context=start.context).rows
    if not rows:
        raise UserError(f"{path}: no rows; expected at least one to train on")
    return rows
