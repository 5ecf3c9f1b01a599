"""How many CPU threads a job uses: no more than there are processors for it."""

import sys

from greenllm.errors import UserError
from greenllm.meter.leases import usable_cpus


def usable_threads(asked: int) -> int:
    """Return `asked`, or how many processors this process may use where those are fewer (its affinity, its quota).

    It is what `greenllm meter` leases, too. A line on standard error tells where it is less than asked: sums are
    then split otherwise, and so rounded otherwise, hence a training with another number of threads gives other
    weights.

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
