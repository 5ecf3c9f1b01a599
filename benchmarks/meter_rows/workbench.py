"""Runs a command under our meter, CodeCarbon and Zeus, on simulated hardware."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.simulated import SimulatedGpu, clean_environment, compile_nvml, gpu_environment

GREENLLM = [sys.executable, "-m", "greenllm"]
PEERS = Path(__file__).with_name("peers.py")


@dataclass
class Workbench:
    """`peers`: the Python that has CodeCarbon and Zeus (None leaves them out); `traces`: a folder of recorded power."""

    folder: Path
    quick: bool
    peers: Path | None
    traces: Path | None = None

    def __post_init__(self) -> None:
        self._nvml: Path | None = None
        self._job: Path | None = None

    def job(self, seconds: float, gpus: int) -> list[str]:
        """A job that keeps the first driven GPUs busy, and prints from when until when."""
        if self._job is None:
            self._job = self.folder / "job"
            source = Path(__file__).with_name("job.c")
            subprocess.run(["cc", "-O1", "-o", self._job, source, "-ldl"], check=True)
        return [str(self._job), str(seconds), str(gpus)]

    def environment(
        self, gpus: Sequence[SimulatedGpu] = (), sysfs: Path | None = None, interval_s: float = 1.0
    ) -> dict[str, str]:
        """A host with these GPUs, a /sys (by default an empty one), and its own ledger and locks."""
        own = Path(tempfile.mkdtemp(dir=self.folder))
        (own / "sys").mkdir()
        environment = clean_environment(own) | {
            "GREENLLM_SYSFS": str(sysfs or own / "sys"),
            "GREENLLM_METER_INTERVAL_S": str(interval_s),
        }
        if gpus:
            if self._nvml is None:
                self._nvml = compile_nvml(self.folder)
            environment |= gpu_environment(self._nvml, list(gpus))
            # CodeCarbon asks it whether there is a GPU
            (self.folder / "nvidia-smi").write_text("#!/bin/sh\n")
            (self.folder / "nvidia-smi").chmod(0o755)
            environment["PATH"] = f"{self.folder}:{os.environ['PATH']}"
        return environment

    def metered(self, environment: dict[str, str], options: Iterable[str], command: Sequence[str]) -> str:
        """Run a command under our meter and return what it printed."""
        done = subprocess.run(
            [*GREENLLM, "meter", *options, "--", *command], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"greenllm meter: exit status {done.returncode}: {done.stderr}")
        return done.stdout

    def attributed(self, environment: dict[str, str], *options: str, ledger: Path | None = None) -> dict[str, Any]:
        """The output of `greenllm attribute --json` for the environment's ledger."""
        command = [*GREENLLM, "attribute", "--json", *options, str(ledger or environment["GREENLLM_LEDGER"])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"greenllm attribute: exit status {done.returncode}: {done.stderr}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def peer(self, tool: str, environment: dict[str, str], command: Sequence[str], prefix: Sequence[str] = ()) -> Any:
        """Start one of the other tools around a command; `reported` waits for its result."""
        if self.peers is None:
            return None
        return subprocess.Popen(
            [*prefix, str(self.peers), str(PEERS), tool, *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @staticmethod
    def reported(started: "subprocess.Popen[str] | None") -> dict[str, Any]:
        """The result of a tool that was started: its findings, or an error."""
        if started is None:
            return {"error": "not asked (--no-peers)"}
        out, _ = started.communicate()
        try:
            return dict(json.loads(out))
        except ValueError:
            return {"error": f"exit status {started.returncode}"}
