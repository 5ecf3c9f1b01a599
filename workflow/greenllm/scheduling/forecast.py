"""The signal of a policy: carbon, price or both over time, from files in the formats of recorded series."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from greenllm.config.policy import Policy, seconds_of
from greenllm.errors import UserError, listed
from greenllm.footprint.formulas import J_PER_kWh
from greenllm.footprint.series import RecordedSeries, read_series
from greenllm.footprint.series.steps import CARBON_UNIT
from greenllm.scheduling.problem import MS, Course
from greenllm.timestamps import rfc3339

CARBON = "gCO2e"  # the unit of a carbon objective
ENERGY = "J"  # that of the objective energy
GRAMS_PER_TONNE = 1e6


@dataclass(frozen=True)
class SignalFile:
    """A file of a signal, what it holds, and how much its values count in the objective."""

    path: str
    series: RecordedSeries
    weight: float

    def known_until(self, begin_s: float) -> float:
        """Return until when there are values from a time on without a gap (Unix time, s)."""
        until = begin_s
        for start, end in zip(self.series.times, self.series.ends, strict=True):
            if start <= until < end:
                until = end
        return until


@dataclass(frozen=True)
class Covering:
    """Words for times that a signal does not cover: what happens then, and what mends it at the begin and the end."""

    starting: str
    ending: str
    during: str
    begin: str
    end: str


MAY_RUN = Covering(
    "jobs may start at", "jobs may run until", "when jobs may run",
    "get a forecast from then on, or correct the time zone of its times",
    "get a longer forecast, or set an earlier policy.deadline or a shorter policy.max_delay",
)  # fmt: skip
RAN = Covering(
    "jobs started at", "jobs ran until (or would have without the plan)", "when jobs ran",
    "name a file in policy.recorded with the values from then on, and run `greenllm account` again",
    "name a file in policy.recorded with the values until then, and run `greenllm account` again",
)  # fmt: skip


@dataclass(frozen=True)
class Signal:
    """What a joule costs over time; `unit` is that of the costs: gCO2e, a currency, or (without files) J."""

    unit: str
    files: Sequence[SignalFile]

    def course(self, begin_s: float, end_s: float, times: "Covering | None" = None) -> Course:
        """Return the costs between two times (Unix time, s), by default those at which planned jobs may run.

        Raises UserError, with the remedies of `times`, where the files do not cover them all.
        """
        for file in self.files:
            _require_covered(file, begin_s, end_s, times or MAY_RUN)
        return self._course([file.series.values for file in self.files], begin_s, end_s)

    def known_until(self, begin_s: float) -> float:
        """Return until when all files have values from a time on without a gap (Unix time, s); inf without files."""
        return min((file.known_until(begin_s) for file in self.files), default=math.inf)

    def bounds(self, begin_s: float, end_s: float) -> tuple[Course, Course] | None:
        """Return the courses of the 95 % bounds; None if a file has none."""
        lows = [file.series.lows for file in self.files]
        highs = [file.series.highs for file in self.files]
        if any(one is None for one in (*lows, *highs)):
            return None
        low, high = (self._course([one for one in bound if one is not None], begin_s, end_s) for bound in (lows, highs))
        return low, high

    def _course(self, values: Sequence[Sequence[float]], begin_s: float, end_s: float) -> Course:
        every = [(file, np.asarray(own, dtype=float)) for file, own in zip(self.files, values, strict=True)]
        starts = np.unique(np.concatenate([[begin_s], *(np.asarray(file.series.times) for file, _ in every)]))
        starts = starts[(starts >= begin_s) & (starts < end_s)]
        rates = np.zeros(len(starts)) if every else np.ones(len(starts))
        for file, own in every:
            index = np.searchsorted(np.asarray(file.series.times), starts, side="right") - 1
            rates += file.weight * own[np.maximum(index, 0)] / J_PER_kWh
        edges: npt.NDArray[np.int64] = np.round((np.append(starts, end_s) - begin_s) * MS).astype(np.int64)
        return Course(edges, rates)


def signal_of(policy: Policy, key: str = "signal", now_s: float | None = None) -> Signal | None:
    """Return the signal of a policy's files in `key` (signal or recorded); None if there are none, but some are needed.

    Raises UserError for a file that is not valid, is too old (of `signal` alone), or does not fit the objective.
    """
    paths: list[str] = getattr(policy, key)
    if policy.objective == "energy":
        if paths:
            raise UserError(f"policy.{key}: names a file, but the objective energy needs none; leave it out")
        return Signal(ENERGY, [])
    if not paths or policy.objective is None:
        return None
    found = [(path, read_series(Path(path), forecast=key == "signal")) for path in paths]
    if key == "signal" and policy.max_age is not None:
        for path, series in found:
            _require_fresh(path, series, policy.max_age, time.time() if now_s is None else now_s)
    carbon = [(path, series) for path, series in found if series.unit == CARBON_UNIT]
    price = [(path, series) for path, series in found if series.unit != CARBON_UNIT]
    wanted = {"carbon": (1, 0), "price": (0, 1), "both": (1, 1)}[policy.objective]
    if (len(carbon), len(price)) != wanted:
        units = listed([f"{path} in {series.unit}" for path, series in found])
        expected = {"carbon": f"one file in {CARBON_UNIT}", "price": "one file in a unit such as EUR/MWh"}
        raise UserError(
            f"policy.{key}: {units}; expected "
            f"{expected.get(policy.objective, ' and '.join(expected.values()))} for objective {policy.objective}"
        )
    if price and not price[0][1].unit[:3].isupper():
        raise UserError(f"policy.{key}: {price[0][0]} is in {price[0][1].unit}; expected carbon or a price")
    if policy.objective == "both" and policy.carbon_price_per_t is None:
        raise UserError("policy.carbon_price_per_t: is missing; expected a number, since the objective is both")
    grams = 1.0 if policy.objective == "carbon" else (policy.carbon_price_per_t or 0.0) / GRAMS_PER_TONNE
    return Signal(
        unit=price[0][1].unit[:3] if price else CARBON,
        files=[
            *(SignalFile(path, series, grams) for path, series in carbon),
            *(SignalFile(path, series, 1.0) for path, series in price),
        ],
    )


def _require_fresh(path: str, series: RecordedSeries, max_age: str, now_s: float) -> None:
    """Raise UserError for an old forecast, by the time in the file at which it was made, else by the file's time."""
    made_s = Path(path).stat().st_mtime if series.issued is None else series.issued
    if now_s - made_s > seconds_of(max_age):
        verb = "written" if series.issued is None else "made"
        raise UserError(
            f"{path}: was {verb} at {rfc3339(made_s)}, {(now_s - made_s) / 3600:.3g} h ago, more than "
            f"policy.max_age ({max_age}); get a new forecast, or set policy.max_age to null"
        )


def _require_covered(file: SignalFile, begin_s: float, end_s: float, times: Covering) -> None:
    """Raise UserError unless a file has values for all of a time."""
    series = file.series
    covers = f"covers {rfc3339(series.times[0])} to {rfc3339(series.ends[-1])}"
    if series.times[0] > begin_s or series.ends[-1] <= begin_s:
        raise UserError(f"{file.path}: {covers} (UTC), but {times.starting} {rfc3339(begin_s)}; {times.begin}")
    if series.ends[-1] < end_s - 1e-3:
        raise UserError(f"{file.path}: {covers} (UTC), but {times.ending} {rfc3339(end_s)}; {times.end}")
    for end, following in zip(series.ends, series.times[1:], strict=False):
        if following > end and following > begin_s and end < end_s:
            raise UserError(
                f"{file.path}: has no values from {rfc3339(end)} to {rfc3339(following)} (UTC), {times.during}; "
                "fill the gap"
            )
