"""The search for the setting with the least energy within a bound of time, by Optuna's Gaussian process."""

import contextlib
import math
import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

import optuna
import torch
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import GPSampler
from optuna.trial import create_trial
from scipy.stats import qmc

from greenllm.tuning.space import Setting, Space

# Of the probes, FIRST are spread over the space. The last ones, REPEATS but at most a quarter of all, repeat the best
# settings, since the least of many noisy figures is too low. A setting is probed MOST times at most.
FIRST, REPEATS, MOST = 7, 3, 3


class ProbeFailedError(Exception):
    """A setting cannot run, such as a batch for which there is not enough memory; the message says why."""


@dataclass(frozen=True)
class Cost:
    """What a probe measured of one unit of work, a sample or a request: energy (J) and time (s).

    `bounds_J` are the 95 % bounds of the energy by the sensors' errors, most of which all probes share.
    """

    energy_J: float
    time_s: float
    bounds_J: tuple[float, float] | None = None


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

    @cached_property
    def costs(self) -> Mapping[Setting, Sequence[Cost]]:
        """The costs of each setting that ran, in the order in which they were first probed."""
        costs: dict[Setting, list[Cost]] = {}
        for probe in self.probes:
            if probe.cost is not None:
                costs.setdefault(probe.setting, []).append(probe.cost)
        return costs

    def typical(self, setting: Setting) -> Cost:
        """Return the median of a setting's probes: one that was disturbed counts little."""
        return _median(self.costs[setting])


@dataclass
class _Costs:
    """The costs of the settings that were probed."""

    known: dict[Setting, list[Cost]] = field(default_factory=lambda: defaultdict(list))

    def typical(self, setting: Setting) -> Cost:
        """Return the median of a setting's probes."""
        return _median(self.known[setting])

    def within(self, bound_s: float) -> list[Setting]:
        """Return the settings within the bound, the one with the least energy first."""
        return sorted((one for one in self.known if self.typical(one).time_s <= bound_s), key=self._energy_J)

    def fastest(self) -> list[Setting]:
        """Return all settings, the fastest first."""
        return sorted(self.known, key=lambda one: self.typical(one).time_s)

    def front(self) -> list[Setting]:
        """Return the settings than which none is better in both energy and time, the fastest first."""
        front: list[Setting] = []
        for one in self.fastest():
            if not front or self._energy_J(one) < self._energy_J(front[-1]):
                front.append(one)
        return front

    def _energy_J(self, setting: Setting) -> float:
        return self.typical(setting).energy_J


def search(
    space: Space, probe: Callable[[Setting], Cost], *, probes: int, bound_s: float | None = None, seed: int = 1
) -> Found:
    """Probe at most `probes` settings of the space and return what was found. A small space is probed whole.

    `bound_s` is the longest mean time of a unit of work. `probe` raises ProbeFailedError where a setting cannot run.
    Raises ProbeFailedError with the last reason where all of the first ones fail.
    """
    settings, longest_s = space.settings(), math.inf if bound_s is None else bound_s
    new = min(len(settings), probes - min(REPEATS, probes // 4))
    first = settings if new == len(settings) else _spread(space, min(FIRST, new), seed)
    most = min(probes, len(settings) + REPEATS * (MOST - 1))
    costs, done = _Costs(), list[Probe]()
    while len(done) < most:
        probed = len({one.setting for one in done})
        if len(done) < len(first):
            setting = first[len(done)]
        elif costs.known and (probed == len(settings) or (len(done) >= new and costs.within(longest_s))):
            setting = _again(costs, longest_s)
        else:
            setting = _improving(space, done, costs, longest_s, seed)
        try:
            cost = probe(setting)
        except ProbeFailedError as error:
            done.append(Probe(setting, None, str(error)))
            if not costs.known and len(done) >= min(FIRST, new):
                raise
            continue
        costs.known[setting].append(cost)
        done.append(Probe(setting, cost))
    allowed = costs.within(longest_s)
    # The least of single figures is too low. But of one setting that was repeated there is no choice.
    repeated = [one for one in allowed if len(costs.known[one]) > 1]
    best = ((repeated if len(repeated) > 1 else allowed) or costs.fastest())[0]
    return Found(done, best, bool(allowed), costs.front())


def _median(costs: Sequence[Cost]) -> Cost:
    bounds_J = [one.bounds_J for one in costs if one.bounds_J is not None]
    low_J, high_J = ([bounds[side] for bounds in bounds_J] for side in (0, 1))
    return Cost(
        median(one.energy_J for one in costs),
        median(one.time_s for one in costs),
        (median(low_J), median(high_J)) if bounds_J else None,
    )


def _spread(space: Space, number: int, seed: int) -> list[Setting]:
    """Return settings that are spread over the space: a Latin hypercube."""
    sizes = [len(space.values(knob)) for knob in space.turned]
    cube = qmc.LatinHypercube(len(sizes), optimization="random-cd", rng=seed)
    places = cube.integers(l_bounds=[0] * len(sizes), u_bounds=sizes, n=number)
    return list(dict.fromkeys(space.at(dict(zip(space.turned, map(int, one), strict=True))) for one in places))


def _improving(space: Space, done: Sequence[Probe], costs: _Costs, longest_s: float, seed: int) -> Setting:
    """Return the new setting that is expected to improve most on the least energy within the bound.

    Where Optuna's sampler suggests a setting that was probed, it is a new one that is the fewest steps of knobs away.
    """
    probed = {one.setting for one in done}
    suggested = _suggested(space, done, costs, longest_s, seed)
    new = [one for one in space.settings() if one not in probed]
    random.Random(seed + len(done)).shuffle(new)  # of equally near ones any
    return min(new, key=lambda one: space.steps(one, suggested))


def _suggested(space: Space, done: Sequence[Probe], costs: _Costs, longest_s: float, seed: int) -> Setting:
    """Return the suggestion of Optuna's sampler.

    Gaussian processes model the logarithm of the energy, the bound of time and whether a setting runs (constrained
    expected improvement: Gardner and others, ICML 2014). A setting that does not run has the cost of the nearest one
    that does, which leaves the model of the energy nearly as it is. As long as none is within the bound, the least time
    is searched for. benchmarks/tuning.py compares Optuna's TPE.
    """
    distributions: dict[str, BaseDistribution] = {
        knob: IntDistribution(0, len(space.values(knob)) - 1) for knob in space.turned
    }
    within = bool(costs.within(longest_s))
    with _quiet():
        study = optuna.create_study(sampler=GPSampler(seed=(seed + len(done)) % 2**32, n_startup_trials=1))
        for one in done if costs.known else ():
            nearest = min(costs.known, key=lambda other: space.steps(other, one.setting))
            cost = one.cost or costs.typical(nearest)
            limits = {"runs": -1.0 if one.cost else 1.0}  # at most 0 where it is met
            if within and longest_s < math.inf:
                limits["time"] = math.log(cost.time_s / longest_s)
            study.add_trial(
                create_trial(
                    params=space.places(one.setting),
                    distributions=distributions,
                    value=math.log(cost.energy_J if within else cost.time_s),
                    constraints=limits,
                )
            )
        return space.at(study.ask(distributions).params)


def _again(costs: _Costs, longest_s: float) -> Setting:
    """Return the best of the settings that were not probed MOST times; it is probed again."""
    ranked = costs.within(longest_s) or costs.fastest()
    return next((one for one in ranked[:REPEATS] if len(costs.known[one]) < MOST), ranked[0])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Optuna's line for each trial, and its warnings that an interface is new; compute with one thread.

    Further threads of PyTorch would still be spinning while the next setting is probed.
    """
    verbosity, threads = optuna.logging.get_verbosity(), torch.get_num_threads()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        torch.set_num_threads(threads)
        optuna.logging.set_verbosity(verbosity)
