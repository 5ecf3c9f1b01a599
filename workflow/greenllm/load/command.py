"""`greenllm load`: send the prompts of evaluate's predictions to a server over HTTP, and time the answers."""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from greenllm.errors import UserError
from greenllm.files import require_separate, write_json
from greenllm.load.rounds import Answered, Order, Round, Sender
from greenllm.model_folder.addresses import address_problem, with_version
from greenllm.model_folder.endpoint import Endpoint
from greenllm.statistics import percentiles
from greenllm.work import write_work

SCHEMA = "greenllm/load/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm load`."""
    parser.add_argument("--url", required=True, help="address of the server, such as http://127.0.0.1:8000")
    parser.add_argument("--name", help="the model's name there, where the server wants to be told")
    parser.add_argument("--chat", action="store_true", help="send chat messages instead of plain prompts")
    parser.add_argument("--system", help="with --chat: the system message before each prompt")
    parser.add_argument("--key-variable", metavar="NAME", help="environment variable that holds the server's key")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="JSON lines with id and prompt, as `greenllm evaluate` writes"
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="the served model's tokenizer: prompts that spell its special tokens are sent as token ids, since most "
        "servers would read those tokens in a text",
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
    parser.add_argument(
        "--orders",
        action="store_true",
        help="send what standard input asks for instead, a round a line: JSON with requests, start, least_s, "
        "concurrency, rate_per_s; each is answered by a line on standard output with its window and answers",
    )
    parser.add_argument("--out", type=Path, help="JSON file to write (without --orders)")


def run(arguments: argparse.Namespace) -> int:
    """Send the requests; write their times and answers. Fails where no request at all was answered."""
    for option, least in (("requests", 1), ("concurrency", 1), ("warmup", 0), ("max_tokens", 1)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected at least {least}")
    if arguments.rate is not None and arguments.rate <= 0:
        raise UserError(f"--rate {arguments.rate}: expected more than 0 arrivals per second")
    if arguments.out is None and not arguments.orders:
        raise UserError("--out: is missing; expected the JSON file to write")
    if problem := address_problem(arguments.url):
        raise UserError(f"--url: {problem}")
    if arguments.out is not None:
        require_separate([arguments.out], [arguments.predictions])
    rows = read_predictions(arguments.predictions)
    if arguments.tokenizer is not None:
        _add_ids(rows, arguments.tokenizer)
    endpoint = Endpoint(
        url=with_version(arguments.url),
        served_name=arguments.name,
        chat=arguments.chat,
        system=arguments.system,
        key_variable=arguments.key_variable,
    )
    try:
        answered = asyncio.run(_run(arguments, endpoint, rows))
    except* ConnectionError as group:
        reason = group.exceptions[0]
        raise UserError(f"{arguments.url}: no server to be reached ({reason}); is `greenllm serve` running?") from None
    tokens = sum_known(answer.tokens for answer in answered)
    write_work(requests=len(answered), **({} if tokens is None else {"tokens": tokens}))
    return 0


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a predictions file; raise UserError where it has none, or one without id and prompt."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)  # str.splitlines would also split at characters that JSON has in its strings
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


def _add_ids(rows: Iterable[dict[str, Any]], folder: Path) -> None:
    """Add the token ids of each prompt that spells a special token, where a row has none."""
    from greenllm.tokens import read_tokenizer, special_tokens

    tokenizer = read_tokenizer(folder)
    special = special_tokens(tokenizer).values()
    for row in rows:
        if "prompt_ids" not in row and any(text in row["prompt"] for text in special):
            row["prompt_ids"] = tokenizer.encode(row["prompt"]).ids


def sum_known(counts: Iterable[int | None]) -> int | None:
    """Return a sum, or None where a part of it is unknown: a server need not tell its tokens."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total


def timed(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return what rounds amount to: requests and tokens, latencies (s) and throughput (per s of their windows)."""
    answers = [answer for round in rounds for answer in round.answers]
    answered = [answer for answer in answers if answer.error is None]
    tokens = sum_known(answer.tokens for answer in answered)
    duration_s = sum(round.duration_s for round in rounds)
    latencies = [answer.latency_s for answer in answered if answer.latency_s is not None]
    return {
        "requests": len(answers),
        "answered": len(answered),
        "failed": len(answers) - len(answered),
        "completion_tokens": tokens,
        "prompt_tokens": sum_known(answer.prompt_tokens for answer in answered),
        "latency_s": {"mean": sum(latencies) / len(latencies) if latencies else None, **percentiles(latencies)},
        "time_to_first_token_s": percentiles(
            [answer.time_to_first_token_s for answer in answered if answer.time_to_first_token_s is not None]
        ),
        "throughput": {
            "requests_per_s": len(answered) / duration_s,
            "tokens_per_s": None if tokens is None else tokens / duration_s,
        },
    }


async def _run(arguments: argparse.Namespace, endpoint: Endpoint, rows: Sequence[dict[str, Any]]) -> list[Answered]:
    """Send what is asked for; return the requests that were answered, without the warm-up."""
    import aiohttp  # not with every `greenllm deploy`, which only reads predictions from here

    timeout = aiohttp.ClientTimeout(total=arguments.timeout)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), headers=endpoint.headers(), timeout=timeout
    ) as session:
        sender = Sender(session, endpoint, rows, max_tokens=arguments.max_tokens, seed=arguments.seed)
        return await (_follow_orders(sender) if arguments.orders else _send_once(arguments, sender))


async def _follow_orders(sender: Sender) -> list[Answered]:
    """Send a round for each line of standard input until it ends, also in the midst of a round."""
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    answered: list[Answered] = []
    following = asyncio.ensure_future(orders.readline())
    while order := await following:
        following = asyncio.ensure_future(orders.readline())
        sending = asyncio.ensure_future(sender.round(Order(**json.loads(order))))
        await asyncio.wait({sending, following}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():  # whoever gave the order is gone
            sending.cancel()
            break
        print(json.dumps(sending.result().to_json()), flush=True)
        answered += sending.result().answered
    return answered


async def _send_once(arguments: argparse.Namespace, sender: Sender) -> list[Answered]:
    """Send the round that the options ask for, after a warm-up, and write the result."""
    from tqdm import tqdm

    warmup, order = (
        Order(requests, concurrency=arguments.concurrency, rate_per_s=rate)
        for requests, rate in ((arguments.warmup, None), (arguments.requests, arguments.rate))
    )
    await sender.round(warmup)
    with tqdm(total=order.requests, unit="request", mininterval=5, desc="load") as bar:
        sent = await sender.round(order, bar.update)
    result = timed([sent])
    if not result["answered"]:
        raise UserError(
            f"{arguments.url}: none of {order.requests} requests was answered; the first: {sent.answers[0].error}"
        )
    if result["failed"]:
        print(f"greenllm load: {result['failed']} of {order.requests} requests were not answered", file=sys.stderr)
    about = {"concurrency": order.concurrency if order.rate_per_s is None else None, "rate_per_s": order.rate_per_s}
    write_json(arguments.out, {"schema": SCHEMA, **result, **about, **sent.to_json()})
    return sent.answered
