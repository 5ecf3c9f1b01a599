"""Data sets and pretrained models: their sources, cards and preparation."""
