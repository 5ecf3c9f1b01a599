"""The rows of benchmarks/meter.py, one file for each subject."""
