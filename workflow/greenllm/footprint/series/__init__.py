"""Recorded time series of a grid: its carbon, its price. `read_series` reads all formats; the files here each one."""

from greenllm.footprint.series.reading import read_series
from greenllm.footprint.series.series import Mean, Series

__all__ = ["Mean", "Series", "read_series"]
