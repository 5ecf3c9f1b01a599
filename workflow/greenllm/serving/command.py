"""`greenllm serve`: serve a model folder over HTTP until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from greenllm.device_choice import DEVICE_CHOICES
from greenllm.errors import UserError
from greenllm.meter.leases import usable_cpus
from greenllm.meter.threads import usable_threads
from greenllm.work import write_work

READY = "greenllm serve: ready at "
TICK_s = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm serve`."""
    add = parser.add_argument
    add("folder", type=Path, help="a bundle made by `greenllm deploy`, or any model folder")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--port", type=int, default=8000, help="TCP port; 0 chooses a free one (default: 8000)")
    add("--name", help="model name in the interface (default: the bundle's, else the folder's)")
    add("--threads", type=int, help="CPU threads (default: all that this process may use)")
    help = "auto: a GPU if there is one; require: fail without one (default: auto)"
    add("--device", choices=DEVICE_CHOICES, default="auto", help=help)
    add("--batch", type=int, default=8, help="most requests generated together (default: 8)")
    add("--queue", type=int, default=256, help="most requests that wait; then 429 (default: 256)")
    add("--max-tokens", type=int, default=256, help="most tokens of an answer (default: 256)")
    add("--until-eof", action="store_true", help="also stop when standard input ends, as when the caller dies")
    help = "unload the model after this time without a request; the next one waits until it is loaded (default: never)"
    add("--unload-after", type=float, metavar="SECONDS", help=help)
    help = "count the energy (J) of each answer: usage.energy, GET /v1/energy/ID, /metrics (default: off)"
    add("--energy", action="store_true", help=help)
    help = "largest request body (default: 1048576)"
    add("--max-body", type=int, default=1024 * 1024, metavar="BYTES", help=help)


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; running requests are answered first. Prints one line with the URL when ready."""
    for option in ("threads", "batch", "queue", "max_tokens", "max_body"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected at least 1")
    if arguments.unload_after is not None and not 0 < arguments.unload_after < math.inf:
        raise UserError(f"--unload-after {arguments.unload_after:g}: expected seconds, a number above 0")
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port {arguments.port}: expected 0 (any free port) to 65535")
    # uvicorn stops gracefully on a signal, then raises it again for the handler that was there before: this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    if arguments.until_eof:
        threading.Thread(target=_stop_at_eof, daemon=True).start()
    with contextlib.suppress(_Stopped), _listener(arguments.host, arguments.port) as listener:
        _serve(arguments, listener)
    return 0


class _Stopped(BaseException):
    """SIGTERM or SIGINT while uvicorn does not handle them."""


def _stop(number: int, frame: object) -> None:
    raise _Stopped


def _stop_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(arguments: argparse.Namespace, listener: socket.socket) -> None:
    # Imported here: they take seconds, and a wrong option should be reported at once.
    import uvicorn

    from greenllm.engines import load_engine
    from greenllm.model_folder.manifest import read_manifest
    from greenllm.serving.app import make_app
    from greenllm.serving.limits import Limits
    from greenllm.serving.scripted_replies import read_replies
    from greenllm.serving.service import Served

    manifest = read_manifest(arguments.folder)
    if arguments.energy and manifest.endpoint is not None:
        raise UserError(f"--energy: {arguments.folder} is computed by another server, which is not metered here")
    threads = usable_threads(arguments.threads or len(usable_cpus()))
    engine = load_engine(arguments.folder, threads=threads, device=arguments.device)
    limits = Limits(arguments.batch, arguments.queue, arguments.max_tokens, arguments.max_body)
    served = Served()
    name = arguments.name or manifest.name or arguments.folder.resolve().name
    app = make_app(
        engine,
        name,
        limits,
        served,
        read_replies(arguments.folder),
        folder=arguments.folder,
        unload_after_s=arguments.unload_after,
        energy_threads=threads if arguments.energy else None,
    )
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    class AnnouncingServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"{READY}{url}", flush=True)

        async def main_loop(self) -> None:
            # uvicorn checks ten times a second whether to end; a server that waits should cost others nothing.
            while not await self.on_tick(0):  # 0: it renews the date header, too
                await asyncio.sleep(TICK_s)

    server = AnnouncingServer(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on"))
    try:
        server.run(sockets=[listener])
    finally:
        write_work(requests=served.requests, tokens=served.tokens, prompt_tokens=served.prompt_tokens)
        print(f"greenllm serve: stopped after {served.requests} requests", file=sys.stderr)


def _listener(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; raise UserError if that is not possible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: {error}; expected an address of this machine") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"--port {port} at {host}: {reason}; choose another, or 0 for a free one") from None
    return listener
