"""The energy of a server that was measured under load: in each round of a measurement, and while it was idle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from greenllm.comparison.spread import Repeated
from greenllm.documents.measurement import LoadMeasurement, LoadPoint, MeasurementWindow
from greenllm.estimate import Estimate, total
from greenllm.footprint.standing import JobAttempt
from greenllm.ledger.energy_log import SUMMED

if TYPE_CHECKING:
    from greenllm.attribution import Attribution


@dataclass(frozen=True)
class PointEnergy:
    """The measurement at one concurrency: what `greenllm deploy` wrote of it, and each round's energy.

    `rounds` and `accelerator` (the GPUs' part) are empty where unknown.
    """

    written: LoadPoint
    rounds: Sequence[Estimate]
    accelerator: Sequence[Estimate]

    @property
    def energy(self) -> Estimate | None:
        """The energy of all rounds, in J."""
        return total(self.rounds) if self.rounds else None

    @property
    def duration_s(self) -> float:
        """The length of its rounds together."""
        return sum(round_.window.duration_s for round_ in self.written.rounds)

    @property
    def per_request(self) -> Repeated | None:
        """The energy per request answered, in J; None where unknown."""
        return self._per(self.rounds, "answered")

    @property
    def per_token(self) -> Repeated | None:
        """The energy per generated token, in J; None where unknown."""
        return self._per(self.rounds, "completion_tokens")

    @property
    def accelerator_per_request(self) -> Repeated | None:
        """The GPUs' energy per request, in J; None without a GPU."""
        return self._per(self.accelerator, "answered")

    def _per(self, energies: Sequence[Estimate], work: Literal["answered", "completion_tokens"]) -> Repeated | None:
        rounds = self.written.rounds
        done = [amount for round_ in rounds if (amount := getattr(round_, work)) is not None]
        if not energies or len(done) < len(rounds) or not sum(done):  # an endpoint may not report its tokens
            return None
        runs = [energy.value / amount for energy, amount in zip(energies, done, strict=True) if amount]
        return Repeated(total(energies).scaled(1 / sum(done)), tuple(runs))


@dataclass(frozen=True)
class Serving:
    """The measurement of one deployment; `reason` says why its energy is unknown."""

    measurement: LoadMeasurement
    points: Sequence[PointEnergy]
    idle_power: Estimate | None  # W
    server: JobAttempt | None
    reason: str | None

    @property
    def compared(self) -> PointEnergy:
        """The point that recipes are compared at: the first concurrency."""
        return self.points[0]


def serving_of(measurement: LoadMeasurement, by_id: Mapping[str, JobAttempt], attribution: "Attribution") -> Serving:
    """Return what a measurement.json holds, with the energy that attribution finds for the server in its windows."""
    server = by_id.get(measurement.serve_id or "")
    if server is not None:
        reason = server.incomparable
    else:
        elsewhere = measurement.energy_reason if measurement.serve_id is None else None
        reason = elsewhere or "the server's ledger is not there"
    known = server if reason is None else None

    def energies(windows: Sequence[MeasurementWindow], components: Sequence[str] = SUMMED) -> Sequence[Estimate]:
        if known is None:
            return ()
        found = [
            attribution.energy_between(known.id, window.monotonic_start_s, window.monotonic_end_s, components)
            for window in windows
        ]
        return [energy for energy in found if energy is not None] if None not in found else ()

    points = []
    for written in measurement.points:
        windows = [round_.window for round_ in written.rounds]
        points.append(PointEnergy(written, energies(windows), energies(windows, ("gpu",))))
    if known is not None and not points[0].rounds:
        reason = "no sensor was read within the window"
    idle = measurement.idle
    idle_J = energies([idle.window]) if idle else ()
    idle_power = idle_J[0].scaled(1 / idle.duration_s) if idle and idle_J and idle.duration_s else None
    return Serving(measurement, points, idle_power, server, reason)
