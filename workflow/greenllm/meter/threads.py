"""The number of CPU threads that a job uses: no more than it has processors."""

import sys

from greenllm.errors import UserError
from greenllm.meter.leases import usable_cpus


def usable_threads(asked: int) -> int:
    """Return `asked`, or the number of processors that this process may use if that is less (its affinity, its quota).

    `greenllm meter` leases the same number. A line on standard error reports if it is less than asked: with another
    number of threads sums are split and rounded differently, so a training returns different weights.

    Raises `UserError` where `asked` is less than 1.
    """
    if asked < 1:
        raise UserError(f"--threads {asked}: expected at least 1")
    usable = min(asked, len(usable_cpus()))
    if usable < asked:
        print(
            f"greenllm: --threads {asked}: uses {usable}, since this process may use no more processors",
            file=sys.stderr,
        )
    return usable
