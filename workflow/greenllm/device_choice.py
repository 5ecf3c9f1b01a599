"""Which device a job may compute on, as configuration, commands and Python interface spell it."""

from typing import Literal, get_args

# `auto` uses a GPU if there is one, `cpu` never does, `require` refuses to run without one.
DeviceChoice = Literal["auto", "cpu", "require"]
CPU = "cpu"  # the name of the processors among devices; a GPU has that of its model
DEVICE_CHOICES: tuple[str, ...] = get_args(DeviceChoice)
