"""Compression of trained models: quantisation, pruning and its report."""
