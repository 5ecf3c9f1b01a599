"""Data sets and models that come from somewhere: their sources, cards and preparation."""
