"""A response surface: what settings cost that were not probed yet, by those that were.

A Gaussian process of the logarithm of a cost (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
chapter 2), by scikit-learn. Knobs act on energy and time nearly as factors, so in the logarithm as a sum: each knob
has a curve, and a smaller part depends on all knobs together. With about twenty probes, fitted hyperparameters did
worse than fixed ones on the surfaces of benchmarks/tuning.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern

Array = npt.NDArray[np.float64]

# Variance of the logarithm of the cost along a knob, and of what knobs do together; the part of a knob's range within
# which its curve bends, and that of the common part; the relative error of a probe.
ALONG, TOGETHER = 0.3, 0.05
BENDS, TOGETHER_BENDS = 0.5, 0.7
ERROR = 0.03


class _Along(Matern):  # type: ignore[misc]
    """A kernel of one coordinate alone."""

    def __init__(
        self, column: int, length_scale: Any = 1.0, length_scale_bounds: Any = "fixed", nu: float = 1.5
    ) -> None:
        super().__init__(length_scale, length_scale_bounds, nu)
        self.column = column

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:
        own = slice(self.column, self.column + 1)
        return super().__call__(X[:, own], None if Y is None else Y[:, own], eval_gradient)


class Response:
    """The logarithm of a cost over the coordinates of settings."""

    def __init__(self, coordinates: Array, costs: Sequence[float]) -> None:
        """Fit it to the costs at these coordinates; a setting that was probed repeatedly has several."""
        kernel: Kernel = ConstantKernel(TOGETHER) * Matern(TOGETHER_BENDS, nu=1.5)
        for column in range(coordinates.shape[1]):
            kernel += ConstantKernel(ALONG) * _Along(column, BENDS)
        logs = np.log(np.asarray(costs))
        self._mean = float(logs.mean())
        self._process = GaussianProcessRegressor(kernel, alpha=ERROR**2, optimizer=None)
        self._process.fit(coordinates, logs - self._mean)

    def at(self, coordinates: Array) -> tuple[Array, Array]:
        """Return the expected logarithm of the cost at these coordinates, and its standard deviation."""
        mean, deviation = self._process.predict(coordinates, return_std=True)
        return mean + self._mean, np.maximum(deviation, 1e-9)
