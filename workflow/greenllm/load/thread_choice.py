"""The choice of a server's number of threads: least energy per request within the latency that the study allows."""

from collections.abc import Sequence
from statistics import fmean

from greenllm.config.models import Deployment
from greenllm.documents.measurement import ProbedThreads, ThreadChoice
from greenllm.engines import CHANGE_THREADS
from greenllm.estimate import Estimate
from greenllm.load.per_unit import energy_per_unit
from greenllm.load.thread_probe import ProbedRound
from greenllm.model_folder.manifest import EngineName
from greenllm.statistics import halfwidth


def without_probe(settings: Deployment, engine: EngineName, reserved: int) -> ThreadChoice | None:
    """Return the choice where nothing is to be probed, else None. `reserved` is the most threads of a server."""
    if settings.threads != "auto":
        more = f" is {settings.threads}, but only {reserved} are reserved" if settings.threads > reserved else ""
        return ThreadChoice(threads=min(settings.threads, reserved), reason=f"deploy.threads{more}")
    if settings.server is not None:
        return ThreadChoice(threads=reserved, reason="those that are reserved: deploy.server sets its threads itself")
    if engine not in CHANGE_THREADS:
        reason = f"those that are reserved: the number of the engine {engine} cannot be changed"
        return ThreadChoice(threads=reserved, reason=reason)
    if reserved == 1:
        return ThreadChoice(threads=1, reason="only one is reserved")
    return None


def choose(rounds: Sequence[ProbedRound], energies: Sequence[Estimate | None], latency_s: float | None) -> ThreadChoice:
    """Return the number of threads with the least energy per request; `energies` are those of the rounds, in J.

    Only numbers whose mean time per request is at most `latency_s` (None: any) are chosen from; if there are none, the
    fastest is chosen. If an energy is unknown, the processor time decides instead. The reason names the numbers whose
    difference from the chosen one is not resolved (95 % t-interval of the differences, paired by prompts). Expects at
    least one round.
    """
    known = [energy for energy in energies if energy is not None]
    complete = len(known) == len(rounds)
    spent: dict[int, list[float]] = {}  # per request: J, or s of processor time; by threads, in order of the prompts
    for round, energy in sorted(zip(rounds, energies, strict=True), key=lambda pair: pair[0].order.start):
        amount = energy.value if complete and energy is not None else round.cpu_s
        spent.setdefault(round.order.threads, []).append(amount / round.answered)
    numbers = sorted(spent)
    probed = [_probed(number, rounds, energies) for number in numbers]
    time_s = {row.threads: row.time_per_request_s for row in probed}
    allowed = [number for number in numbers if latency_s is None or time_s[number] <= latency_s]
    if not allowed:
        fastest = min(numbers, key=lambda number: time_s[number])
        reason = f"fastest of {_listed(numbers)}: none answers within deploy.latency_s, {latency_s:g} s"
        return ThreadChoice(threads=fastest, reason=reason, probed=probed)
    chosen = min(allowed, key=lambda number: fmean(spent[number]))
    alike = [number for number in allowed if number != chosen and not _more(spent[number], spent[chosen])]
    reason = f"least {'energy' if complete else 'processor time'} per request of {_listed(allowed)}"
    if len(allowed) < len(numbers):
        reason += f", which answer within deploy.latency_s, {latency_s:g} s"
    if alike:
        reason += f"; that of {_listed(alike)} is not resolvably larger"
    if not complete:
        reason += "; the energy is unknown"
    return ThreadChoice(threads=chosen, reason=reason, probed=probed)


def _more(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether `one` is resolvably more than `other`, pair by pair."""
    differences = [a - b for a, b in zip(one, other, strict=True)]
    return fmean(differences) > halfwidth(differences)


def _probed(number: int, rounds: Sequence[ProbedRound], energies: Sequence[Estimate | None]) -> ProbedThreads:
    """Return what a request takes with a number of threads."""
    pairs = [pair for pair in zip(rounds, energies, strict=True) if pair[0].order.threads == number]
    own = [round for round, _ in pairs]
    answered = sum(round.answered for round in own)
    return ProbedThreads(
        threads=number,
        rounds=len(own),
        energy_per_request_J=energy_per_unit([energy for _, energy in pairs], [round.answered for round in own]),
        cpu_s_per_request=sum(round.cpu_s for round in own) / answered,
        time_per_request_s=sum(round.time_per_request_s * round.answered for round in own) / answered,
    )


def _listed(numbers: Sequence[int]) -> str:
    """Return numbers of threads in words, such as "1, 2 and 4 threads"."""
    *first, last = map(str, numbers)
    unit = "thread" if list(numbers) == [1] else "threads"
    return f"{', '.join(first)} and {last} {unit}" if first else f"{last} {unit}"
