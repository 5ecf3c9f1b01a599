"""Simulated hardware, under the names that the real one has: a libnvidia-ml.so.1, a powercap tree, a /proc."""

import contextlib
import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SimulatedGpu:
    """A square wave between two powers (W); see nvml.c."""

    low_W: float = 70.0
    high_W: float = 400.0
    period_s: float = 1.3
    tick_s: float = 0.0
    counter: int = 1
    processes: int = 0

    def energy_J(self, t: float) -> float:
        """The energy used since CLOCK_MONOTONIC was zero."""
        cycles, rest = divmod(t, self.period_s)
        half = self.period_s / 2
        return (
            cycles * half * (self.low_W + self.high_W)
            + self.low_W * min(rest, half)
            + self.high_W * max(0, rest - half)
        )

    def __str__(self) -> str:
        return f"{self.low_W},{self.high_W},{self.period_s},{self.tick_s},{self.counter},{self.processes}"


def gpu_uuid(index: int) -> str:
    return f"GPU-{index:08d}-0000-0000-0000-000000000000"


def compile_nvml(folder: Path) -> Path:
    """Compile nvml.c to libnvidia-ml.so.1 in a folder, for LD_LIBRARY_PATH; None of it where there is no compiler."""
    compiler = shutil.which("cc")
    assert compiler, "no C compiler"
    source = Path(__file__).with_name("nvml.c")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-lm"], check=True)
    return folder


def gpu_environment(library: Path, gpus: list[SimulatedGpu]) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(library), "SIMULATED_GPUS": ";".join(map(str, gpus))}


@dataclass
class PowercapTree:
    """A powercap tree whose counters follow functions of CLOCK_MONOTONIC (joules), wrap-around included."""

    root: Path
    zones: dict[str, tuple[str, Callable[[float], float]]]  # "intel-rapl:0" → (name, energy_J)
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

    def update(self) -> None:
        now = time.monotonic()
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
    """A /proc of a host that stands still."""
    root.mkdir(parents=True, exist_ok=True)
    lines = [f"cpu  {busy_ticks} 0 0 5000 0 0 0 0 0 0"] + [f"cpu{i} 0 0 0 0 0 0 0 0 0 0" for i in range(cpus)]
    (root / "stat").write_text("\n".join(lines) + "\nctxt 1\n")
    (root / "meminfo").write_text("MemTotal:       16777216 kB\nMemFree: 1 kB\n")
    fields = cpuinfo or {"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17", "model name": "AMD EPYC"}
    (root / "cpuinfo").write_text("\n".join(f"{k}\t: {v}" for k, v in fields.items()) + "\n\n")
    boot = root / "sys/kernel/random/boot_id"
    boot.parent.mkdir(parents=True, exist_ok=True)
    boot.write_text("00000000-0000-4000-8000-000000000000\n")
    return root


def clean_environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment for a meter under test: no meter around it, locks and ledger of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GREENLLM_", "SLURM_", "CUDA_", "SIMULATED_"))}
    return kept | {"GREENLLM_LOCKS": str(folder / "locks"), "GREENLLM_LEDGER": str(folder / "ledger")} | more
