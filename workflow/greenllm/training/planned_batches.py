"""The batches of a whole training, planned before it starts, and the work in them."""

import itertools
import math
from dataclasses import dataclass

from greenllm.model_folder.flops import Flops
from greenllm.training.batches import LengthBuckets


@dataclass(frozen=True)
class Work:
    """Work of some steps: rows, their tokens without padding, and operations, padding included."""

    samples: int
    tokens: int
    flops: float | None


class PlannedBatches:
    """The batches of a whole training, planned before it starts, so that no work is counted in the hot loop."""

    def __init__(self, buckets: LengthBuckets, epochs: float, flops: Flops | None) -> None:
        self.buckets = buckets
        self.steps_per_epoch = len(buckets)
        self.steps = max(1, math.ceil(epochs * self.steps_per_epoch))
        self.flops = flops
        self._totals = [(0, 0, 0.0)]
        epochs_batches = (buckets.of_epoch(epoch) for epoch in itertools.count())
        for batch in itertools.islice(itertools.chain.from_iterable(epochs_batches), self.steps):
            samples, tokens, operations = self._totals[-1]
            lengths = [buckets.lengths[row] for row in batch]
            # The last token of a row is only a target.
            added = flops.of(max(lengths) - 1, len(batch)) if flops else 0.0
            self._totals.append((samples + len(batch), tokens + sum(lengths), operations + added))

    def work(self, first: int, last: int) -> Work:
        """Return the work of the steps after `first` up to `last`."""
        before, after = self._totals[first], self._totals[last]
        operations = after[2] - before[2] if self.flops else None
        return Work(samples=after[0] - before[0], tokens=after[1] - before[1], flops=operations)
