"""Which attempts made an attempt's inputs, found by path and fingerprint."""

import math
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from greenllm.attribution.attempt import Attempt
from greenllm.attribution.nesting import parent_among
from greenllm.meter.fingerprints import same, same_but_for_time

CLOCKS_s = 300.0  # clocks of two hosts may differ by this much
Moment = tuple[float, float]  # wall clock that never goes back within a boot, CLOCK_MONOTONIC (both in s)


@dataclass(frozen=True)
class InputOrigin:
    """Where an input came from: `maker` made it, or `unknown` says why its maker is unknown; otherwise from outside.

    `changed`: attempts left something there, but nothing of this content, or of this size where no hash is known.
    `retimed`: one of them left something of this size at another time, and no hash is known.
    """

    path: str
    fingerprint: Any
    maker: Attempt | None = None
    unknown: str | None = None
    changed: bool = False
    retimed: bool = False


class Ancestry(NamedTuple):
    """An attempt with its ancestors, each once and in order of time.

    Meters inside one of them are part of it, and not listed. `unknown` says which ancestors are unknown, and why.
    `sources` are the inputs from outside, which no metered attempt made.
    """

    attempts: list[Attempt]
    unknown: list[str]
    sources: list[str]


class Lineage:
    """Attempts in order of time, and what each made from what.

    Within a boot the order is that of CLOCK_MONOTONIC, since the wall clock may be set; across boots that of the wall
    clock. Each job's paths are relative to the folder in which it ran; here they are relative to that of the first job.
    A study that was copied or moved with its ledgers, and then continued, is one study: paths are those of the first
    place. The ledgers' folder, as each job knew it, says where it was.
    """

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self.attempts = attempts
        self._base = next((a.start.cwd for a in attempts if a.start.cwd), None)
        self._ledgers = next((a.start.ledger for a in attempts if a.start.ledger), None)
        self._began, self._ended = _moments(attempts)
        self._made: dict[str, list[Attempt]] = {}  # by path, in order of their ends
        for attempt in sorted(attempts, key=lambda a: (self._ended[a.id], a.id)):
            for path in self.outputs(attempt) or ():
                self._made.setdefault(path, []).append(attempt)
        self._below: dict[str, list[str]] = {}  # folder → paths in it that attempts made
        for path in self._made:
            for folder in _folders_around(path):
                self._below.setdefault(folder, []).append(path)
        by_id = {attempt.id: attempt for attempt in attempts}
        ids = set(by_id)
        self._around = {attempt.id: parent_among(attempt, ids, by_id) for attempt in attempts}
        self._children: dict[str | None, list[Attempt]] = {}
        for attempt in attempts:
            self._children.setdefault(self._around[attempt.id], []).append(attempt)
        self._origins: dict[str, list[InputOrigin] | None] = {}

    @property
    def ledger_folder(self) -> str | None:
        """The folder of the ledgers, named as paths are; None where no ledger names it."""
        return None if self._ledgers is None else _relative_to(self._base, None, self._ledgers)

    @cached_property
    def in_order(self) -> list[Attempt]:
        """The attempts in the order in which they began."""
        return sorted(self.attempts, key=self._order)

    def around(self, attempt: Attempt) -> str | None:
        """Return the id of the nearest attempt in which an attempt ran, None where there is none."""
        return self._around[attempt.id]

    def inside(self, attempt: Attempt) -> list[Attempt]:
        """Return the attempts that ran inside an attempt, at any depth."""
        children = self._children.get(attempt.id, [])
        return [*children, *(inner for child in children for inner in self.inside(child))]

    def began_before_the_end_of(self, attempt: Attempt, other: Attempt) -> bool:
        """Whether an attempt began before another ended."""
        return self._began[attempt.id] < self._ended[other.id]

    def artefacts(self) -> Iterator[tuple[str, Attempt]]:
        """Yield each path that an attempt made, with the last attempt that made it (of nested ones, the outermost)."""
        for path, makers in sorted(self._made.items()):
            done = [maker for maker in makers if maker.status == "succeeded"]
            if done:
                yield path, done[-1]

    def origins(self, attempt: Attempt) -> list[InputOrigin] | None:
        """Return where each of an attempt's inputs came from; None where it does not name its inputs."""
        if attempt.id not in self._origins:
            inputs = self._by_path(attempt, attempt.start.inputs)
            self._origins[attempt.id] = (
                None if inputs is None else [self._origin(path, print_, attempt) for path, print_ in inputs.items()]
            )
        return self._origins[attempt.id]

    def ancestry(self, attempt: Attempt) -> Ancestry:
        """Return an attempt with all attempts that it depends on: its inputs' makers, their inputs' makers, and so on.

        The inputs of meters inside an attempt are its own, too.
        """
        found: dict[str, Attempt] = {}
        unknown: dict[str, None] = {}
        sources: dict[str, None] = {}
        waiting = [attempt]
        while waiting:
            one = waiting.pop()
            if one.id in found:
                continue
            found[one.id] = one
            if self.origins(one) is None:
                unknown[f"{one.id}: its inputs are not named (`greenllm meter --input`)"] = None
            parts = [one, *(inner for inner in self.inside(one) if inner.status == "succeeded")]
            ids = {part.id for part in parts}
            for origin in (origin for part in parts for origin in self.origins(part) or ()):
                if origin.unknown is not None:
                    unknown[f"{one.id}: input {origin.path}: {origin.unknown}"] = None
                elif origin.maker is None:
                    sources[origin.path] = None
                elif origin.maker.id not in ids:
                    waiting.append(origin.maker)
        return Ancestry(sorted(found.values(), key=self._order), list(unknown), sorted(sources))

    def outputs(self, attempt: Attempt) -> dict[str, Any] | None:
        """Return {path: fingerprint} of what an attempt left; None where it did not name its outputs, or has no end."""
        return self._by_path(attempt, attempt.end.outputs if attempt.end else None)

    def _left(self, attempt: Attempt, path: str) -> Any:
        return (self.outputs(attempt) or {}).get(path)

    def _by_path(self, attempt: Attempt, prints: dict[str, Any] | None) -> dict[str, Any] | None:
        if prints is None:
            return None
        return {self._named(attempt, path): found for path, found in prints.items()}

    def _named(self, attempt: Attempt, path: str) -> str:
        """Return a path of an attempt relative to the first job's folder, as if the study had never been moved."""
        path = posixpath.join(attempt.start.cwd or "", path)
        return _relative_to(self._base, None, _moved(path, attempt.start.ledger, self._ledgers))

    def _order(self, attempt: Attempt) -> tuple[Moment, str]:
        return self._began[attempt.id], attempt.id

    def _origin(self, path: str, fingerprint: Any, reader: Attempt) -> InputOrigin:
        if fingerprint is None:
            return InputOrigin(path, None, unknown="missing, unreadable or no file when the job began")
        for maker in reversed(self._makers_before(reader, path)):
            if maker.status == "succeeded" and same(self._left(maker, path), fingerprint):
                return InputOrigin(path, fingerprint, maker=maker)
        left = [self._left(maker, path) for maker in self._makers_before(reader, path)]
        alike = [one for one in left if same_but_for_time(one, fingerprint)]
        return InputOrigin(
            path,
            fingerprint,
            unknown=self._doubt(path, fingerprint, reader),
            changed=bool(left) and not alike,
            retimed=bool(alike) and not any(same(one, fingerprint) for one in alike),
        )

    def _doubt(self, path: str, fingerprint: Any, reader: Attempt) -> str | None:
        """Return why an input's maker is unknown; None where no attempt made anything at, around or below its path."""
        if makers := self._makers_before(reader, path):
            alike = [maker for maker in makers if same(self._left(maker, path), fingerprint)]
            return f"left by {alike[-1].id} ({alike[-1].status})" if alike else f"not as {makers[-1].id} left it"
        for folder in _folders_around(path):
            if makers := self._makers_before(reader, folder):
                return f"in {folder}, which {makers[-1].id} made; a folder's fingerprint does not cover single files"
        for part in self._below.get(path, ()):
            if makers := self._makers_before(reader, part):
                return f"holds {part}, which {makers[-1].id} made; a folder's fingerprint does not cover single files"
        for maker in self._makers_by_other_clocks(reader, path):
            if same(self._left(maker, path), fingerprint):
                return f"as {maker.id} left it, which began later by the clock of its host; set the hosts' clocks"
        return None

    def _makers_before(self, reader: Attempt, path: str) -> list[Attempt]:
        """Return the attempts that left something at a path before a reader began, in order of their ends.

        On one boot they must have ended before. Across boots it is enough that they began before: the clocks of two
        hosts may differ by more than a short job takes.
        """
        began = self._began[reader.id]
        return [
            maker
            for maker in self._made.get(path, ())
            if self._order(maker) < self._order(reader)
            and (maker.boot_id != reader.boot_id or self._ended[maker.id][1] <= began[1])
        ]

    def _makers_by_other_clocks(self, reader: Attempt, path: str) -> list[Attempt]:
        """Return the attempts that may have begun before a reader although their host's clock says otherwise."""
        began_s = self._began[reader.id][0]
        return [
            maker
            for maker in self._made.get(path, ())
            if maker.boot_id != reader.boot_id
            and self._order(maker) >= self._order(reader)
            and self._began[maker.id][0] - began_s <= CLOCKS_s
        ]


def _relative_to(base: str | None, cwd: str | None, path: str) -> str:
    """Return a path, which a job in the folder `cwd` named, relative to a base; absolute if it is outside of that."""
    path = posixpath.normpath(posixpath.join(cwd or "", path))
    inside = base is not None and path.startswith(f"{base.rstrip('/')}/")
    return posixpath.relpath(path, base) if inside else path


def _moved(path: str, ledgers: str | None, first: str | None) -> str:
    """Return a path where it was when the ledgers' folder, which is `ledgers` to the job, was still at `first`.

    What the two names have in common at their ends, such as results/ledger, was moved as a whole.
    """
    if ledgers is None or first is None or ledgers == first:
        return path
    here, there = ledgers.rstrip("/").split("/"), first.rstrip("/").split("/")
    while min(len(here), len(there)) > 2 and here[-1] == there[-1]:
        here.pop()
        there.pop()
    folder, path = "/".join(here), posixpath.normpath(path)
    return "/".join(there) + path.removeprefix(folder) if path.startswith(f"{folder}/") else path


def _folders_around(path: str) -> Iterator[str]:
    """Yield the folders around a path, the nearest first."""
    while (folder := posixpath.dirname(path)) not in ("", path):
        yield folder
        path = folder


def _moments(attempts: Sequence[Attempt]) -> tuple[dict[str, Moment], dict[str, Moment]]:
    """Return when each attempt began, and when it ended or was last seen."""
    boots: dict[str, list[tuple[float, float, str, bool]]] = {}
    for attempt in attempts:
        marks = boots.setdefault(attempt.boot_id, [])
        for record, sample, is_end in ((attempt.start, 0, False), (attempt.end, -1, True)):
            monotonic_s, wall_s = (record.monotonic_s, record.wall_s) if record else (None, None)
            if monotonic_s is None:
                monotonic_s = float(attempt.times[sample]) if len(attempt.times) else 0.0
            if wall_s is None:
                wall_s = monotonic_s + attempt.wall_offset_s
            marks.append((monotonic_s, wall_s, attempt.id, is_end))
    began: dict[str, Moment] = {}
    ended: dict[str, Moment] = {}
    for marks in boots.values():
        held_s = -math.inf  # a wall clock that was set back is held until it has caught up
        for monotonic_s, wall_s, attempt_id, is_end in sorted(marks):
            held_s = max(held_s, wall_s)
            (ended if is_end else began)[attempt_id] = held_s, monotonic_s
    return began, ended
