"""What a training may do otherwise than the plain one: adapt the network first, or learn by another loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from greenllm.model_folder.flops import Flops

# Makes a step's loss of its logits, of shape (rows, tokens, vocabulary), and its batch (see `batches.Collator`).
Criterion = Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]

NO_FLOPS = Flops(per_token=0, per_pair=0)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return each target's cross entropy in nats, of the shape of `targets`."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean over a step's tokens, each with its weight."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def labels_alone(logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the mean cross entropy of the step's tokens, each with its weight, in nats."""
    return weighted_mean(cross_entropy(logits, batch["targets"]), batch["weights"])


@dataclass(frozen=True)
class Method:
    """How a network learns."""

    # Given the loaded network, returns the one to train.
    adapt: Callable[[Any], Any] = lambda network: network
    criterion: Criterion = labels_alone
    # Operations of the criterion's own network; None where they cannot be counted.
    criterion_flops: Flops | None = NO_FLOPS
    # All that the two hang on: another training's checkpoints are not resumed.
    depends_on: Mapping[str, Any] = field(default_factory=dict)
