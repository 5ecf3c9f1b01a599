"""Compression of trained models: quantising, cutting, and what is written down of it."""
