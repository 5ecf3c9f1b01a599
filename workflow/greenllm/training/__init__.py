"""Training of causal language models: rows, batches, loop, checkpoints, work done, sizes of new models."""
