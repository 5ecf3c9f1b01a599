"""Green-LLM experiments: run them, count their joules once, compare their recipes."""

__version__ = "0.1.0"
