"""The energy per input and per output token: a regression over rounds of requests of different lengths.

A round's energy is taken as requests · r + input tokens · i + cached input tokens · c + output tokens · o, and the
coefficients are found by ordinary least squares over all rounds of a model's servers. Their covariance is that of the
jackknife that leaves out one start at a time (B. Efron, C. Stein, "The Jackknife Estimate of Variance", Annals of
Statistics 9, 1981), so the intervals rest on the spread between starts; their t distribution has a degree of freedom
less than there are starts. The sensors' error is common to all rounds and adds in quadrature.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

from greenllm.comparison.rows import TokenEnergy, TokenRange
from greenllm.comparison.served import PointEnergy
from greenllm.documents.measurement import MeasuredRound
from greenllm.estimate import Interval, total

Array = npt.NDArray[np.float64]

# Coefficients need this many rounds each, and this many starts. The columns of work, scaled to length 1, may have this
# condition number at most: rounds of one length have no bound, since they can't tell requests from tokens.
ROUNDS_EACH, LEAST_STARTS, MOST_COLLINEAR = 3, 3, 100.0
BELOW_0 = "the extrapolation is below 0"
ALIKE = "the prompts and answers of its rounds are too much alike in length to tell what a token takes"


class TokenEnergyUnknown(Exception):  # noqa: N818
    """The energy per token is unknown; the message says why."""


@dataclass(frozen=True)
class _Rounds:
    """The rounds of a model's servers: a row of work for each, its energy (J), and its start."""

    work: Array
    energy_J: Array
    starts: Sequence[tuple[int, int]]
    columns: Sequence[str]


@dataclass(frozen=True)
class _Fit:
    """The coefficients, their covariance with its degrees of freedom, and the sensors' relative 95 % bounds."""

    coefficients_J: Array
    covariance_J2: Array
    freedom: int
    sensors: tuple[float, float]

    def energy_J(self, work: Sequence[float]) -> Interval:
        """Return the energy of an amount of work, in the order of the columns, with 95 % bounds."""
        amounts = np.array(work)
        value = float(amounts @ self.coefficients_J)
        half = float(stdtrit(self.freedom, 0.975)) * math.sqrt(max(0.0, amounts @ self.covariance_J2 @ amounts))
        below, above = (abs(value) * abs(bound - 1) for bound in self.sensors)
        return Interval(value, value - math.hypot(half, below), value + math.hypot(half, above))


def token_energy(points: Mapping[int, PointEnergy]) -> TokenEnergy:
    """Return the energy per token from the measurements of a model, by seed. Raises TokenEnergyUnknown."""
    rounds = _rounds(points)
    every = sorted(set(rounds.starts))
    if len(every) < LEAST_STARTS:
        raise TokenEnergyUnknown(f"at least {LEAST_STARTS} starts are needed, and there were {len(every)}")
    kept = [np.array([start != one for start in rounds.starts]) for one in every]
    without = np.array([_least_squares(rounds.work[keep], rounds.energy_J[keep]) for keep in kept])
    deviations = without - without.mean(axis=0)
    whole = total(energy for point in points.values() for energy in point.rounds)
    fit = _Fit(
        _least_squares(rounds.work, rounds.energy_J),
        deviations.T @ deviations * (len(every) - 1) / len(every),
        len(every) - 1,
        (whole.low / whole.value, whole.high / whole.value),
    )
    each = {name: fit.energy_J([float(one == name) for one in rounds.columns]) for name in rounds.columns}
    requests, prompt, *cached, generated = rounds.work.T
    return TokenEnergy(
        request_J=each["requests"],
        prompt_token_J=each["prompt"],
        cached_prompt_token_J=each.get("cached"),
        generated_token_J=each["generated"],
        columns=list(rounds.columns),
        coefficients_J=fit.coefficients_J.tolist(),
        covariance_J2=fit.covariance_J2.tolist(),
        freedom=fit.freedom,
        sensors=fit.sensors,
        prompt_tokens=_range((prompt + sum(cached)) / requests),
        generated_tokens=_range(generated / requests),
    )


def energy_of_requests(found: TokenEnergy, requests: int, prompt_tokens: float, generated_tokens: float) -> Interval:
    """Return what requests of this length take (J), with 95 % bounds; no prompt token is cached.

    Raises TokenEnergyUnknown where the coefficients would have them take less than nothing.
    """
    amounts = {"requests": 1.0, "prompt": prompt_tokens, "cached": 0.0, "generated": generated_tokens}
    fit = _Fit(np.array(found.coefficients_J), np.array(found.covariance_J2), found.freedom, found.sensors)
    value, low, high = fit.energy_J([requests * amounts[name] for name in found.columns])
    if value < 0:
        raise TokenEnergyUnknown(BELOW_0)
    return Interval(value, max(0.0, low), high)


def extrapolates(found: TokenEnergy, prompt_tokens: float, generated_tokens: float) -> list[str]:
    """Return which lengths lie outside those that were measured, in words."""
    asked = (("in", prompt_tokens, found.prompt_tokens), ("out", generated_tokens, found.generated_tokens))
    return [
        f"{measured.low:.3g} to {measured.high:.3g} tokens {way}"
        for way, tokens, measured in asked
        if not measured.low <= tokens <= measured.high
    ]


def _rounds(points: Mapping[int, PointEnergy]) -> _Rounds:
    placed = [
        ((seed, one.start), one, energy.value)
        for seed, point in points.items()
        for one, energy in zip(point.written.rounds, point.rounds, strict=False)
        if one.answered
    ]
    if not placed or any(not point.rounds for point in points.values()):
        raise TokenEnergyUnknown("the energy of its rounds is unknown")
    if any(one.prompt_tokens is None or one.completion_tokens is None for _, one, _ in placed):
        raise TokenEnergyUnknown("the server does not report its tokens")
    caches = any(one.cached_prompt_tokens for _, one, _ in placed)
    columns = ["requests", "prompt", *(["cached"] if caches else []), "generated"]
    work = np.array([_work(one, caches) for _, one, _ in placed], dtype=np.float64)
    if len(work) < ROUNDS_EACH * len(columns):
        raise TokenEnergyUnknown(f"at least {ROUNDS_EACH * len(columns)} rounds are needed, and there were {len(work)}")
    size = np.linalg.norm(work, axis=0)
    if not size.all() or np.linalg.cond(work / size) > MOST_COLLINEAR:
        raise TokenEnergyUnknown(ALIKE)
    return _Rounds(work, np.array([energy_J for *_, energy_J in placed]), [start for start, *_ in placed], columns)


def _work(one: MeasuredRound, caches: bool) -> list[float]:
    cached = one.cached_prompt_tokens or 0
    prompt = (one.prompt_tokens or 0) - cached
    return [one.answered, prompt, *([cached] if caches else []), one.completion_tokens or 0]


def _least_squares(work: Array, energy_J: Array) -> Array:
    return np.asarray(np.linalg.lstsq(work, energy_J, rcond=None)[0], dtype=np.float64)


def _range(values: Array) -> TokenRange:
    return TokenRange(low=float(values.min()), high=float(values.max()))
