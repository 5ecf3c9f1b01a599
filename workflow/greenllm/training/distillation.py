"""Distillation: a student learns from a teacher's probabilities and labels (Hinton et al. 2015, arXiv 1503.02531)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from greenllm.errors import UserError
from greenllm.model_folder.inspection import context_of, read_config
from greenllm.model_folder.weights import load_weights
from greenllm.tokens import vocabulary
from greenllm.training.method import labels_alone, weighted_mean


class Distillation:
    """A criterion: the loss against the labels and the loss against the teacher, which runs on each batch.

    The teacher's loss is T²·KL(teacher ‖ student) of the probabilities at temperature T, a weighted mean over the
    step's tokens. T² keeps its gradients at the scale of the labels' gradients at any temperature.
    """

    def __init__(self, teacher: Any, *, temperature: float, soft_weight: float) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.temperature = temperature
        self.soft_weight = soft_weight

    def __call__(self, logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss in nats."""
        if self.teacher.device != logits.device:
            self.teacher.to(logits.device)
        with torch.no_grad():
            taught = self.teacher(input_ids=batch["input_ids"], use_cache=False).logits
        tokens = min(logits.shape[-1], taught.shape[-1])  # either vocabulary may be padded
        divergence = functional.kl_div(
            functional.log_softmax(logits[..., :tokens].float() / self.temperature, dim=-1),
            functional.log_softmax(taught[..., :tokens].float() / self.temperature, dim=-1),
            reduction="none",
            log_target=True,
        ).sum(-1)
        soft = self.temperature**2 * weighted_mean(divergence, batch["weights"])
        return self.soft_weight * soft + (1 - self.soft_weight) * labels_alone(logits, batch)


def load_teacher(folder: Path, *, data: Path, student: Path | None) -> Any:
    """Return the teacher in `folder`.

    `student` is the folder of the model to train; None for one from scratch, which takes over the teacher's context.

    Raises UserError if the teacher has another tokenizer than the data or a shorter context than the student, or
    `folder` holds no transformers model.
    """
    teacher = load_weights(folder)
    theirs, ours = vocabulary(folder), vocabulary(data / "tokenizer")
    if theirs != ours:
        raise UserError(
            f"distill.teacher: {folder} has another tokenizer than the data in {data} ({len(theirs)} and {len(ours)} "
            f"tokens, {len(theirs.items() & ours.items())} in common); expected a teacher with the data's "
            "tokenizer, or data prepared by `greenllm preprocess --model` with the teacher's"
        )
    if student is not None:
        context, needed = context_of(teacher.config, folder), context_of(read_config(student), student)
        if context < needed:
            raise UserError(
                f"distill.teacher: its context of {context} tokens is shorter than the student's of {needed}; "
                "expected one at least as long"
            )
    return teacher
