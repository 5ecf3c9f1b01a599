"""Stops a training whose validation loss no longer improves, whichever attempts its validations are from."""

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME


class Patience(EarlyStoppingCallback):  # type: ignore[misc]
    """Early stopping that counts on from the checkpoint which a training resumes from."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Count the validations of earlier attempts."""
        super().on_train_begin(args, state, control, **more)
        self.early_stopping_patience_counter = _without_improvement(state)


def _without_improvement(state: TrainerState) -> int:
    """Return how many validations there were since the one with the lowest loss."""
    losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def stopped_at(checkpoint: Path, patience: int | None) -> bool:
    """Whether the training stopped at this checkpoint, since its loss had not improved for `patience` validations."""
    if patience is None:
        return False
    return _without_improvement(TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))) >= patience
