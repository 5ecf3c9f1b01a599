"""Reads images written as text: 64 grey values from 0 to 16, enlarged to 28 x 28 points from 0 to 1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIDE, WHITE = 8, 16  # scikit-learn's digits
WIDE = 28  # MNIST's digits, the input of the article's network


def images_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return the images of shape (texts, 784), enlarged by bilinear interpolation.

    Raises ValueError, which names the text, if one is not 64 numbers from 0 to 16.
    """
    from scipy.ndimage import zoom

    small = np.array([grey_values(text) for text in texts], dtype=np.float32).reshape(-1, SIDE, SIDE) / WHITE
    large = zoom(small, (1, WIDE / SIDE, WIDE / SIDE), order=1)
    return np.ascontiguousarray(large.reshape(len(texts), WIDE * WIDE))


def grey_values(text: str) -> list[float]:
    """Return the 64 values of an image as text. Raises ValueError, which names the text, if it is none."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != SIDE * SIDE or not all(0 <= value <= WHITE for value in values):
        raise ValueError(f"{text[:40]!r}: expected an image: {SIDE * SIDE} numbers from 0 to {WHITE}")
    return values
