"""The thread that samples the host's energy while the server runs, and what each answer's energy is found to be."""

import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from greenllm.engines import Completion
from greenllm.meter.own_energy import OwnEnergy
from greenllm.serving.metrics import EnergyMetrics
from greenllm.serving.request_energy import EnergySharing, RequestEnergy, energy_of

# For how long (s) the energy of an answer can be asked for, and of how many answers at most.
KEPT_S, MOST_KEPT = 600.0, 100_000

STOPPED = "the server had to stop counting energy; see its log"


class Answered(Protocol):
    """A request that has been answered; `energy` is None until its energy is recorded."""

    energy: RequestEnergy | None


class EnergySampling:
    """Samples the energy of this process, and shares it among the requests that its engine answers.

    The process counts as a job that reserved `threads` processors and uses `gpus` GPUs. `metrics` shows the sums.
    """

    def __init__(self, threads: int, gpus: int, metrics: EnergyMetrics) -> None:
        """Take the first sample. Raises UserError where $GREENLLM_METER_INTERVAL_S is bad."""
        self._energy = OwnEnergy(threads, gpus)
        self._sharing = EnergySharing(metrics.count)
        # Its first entry is found at once; a dict searches all the places of those that were removed before it.
        self._kept: OrderedDict[str, tuple[float, Sequence[RequestEnergy]]] = OrderedDict()
        self._ending = threading.Event()
        self._energy.begin()
        self._thread = threading.Thread(target=self._watch, name="energy", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take the last sample and end the thread."""
        self._ending.set()
        self._thread.join()
        try:
            self._sharing.add(self._energy.sample())
        except Exception:
            self._stop()
        self._energy.close()

    def begin_batch(self) -> None:
        """The engine begins to answer requests. Called by its thread."""
        self._sharing.begin_batch(time.monotonic())

    def end_batch(self, requests: Sequence[Answered], completions: Sequence[Completion]) -> None:
        """The requests of the batch are answered; without completions the engine failed. Called by its thread."""
        if completions:
            energies = [RequestEnergy(one.prompt_tokens, one.tokens) for one in completions]
        else:
            energies = [RequestEnergy(0, 0) for _ in requests]
        for request, energy in zip(requests, energies, strict=True):
            request.energy = energy
        try:
            self._sharing.end_batch(time.monotonic(), energies)
        except Exception:  # the answers are there: they are delivered without their energy
            self._stop()

    def keep(self, request_id: str, answers: Sequence[RequestEnergy]) -> None:
        """Keep the energy of a request's answers for `KEPT_S` seconds, so that it can be asked for."""
        now_s = time.monotonic()
        self._kept[request_id] = now_s, answers
        while len(self._kept) > MOST_KEPT or next(iter(self._kept.values()))[0] < now_s - KEPT_S:
            self._kept.popitem(last=False)

    def of(self, request_id: str) -> dict[str, Any] | None:
        """Return a request's energy as JSON; None where it is not kept, or not any more."""
        kept_s, answers = self._kept.get(request_id, (0.0, ()))
        return self.described(answers) if answers and kept_s >= time.monotonic() - KEPT_S else None

    def described(self, answers: Sequence[RequestEnergy]) -> dict[str, Any]:
        """Return the energy (J) of a request's answers, its bounds and quality, and its part of the idle energy."""
        found = energy_of(answers)
        described = {
            "quality": "unknown",
            "provisional": not all([one.is_settled for one in answers]),
            "reason": next((one.reason for one in answers if one.reason is not None), None),
        }
        if found is None:
            return {"value_J": None, "low_J": None, "high_J": None, "idle_J": None, **described}
        value_J, low_J, high_J = found
        return {
            "value_J": round(value_J, 6),
            "low_J": round(low_J, 6),
            "high_J": round(high_J, 6),
            "idle_J": None if (idle_J := self._sharing.idle_of(answers)) is None else round(idle_J, 6),
            **described,
            "quality": "modelled" if "modelled" in [one.quality for one in answers] else "measured",
        }

    def _watch(self) -> None:
        try:
            while not self._ending.wait(self._energy.wait_s):
                if (growth := self._energy.watch()) is not None:
                    self._sharing.add(growth)
                    self._sharing.find_costs()
        except Exception:
            self._stop()

    def _stop(self) -> None:
        """Report the error that is being handled, once; no energy is known from now on."""
        if self._sharing.stop(STOPPED):
            print("greenllm serve: counting energy failed; it is unknown from now on:", file=sys.stderr)
            traceback.print_exc()
            self._ending.set()
