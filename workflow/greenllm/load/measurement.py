"""The measurement: rounds at one concurrency, until the energy of a request is known precisely enough."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from greenllm.config.models import Deployment
from greenllm.documents.measurement import IdleTime, LoadPoint, MeasuredRound, MeasurementWindow
from greenllm.errors import UserError
from greenllm.estimate import Estimate, Interval, interval_of, total
from greenllm.load.rounds import Order, Round, Stopwatch
from greenllm.load.summary import summary_of
from greenllm.statistics import relative_halfwidth

Send = Callable[[Order], Round]
Energies = Callable[[Sequence[MeasurementWindow]], Sequence[Estimate | None]]


@dataclass(frozen=True)
class MeasuredPoint:
    """The rounds at one concurrency (None: at the rate of arrivals), and why they stopped."""

    concurrency: int | None
    rounds: list[Round]
    stopped: str


def warm_up(send: Send, settings: Deployment, concurrency: int | None) -> None:
    """Send the requests that do not count."""
    send(Order(settings.warmup, concurrency=concurrency or 1))


def idle(settings: Deployment) -> MeasurementWindow | None:
    """Wait while nothing is sent; return the window, or None if the settings ask for none."""
    if not settings.idle_s:
        return None
    stopwatch = Stopwatch()
    time.sleep(settings.idle_s)
    return stopwatch.stop()


def measure_point(send: Send, settings: Deployment, concurrency: int | None, energies: Energies) -> MeasuredPoint:
    """Send rounds until there are enough, and the interval is narrow or the time limit is reached.

    Raises `UserError` if all requests of the first round fail.
    """
    least = math.ceil(settings.requests / settings.rounds)
    rounds: list[Round] = []
    sent = 0
    while True:
        order = Order(least, sent, settings.round_s, concurrency or 1, settings.rate_per_s)
        rounds.append(send(order))
        sent += len(rounds[-1].answers)
        if not any(round.answered for round in rounds):
            raise UserError(f"none of {sent} requests was answered; the first: {rounds[0].answers[0].error}")
        if len(rounds) < settings.rounds:
            continue
        if _halfwidth(rounds, energies([round.window for round in rounds])) <= settings.narrow:
            return MeasuredPoint(concurrency, rounds, "narrow")
        if sum(round.window.duration_s for round in rounds) >= settings.most_s:
            return MeasuredPoint(concurrency, rounds, "limit")


def _halfwidth(rounds: Sequence[Round], energies: Sequence[Estimate | None]) -> float:
    """Return the relative 95 % half-width of a request's energy between rounds, or of its time if that is unknown."""
    spent = [
        round.window.duration_s if energy is None else energy.value
        for round, energy in zip(rounds, energies if None not in energies else [None] * len(rounds), strict=True)
    ]
    return relative_halfwidth(
        [amount / len(round.answered) for amount, round in zip(spent, rounds, strict=True) if round.answered]
    )


def described(point: MeasuredPoint, rate_per_s: float | None, energies: Sequence[Estimate | None]) -> LoadPoint:
    """Return a point's figures; `energies` are those of its rounds."""
    figures = summary_of(point.rounds)
    known = [energy for energy in energies if energy is not None]
    energy = total(known) if len(known) == len(point.rounds) else None
    per_request_J = [
        energy.value / len(round.answered) for energy, round in zip(known, point.rounds, strict=False) if round.answered
    ]
    spread = relative_halfwidth(per_request_J)
    return LoadPoint(
        concurrency=point.concurrency,
        rate_per_s=rate_per_s,
        rounds=[
            MeasuredRound(
                window=round.window,
                answered=one.answered,
                failed=one.failed,
                completion_tokens=one.completion_tokens,
                prompt_tokens=one.prompt_tokens,
                energy_J=interval_of(spent),
            )
            for round, spent in zip(point.rounds, energies, strict=True)
            for one in [summary_of([round])]
        ],
        **asdict(figures),
        energy_J=interval_of(energy),
        energy_per_request_J=_per(energy, figures.answered, spread),
        energy_per_token_J=_per(energy, figures.completion_tokens, spread),
        stopped=point.stopped,
    )


def described_idle(window: MeasurementWindow, energy: Estimate | None) -> IdleTime:
    """Return the energy and power of the server while nothing is sent."""
    return IdleTime(
        window=window,
        duration_s=window.duration_s,
        energy_J=interval_of(energy),
        power_W=None if energy is None else energy.scaled(1 / window.duration_s).interval(),
    )


def _per(energy: Estimate | None, work: int | None, spread: float) -> Interval | None:
    """Return the energy per unit of work in joules, with 95 % bounds.

    The sensor's uncertainty and the spread between the rounds (`spread`, relative) are independent, so they add in
    quadrature (GUM, JCGM 100:2008, 5.1.2). No energy is below 0. With a single round the spread is unknown and left
    out.
    """
    if energy is None or not work:
        return None
    value = energy.value
    between_J = value * spread if math.isfinite(spread) else 0.0
    low = max(0.0, value - math.hypot(value - energy.low, between_J))
    high = value + math.hypot(energy.high - value, between_J)
    return Interval(value / work, low / work, high / work)
