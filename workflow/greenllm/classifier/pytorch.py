"""The classifier in PyTorch: a plain training loop, as in the article's listing."""

from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

from greenllm.classifier import CLASSES, HIDDEN, POINTS

FILE = "model.safetensors"


class PyTorch:
    """784-128-10 with ReLU; see `Network`."""

    version = f"PyTorch {torch.__version__}"

    def __init__(self, network: nn.Sequential, threads: int) -> None:
        self.use_threads(threads)
        self._network = network

    @classmethod
    def new(cls, seed: int, threads: int) -> Self:
        """Return a classifier with random weights."""
        torch.manual_seed(seed)
        network = _network()
        for layer in network:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        return cls(network, threads)

    @classmethod
    def load(cls, folder: Path, threads: int) -> Self:
        """Return the classifier that `save` wrote."""
        network = _network()
        network.load_state_dict(load_file(folder / FILE))
        return cls(network, threads)

    def use_threads(self, threads: int) -> None:
        """Compute with this number of threads from now on."""
        torch.set_num_threads(threads)

    def save(self, folder: Path) -> None:
        """Write the weights as safetensors."""
        save_file(self._network.state_dict(), folder / FILE)

    def train(
        self,
        images: NDArray[np.float32],
        digits: NDArray[np.int64],
        *,
        epochs: int,
        batch: int,
        learning_rate: float,
        done: Callable[[int, float], None],
    ) -> None:
        """Train by SGD on shuffled batches."""
        inputs, targets = torch.from_numpy(images), torch.from_numpy(digits)
        optimizer = torch.optim.SGD(self._network.parameters(), lr=learning_rate)
        for epoch in range(1, epochs + 1):
            total = 0.0
            for rows in torch.split(torch.randperm(len(inputs)), batch):
                loss = nn.functional.cross_entropy(self._network(inputs[rows]), targets[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item() * len(rows)
            done(epoch, total / len(inputs))

    @torch.inference_mode()
    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits."""
        logits: NDArray[np.float32] = self._network(torch.from_numpy(images)).numpy()
        return logits


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(POINTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
