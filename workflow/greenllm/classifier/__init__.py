"""The article's image classifier (784 points, 128 hidden units, 10 digits) in PyTorch, and in TensorFlow by Keras.

The article's listing has a softmax in the last layer and computes the loss with `from_logits=True`, which applies a
second one. Here the last layer returns logits, as that loss expects.
"""

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

Framework = Literal["pytorch", "tensorflow"]
POINTS, HIDDEN, CLASSES = 784, 128, 10
PARAMETERS = POINTS * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES
# Two operations per weight of the two matrices; the backward pass takes twice as many in addition.
FORWARD_FLOPS = 2 * (POINTS * HIDDEN + HIDDEN * CLASSES)


class Network(Protocol):
    """The network in one framework; images are float32 of shape (images, 784) from 0 to 1."""

    def train(
        self,
        images: "NDArray[np.float32]",
        digits: "NDArray[np.int64]",
        *,
        epochs: int,
        batch: int,
        learning_rate: float,
        done: "Callable[[int, float], None]",
    ) -> None:
        """Train by SGD; `done(epoch, loss)` is called after each epoch with the mean cross entropy in nats."""

    def logits(self, images: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return the logits, of shape (images, 10)."""

    def save(self, folder: "Path") -> None:
        """Write the weights."""

    def use_threads(self, threads: int) -> None:
        """Compute with this number of CPU threads from now on; raise UserError if the number is fixed."""

    @property
    def version(self) -> str:
        """The framework with its version."""


def new_network(framework: Framework, *, seed: int, threads: int) -> Network:
    """Return a network with random weights (Glorot uniform, no bias: Keras' defaults, in both frameworks).

    Raises UserError if TensorFlow is not installed.
    """
    if framework == "pytorch":
        from greenllm.classifier.pytorch import PyTorch

        return PyTorch.new(seed, threads)
    from greenllm.classifier.tensorflow import TensorFlow

    return TensorFlow.new(seed, threads)


def load_network(framework: Framework, folder: "Path", *, threads: int) -> Network:
    """Return the network that `save` wrote to a folder. Raises UserError if TensorFlow is not installed."""
    if framework == "pytorch":
        from greenllm.classifier.pytorch import PyTorch

        return PyTorch.load(folder, threads)
    from greenllm.classifier.tensorflow import TensorFlow

    return TensorFlow.load(folder, threads)
