"""Calibration of a host's sensors against an external meter: gain and offset of each device, with their uncertainty.

fit(external, devices) -> Fit     on plain series of joules over time
"""

from greenllm.attribution.calibration.fit import CannotCalibrateError, Fit, fit
from greenllm.attribution.merging import Series

__all__ = ["CannotCalibrateError", "Fit", "Series", "fit"]
