"""An engine whose model is unloaded after a time without requests, and loaded again by the next one."""

import contextlib
import ctypes
import gc
import sys
import time
from pathlib import Path

from greenllm.engines import Engine, Unloads
from greenllm.errors import UserError
from greenllm.serving.metrics import Metrics

Files = dict[str, tuple[int, int]]


class IdleUnloading:
    """Keeps an engine's model loaded until nobody has asked for it for `after_s` seconds (None: always).

    The thread that computes answers calls `unload` and `ensure_loaded`, so neither happens during an answer. The
    libraries stay loaded, as does the tokenizer: requests are checked meanwhile.
    Raises UserError if the engine can't be unloaded.
    """

    def __init__(self, engine: Engine, folder: Path, after_s: float | None, metrics: Metrics) -> None:
        if after_s is not None and not isinstance(engine, Unloads):
            raise UserError(f"{folder}: the engine {engine.name} cannot be unloaded; leave --unload-after out")
        self._engine, self._folder, self._after_s, self._metrics = engine, folder, after_s, metrics
        self._files = _files(folder) if after_s is not None else {}
        self._unloaded_s: float | None = None
        metrics.loaded.set(1)

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._unloaded_s is None

    @property
    def patience_s(self) -> float | None:
        """How long to wait for a request before `unload` is called (s); None: without limit."""
        return self._after_s if self.loaded else None

    def unload(self) -> None:
        """Free the model's memory."""
        assert isinstance(self._engine, Unloads)
        self._engine.unload()
        gc.collect()
        with contextlib.suppress(AttributeError):  # only glibc has it: it returns freed memory to the kernel
            ctypes.CDLL(None).malloc_trim(0)
        self._unloaded_s = time.monotonic()
        self._metrics.loaded.set(0)
        self._metrics.unloads.inc()

    def ensure_loaded(self) -> None:
        """Load the model again if it is unloaded.

        Raises UserError if its files have changed since the start, as answers would change with them, or can't be read.
        """
        if self._unloaded_s is None:
            return
        assert isinstance(self._engine, Unloads)
        if _files(self._folder) != self._files:
            raise UserError(f"{self._folder}: has changed since the server started; start the server again")
        began_s = time.monotonic()
        self._engine.load()
        took_s, idle_s = time.monotonic() - began_s, began_s - self._unloaded_s
        self._unloaded_s = None
        self._metrics.loaded.set(1)
        self._metrics.load_s.observe(took_s)
        print(f"greenllm serve: loaded again in {took_s:.3g} s, after {idle_s:.3g} s unloaded", file=sys.stderr)


def _files(folder: Path) -> Files:
    """Return size (bytes) and time of change (ns) of all files of a folder, by their path in it."""
    found = {path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}
