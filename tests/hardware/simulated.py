"""Simulated hardware under the names of the real one: a libnvidia-ml.so.1, a powercap tree, a /proc."""

import contextlib
import csv
import functools
import itertools
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

BOOT_ID = "00000000-0000-4000-8000-000000000000"  # of proc_tree's host


@dataclass(frozen=True)
class SimulatedGpu:
    """A GPU of nvml.c: what it draws, and what its sensors show of that. Times are those of CLOCK_MONOTONIC.

    From when a job calls the library's simulated_loss it is lost.
    Phases are parts of a period: a counter with `tick_s` 0.1 and `tick_phase` 0.3 moves at 0.03, 0.13, 0.23 s …
    """

    name: str = "Simulated GPU"

    # What it draws: a square wave that is high in the last `duty` of each period (of time / period_s + phase) …
    low_W: float = 70.0
    high_W: float = 400.0
    period_s: float = 1.3
    duty: float = 0.5
    phase: float = 0.0
    # … or a file of "time_s,power_W" lines, whose times count from start_s; with `step` a power holds until the next
    # one, else the power goes there in a straight line. Outside start_s to end_s (or the trace's end) it is idle.
    trace: str | Path = ""
    step: bool = False
    idle_W: float = 70.0
    start_s: float = 0.0
    end_s: float = math.inf
    driven: bool = False  # start and end are when a job calls the library's simulated_start and simulated_end

    # The energy counter: none (counter 0), or one that moves every tick_s (0: always), and starts anew when a job calls
    # the library's simulated_reset.
    counter: int = 1
    tick_s: float = 0.0
    tick_phase: float = 0.0
    # The power reading: taken anew every refresh_s (0: always), the mean over the window_s before (0: none). The
    # field NVML_FI_DEV_POWER_INSTANT has a separate window, by default the same.
    refresh_s: float = 0.0
    refresh_phase: float = 0.0
    window_s: float = 0.0
    instant_window_s: float | None = None

    processes: int = 0
    limit_W: float = 1000.0  # cuts what it draws, until another limit is set
    min_limit_W: float = 100.0
    max_limit_W: float = 1000.0
    may_set_limit: bool = True
    mig: int = 0  # so many MIG instances; 0: a GPU that cannot have any
    architecture: int = 7  # NVML_DEVICE_ARCH_AMPERE

    def energy_J(self, t: float) -> float:
        """The energy used since CLOCK_MONOTONIC was zero, under the limit that it starts with."""
        start, end = self.start_s, self.end_s
        if self.trace:
            start, end = self.start_s + self._points[0][0], self.start_s + self._points[-1][0]
        active_s = min(max(t, start), max(start, end))
        active_J = self._trace_J(active_s) if self.trace else self._wave_J(active_s) - self._wave_J(start)
        return self._limited(self.idle_W) * (t - (active_s - start)) + active_J

    def _limited(self, power_W: float) -> float:
        return min(power_W, self.limit_W)

    def _wave_J(self, t: float) -> float:
        low_W, high_W = self._limited(self.low_W), self._limited(self.high_W)
        cycles, rest = divmod(t / self.period_s + self.phase, 1)
        rise = 1 - self.duty
        mean_W = low_W * rise + high_W * self.duty
        return self.period_s * (cycles * mean_W + low_W * min(rest, rise) + high_W * max(0, rest - rise))

    def _trace_J(self, t: float) -> float:
        return sum(
            _line_J(p, p if self.step else p + (q - p) * (end - begun) / (stop - begun), end - begun, self.limit_W)
            for (begun, p), (stop, q) in itertools.pairwise(self._points)
            if (end := min(t - self.start_s, stop)) > begun
        )

    @functools.cached_property
    def _points(self) -> list[tuple[float, float]]:
        with Path(self.trace).open(newline="") as file:
            return [(float(row["time_s"]), float(row["power_W"])) for row in csv.DictReader(file)]

    def __str__(self) -> str:
        told = [(f.name, getattr(self, f.name), f.default) for f in fields(self)]
        return ",".join(
            f"{name}={int(value) if isinstance(value, bool) else value}"
            for name, value, default in told
            if value != default or name in ("low_W", "high_W")
        )


def _line_J(p: float, q: float, duration_s: float, limit: float) -> float:
    """The integral of the lesser of `limit` and a straight line from p to q."""
    if (p > limit) == (q > limit):
        return min(limit, (p + q) / 2) * duration_s
    above_s = (max(p, q) - limit) / abs(p - q) * duration_s
    return limit * above_s + (limit + min(p, q)) / 2 * (duration_s - above_s)


def gpu_uuid(index: int, host: int = 0) -> str:
    return f"GPU-{index:08d}-{host:04d}-0000-0000-000000000000"


def mig_uuid(index: int, instance: int) -> str:
    return f"MIG-{index:08d}-0000-0000-0000-{instance + 1:012d}"


def compile_nvml(folder: Path) -> Path:
    """Compile nvml.c to libnvidia-ml.so.1 in a folder, for LD_LIBRARY_PATH; None of it where there is no compiler."""
    _compile("nvml.c", folder / "libnvidia-ml.so.1", "-lm")
    return folder


def suspension_environment(folder: Path) -> dict[str, str]:
    """Compile suspension.c; return the environment of a host that is suspended when the file it names is written."""
    _compile("suspension.c", folder / "suspension.so", "-ldl")
    return {"LD_PRELOAD": str(folder / "suspension.so"), "SIMULATED_SUSPENSION": str(folder / "slept_s")}


def clock_environment(folder: Path, ahead_s: int) -> dict[str, str]:
    """Compile clock.c; return the environment of a host whose time of day is ahead by this number of seconds."""
    _compile("clock.c", folder / "clock.so", "-ldl")
    return {"LD_PRELOAD": str(folder / "clock.so"), "SIMULATED_CLOCK_S": str(ahead_s)}


def _compile(source: str, library: Path, *options: str) -> None:
    compiler = shutil.which("cc")
    assert compiler, "no C compiler"
    file = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, file, *options], check=True)


def gpu_environment(library: Path, gpus: list[SimulatedGpu]) -> dict[str, str]:
    """The environment in which a program finds these GPUs in their state after a boot."""
    state = library / "nvml-state"
    state.unlink(missing_ok=True)
    return {
        "LD_LIBRARY_PATH": str(library),
        "SIMULATED_GPUS": ";".join(map(str, gpus)),
        "SIMULATED_NVML_STATE": str(state),
    }


@dataclass
class PowercapTree:
    """A powercap tree whose counters follow functions of CLOCK_MONOTONIC (joules), wrap-around included.

    They move when `update` is called, or all by themselves while `running`. Sockets and their memory are zones such as
    "intel-rapl:0", "intel-rapl:1", "intel-rapl:1:0".
    """

    root: Path
    zones: Mapping[str, tuple[str, Callable[[float], float]]]  # "intel-rapl:0" → (name, energy_J)
    wrap_uJ: int = 262_143_328_850
    _files: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for zone, (name, _) in self.zones.items():
            parts = zone.split(":")
            folder = self.root / "class/powercap" / ":".join(parts[:2])
            if len(parts) > 2:
                folder = folder / zone
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "name").write_text(f"{name}\n")
            (folder / "max_energy_range_uj").write_text(f"{self.wrap_uJ}\n")
            self._files[zone] = folder / "energy_uj"
        self.update()

    def file(self, zone: str) -> Path:
        return self._files[zone]

    def update(self, now: float | None = None) -> None:
        """Set the counters to their values at a time, by default the present."""
        now = time.monotonic() if now is None else now
        for zone, (_, energy_J) in self.zones.items():
            count = math.floor(energy_J(now) * 1e6) % self.wrap_uJ
            beside = self._files[zone].with_suffix(".new")
            beside.write_text(f"{count}\n")
            beside.replace(self._files[zone])

    @contextlib.contextmanager
    def running(self, refresh_s: float = 0.005) -> Iterator[None]:
        """Keep the counters up to date, as the hardware would."""
        done = threading.Event()

        def run() -> None:
            with contextlib.suppress(PermissionError):  # hardware does not wait for a processor
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
            while not done.wait(refresh_s):
                self.update()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def proc_tree(root: Path, *, cpus: int = 4, busy_ticks: int = 1000, cpuinfo: Mapping[str, str] | None = None) -> Path:
    """A /proc of a host whose counters do not move."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"cpu  {busy_ticks} 0 0 5000 0 0 0 0 0 0"] + [f"cpu{i} 0 0 0 0 0 0 0 0 0 0" for i in range(cpus)]
    (root / "stat").write_text("\n".join(lines) + "\nctxt 1\n")
    (root / "meminfo").write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\n")
    fields = cpuinfo or {"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17", "model name": "AMD EPYC"}
    (root / "cpuinfo").write_text("\n".join(f"{k}\t: {v}" for k, v in fields.items()) + "\n\n")
    boot = root / "sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True, exist_ok=True)
    boot.write_text(f"{BOOT_ID}\n")
    return root


def clean_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment for a meter under test: no meter around it; separate locks, ledger and calibrations."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GREENLLM_", "SLURM_", "CUDA_", "SIMULATED_"))}
    own = {"GREENLLM_LOCKS": "locks", "GREENLLM_LEDGER": "ledger", "XDG_CONFIG_HOME": "config"}
    return kept | {name: str(folder / place) for name, place in own.items()} | more
