"""Verifying a results folder: every number computed again, every recorded hash compared, the readings plausible."""
