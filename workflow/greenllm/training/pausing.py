"""Pauses a training at a checkpoint, at the time that the meter names: the same command later goes on from there."""

import os
import time
from typing import Any

from transformers import TrainerCallback

from greenllm.meter.planned_start import PAUSE_VARIABLE


class Pausing(TrainerCallback):  # type: ignore[misc]
    """Stops the training at the checkpoint that is nearest to the planned pause. After the last one it never pauses."""

    def __init__(self, pause_s: float | None) -> None:
        """`pause_s`: Unix time of the pause; None: never."""
        self._pause_s = pause_s
        self._checkpoint_s = time.time()
        self.paused_at: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when training begins."""
        self._checkpoint_s = time.time()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop if the next checkpoint would be further behind the pause than this one is ahead of it."""
        now_s = time.time()
        until_next_s = now_s - self._checkpoint_s
        self._checkpoint_s = now_s
        if self._pause_s is None or control.should_training_stop or state.global_step >= state.max_steps:
            return
        if now_s + until_next_s / 2 >= self._pause_s:
            self.paused_at = state.global_step
            control.should_training_stop = True


def planned_pause() -> float | None:
    """Return when the meter around this process wants it to pause (Unix time, s); None: never."""
    text = os.environ.get(PAUSE_VARIABLE)
    return float(text) if text else None
