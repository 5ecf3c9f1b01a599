"""A metered process that follows orders: one in JSON on each line of its standard input, and a reply to each."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from greenllm.errors import UserError
from greenllm.load.processes import own_environment, stop


@dataclass(frozen=True)
class OrderedProcess:
    """A process that waits for orders; `name` is its command, for messages."""

    process: "subprocess.Popen[str]"
    name: str

    def reply(self, order: Any) -> dict[str, Any]:
        """Send an order, a dataclass, and return the reply; raise UserError if the process ends instead."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(order)) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise UserError(f"{self.name} ended with status {self.process.wait()}; its message is above")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextlib.contextmanager
def running_ordered(command: Sequence[str], name: str) -> Iterator[OrderedProcess]:
    """Run a command under a meter and yield it; it ends with its standard input."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own_environment())
    try:
        yield OrderedProcess(process, name)
    finally:
        stop(process, gracefully=True)
