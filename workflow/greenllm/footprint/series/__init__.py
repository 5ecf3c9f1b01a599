"""Recorded time series of a grid: its carbon, its price. `read_series` reads all formats; the files here each one."""

from greenllm.footprint.series.reading import read_series
from greenllm.footprint.series.series import Series

__all__ = ["Series", "read_series"]
