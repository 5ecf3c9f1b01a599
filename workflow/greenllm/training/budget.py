"""Stops a training by its energy: if a budget is used up, or another kilojoule improves the loss too little."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from greenllm.attribution import Estimate, total
from greenllm.attribution.live import RunningJob, UnknownEnergyError, this_job
from greenllm.config.models import Training
from greenllm.errors import UserError
from greenllm.training.checkpoints import join_attempts
from greenllm.training.parallel import Rank

# Longest time between two checks of the energy (s).
LONGEST_PAUSE_S = 60.0


class EnergyStopping(TrainerCallback):  # type: ignore[misc]
    """Logs the energy at each validation, and stops the training by `budget_J` or `least_gain_per_kJ`.

    `reason` then says why. Only the first process reads the energy. A budget is exceeded by at most the energy of one
    sampling interval of the meter and one step, unless the power more than doubles between two checks.
    """

    def __init__(self, settings: Training, checkpoints: Path, rank: Rank) -> None:
        """Raises UserError if a setting needs the energy but it is unknown."""
        self.budget_J = settings.budget_J
        self.least_gain_per_kJ = settings.least_gain_per_kJ
        self.rank = rank
        self.reason: str | None = None
        self._job: RunningJob | None = None
        if self.least_gain_per_kJ and settings.evaluations < 2:
            raise UserError("train.least_gain_per_kJ: compares validations; set train.evaluations to 2 or more")
        if rank.is_first:
            try:
                job = this_job()
                self._before = job.energy_of(join_attempts(checkpoints, job.id))
                self._job = job
            except UnknownEnergyError as error:
                self._refuse_unknown(error)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Read the energy for the first time."""
        self._first_step = state.global_step + 1
        self._seen_s, self._seen_J = time.monotonic(), 0.0
        self._next_check_s = self._seen_s
        if (used := self._read()) is not None:
            self._seen_J = used.value

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop if the budget is used up; raise UserError if the first step used it up."""
        if self.budget_J is not None:
            self._stop(control, self.rank.first(lambda: self._over_budget(state.global_step)))

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        """Log the energy; stop if the loss fell by less than `least_gain_per_kJ` since the last validation."""
        if (used := self._read()) is not None:
            point = {"step": state.global_step, "energy_J": used.to_json(), "validation_loss": metrics["eval_loss"]}
            state.log_history.append(point)
        if self.least_gain_per_kJ is not None:
            self._stop(control, self.rank.first(lambda: self._too_little(curve(state.log_history), state.global_step)))

    def _stop(self, control: Any, reason: str | None) -> None:
        if reason is not None:
            self.reason = reason
            control.should_training_stop = True

    def _over_budget(self, step: int) -> str | None:
        assert self.budget_J is not None
        assert self._job is not None
        now_s = time.monotonic()
        if now_s < self._next_check_s and step > self._first_step:
            return None
        used = self._read()
        if used is None:
            return None
        left_J = self.budget_J - used.value
        if left_J <= 0:
            if step == 1:
                raise UserError(
                    f"train.budget_J: {self.budget_J:g} J, but after the first step {used.value:.4g} J were used, "
                    "loading and earlier attempts included; set more"
                )
            return f"budget: {used.value:.4g} J used of {self.budget_J:g} J"
        power_W = (used.value - self._seen_J) / max(now_s - self._seen_s, self._job.interval_s)
        self._seen_s, self._seen_J = now_s, used.value
        half_s = left_J / power_W / 2 if power_W > 0 else 0.0
        self._next_check_s = now_s + min(max(half_s, self._job.interval_s), LONGEST_PAUSE_S)
        return None

    def _too_little(self, course: Sequence[dict[str, Any]], step: int) -> str | None:
        """Compare with the last validation of lower energy: two validations may fall between two samples."""
        assert self.least_gain_per_kJ is not None
        if not course or course[-1]["step"] != step:
            return None
        used_J, loss = course[-1]["energy_J"]["value"], course[-1]["validation_loss"]
        earlier = [point for point in course if point["energy_J"]["value"] < used_J]
        if not earlier:
            return None
        gain = (earlier[-1]["validation_loss"] - loss) / (used_J - earlier[-1]["energy_J"]["value"]) * 1000
        if gain >= self.least_gain_per_kJ:
            return None
        return f"gain: {gain:.3g} nats per token and kJ, less than {self.least_gain_per_kJ:g}"

    def _read(self) -> Estimate | None:
        try:
            used = self._job.energy() if self._job else None
            return None if used is None else total([self._before, used])
        except UnknownEnergyError as error:
            self._job = None
            self._refuse_unknown(error)
            return None

    def _refuse_unknown(self, error: UnknownEnergyError) -> None:
        for key in ("budget_J", "least_gain_per_kJ"):
            if getattr(self, key) is not None:
                raise UserError(f"train.{key}: the energy of this job is unknown: {error}") from None


def curve(log_history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the energy and loss at each validation: [{step, energy_J {value, low, high}, validation_loss}]."""
    return [entry for entry in log_history if "energy_J" in entry]
