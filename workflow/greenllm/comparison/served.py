"""The energy of a server that was measured under load: in each round of a measurement, and while it was idle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from greenllm.attribution.turns import energy_in_turn
from greenllm.comparison.spread import Repeated
from greenllm.documents.measurement import LoadPoint, MeasuredRound, MeasurementWindow, ServerMeasurement, SideBySide
from greenllm.estimate import Estimate, total
from greenllm.footprint.standing import JobAttempt, method_of, quality_of
from greenllm.ledger.energy_log import Component
from greenllm.repetitions import per_unit

if TYPE_CHECKING:
    from greenllm.attribution import Attribution


@dataclass(frozen=True)
class PointEnergy:
    """The measurement at one concurrency: what `greenllm measure` wrote of it, and each round's energy.

    `rounds` and `accelerator` (the GPUs' part) are empty where unknown. `first`: how many starts the first stage had,
    if it determined their number.
    """

    written: LoadPoint
    rounds: Sequence[Estimate]
    accelerator: Sequence[Estimate]
    first: int | None = None

    @property
    def energy(self) -> Estimate | None:
        """The energy of all rounds, in J."""
        return total(self.rounds) if self.rounds else None

    @property
    def duration_s(self) -> float:
        """The length of its rounds together."""
        return sum(round_.window.duration_s for round_ in self.written.rounds)

    @cached_property
    def per_request(self) -> Repeated | None:
        """The energy per request answered, in J; None where unknown."""
        return self._per(self.rounds, "answered")

    @cached_property
    def per_token(self) -> Repeated | None:
        """The energy per generated token, in J; None where unknown."""
        return self._per(self.rounds, "completion_tokens")

    @cached_property
    def accelerator_per_request(self) -> Repeated | None:
        """The GPUs' energy per request, in J; None without a GPU."""
        return self._per(self.accelerator, "answered")

    def _per(self, energies: Sequence[Estimate], work: Literal["answered", "completion_tokens"]) -> Repeated | None:
        rounds = self.written.rounds
        done = [amount for round_ in rounds if (amount := getattr(round_, work)) is not None]
        if not energies or len(done) < len(rounds) or not sum(done):  # an endpoint may not report its tokens
            return None
        restarted = len({round_.start for round_ in rounds}) > 1
        runs = per_unit(
            (round_.start if restarted else round_.block, energy.value, amount)
            for round_, energy, amount in zip(rounds, energies, done, strict=True)
        )
        return Repeated(
            total(energies).scaled(1 / sum(done)),
            tuple(runs.values()),
            tuple(runs),
            self.first,
            "starts" if restarted else "rounds",
        )


@dataclass(frozen=True)
class Serving:
    """The measurement of one deployment; `reason` says why its energy is unknown."""

    measurement: ServerMeasurement
    points: Sequence[PointEnergy]
    idle_power: Estimate | None  # W
    server: JobAttempt | None
    holder: JobAttempt | None  # the job around it, which holds the GPUs
    reason: str | None

    @property
    def _known(self) -> list[Component]:
        """The components that its energy is the sum of."""
        held = self.holder.known if self.holder and self.measurement.gpus else []
        return [*(self.server.known if self.server else []), *(part for part in held if part.component == "gpu")]

    @property
    def quality(self) -> str | None:
        """How its energy was found: "measured", "modelled", or "partly modelled"; None if nothing is known."""
        return quality_of(self._known)

    @property
    def method(self) -> str | None:
        """How each component's energy was found; None without a server here."""
        return method_of(self._known) if self.server else None

    @property
    def compared(self) -> PointEnergy:
        """The point that recipes are compared at: the first concurrency."""
        return self.points[0]


def serving_of(
    measurement: ServerMeasurement, whole: SideBySide, by_id: Mapping[str, JobAttempt], attribution: "Attribution"
) -> Serving | None:
    """Return what was measured of one server, with the energy that attribution finds in its rounds.

    None if it failed. `whole` is the document that the measurement is part of.
    """
    if measurement.failure is not None or not measurement.points:
        return None
    ids = dict.fromkeys(round_.serve_id for point in measurement.points for round_ in point.rounds)
    servers = [by_id[one] for one in ids if one is not None and one in by_id]
    reason = _why_unknown(measurement, by_id.get(whole.measure_id), servers, len(ids))

    def energies(rounds: Sequence[tuple[str | None, MeasurementWindow]]) -> Sequence[Estimate]:
        if reason is not None:
            return ()
        found = [
            energy_in_turn(
                attribution,
                serve_id or "",
                whole.measure_id,
                (window.monotonic_start_s, window.monotonic_end_s),
                threads=measurement.threads.threads,
                gpus=measurement.gpus,
            )
            for serve_id, window in rounds
        ]
        return [energy for energy in found if energy is not None] if None not in found else ()

    def accelerator(rounds: Sequence[MeasuredRound]) -> Sequence[Estimate]:
        if reason is not None or not measurement.gpus:
            return ()
        windows = [(one.window.monotonic_start_s, one.window.monotonic_end_s) for one in rounds]
        found = [attribution.energy_between(whole.measure_id, *window, ("gpu",)) for window in windows]
        return [energy for energy in found if energy is not None] if None not in found else ()

    points = [
        PointEnergy(
            written,
            energies([(round_.serve_id, round_.window) for round_ in written.rounds]),
            accelerator(written.rounds),
            whole.planned.first if whole.planned.first < whole.planned.starts else None,
        )
        for written in measurement.points
    ]
    if reason is None and not points[0].rounds:
        reason = "no sensor was read within the window"
    idle = measurement.idle
    idle_J = energies([(next(iter(ids)), idle.window)]) if idle else ()
    idle_power = idle_J[0].scaled(1 / idle.duration_s) if idle and idle_J and idle.duration_s else None
    server, holder = (servers[0] if servers else None), by_id.get(whole.measure_id)
    return Serving(measurement, points, idle_power, server, holder, reason)


def _why_unknown(
    measurement: ServerMeasurement, holder: JobAttempt | None, servers: Sequence[JobAttempt], starts: int
) -> str | None:
    """Return why a server's energy is unknown or can't be compared with others'; None if it can."""
    if not measurement.metered:
        return measurement.energy_reason
    if len(servers) < starts:
        return "the server's ledger is not there"
    if holder is None:
        return "the measurement's ledger is not there"
    reasons = [server.incomparable for server in servers]
    if measurement.gpus:  # the job around the servers holds the GPUs
        reasons.append(holder.incomparable)
    return next(filter(None, reasons), None)
