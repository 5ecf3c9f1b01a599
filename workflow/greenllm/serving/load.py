"""`greenllm load`: send the prompts of evaluate's predictions to a server over HTTP, and time the answers."""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.meter.host import boot_id
from greenllm.serving.statistics import percentiles
from greenllm.work import write_work

SCHEMA = "greenllm/load/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm load`."""
    parser.add_argument("--url", required=True, help="address of the server, such as http://127.0.0.1:8000")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="JSON lines with id and prompt, as `greenllm evaluate` writes"
    )
    parser.add_argument(
        "--requests", type=int, default=1000, help="requests to send; prompts are repeated where there are fewer"
    )
    parser.add_argument("--concurrency", type=int, default=1, help="requests under way at once (without --rate)")
    parser.add_argument(
        "--rate",
        type=float,
        help="arrivals per second (Poisson), however many are under way; latency counts from arrival",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the arrival times (default: 0)")
    parser.add_argument("--warmup", type=int, default=20, help="requests before, not counted (default: 20)")
    parser.add_argument("--max-tokens", type=int, help="most tokens of an answer (default: the server's limit)")
    parser.add_argument("--timeout", type=float, default=120, help="seconds to wait for an answer (default: 120)")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")


def run(arguments: argparse.Namespace) -> int:
    """Send the requests; write their times and answers. Fails where no request at all was answered."""
    for option, least in (("requests", 1), ("concurrency", 1), ("warmup", 0), ("max_tokens", 1)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected at least {least}")
    if arguments.rate is not None and arguments.rate <= 0:
        raise UserError(f"--rate {arguments.rate}: expected more than 0 arrivals per second")
    prompts = read_predictions(arguments.predictions)
    try:
        result = asyncio.run(_run(arguments, prompts))
    except* ConnectionError as group:
        reason = group.exceptions[0]
        raise UserError(f"{arguments.url}: no server to be reached ({reason}); is `greenllm serve` running?") from None
    answered = [answer for answer in result["answers"] if answer["error"] is None]
    if not answered:
        first = result["answers"][0]["error"]
        raise UserError(f"{arguments.url}: none of {arguments.requests} requests was answered; the first: {first}")
    write_json(arguments.out, result)
    write_work(requests=len(answered), tokens=sum(answer["tokens"] for answer in answered))
    if failed := arguments.requests - len(answered):
        print(f"greenllm load: {failed} of {arguments.requests} requests were not answered", file=sys.stderr)
    return 0


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a predictions file; raise UserError where it has none, or one without id and prompt."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected the predictions of `greenllm evaluate`") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({**row, "id": str(row["id"]), "prompt": str(row["prompt"])})
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: line {number}: expected a JSON object with the keys id and prompt") from None
    if not rows:
        raise UserError(f"{path}: is empty; expected one JSON object a line, with the keys id and prompt")
    return rows


@dataclass
class Answered:
    """What came of one request. Times in seconds from its sending, or from its arrival with a given rate."""

    id: str
    text: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    finish_reason: str | None = None
    latency_s: float | None = None
    time_to_first_token_s: float | None = None
    error: str | None = None


async def _run(arguments: argparse.Namespace, prompts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    import httpx  # not with every `greenllm deploy`, which only reads predictions from here
    from tqdm import tqdm

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=arguments.url, timeout=arguments.timeout, limits=limits, trust_env=False
    ) as client:
        await _closed_loop(client, arguments, _cycle(prompts, arguments.warmup), None)
        chosen = list(_cycle(prompts, arguments.requests))
        with tqdm(total=len(chosen), unit="request", mininterval=5, desc="load") as bar:
            started, monotonic_start_s = datetime.now(UTC), time.monotonic()
            if arguments.rate is None:
                answers = await _closed_loop(client, arguments, chosen, bar)
            else:
                answers = await _open_loop(client, arguments, chosen, bar)
            monotonic_end_s, ended = time.monotonic(), datetime.now(UTC)
    answered = [answer for answer in answers if answer.error is None]
    duration_s = monotonic_end_s - monotonic_start_s
    tokens = sum(answer.tokens for answer in answered)
    latencies = [answer.latency_s for answer in answered if answer.latency_s is not None]
    return {
        "schema": SCHEMA,
        "requests": len(answers),
        "answered": len(answered),
        "failed": len(answers) - len(answered),
        "concurrency": arguments.concurrency if arguments.rate is None else None,
        "rate_per_s": arguments.rate,
        "window": {
            "started": started.isoformat(),
            "ended": ended.isoformat(),
            "monotonic_start_s": monotonic_start_s,
            "monotonic_end_s": monotonic_end_s,
            "boot_id": boot_id(),
        },
        "latency_s": {"mean": sum(latencies) / len(latencies) if latencies else None, **percentiles(latencies)},
        "time_to_first_token_s": percentiles(
            [answer.time_to_first_token_s for answer in answered if answer.time_to_first_token_s is not None]
        ),
        "throughput": {"requests_per_s": len(answered) / duration_s, "tokens_per_s": tokens / duration_s},
        "completion_tokens": tokens,
        "prompt_tokens": sum(answer.prompt_tokens for answer in answered),
        "answers": [asdict(answer) for answer in answers],
    }


def _cycle(prompts: Sequence[dict[str, Any]], number: int) -> Iterator[dict[str, Any]]:
    return (prompts[index % len(prompts)] for index in range(number))


async def _closed_loop(client: Any, arguments: argparse.Namespace, rows: Any, bar: Any) -> list[Answered]:
    """Keep `concurrency` requests under way: the next is sent as soon as one is answered."""
    remaining = enumerate(rows)
    answers: dict[int, Answered] = {}

    async def worker() -> None:
        for index, row in remaining:
            answers[index] = await _ask(client, arguments, row, time.perf_counter())
            if bar is not None:
                bar.update()

    async with asyncio.TaskGroup() as group:
        for _ in range(arguments.concurrency):
            group.create_task(worker())
    return [answers[index] for index in sorted(answers)]


async def _open_loop(client: Any, arguments: argparse.Namespace, rows: Sequence[Any], bar: Any) -> list[Answered]:
    """Send requests at the times of a Poisson process, whether the server keeps up or not."""
    generator = random.Random(arguments.seed)
    arrival_s = time.perf_counter()

    async def ask(row: dict[str, Any], arrival_s: float) -> Answered:
        answer = await _ask(client, arguments, row, arrival_s)
        bar.update()
        return answer

    async with asyncio.TaskGroup() as group:
        tasks = []
        for row in rows:
            arrival_s += generator.expovariate(arguments.rate)
            await asyncio.sleep(arrival_s - time.perf_counter())
            tasks.append(group.create_task(ask(row, arrival_s)))
    return [task.result() for task in tasks]


async def _ask(client: Any, arguments: argparse.Namespace, row: dict[str, Any], began_s: float) -> Answered:
    """Send one request as a stream, which alone shows when the first text comes."""
    import httpx

    body: dict[str, Any] = {
        "prompt": row["prompt"],
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if arguments.max_tokens is not None:
        body["max_tokens"] = arguments.max_tokens
    answer = Answered(row["id"])
    try:
        async with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != 200:
                text = (await response.aread()).decode(errors="replace")
                answer.error = f"HTTP {response.status_code}: {text[:300]}"
                return answer
            # Taken raw, and read when it is whole: parsing must not take time from the server beside it.
            received: list[bytes] = []
            async for part in response.aiter_raw():
                if not received:
                    answer.time_to_first_token_s = time.perf_counter() - began_s
                received.append(part)
            answer.latency_s = time.perf_counter() - began_s
        _read(answer, b"".join(received).decode(errors="replace"))
    except httpx.ConnectError as error:
        raise ConnectionError(str(error)) from None  # nothing listens: the rest would only fail as fast as it can
    except httpx.HTTPError as error:
        answer.error = f"{type(error).__name__}: {error}".removesuffix(": ")
    return answer


def _read(answer: Answered, stream: str) -> None:
    """Read the server-sent events of a stream."""
    events = [line.removeprefix("data: ") for line in stream.split("\n") if line.startswith("data: ")]
    for event in events:
        if event != "[DONE]":
            _take(answer, json.loads(event))
    if events[-1:] != ["[DONE]"] and answer.error is None:
        answer.error = "the stream ended before the answer did"


def _take(answer: Answered, event: dict[str, Any]) -> None:
    if "error" in event:
        answer.error = str(event["error"]["message"])
    for choice in event.get("choices", []):
        answer.text += choice["text"]
        answer.finish_reason = choice["finish_reason"] or answer.finish_reason
    if usage := event.get("usage"):
        answer.tokens = usage["completion_tokens"]
        answer.prompt_tokens = usage["prompt_tokens"]
