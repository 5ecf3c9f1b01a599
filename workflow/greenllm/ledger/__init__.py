"""The files that the meter writes and attribution reads: ledgers, energy logs, calibrations."""
