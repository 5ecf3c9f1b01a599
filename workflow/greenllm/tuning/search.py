"""The search for the setting with the least energy within a bound of time, by an Optuna study of both."""

import contextlib
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import norm, qmc

from greenllm.tuning.response import Array, Response
from greenllm.tuning.space import KNOBS, Setting, Space

# Of the probes, FIRST are spread over the space. The last ones, REPEATS, repeat the best settings, since the least of
# many noisy figures is too low. Before them, STEPS turn one knob of the best setting by one step. A setting is probed
# MOST times at most.
FIRST, REPEATS, STEPS, MOST = 7, 3, 5, 3
# A setting that failed, such as one without enough memory, counts as this many times the worst cost.
FAILED = 1.6
# A step of a knob is tried if the time is within its bound with at least this probability.
LIKELY = 0.3


class ProbeFailedError(Exception):
    """A setting cannot run, such as a batch for which there is not enough memory; the message says why."""


@dataclass(frozen=True)
class Cost:
    """What a probe measured of one unit of work, a sample or a request: energy (J) and time (s)."""

    energy_J: float
    time_s: float


@dataclass(frozen=True)
class Probe:
    """A setting that was probed: its cost, or why it failed."""

    setting: Setting
    cost: Cost | None
    failure: str | None = None


@dataclass(frozen=True)
class Found:
    """What was probed, in order; the best setting; the settings than which none is better in both energy and time.

    `within` is false where no setting is within the bound of time: `best` then is the fastest.
    """

    probes: Sequence[Probe]
    best: Setting
    within: bool
    front: Sequence[Setting]


@dataclass
class _Costs:
    """The costs of the settings that were probed, and those that failed."""

    known: dict[Setting, list[Cost]] = field(default_factory=lambda: defaultdict(list))
    failed: set[Setting] = field(default_factory=set)

    def energy_J(self, setting: Setting) -> float:
        return math.exp(fmean(math.log(cost.energy_J) for cost in self.known[setting]))

    def time_s(self, setting: Setting) -> float:
        return math.exp(fmean(math.log(cost.time_s) for cost in self.known[setting]))

    def within(self, bound_s: float) -> list[Setting]:
        """Return the settings within the bound, the one with the least energy first."""
        return sorted((one for one in self.known if self.time_s(one) <= bound_s), key=self.energy_J)


def search(
    space: Space, probe: Callable[[Setting], Cost], *, probes: int, bound_s: float | None = None, seed: int = 1
) -> Found:
    """Probe at most `probes` settings of the space and return what was found.

    `bound_s` is the longest mean time of a unit of work. `probe` raises ProbeFailedError where a setting cannot run.
    Raises ProbeFailedError with the last reason where all of the first ones fail.
    """
    sampler = ResponseSampler(space, probes, math.inf if bound_s is None else bound_s, seed)
    distributions: dict[str, BaseDistribution] = {
        knob: CategoricalDistribution(tuple(space.values(knob))) for knob in KNOBS
    }
    with _quiet():
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        done: list[Probe] = []
        while len(done) < min(probes, len(space.settings()) + REPEATS * (MOST - 1)):
            trial = study.ask(distributions)
            setting = Setting(**trial.params)
            try:
                cost = probe(setting)
            except ProbeFailedError as error:
                study.tell(trial, state=TrialState.FAIL)
                done.append(Probe(setting, None, str(error)))
                if all(one.cost is None for one in done) and len(done) >= min(FIRST, len(space.settings())):
                    raise
                continue
            study.tell(trial, [cost.energy_J, cost.time_s])
            done.append(Probe(setting, cost))
        costs = _costs(study.trials)
        if not costs.known:
            raise ProbeFailedError(done[-1].failure)
        front = list(dict.fromkeys(Setting(**trial.params) for trial in study.best_trials))
    allowed = costs.within(sampler.bound_s)
    repeated = [one for one in allowed if len(costs.known[one]) > 1] or allowed
    best = repeated[0] if repeated else min(costs.known, key=costs.time_s)
    return Found(done, best, bool(allowed), sorted(front, key=costs.time_s))


class ResponseSampler(BaseSampler):
    """Samples an Optuna study of energy and time by response surfaces of both.

    First a Latin hypercube; then what is expected to improve most on the least energy within the bound (Jones and
    others, Journal of Global Optimization 13, 1998; with the probability of the bound: Gardner and others, ICML 2014);
    then the neighbours of the best setting; at last the best settings again. Optuna's own samplers need more probes:
    benchmarks/tuning.py compares its TPE.
    """

    def __init__(self, space: Space, probes: int, bound_s: float, seed: int) -> None:
        self.bound_s = bound_s
        self._space, self._settings = space, space.settings()
        self._coordinates = space.coordinates(self._settings)
        self._probes = probes
        self._first = self._spread(seed)

    def _spread(self, seed: int) -> list[Setting]:
        """Return settings that are spread over the space."""
        if not self._space.turned:
            return self._settings
        cube = qmc.LatinHypercube(len(self._space.turned), optimization="random-cd", rng=seed)
        wanted = cube.random(min(FIRST, self._probes))
        nearest = [int(np.argmin(((self._coordinates - one) ** 2).sum(axis=1))) for one in wanted]
        return [self._settings[index] for index in dict.fromkeys(nearest)]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return no space: it is fixed, and `sample_independent` knows it."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing; see `infer_relative_search_space`."""
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Choose the setting of the trial."""
        before = [one for one in study.get_trials(deepcopy=False) if one.state.is_finished()]
        self._next = self._chosen(_costs(before), len(before))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value of a knob in the chosen setting."""
        return getattr(self._next, param_name)

    def _chosen(self, costs: _Costs, number: int) -> Setting:
        new = [i for i, one in enumerate(self._settings) if one not in costs.known and one not in costs.failed]
        spread = [one for one in self._first if one not in costs.known and one not in costs.failed]
        if number < FIRST and spread:
            return spread[0]
        if not costs.known:
            return self._settings[new[0]] if new else self._settings[0]
        if not new or (number >= self._probes - REPEATS and len(self._settings) > self._probes):
            return self._again(costs)
        return self._settings[self._improving(costs, new, turn=number >= self._probes - REPEATS - STEPS)]

    def _again(self, costs: _Costs) -> Setting:
        """Return the best of the settings that were not probed MOST times; it is probed again."""
        ranked = costs.within(self.bound_s) or sorted(costs.known, key=costs.time_s)
        return next((one for one in ranked[:REPEATS] if len(costs.known[one]) < MOST), ranked[0])

    def _improving(self, costs: _Costs, new: Sequence[int], turn: bool) -> int:
        """Return the new setting that is expected to improve most; `turn`: one that is a step from the best."""
        energy, time = self._responses(costs)
        expected, deviation = energy.at(self._coordinates)
        expected_time, time_deviation = time.at(self._coordinates)
        likely = norm.cdf((math.log(self.bound_s) - expected_time) / time_deviation)
        allowed = [self._settings.index(one) for one in costs.within(self.bound_s)]
        if not allowed:  # first one within the bound has to be found
            return max(new, key=lambda i: likely[i])
        best = min(allowed, key=lambda i: expected[i])
        if turn and (near := [i for i in new if likely[i] > LIKELY and self._is_step(best, i)]):
            return min(near, key=lambda i: expected[i] - deviation[i])
        gain = (expected[best] - expected) / deviation
        improvement = deviation * (gain * norm.cdf(gain) + norm.pdf(gain)) * likely
        return max(new, key=lambda i: improvement[i])

    def _responses(self, costs: _Costs) -> tuple[Response, Response]:
        probed = [(one, cost) for one, of_it in costs.known.items() for cost in of_it]
        failed = sorted(costs.failed - costs.known.keys(), key=self._settings.index)
        places: Array = self._space.coordinates([*(one for one, _ in probed), *failed])
        energies, times = [cost.energy_J for _, cost in probed], [cost.time_s for _, cost in probed]
        return (
            Response(places, [*energies, *[FAILED * max(energies)] * len(failed)]),
            Response(places, [*times, *[FAILED * max(times)] * len(failed)]),
        )

    def _is_step(self, one: int, other: int) -> bool:
        """Whether two settings differ in one knob, by one step."""
        steps = np.array([len(self._space.values(knob)) - 1 for knob in self._space.turned])
        apart = np.abs(self._coordinates[one] - self._coordinates[other]) * steps
        return bool(round(float(apart.sum())) == 1)


def _costs(trials: Sequence[FrozenTrial]) -> _Costs:
    costs = _Costs()
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            costs.known[Setting(**trial.params)].append(Cost(*trial.values))
        elif trial.state == TrialState.FAIL:
            costs.failed.add(Setting(**trial.params))
    return costs


@contextlib.contextmanager
def _quiet() -> Any:
    """Leave out Optuna's line for each trial, and its warnings that an interface is new."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
