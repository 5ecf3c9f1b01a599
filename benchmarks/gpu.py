"""What does a GPU use? The meter against the card's counter; tokens per joule by batch, precision and fine-tuning.

    python benchmarks/gpu.py                  # at most 8 minutes on one card; no network
    python benchmarks/gpu.py --minutes 4      # fewer rounds; what there was no time for is named
    python benchmarks/gpu.py --rehearse       # the network computes on the CPU: tests whether all works, in a minute

Needs PyTorch with CUDA, transformers, nvidia-ml-py, pydantic and psutil, and a checkout of this repository; torchao and
peft where they are there. The network, a Llama of 1.0 billion parameters, is made on the card with random weights. Each
part runs in a process of its own, which is ended when its time is over, so that no part costs another's result. Nothing
is written outside --out. Close all other programs first. Target: the meter within 1 % of the growth of the card's own
counter. Exit status 1 if it is missed or a part failed.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from gpu_parts.records import Agreement, AnyRecord, Journal, Missing, Network, Settings, Window
from gpu_parts.tables import agreement_table, facts, table, windows_table

from greenllm.meter.gpus import visible
from greenllm.meter.sensors import nvml

HERE = Path(__file__).resolve().parent
# Each part, and the share of the time after which it has ended. What one leaves is the next one's.
PARTS = {"meter": 0.2, "batches": 0.5, "precisions": 0.8, "finetuning": 1.0}
# A process needs some seconds to import transformers; a part with less time is not begun.
LEAST_s = 20.0
# After a part's deadline: windows do not begin after it, but end.
GRACE_s = 10.0
AGREES = 0.01
PACKAGES = ("torch", "transformers", "torchao", "peft", "nvidia-ml-py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    out = Path("results/gpu-benchmark") / now
    parser.add_argument(
        "--out", type=Path, default=out, help="folder of the result (default: results/gpu-benchmark/TIME)"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="the longest time it may take (default: 8)")
    parser.add_argument("--rehearse", action="store_true", help="compute on the CPU; the figures mean nothing")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    if not arguments.minutes >= 1:
        parser.error(f"--minutes {arguments.minutes:g}: expected at least 1")
    out = arguments.out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        parser.error(f"--out {arguments.out}: is no empty folder; name a new folder")
    gpus, sensors = nvml.find()
    cards = visible(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if not cards:
        reasons = "; ".join(sensor.reason for sensor in sensors if sensor.reason)
        why = f" ({reasons})" if reasons else ""
        parser.error(f"NVML finds no GPU that may be used here{why}; `nvidia-smi` says more")
    out.mkdir(parents=True, exist_ok=True)
    environment = _environment(out, str(cards[0].index) if cards[0].index >= 0 else cards[0].uuid)
    began_s, length_s = time.monotonic(), 60 * arguments.minutes - GRACE_s
    records: list[AnyRecord] = []
    for part, share in PARTS.items():
        if part in (arguments.only or PARTS):
            settings = Settings(out=out, rehearse=arguments.rehearse, deadline_s=began_s + share * length_s)
            records += _run(part, settings, environment)
    return _report(records, _known(cards[0], arguments.rehearse), out, time.monotonic() - began_s)


def _environment(out: Path, card: str) -> dict[str, str]:
    """Return the variables of a part: one card, no network, no other meter's, and no files outside `out`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GREENLLM_METER")}
    return kept | {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": card,
        "GREENLLM_LOCKS": str(out / "locks"),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(out / "cache"),
        "CUDA_CACHE_PATH": str(out / "cache/cuda"),
        "TORCHINDUCTOR_CACHE_DIR": str(out / "cache/inductor"),
        "TRITON_CACHE_DIR": str(out / "cache/triton"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(HERE), str(HERE.parent / "workflow"), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }


def _run(part: str, settings: Settings, environment: dict[str, str]) -> Sequence[AnyRecord]:
    """Run a part, and return what it wrote, also where it failed or was ended."""
    if settings.deadline_s - time.monotonic() < LEAST_s:
        return [Missing(part=part, setting="all", reason="not run: no time was left", optional=True)]
    print(f"{part} …", file=sys.stderr, flush=True)
    log = settings.out / f"{part}.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "gpu_parts.run", part, settings.model_dump_json()],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(max(0.0, settings.deadline_s + GRACE_s - time.monotonic()))
            trouble = f"status {status}: {_last_line(log)}" if status else None
        except subprocess.TimeoutExpired:
            trouble = "ended: its time was over"
        finally:
            if process.poll() is None:  # also where this process is interrupted
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    found = list(Journal(settings, part).read())
    if trouble is not None:
        found.append(Missing(part=part, setting="the rest", reason=trouble, optional=False))
    return found


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "its log is empty"


def _known(card: nvml.Gpu, rehearsed: bool) -> dict[str, str]:
    """Return what the measurement was made on and with."""
    import pynvml

    def asked(query: str, *arguments: object) -> object:
        try:
            return getattr(pynvml, query)(*arguments)
        except pynvml.NVMLError:
            return None

    pynvml.nvmlInit()
    known = {"GPU": card.name}
    handle = asked("nvmlDeviceGetHandleByUUID", card.uuid)
    if (limit_mW := asked("nvmlDeviceGetPowerManagementLimit", handle)) is not None:
        known["power limit"] = f"{int(str(limit_mW)) / 1000:g} W"
    if (driver := asked("nvmlSystemGetDriverVersion")) is not None:
        known["driver"] = driver.decode() if isinstance(driver, bytes) else str(driver)
    for package in PACKAGES:
        try:
            known[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            known[package] = "not installed"
    known["Python"] = platform.python_version()
    if rehearsed:
        known["REHEARSAL"] = "the network computed on the CPU, so these figures mean nothing"
    return known


def _report(records: Sequence[AnyRecord], known: dict[str, str], out: Path, seconds: float) -> int:
    """Print the tables, write them and all records, and return the exit status."""
    agreements = [one for one in records if isinstance(one, Agreement)]
    missing = [one for one in records if isinstance(one, Missing)]
    networks = [one for one in records if isinstance(one, Network)]
    met = [abs(one.meter_J / one.counter_J - 1) <= AGREES for one in agreements if one.counter_J]
    date = time.strftime("%Y-%m-%d", time.gmtime())
    pieces = [f"{date}; {facts(known)}. `python benchmarks/gpu.py` took {seconds:.0f} s."]
    if networks:
        pieces.append(f"The network has {networks[0].parameters:,} parameters, random ones.")
    if agreements:
        renewed = [f"{1000 * one.counter_renewed_s:.0f}" for one in agreements if one.counter_renewed_s]
        pieces += [
            "The meter beside readers of the same card; each percentage is against the growth of the card's counter"
            + (f", which was renewed every {' / '.join(renewed)} ms:" if renewed else ":"),
            agreement_table(agreements),
            f"{sum(met)} of {len(met)} within {AGREES:.0%}" if met else "The card has no counter: no target applies.",
        ]
    for part, title, unit in (
        ("batches", "Answers of 64 tokens to prompts of 128, by `generate`; energy of the GPU alone", "tokens"),
        ("precisions", "The same with quantised weights (torchao), without a compiler", "tokens"),
        ("finetuning", "Training steps on 8 sequences of 512 tokens", "tokens"),
    ):
        windows = [one for one in records if isinstance(one, Window) and one.part == part]
        if windows:
            pieces += [f"{title}:", windows_table(windows, unit)]
    if missing:
        rows = [[one.part, one.setting, one.reason.replace("|", "/")] for one in missing]
        pieces += ["Not measured:", table(["part", "setting", "why"], rows)]
    text = "\n\n".join(pieces) + "\n"
    (out / "gpu.md").write_text(text, encoding="utf-8")
    rehearsed = "REHEARSAL" in known
    result = {
        "rehearsed": rehearsed,
        "known": known,
        "seconds": seconds,
        "records": [one.model_dump(mode="json") for one in records],
    }
    (out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(text)
    print(f"Written to {out}", file=sys.stderr)
    return 0 if all(met) and all(one.optional for one in missing) else 1


if __name__ == "__main__":
    sys.exit(main())
