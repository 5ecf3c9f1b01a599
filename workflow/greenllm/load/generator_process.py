"""The load generator as a metered process that follows orders."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from greenllm.errors import UserError
from greenllm.load.processes import own_environment, stop
from greenllm.load.rounds import Order, Round


@dataclass(frozen=True)
class LoadGenerator:
    """`greenllm load --orders`, waiting for orders."""

    process: "subprocess.Popen[str]"

    def round(self, order: Order) -> Round:
        """Send a round; raise UserError if the generator ends instead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(order)) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise UserError(f"greenllm load ended with status {self.process.wait()}; its message is above")
        return Round.from_json(json.loads(line))


@contextlib.contextmanager
def running_load(command: Sequence[str]) -> Iterator[LoadGenerator]:
    """Run `greenllm load` under a meter and yield it; it ends with its standard input."""
    process = subprocess.Popen(
        [*command, "--orders"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own_environment()
    )
    try:
        yield LoadGenerator(process)
    finally:
        stop(process, gracefully=True)
