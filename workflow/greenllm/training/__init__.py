"""Training a causal language model: rows, batches, loop, checkpoints, work done; sizes and operations of models."""
