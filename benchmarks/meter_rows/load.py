"""A load: keeps a processor busy for a part of the time, and records how much CPU time it has used.

    python -S -E load.py PART SECONDS FILE [killed]

At the end it exits immediately, or kills itself, so that it uses no CPU time that it did not record.
"""

import os
import signal
import sys
import time

PERIOD_s = 0.04
part, seconds = float(sys.argv[1]), float(sys.argv[2])
with open(sys.argv[3], "w", buffering=1) as file:  # noqa: PTH123
    ends_s = time.monotonic() + seconds
    file.write(f"{time.monotonic()} {time.process_time()}\n")
    while time.monotonic() < ends_s:
        began_s = time.monotonic()
        until_s = time.process_time() + part * PERIOD_s
        while time.process_time() < until_s:
            pass
        time.sleep(max(0.0, began_s + PERIOD_s - time.monotonic()))
        file.write(f"{time.monotonic()} {time.process_time()}\n")
    if sys.argv[4:] == ["killed"]:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)
