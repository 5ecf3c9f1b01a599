"""GPU energy: with an ideal counter, with one that ticks, and without a counter."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hardware.simulated import SimulatedGpu, gpu_uuid

from meter_rows.blindness import forced_halfwidth_J
from meter_rows.row import Row, percent
from meter_rows.workbench import Workbench

SEED = 1
IDEAL, TICKING_SHORT, TICKING_LONG = 0.005, 0.02, 0.005  # largest relative errors allowed
UNBIASED, COVERED, WIDER = 0.01, 0.95, 1.3
PASCAL = 4  # NVML_DEVICE_ARCH_PASCAL: the last without an energy counter, by which Zeus decides


@dataclass
class Found:
    """A tool's energy of each GPU, in joules, with the truth; or why it has none."""

    energy_J: list[float]
    truth_J: list[float]
    trouble: str = ""
    components: Sequence[dict[str, Any]] = ()
    parameters: dict[str, Any] | None = None

    @property
    def errors(self) -> "np.ndarray[Any, Any]":
        return np.array(self.energy_J) / np.array(self.truth_J) - 1

    def reported(self, text: Callable[["np.ndarray[Any, Any]"], str]) -> str:
        return self.trouble or text(self.errors)


def ideal_counter(bench: Workbench) -> list[Row]:
    chance, rows = random.Random(SEED), []
    for seconds in (2,) if bench.quick else (2, 5, 20):
        gpus = [
            SimulatedGpu(driven=True, period_s=chance.uniform(0.2, seconds / 2), phase=chance.random())
            for _ in range(20)
        ]
        rows.append(_error_row(bench, f"ideal counter, {seconds} s, 20 square waves", gpus, seconds, IDEAL))
    return rows


def ticking_counter(bench: Workbench) -> list[Row]:
    chance, rows = random.Random(SEED), []
    for seconds, wanted in ((2, TICKING_SHORT),) if bench.quick else ((2, TICKING_SHORT), (20, TICKING_LONG)):
        gpus = [SimulatedGpu(driven=True, low_W=400, tick_s=0.1, tick_phase=chance.random()) for _ in range(50)]
        rows.append(
            _error_row(bench, f"counter ticks every 100 ms, {seconds} s at 400 W, 50 phases", gpus, seconds, wanted)
        )
    return rows


def _error_row(bench: Workbench, what: str, gpus: list[SimulatedGpu], seconds: float, wanted: float) -> Row:
    found = _by_all(bench, gpus, seconds)

    def text(errors: "np.ndarray[Any, Any]") -> str:
        return f"mean {percent(errors.mean())}, worst {percent(errors[np.abs(errors).argmax()])}"

    worst = float(np.abs(found["greenllm"].errors).max())
    cells = [found[tool].reported(text) for tool in ("greenllm", "codecarbon", "zeus")]
    return Row(what, *cells, f"worst at most {100 * wanted:g} %", worst <= wanted)


def no_counter(bench: Workbench) -> list[Row]:
    chance = random.Random(SEED)
    runs, seconds, together = (1, 5.0, 20) if bench.quick else (4, 20.0, 50)
    found: dict[str, list[Found]] = {}
    loads: list[SimulatedGpu] = []
    for _ in range(runs):
        gpus = [
            SimulatedGpu(
                driven=True,
                counter=0,
                architecture=PASCAL,
                refresh_s=0.1,
                refresh_phase=chance.random(),
                window_s=0.025,
                period_s=chance.uniform(0.2, 5),
                phase=chance.random(),
            )
            for _ in range(together)
        ]
        loads += gpus
        for tool, one in _by_all(bench, gpus, seconds).items():
            found.setdefault(tool, []).append(one)

    def mean(tool: str) -> tuple[str, float]:
        trouble = next((one.trouble for one in found[tool] if one.trouble), "")
        if trouble:
            return trouble, float("nan")
        errors = np.concatenate([one.errors for one in found[tool]])
        return f"{percent(errors.mean())}, spread {100 * errors.std():.1f} %", float(errors.mean())

    ours = found["greenllm"]
    halfwidths_J = np.array([stated_halfwidth_J(c, one.parameters or {}) for one in ours for c in one.components])
    off_J = np.concatenate([np.abs(np.array(one.energy_J) - np.array(one.truth_J)) for one in ours])
    covered = float((off_J <= halfwidths_J).mean())
    forced_J = forced_halfwidth_J(loads, seconds)
    wider = float(halfwidths_J.mean() / forced_J)
    forced = f"forced: {forced_J:.0f} J of {np.mean([j for one in ours for j in one.truth_J]):.0f} J"
    what = f"no counter, {seconds:g} s, {runs * together} phases, periods 0.2 to 5 s"
    cells = [mean(tool) for tool in ("greenllm", "codecarbon", "zeus")]
    none = ("states no interval",) * 2
    width = f"{wider:.2f} times what is forced ({forced})"
    return [
        Row(f"{what}: mean error", *(text for text, _ in cells), "within ±1 %", abs(cells[0][1]) <= UNBIASED),
        Row("… its interval covers the truth", f"{100 * covered:.1f} %", *none, "at least 95 %", covered >= COVERED),
        Row("… its mean width", width, *none, f"at most {WIDER} times", wider <= WIDER),
    ]


def stated_halfwidth_J(component: dict[str, Any], parameters: dict[str, Any]) -> float:
    """Return the 95 % half-width, in joules, that our log states for what the sensor could not see.

    The gain of a card is left out, since a simulated card has no such error; if the log states only a gain, that is its
    whole error.
    """
    halves = {
        term["parameter"]: abs(term["coefficient"])
        * (parameters[term["parameter"]]["high"] - parameters[term["parameter"]]["low"])
        / 2
        for term in component["terms"]
    }
    own = [half for name, half in halves.items() if ".gain" not in name]
    return float(np.hypot.reduce(own or list(halves.values())))


def _by_all(bench: Workbench, gpus: list[SimulatedGpu], seconds: float) -> dict[str, Found]:
    """The same job on the same GPUs under each tool, one after the other."""
    command = bench.job(seconds, len(gpus))
    environment = bench.environment(gpus)
    truth_J = _truth(gpus, bench.metered(environment, ["--gpus", str(len(gpus))], command))
    result = bench.attributed(environment)
    (job,) = result["jobs"]
    by_device = {c["device"]: c for c in job["components"] if c["component"] == "gpu"}
    components = [by_device[gpu_uuid(i)] for i in range(len(gpus))]
    energy_J = [c["energy_J"]["value"] for c in components]
    found = {"greenllm": Found(energy_J, truth_J, components=components, parameters=result["parameters"])}
    for tool in ("codecarbon", "zeus"):
        reported = bench.reported(bench.peer(tool, bench.environment(gpus), command))
        if "error" in reported or len(reported["gpu_J"]) != len(gpus):
            found[tool] = Found([], [], trouble=reported.get("error") or f"saw {len(reported['gpu_J'])} GPUs")
        else:
            found[tool] = Found(reported["gpu_J"], _truth(gpus, reported["stdout"]))
    return found


def _truth(gpus: Sequence[SimulatedGpu], printed: str) -> list[float]:
    """The energy of each GPU while the job drove it."""
    from_s, until_s = map(float, printed.split())
    busy = [replace(gpu, start_s=from_s, end_s=until_s) for gpu in gpus]
    return [gpu.energy_J(until_s) - gpu.energy_J(from_s) for gpu in busy]
