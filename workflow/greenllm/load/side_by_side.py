"""Servers measured side by side: in blocks, in each of which every server gets one round, in random order."""

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from greenllm.attribution.live import RunningJob
from greenllm.config.models import Deployment
from greenllm.documents.measurement import MeasurementWindow, PlannedBlocks, ThreadChoice
from greenllm.errors import UserError
from greenllm.load.loaded_server import LoadedServer, failing, loaded, suspended
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.rounds import Order, Round, Stopwatch

# A block, or with one server loaded a round, in which the host was suspended is sent again, this many times in all.
MOST_AGAIN = 10
Concurrency = int | None


class HostSuspendedError(Exception):
    """The host was suspended, or its wall clock was set, too many times during a measurement."""


@dataclass(frozen=True)
class PlacedRound:
    """A round with its block, and the attempt of the server that answered it (None for a server elsewhere)."""

    block: int
    serve_id: str | None
    sent: Round


@dataclass
class Measured:
    """What was measured of one server so far; `failure` says why nothing more was."""

    contender: Contender
    threads: ThreadChoice
    rounds: dict[Concurrency, list[PlacedRound]] = field(default_factory=dict)
    idle: tuple[str | None, MeasurementWindow] | None = None
    engine: str = ""
    metered: bool = True
    energy_reason: str | None = None
    memory: tuple[int | None, str | None] = (None, None)
    failure: str | None = None

    def opened(self, server: LoadedServer, gpus: int) -> None:
        """Note what is known of a server that has answered its first requests."""
        target = server.target
        self.engine, self.metered, self.energy_reason = target.engine, target.metered, target.energy_reason
        self.memory = target.memory(gpus)


class SideBySideMeasurement:
    """The measurement of a job's servers. `orders` are the names in the order of each block, for each concurrency."""

    def __init__(self, job: MeasurementJob, around: RunningJob, threads: Mapping[str, ThreadChoice]) -> None:
        """`around` is this process's own job; `threads` has each server's number, by name."""
        self.job, self.around = job, around
        self.measured = {one.name: Measured(one, threads[one.name]) for one in job.contenders}
        self.orders: dict[Concurrency, list[list[str]]] = {}
        self.blocks: list[PlannedBlocks] = []
        settings = job.settings
        # With a rate there is one point only: the rate determines how many requests run at once.
        self.concurrencies: list[Concurrency] = list(settings.concurrency) if settings.rate_per_s is None else [None]
        self.loaded: Literal["all", "one"] = "all"
        self._random = random.Random(job.seed)
        self._suspensions = 0

    def with_all_loaded(self, more_blocks: Callable[["SideBySideMeasurement", Concurrency], PlannedBlocks]) -> None:
        """Measure while all servers stay loaded. After the first stage, `more_blocks` says how many blocks there are.

        Raises `UserError` if every server fails, `HostSuspendedError` if the host does not stay awake.
        """
        stacks: dict[str, contextlib.ExitStack] = {}
        servers: dict[str, LoadedServer] = {}
        with contextlib.ExitStack() as all_of_them:
            for name, measured in self.measured.items():
                stacks[name] = all_of_them.enter_context(contextlib.ExitStack())
                with self._noting_failure(name, stacks[name], servers):
                    start = loaded(self.job, measured.contender, measured.threads.threads, 1, self.around)
                    servers[name] = stacks[name].enter_context(start)
            for place, concurrency in enumerate(self.concurrencies):
                for name in list(servers):
                    with self._noting_failure(name, stacks[name], servers):
                        self._warm_up(servers[name], concurrency)
                        if place == 0:
                            self.measured[name].opened(servers[name], self.job.gpus_of(self.measured[name].contender))
                if place == 0:
                    self._idle(servers)
                self._blocks(concurrency, range(self.job.settings.rounds), servers, stacks)
                planned = more_blocks(self, concurrency)
                self._blocks(concurrency, range(self.job.settings.rounds, planned.blocks), servers, stacks)
                self.blocks.append(planned)
            for name in list(servers):
                with self._noting_failure(name, stacks[name], servers):
                    stacks[name].close()
        self._require_one()

    def _blocks(
        self,
        concurrency: Concurrency,
        blocks: range,
        servers: dict[str, LoadedServer],
        stacks: Mapping[str, contextlib.ExitStack],
    ) -> None:
        for block in blocks:
            while servers:
                order = list(servers)
                self._random.shuffle(order)
                sent: dict[str, Round] = {}
                stopwatch = Stopwatch()
                for name in order:
                    with self._noting_failure(name, stacks[name], servers):
                        sent[name] = _answered(servers[name].round(self._order(concurrency, block)))
                if suspended(stopwatch.stop()):
                    self._note_suspension()
                    continue
                self.orders.setdefault(concurrency, []).append(order)
                for name, server in servers.items():
                    place = PlacedRound(block, server.serve_id, sent[name])
                    self.measured[name].rounds.setdefault(concurrency, []).append(place)
                break

    def with_one_loaded(self) -> None:
        """Measure in visits: each server is started several times, in random order, for a few rounds each time.

        The visits of all servers in one cycle are a block. Raises as `with_all_loaded` does.
        """
        settings = self.job.settings
        self.loaded = "one"
        cycles = visits(settings)
        alive = list(self.measured)
        for block in range(cycles):
            order = list(alive)
            self._random.shuffle(order)
            for concurrency in self.concurrencies:
                self.orders.setdefault(concurrency, []).append(order)
            for name in order:
                servers: dict[str, LoadedServer] = {}
                stack = contextlib.ExitStack()
                with stack, self._noting_failure(name, stack, servers):
                    measured = self.measured[name]
                    start = loaded(self.job, measured.contender, measured.threads.threads, block + 1, self.around)
                    servers[name] = stack.enter_context(start)
                    self._visit(name, block, servers)
                    stack.close()
                if self.measured[name].failure is not None:
                    alive.remove(name)
        reason = f"{cycles} visits of {settings.visit_rounds} rounds, fixed before the measurement"
        self.blocks = [
            PlannedBlocks(concurrency=concurrency, first=cycles, blocks=cycles, reason=reason)
            for concurrency in self.concurrencies
        ]
        self._require_one()

    def _visit(self, name: str, block: int, servers: dict[str, LoadedServer]) -> None:
        measured, server = self.measured[name], servers[name]
        for place, concurrency in enumerate(self.concurrencies):
            self._warm_up(server, concurrency)
            if block == place == 0:
                measured.opened(server, self.job.gpus_of(measured.contender))
                self._idle(servers)
            for number in range(self.job.settings.visit_rounds):
                order = self._order(concurrency, block * self.job.settings.visit_rounds + number)
                while suspended((sent := _answered(server.round(order))).window):
                    self._note_suspension()
                measured.rounds.setdefault(concurrency, []).append(PlacedRound(block, server.serve_id, sent))

    def _note_suspension(self) -> None:
        """Count a suspension: the block or the round is sent again. Raise `HostSuspendedError` after too many."""
        self._suspensions += 1
        if self._suspensions > MOST_AGAIN:
            raise HostSuspendedError(
                f"the host was suspended, or its clock was set, {self._suspensions} times; measure again on a host "
                "that stays awake"
            )

    def _warm_up(self, server: LoadedServer, concurrency: Concurrency) -> None:
        """Send the requests that do not count."""
        server.round(Order(self.job.settings.warmup, concurrency=concurrency or 1))

    def _idle(self, servers: Mapping[str, LoadedServer]) -> None:
        """Wait while nothing is sent to any server."""
        if not self.job.settings.idle_s or not servers:
            return
        while True:
            for server in servers.values():
                server.sample()
            window = Stopwatch().after(self.job.settings.idle_s)
            for server in servers.values():
                server.sample()
            if not suspended(window):
                break
            self._note_suspension()
        for name, server in servers.items():
            self.measured[name].idle = server.serve_id, window

    def _order(self, concurrency: Concurrency, number: int) -> Order:
        """Return the order of a round: in one block, all servers get the same prompts."""
        settings = self.job.settings
        least = max(math.ceil(settings.requests / settings.rounds), concurrency or 1)
        return Order(least, number * least, settings.round_s, concurrency or 1, settings.rate_per_s)

    @contextlib.contextmanager
    def _noting_failure(
        self, name: str, stack: contextlib.ExitStack, servers: dict[str, LoadedServer]
    ) -> Iterator[None]:
        """Note a server's failure, and end it; the others go on."""
        try:
            yield
        except UserError as error:
            self.measured[name].failure = failing(stack, error)
            servers.pop(name, None)

    def _require_one(self) -> None:
        failures = {name: one.failure for name, one in self.measured.items() if one.failure is not None}
        if len(failures) == len(self.measured):
            raise UserError("; ".join(dict.fromkeys(str(failure) for failure in failures.values())))


def visits(settings: Deployment) -> int:
    """Return how often each server is started where one is loaded at a time: at least twice, for a spread."""
    return max(2, math.ceil(settings.rounds / settings.visit_rounds))


def _answered(sent: Round) -> Round:
    """Return a round; raise `UserError` if none of its requests was answered."""
    if not sent.answered:
        first = sent.answers[0].error if sent.answers else "nothing was sent"
        raise UserError(f"none of {len(sent.answers)} requests was answered; the first: {first}")
    return sent


def fixed(settings: Deployment, concurrency: Concurrency) -> PlannedBlocks:
    """Return the number of blocks that the settings fix."""
    return PlannedBlocks(
        concurrency=concurrency,
        first=settings.rounds,
        blocks=settings.rounds,
        reason="fixed before the measurement (deploy.rounds)",
    )
