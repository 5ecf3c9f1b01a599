"""Servers measured side by side: started several times, and sent rounds in blocks, in random order, after each start.

Two processes of the same program differ in speed for as long as they run (by 1 to 2 % here), since their memory is
placed differently. So one start of each server is one observation, however many rounds it answers. T. Kalibera and
R. Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013.
"""

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from greenllm.attribution.live import RunningJob
from greenllm.config.models import Deployment
from greenllm.documents.measurement import MeasurementWindow, PlannedStarts, ThreadChoice
from greenllm.errors import UserError
from greenllm.load.loaded_server import LoadedServer, failing, loading_server, suspended
from greenllm.load.measurement_job import Contender, MeasurementJob
from greenllm.load.rounds import Order, Round, Stopwatch

# A block in which the host was suspended is sent again, this many times in all.
MOST_AGAIN = 10
Concurrency = int | None


class Rounds(NamedTuple):
    """The number of rounds of a server, and the shortest length of one (s)."""

    number: int
    length_s: float


# The host's speed changes within seconds (here, neighbouring rounds of 0.5 s had a correlation of 0.4 to 0.8), and what
# all rounds of a block have in common cancels. So short rounds show more; reading the sensors takes 0.025 s for each.
ROUNDS = Rounds(64, 0.125)
# A GPU's sensors are renewed every 0.02 to 0.1 s (arXiv 2312.02741), and what it takes in between is shared out evenly.
# In rounds that are too short, one server would be charged with a part of its neighbour's energy.
ROUNDS_ON_GPU = Rounds(16, 2.0)


class HostSuspendedError(Exception):
    """The host was suspended, or its wall clock was set, too many times during a measurement."""


@dataclass(frozen=True)
class PlacedRound:
    """A round with its start and block, and the attempt of the server that answered it (None: a server elsewhere)."""

    start: int
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
    gpus: int = 0
    failure: str | None = None

    def opened(self, server: LoadedServer) -> None:
        """Note what is known of a server that has answered its first requests."""
        target = server.target
        self.engine, self.metered, self.energy_reason = target.engine, target.metered, target.energy_reason
        self.memory, self.gpus = target.memory(), target.gpus


class SideBySideMeasurement:
    """The measurement of a job's servers: each is started several times, and sent rounds after each start.

    `orders` are the names in the order of each block, for each concurrency.
    """

    def __init__(
        self,
        job: MeasurementJob,
        around: RunningJob,
        threads: Mapping[str, ThreadChoice],
        loaded: Literal["all", "one"],
    ) -> None:
        """`around` is this process's own job; `threads` has each server's number, by name."""
        self.job, self.around, self.loaded = job, around, loaded
        self.measured = {one.name: Measured(one, threads[one.name]) for one in job.contenders}
        self.orders: dict[Concurrency, list[list[str]]] = {}
        settings = job.settings
        on_gpu = any(job.gpus_for(one) for one in job.contenders)
        # With a rate there is one point only: the rate determines how many requests run at once.
        self.concurrencies: list[Concurrency] = list(settings.concurrency) if settings.rate_per_s is None else [None]
        self.planned = fixed_starts(settings, on_gpu=on_gpu)
        self._random = random.Random(job.seed)
        self._suspensions = 0

    def measure(self, more_starts: Callable[["SideBySideMeasurement"], PlannedStarts]) -> None:
        """Measure. After the first stage, `more_starts` says how often the servers are started in all.

        Raises `UserError` if every server fails, `HostSuspendedError` if the host does not stay awake.
        """
        for start in range(self.planned.first):
            self._start(start)
        self.planned = more_starts(self)
        for start in range(self.planned.first, self.planned.starts):
            self._start(start)
        self._require_one()

    def _start(self, start: int) -> None:
        """Start the servers that have not failed, send them their rounds, and stop them: all at once, or one by one."""
        alive = [name for name, measured in self.measured.items() if measured.failure is None]
        if self.loaded == "all":
            self._rounds(start, alive)
            return
        self._random.shuffle(alive)
        for name in alive:
            self._rounds(start, [name])
        for concurrency in self.concurrencies:
            self.orders.setdefault(concurrency, []).append(alive)

    def _rounds(self, start: int, names: Sequence[str]) -> None:
        """Start servers, send them their rounds in blocks at each concurrency, and stop them."""
        stacks: dict[str, contextlib.ExitStack] = {}
        starting: dict[str, Callable[[], LoadedServer]] = {}
        servers: dict[str, LoadedServer] = {}
        with contextlib.ExitStack() as all_of_them:
            for name in names:
                measured, stacks[name] = self.measured[name], all_of_them.enter_context(contextlib.ExitStack())
                with self._noting_failure(name, stacks[name], servers):
                    own = loading_server(self.job, measured.contender, measured.threads.threads, start, self.around)
                    starting[name] = stacks[name].enter_context(own)
            for name, loaded in starting.items():
                with self._noting_failure(name, stacks[name], servers):
                    servers[name] = loaded()
            for concurrency in self.concurrencies:
                for name in list(servers):
                    with self._noting_failure(name, stacks[name], servers):
                        self._warm_up(servers[name], concurrency)
                if start == 0 and concurrency == self.concurrencies[0]:
                    for name, server in servers.items():
                        self.measured[name].opened(server)
                    self._idle(servers)
                self._blocks(concurrency, start, servers, stacks)
            for name in list(servers):
                with self._noting_failure(name, stacks[name], servers):
                    stacks[name].close()

    def _blocks(
        self,
        concurrency: Concurrency,
        start: int,
        servers: dict[str, LoadedServer],
        stacks: Mapping[str, contextlib.ExitStack],
    ) -> None:
        each = self.planned.rounds
        for block in range(start * each, (start + 1) * each):
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
                if self.loaded == "all":
                    self.orders.setdefault(concurrency, []).append(order)
                for name, server in servers.items():
                    together = block if self.loaded == "all" else start
                    place = PlacedRound(start, together, server.serve_id, sent[name])
                    self.measured[name].rounds.setdefault(concurrency, []).append(place)
                break

    def _note_suspension(self) -> None:
        """Count a suspension: the block is sent again. Raise `HostSuspendedError` after too many."""
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
        settings, planned = self.job.settings, self.planned
        least = max(math.ceil(settings.requests / (planned.first * planned.rounds)), concurrency or 1)
        return Order(least, number * least, planned.round_s, concurrency or 1, settings.rate_per_s)

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


def _answered(sent: Round) -> Round:
    """Return a round; raise `UserError` if none of its requests was answered."""
    if not sent.answered:
        first = sent.answers[0].error if sent.answers else "nothing was sent"
        raise UserError(f"none of {len(sent.answers)} requests was answered; the first: {first}")
    return sent


def fixed_starts(settings: Deployment, *, on_gpu: bool) -> PlannedStarts:
    """Return how often the servers are started, and their rounds after a start, by the settings alone.

    `on_gpu`: a server may use a GPU.
    """
    by_sensor = ROUNDS_ON_GPU if on_gpu else ROUNDS
    rounds = by_sensor.number if settings.rounds is None else settings.rounds
    starts = min(settings.starts, rounds)
    return PlannedStarts(
        first=starts,
        starts=starts,
        rounds=math.ceil(rounds / starts),
        round_s=by_sensor.length_s if settings.round_s is None else settings.round_s,
        reason="fixed before the measurement (deploy.starts, deploy.rounds)",
    )
