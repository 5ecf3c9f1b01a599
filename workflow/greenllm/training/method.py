"""How a training may differ from plain training: an adapted network, or another loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from greenllm.model_folder.flops import Flops

# Returns the loss of a step for its logits, of shape (rows, tokens, vocabulary), and batch (see `batches.Collator`).
Criterion = Callable[[torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor]

NO_FLOPS = Flops(per_token=0, per_pair=0)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each target in nats, in the shape of `targets`."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def weighted_mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean over a step's tokens."""
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def labels_alone(logits: torch.Tensor, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the weighted mean cross entropy of the step's tokens in nats."""
    return weighted_mean(cross_entropy(logits, batch["targets"]), batch["weights"])


@dataclass(frozen=True)
class Method:
    """How a network learns."""

    # Returns the network to train for the loaded one.
    adapt: Callable[[Any], Any] = lambda network: network
    criterion: Criterion = labels_alone
    # Operations of the criterion's network, such as a teacher; None if they cannot be counted.
    criterion_flops: Flops | None = NO_FLOPS
    # Everything that `adapt` and `criterion` depend on: part of the training's fingerprint, so that only checkpoints
    # of the same training are resumed.
    depends_on: Mapping[str, Any] = field(default_factory=dict)
