"""Recorded time series of a grid: its carbon, its price. `read_series` reads all formats; the files here each one."""

from greenllm.footprint.series.formats import read_series
from greenllm.footprint.series.recorded import RecordedSeries

__all__ = ["RecordedSeries", "read_series"]
