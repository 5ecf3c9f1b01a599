"""The figures of a load: requests, tokens, latencies and throughput."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from greenllm.load.rounds import Round
from greenllm.statistics import percentiles


@dataclass(frozen=True)
class Summary:
    """The figures of some rounds: requests and tokens, latencies (s) and throughput (per s of the rounds' windows)."""

    requests: int
    answered: int
    failed: int
    completion_tokens: int | None
    prompt_tokens: int | None
    latency_s: Mapping[str, float | None]
    time_to_first_token_s: Mapping[str, float | None]
    throughput: Mapping[str, float | None]


def sum_known(counts: Iterable[int | None]) -> int | None:
    """Return a sum, or None if a part of it is unknown: a server need not report its tokens."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def summary_of(rounds: Sequence[Round]) -> Summary:
    """Return the figures of rounds."""
    answers = [answer for round in rounds for answer in round.answers]
    answered = [answer for answer in answers if answer.error is None]
    tokens = sum_known(answer.tokens for answer in answered)
    duration_s = sum(round.window.duration_s for round in rounds)
    latencies = [answer.latency_s for answer in answered if answer.latency_s is not None]
    first = [answer.time_to_first_token_s for answer in answered if answer.time_to_first_token_s is not None]
    return Summary(
        requests=len(answers),
        answered=len(answered),
        failed=len(answers) - len(answered),
        completion_tokens=tokens,
        prompt_tokens=sum_known(answer.prompt_tokens for answer in answered),
        latency_s={"mean": sum(latencies) / len(latencies) if latencies else None, **percentiles(latencies)},
        time_to_first_token_s=percentiles(first),
        throughput={
            "requests_per_s": len(answered) / duration_s,
            "tokens_per_s": None if tokens is None else tokens / duration_s,
        },
    )
