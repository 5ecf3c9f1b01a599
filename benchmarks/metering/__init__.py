"""The rows of benchmarks/meter.py, one file a subject."""
