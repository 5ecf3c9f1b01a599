"""The load generator as a metered process that follows orders."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from greenllm.load.ordered_process import OrderedProcess, running_ordered
from greenllm.load.rounds import Order, Round


@dataclass(frozen=True)
class LoadGenerator:
    """`greenllm load --orders`, waiting for orders."""

    process: OrderedProcess

    def round(self, order: Order) -> Round:
        """Send a round; raise UserError if the generator ends instead."""
        return Round.from_json(self.process.reply(order))


@contextlib.contextmanager
def running_load(command: Sequence[str]) -> Iterator[LoadGenerator]:
    """Run `greenllm load` under a meter and yield it; it ends with its standard input."""
    with running_ordered([*command, "--orders"], "greenllm load") as process:
        yield LoadGenerator(process)
