"""The classifier in TensorFlow by Keras 3: `compile` and `fit`, as in the article's listing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from greenllm.classifier import CLASSES, HIDDEN, POINTS
from greenllm.errors import UserError

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the recipe reserves no GPU

try:
    import keras
    import tensorflow
except ImportError:
    raise UserError(
        "classifier.framework: tensorflow, but it is not installed here; `make tensorflow` sets up .venv-tensorflow"
    ) from None

FILE = "model.keras"


class TensorFlow:
    """784-128-10 with ReLU; see `Network`."""

    version = f"TensorFlow {tensorflow.__version__}, Keras {keras.__version__}"

    def __init__(self, network: Any) -> None:
        self._network = network

    @classmethod
    def new(cls, seed: int, threads: int) -> Self:
        """Return a classifier with random weights."""
        _use_threads(threads)
        keras.utils.set_random_seed(seed)
        hidden, output = keras.layers.Dense(HIDDEN, activation="relu"), keras.layers.Dense(CLASSES)
        return cls(keras.Sequential([keras.Input((POINTS,)), hidden, output]))

    @classmethod
    def load(cls, folder: Path, threads: int) -> Self:
        """Return the classifier that `save` wrote; code in the file is not run (Keras' safe mode)."""
        _use_threads(threads)
        return cls(keras.saving.load_model(folder / FILE, safe_mode=True))

    def use_threads(self, threads: int) -> None:
        """Raise UserError: the number is fixed."""
        raise UserError("TensorFlow accepts its number of threads only before its first computation")

    def save(self, folder: Path) -> None:
        """Write the network in Keras' format."""
        self._network.save(folder / FILE)

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
        self._network.compile(
            optimizer=keras.optimizers.SGD(learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        report = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: done(epoch + 1, float(logs["loss"])))
        self._network.fit(images, digits, batch_size=batch, epochs=epochs, verbose=0, callbacks=[report])

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits."""
        return np.asarray(self._network(images, training=False), dtype=np.float32)


def _use_threads(threads: int) -> None:
    """Set the threads; TensorFlow accepts them only before its first computation."""
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
