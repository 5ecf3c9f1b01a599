"""The report of a finished training: the content of training.json."""

from collections.abc import Iterable
from typing import Any

import torch

from greenllm.documents.training import TrainingReport
from greenllm.training.budget import EnergyStopping, curve
from greenllm.training.device import peak_memory_bytes
from greenllm.training.parallel import backend
from greenllm.training.planned_batches import PlannedBatches
from greenllm.training.trainer import Run, Trainer


def report_of(
    trainer: Trainer,
    run: Run,
    planned: PlannedBatches,
    stopping: EnergyStopping,
    *,
    parameters: int,
    truncated_rows: int,
    first_step: int,
) -> TrainingReport:
    """Return the report.

    `parameters` are those of the whole model, without what the method adds; `first_step` is that of the checkpoint that
    the training resumed from, or 0.
    """
    state = trainer.state
    done = planned.work(0, state.global_step)
    stopped_early = state.global_step < planned.steps
    validated = _history(state.log_history, "eval_loss")
    return TrainingReport(
        parameters=parameters,
        trainable_parameters=count(weight for weight in trainer.model.parameters() if weight.requires_grad),
        peak_memory_bytes=peak_memory_bytes(run.on_gpu),
        steps=state.global_step,
        epochs=state.global_step / planned.steps_per_epoch,
        tokens=done.tokens,
        samples=done.samples,
        flops=done.flops,
        truncated_rows=truncated_rows,
        precision=run.precision,
        threads=run.threads,
        device=torch.cuda.get_device_name() if run.on_gpu else "cpu",
        seed=run.seed,
        world_size=run.rank.count,
        wrapper=type(trainer.model_wrapped).__name__ if run.rank.count > 1 else None,
        backend=backend(),
        resumed_from_step=first_step or None,
        stopped_early=stopped_early,
        stop_reason=(stopping.reason or "patience") if stopped_early else None,
        loss=_history(state.log_history, "loss"),
        validation_loss=validated,
        energy_J=curve(state.log_history) or None,
        best_step=int(min(validated, key=lambda entry: entry["loss"])["step"]) if validated else None,
    )


def count(weights: Iterable[torch.Tensor]) -> int:
    """Return the number of weights in tensors."""
    return sum(weight.numel() for weight in weights)


def _history(log: list[dict[str, Any]], key: str) -> list[dict[str, int | float]]:
    return [{"step": entry["step"], "loss": entry[key]} for entry in log if key in entry]
