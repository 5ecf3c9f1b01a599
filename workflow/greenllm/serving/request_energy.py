"""The energy of a server's sampling intervals, shared among the requests that were worked on; the rest is idle.

An interval's energy is split in three steps: into idle and busy, by what an idle second and the tokens were found to
cost (by time, until that is known); the busy part among the batches that the engine answered in it, one after the
other, by time; a batch's part among its requests, by their tokens. So requests + idle = what was counted.

An interval is shared when each batch that it contains a part of has ended, for only then the tokens are known.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

from greenllm.estimate import Interval
from greenllm.meter.own_energy import EnergyGrowth
from greenllm.serving.token_costs import IntervalWork, TokenCosts, found_costs

ZERO = Interval(0.0, 0.0, 0.0)
# The costs of tokens rest on this number of intervals, the latest, and are found anew after so many more.
REMEMBERED, ANEW_AFTER = 600, 30
# An extrapolated power is within those of this number of intervals, the latest.
RECENT = 60


@dataclass(eq=False, slots=True)
class RequestEnergy:
    """One answer's tokens, and its energy so far.

    `counted_J` comes from intervals that are over, `open_J` is extrapolated for the one that is not; None: unknown,
    with a reason of its own. `is_settled`: there is no open part any more.
    """

    prompt_tokens: int
    generated_tokens: int
    counted_J: Interval | None = ZERO
    open_J: Interval | None = ZERO
    is_settled: bool = False
    counted_quality: str | None = None
    open_quality: str | None = None
    counted_reason: str | None = None
    open_reason: str | None = None

    @property
    def quality(self) -> str:
        """How the energy was found: "modelled" if a part of it was, else "measured"; "unknown" if nothing is known."""
        found = {self.counted_quality, self.open_quality} - {None}
        return next((one for one in ("modelled", "measured") if one in found), "unknown")

    @property
    def reason(self) -> str | None:
        """Why the energy, or a part of it, is unknown; the first reason, if there were several."""
        return self.counted_reason or self.open_reason

    @property
    def energy_J(self) -> Interval | None:
        """The energy, with 95 % bounds of the sensors and of the extrapolation; None where it is unknown."""
        if self.counted_J is None or self.open_J is None:
            return None
        return _sum(self.counted_J, self.open_J)

    def add(self, growth: EnergyGrowth, part: float) -> None:
        """Add a part (0 to 1) of an interval's energy."""
        self.counted_reason = self.counted_reason or growth.reason
        if growth.energy_J is None or self.counted_J is None:
            self.counted_J = None
            return
        self.counted_J = _sum(self.counted_J, _scaled(growth.energy_J, part))
        if self.counted_quality != "modelled":
            self.counted_quality = growth.quality

    def settle(self) -> None:
        """The last interval of it is over."""
        self.open_J, self.open_quality, self.open_reason, self.is_settled = ZERO, None, None, True

    def lose(self, reason: str) -> None:
        """Its energy will not be known."""
        self.counted_J, self.counted_reason = None, self.counted_reason or reason
        self.settle()


class AnsweredBatch(NamedTuple):
    """The requests that the engine answered together, from begin to end (CLOCK_MONOTONIC, s)."""

    begin_s: float
    end_s: float
    requests: Sequence[RequestEnergy]

    def part_in(self, begin_s: float, end_s: float) -> float:
        """Return the part (0 to 1) of the batch's time that is in an interval."""
        inside_s = min(self.end_s, end_s) - max(self.begin_s, begin_s)
        return max(0.0, inside_s) / (self.end_s - self.begin_s) if self.end_s > self.begin_s else 0.0

    def parts(self, costs: TokenCosts) -> list[float]:
        """Return the part of each request in the batch's energy; they are equal where nothing was computed."""
        if len(self.requests) == 1:
            return [1.0]
        work = [costs.of(one.prompt_tokens, one.generated_tokens) for one in self.requests]
        whole = sum(work)
        return [one / whole for one in work] if whole > 0 else [1 / len(work)] * len(work)


@dataclass(frozen=True)
class SharedInterval:
    """An interval's energy, shared: the part (0 to 1) of all requests and that of nobody. Together they are 1."""

    growth: EnergyGrowth
    requests: float
    idle: float


@dataclass
class EnergySharing:
    """Shares the energy of intervals among requests. Called by the engine's thread and by the one that samples.

    `on_shared` is called with each interval that is shared.
    """

    on_shared: Callable[[SharedInterval], None] = lambda shared: None
    requests_J: float = 0.0
    idle_J: float = 0.0
    costs: TokenCosts = field(default_factory=TokenCosts)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._unshared: deque[EnergyGrowth] = deque()
        self._batches: deque[AnsweredBatch] = deque()
        self._running_since_s: float | None = None
        self._last: EnergyGrowth | None = None
        self._powers_W: deque[Interval] = deque(maxlen=RECENT)
        self._power_W: Interval | None = None  # the latest, between the least and the most of the recent ones
        self._works: deque[IntervalWork] = deque(maxlen=REMEMBERED)
        self._new_works = 0
        self._stopped: str | None = None  # why no energy is shared any more

    def begin_batch(self, now_s: float) -> None:
        """The engine begins to answer requests. Batches follow each other; intervals that are over ended before."""
        with self._lock:
            self._running_since_s = now_s

    def end_batch(self, now_s: float, requests: Sequence[RequestEnergy]) -> None:
        """The batch has ended: share the intervals that waited for it, and extrapolate the part that is still open."""
        with self._lock:
            begin_s = self._running_since_s if self._running_since_s is not None else now_s
            self._running_since_s = None
            if self._stopped is not None:
                _lose(requests, self._stopped)
                return
            batch = AnsweredBatch(begin_s, now_s, requests)
            self._batches.append(batch)
            if self._unshared:
                self._share()
            if self._batches:
                self._extrapolate(batch)

    def add(self, growth: EnergyGrowth) -> None:
        """Take in an interval that is over."""
        with self._lock:
            if self._stopped is not None:
                return
            self._last = growth
            span_s = growth.end_s - growth.begin_s
            if growth.energy_J is not None and span_s > 0:
                self._powers_W.append(latest_W := _scaled(growth.energy_J, 1 / span_s))
                least_W, most_W = min(one.low for one in self._powers_W), max(one.high for one in self._powers_W)
                self._power_W = Interval(latest_W.value, least_W, most_W)
            self._unshared.append(growth)
            self._share()

    def stop(self, reason: str) -> bool:
        """Share no more energy: that of later requests, and of those not settled, is unknown.

        Return False if it had stopped before.
        """
        with self._lock:
            if self._stopped is not None:
                return False
            self._stopped = reason
            for batch in self._batches:
                _lose(batch.requests, reason)
            self._batches.clear()
            self._unshared.clear()
            return True

    def idle_of(self, answers: Sequence[RequestEnergy]) -> float | None:
        """Return a request's part (J) of the idle energy so far, in proportion to the energies of requests so far.

        The request's own open part counts among these, so the part is never more than the whole. None: unknown.
        """
        found = energy_of(answers)
        if found is None:
            return None
        requests_J = self.requests_J + sum(one.open_J.value for one in answers if one.open_J is not None)
        return found.value * self.idle_J / requests_J if requests_J > 0 else None

    def find_costs(self) -> None:
        """Find anew what tokens cost, if enough intervals have passed since the last time."""
        with self._lock:
            if self._new_works < ANEW_AFTER:
                return
            self._new_works, works = 0, list(self._works)
        if (found := found_costs(works)) is not None:
            self.costs = found

    def _extrapolate(self, batch: AnsweredBatch) -> None:
        """Estimate the energy of a batch since the last interval's end, by that interval's power."""
        if self._last is None or self._last.energy_J is None or self._power_W is None:
            for request in batch.requests:
                request.open_J, request.open_quality = None, None
                request.open_reason = self._last.reason if self._last else "the first sampling interval is not over"
            return
        open_s = max(0.0, batch.end_s - max(batch.begin_s, self._last.end_s))
        for request, part in zip(batch.requests, batch.parts(self.costs), strict=True):
            request.open_J = _scaled(self._power_W, open_s * part)
            request.open_quality, request.open_reason = self._last.quality, self._last.reason

    def _share(self) -> None:
        """Share the intervals in which no batch is running still."""
        while self._unshared:
            growth = self._unshared[0]
            if self._running_since_s is not None and self._running_since_s < growth.end_s:
                return
            self._unshared.popleft()
            self._share_one(growth)
            while self._batches and self._batches[0].end_s <= growth.end_s:
                for request in self._batches.popleft().requests:
                    request.settle()
            if self._batches:  # it ended while this interval was being added
                self._extrapolate(self._batches[0])

    def _share_one(self, growth: EnergyGrowth) -> None:
        span_s, costs = growth.end_s - growth.begin_s, self.costs
        inside = [(batch, part) for batch in self._batches if (part := batch.part_in(growth.begin_s, growth.end_s)) > 0]
        seconds = [(batch.end_s - batch.begin_s) * part for batch, part in inside]
        busy_s = sum(seconds)
        prompt = generated = 0.0
        for batch, part in inside:
            for request in batch.requests:
                prompt += part * request.prompt_tokens
                generated += part * request.generated_tokens
        energy_J = growth.energy_J.value if growth.energy_J is not None else 0.0
        work = IntervalWork(span_s, max(0.0, span_s - busy_s), prompt, generated, energy_J)
        idle = costs.idle_part(work) if inside else 1.0
        for (batch, _), batch_s in zip(inside, seconds, strict=True):
            for request, part in zip(batch.requests, batch.parts(costs), strict=True):
                request.add(growth, (1 - idle) * batch_s / busy_s * part)
        if growth.energy_J is not None:
            self._works.append(work)
            self._new_works += 1
            self.requests_J += (1 - idle) * energy_J
            self.idle_J += idle * energy_J
            self.on_shared(SharedInterval(growth, 1 - idle, idle))


def energy_of(answers: Sequence[RequestEnergy]) -> Interval | None:
    """Return the energy of a request with several answers; None where a part of it is unknown."""
    if len(answers) == 1:
        return answers[0].energy_J
    found = [one.energy_J for one in answers]
    known = [energy_J for energy_J in found if energy_J is not None]
    return reduce(_sum, known) if known and len(known) == len(found) else None


def _lose(requests: Sequence[RequestEnergy], reason: str) -> None:
    for request in requests:
        request.lose(reason)


def _sum(one: Interval, other: Interval) -> Interval:
    return Interval(one.value + other.value, one.low + other.low, one.high + other.high)


def _scaled(energy_J: Interval, factor: float) -> Interval:
    return Interval(energy_J.value * factor, energy_J.low * factor, energy_J.high * factor)
