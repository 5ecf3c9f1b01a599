"""The load generator: sends one round, or the rounds that standard input orders."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from pathlib import Path

import aiohttp
from tqdm import tqdm

from greenllm.errors import UserError
from greenllm.files import write_json
from greenllm.load.prompts import PromptRow
from greenllm.load.rounds import Answered, Order
from greenllm.load.sender import Sender
from greenllm.load.summary import summary_of
from greenllm.model_folder.endpoint import Endpoint

SCHEMA = "greenllm/load/1"


@contextlib.asynccontextmanager
async def sender_to(
    endpoint: Endpoint, rows: Sequence[PromptRow], *, max_tokens: int | None, seed: int, timeout_s: float
) -> AsyncIterator[Sender]:
    """Yield a sender of `rows` to an endpoint; an answer may take `timeout_s` seconds."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=endpoint.headers(), timeout=timeout) as session:
        yield Sender(session, endpoint, rows, max_tokens=max_tokens, seed=seed)


async def follow_orders(sender: Sender) -> list[Answered]:
    """Send a round for each line of standard input, until that ends, even during a round; return all that was answered.

    A line is an `Order` in JSON; the reply, a line on standard output, is the `Round`.
    """
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    answered: list[Answered] = []
    following = asyncio.ensure_future(orders.readline())
    while order := await following:
        following = asyncio.ensure_future(orders.readline())
        sending = asyncio.ensure_future(sender.round(Order(**json.loads(order))))
        await asyncio.wait({sending, following}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():  # the process that gave the order has ended
            sending.cancel()
            break
        print(json.dumps(asdict(sending.result())), flush=True)
        answered += sending.result().answered
    return answered


async def send_once(sender: Sender, order: Order, *, warmup: int, out: Path) -> list[Answered]:
    """Send one round, after `warmup` requests that don't count, and write the result; return what was answered.

    Raises UserError if no request was answered.
    """
    await sender.round(Order(warmup, concurrency=order.concurrency))
    with tqdm(total=order.requests, unit="request", mininterval=5, desc="load") as bar:
        sent = await sender.round(order, bar.update)
    summary = summary_of([sent])
    if not summary.answered:
        first = sent.answers[0].error
        raise UserError(f"{sender.endpoint.url}: none of {order.requests} requests was answered; the first: {first}")
    if summary.failed:
        print(f"greenllm load: {summary.failed} of {order.requests} requests were not answered", file=sys.stderr)
    about = {"concurrency": order.concurrency if order.rate_per_s is None else None, "rate_per_s": order.rate_per_s}
    write_json(out, {"schema": SCHEMA, **asdict(summary), **about, **asdict(sent)})
    return sent.answered
