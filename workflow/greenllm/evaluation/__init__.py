"""Evaluation: a model answers the test split, on the engine that will serve it, and the answers are scored."""
