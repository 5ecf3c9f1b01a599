"""`greenllm load`: send the prompts of evaluate's predictions to a server over HTTP, and time the answers."""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from greenllm.errors import UserError
from greenllm.files import require_separate
from greenllm.load.prompts import PromptRow, read_prompts, with_special_tokens
from greenllm.load.rounds import Answered, Order
from greenllm.load.summary import sum_known
from greenllm.model_folder.addresses import address_problem, with_version
from greenllm.model_folder.endpoint import Endpoint
from greenllm.option_ranges import number, seed
from greenllm.work import write_work


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm load`."""
    add = parser.add_argument
    add("--url", required=True, help="address of the server, such as http://127.0.0.1:8000")
    add("--name", help="the model's name there, if the server requires it")
    add("--chat", action="store_true", help="send chat messages instead of plain prompts")
    add("--system", help="with --chat: the system message before each prompt")
    add("--key-variable", metavar="NAME", help="environment variable that holds the server's key")
    help = "JSON lines with id and prompt, as `greenllm evaluate` writes them"
    add("--predictions", type=Path, required=True, help=help)
    help = (
        "the served model's tokenizer: prompts that spell its special tokens are sent as token ids, because most "
        "servers would read those words as tokens"
    )
    add("--tokenizer", type=Path, metavar="FOLDER", help=help)
    help = "requests; prompts are repeated if there are fewer (default: 1000)"
    add("--requests", type=int, default=1000, help=help)
    add("--concurrency", type=int, default=1, help="concurrent requests, without --rate (default: 1)")
    help = "arrivals per second (Poisson), whether earlier requests are answered or not; latency counts from arrival"
    add("--rate", type=number(1e-6, 1e6, "arrivals per second"), help=help)
    add("--seed", type=seed, default=0, help="seed of the arrival times (default: 0)")
    add("--warmup", type=int, default=20, help="requests before, not counted (default: 20)")
    add("--max-tokens", type=int, help="most tokens of an answer (default: the server's limit)")
    add(
        "--timeout",
        type=number(0.001, 86_400, "seconds"),
        default=120,
        help="seconds to wait for an answer (default: 120)",
    )
    help = (
        "send the rounds that standard input orders, one per line: JSON with requests, start, least_s, concurrency, "
        "rate_per_s; a line on standard output with the window and the answers follows each"
    )
    add("--orders", action="store_true", help=help)
    add("--out", type=Path, help="JSON file to write (without --orders)")


def run(arguments: argparse.Namespace) -> int:
    """Send the requests; write their times and answers. Raises UserError if no request was answered."""
    for option, least in (("requests", 1), ("concurrency", 1), ("warmup", 0), ("max_tokens", 1)):
        value = getattr(arguments, option)
        if value is not None and value < least:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected at least {least}")
    if arguments.out is None and not arguments.orders:
        raise UserError("--out: is missing; expected the JSON file to write")
    if problem := address_problem(arguments.url):
        raise UserError(f"--url: {problem}")
    if arguments.out is not None:
        require_separate([arguments.out], [arguments.predictions])
    rows = read_prompts(arguments.predictions)
    if arguments.tokenizer is not None:
        rows = with_special_tokens(rows, arguments.tokenizer)
    endpoint = Endpoint(
        url=with_version(arguments.url),
        served_name=arguments.name,
        chat=arguments.chat,
        system=arguments.system,
        key_variable=arguments.key_variable,
    )
    try:
        answered = asyncio.run(_send(arguments, endpoint, rows))
    except* ConnectionError as group:
        reason = group.exceptions[0]
        raise UserError(f"{arguments.url}: no server can be reached ({reason}); is `greenllm serve` running?") from None
    tokens = sum_known(answer.tokens for answer in answered)
    write_work(requests=len(answered), **({} if tokens is None else {"tokens": tokens}))
    return 0


async def _send(arguments: argparse.Namespace, endpoint: Endpoint, rows: Sequence[PromptRow]) -> list[Answered]:
    # Imported here: aiohttp takes time, and a wrong option should be reported at once.
    from greenllm.load.generator import follow_orders, send_once, sender_to

    async with sender_to(
        endpoint, rows, max_tokens=arguments.max_tokens, seed=arguments.seed, timeout_s=arguments.timeout
    ) as sender:
        if arguments.orders:
            return await follow_orders(sender)
        order = Order(arguments.requests, concurrency=arguments.concurrency, rate_per_s=arguments.rate)
        return await send_once(sender, order, warmup=arguments.warmup, out=arguments.out)
