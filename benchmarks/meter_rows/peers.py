"""One of the other tools around one command. Runs in the peers' own Python and prints what it found as JSON.

    python peers.py codecarbon|zeus COMMAND...

Both are used as documented, with all defaults that affect the measurement. CodeCarbon is set to allow other trackers,
to log nothing and to be offline; Zeus not to wait for CUDA, which is missing here.
"""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def codecarbon(command: list[str]) -> dict[str, Any]:
    """CodeCarbon's energies in joules, those of the GPUs one by one."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="DEU", save_to_file=False, allow_multiple_runs=True, log_level="critical"
    )
    tracker.start()
    gpu_kWh: list[float] = []
    for hardware in tracker._hardware:
        if hasattr(hardware, "devices"):
            _add_up(hardware.devices, gpu_kWh)
    reported = run(command)
    tracker.stop()
    total = tracker.final_emissions_data
    return reported | {"gpu_J": [kWh * 3.6e6 for kWh in gpu_kWh], "cpu_J": total.cpu_energy * 3.6e6}


def _add_up(devices: Any, gpu_kWh: list[float]) -> None:
    """Keep CodeCarbon's energy of each GPU: it reports only the sum."""
    measured = devices.get_delta
    gpu_kWh += [0.0] * devices.device_count

    def get_delta(last_duration: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = measured(last_duration)
        for i, one in enumerate(found):
            gpu_kWh[i] += one["delta_energy_consumption"].kWh
        return found

    devices.get_delta = get_delta


def zeus(command: list[str]) -> dict[str, Any]:
    """Zeus's energies in joules, those of the GPUs one by one."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor()
    monitor.begin_window("job", sync_execution=False)
    reported = run(command)
    window = monitor.end_window("job", sync_execution=False)
    cpu_J = sum(window.cpu_energy.values()) if window.cpu_energy else None
    return reported | {"gpu_J": list(window.gpu_energy.values()), "cpu_J": cpu_J}


def run(command: list[str]) -> dict[str, Any]:
    """Run the command; return its output and the CPU time that this process used meanwhile."""
    began_s, before_s = time.monotonic(), time.process_time()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {
        "stdout": done.stdout,
        "from_s": began_s,
        "until_s": time.monotonic(),
        "sampling_cpu_s": time.process_time() - before_s,
    }


def peak_MB() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1e3


if __name__ == "__main__":
    tool, *command = sys.argv[1:]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = {"codecarbon": codecarbon, "zeus": zeus}[tool](command)
    except Exception as error:  # any error of a tool is its result
        found = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(found | {"peak_MB": peak_MB()}))
