"""`greenllm serve`: serve a model folder over HTTP until SIGTERM or Ctrl-C."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from greenllm.errors import UserError
from greenllm.meter.leases import usable_cpus

READY = "greenllm serve: ready at "


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `greenllm serve`."""
    parser.add_argument("folder", type=Path, help="a bundle made by `greenllm deploy`, or any model folder")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="TCP port; 0 chooses a free one (default: 8000)")
    parser.add_argument("--name", help="model name in the interface (default: the bundle's, else the folder's)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all that this process may use)")
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "require"],
        default="auto",
        help="auto: a GPU if there is one; require: fail without one (default: auto)",
    )
    parser.add_argument("--batch", type=int, default=8, help="most requests generated together (default: 8)")
    parser.add_argument("--queue", type=int, default=256, help="most requests that wait; then 429 (default: 256)")
    parser.add_argument("--max-tokens", type=int, default=256, help="most tokens of an answer (default: 256)")
    parser.add_argument(
        "--until-eof", action="store_true", help="also stop when standard input ends, as when the caller dies"
    )
    parser.add_argument(
        "--max-body",
        type=int,
        default=1024 * 1024,
        metavar="BYTES",
        help="largest request body (default: 1048576)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped; running requests are answered first. Prints one line with the URL when ready."""
    for option in ("threads", "batch", "queue", "max_tokens", "max_body"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise UserError(f"--{option.replace('_', '-')} {value}: expected at least 1")
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port {arguments.port}: expected 0 (any free port) to 65535")
    # uvicorn stops gracefully on a signal, then raises it again for the handler that was there before: this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    if arguments.until_eof:
        threading.Thread(target=_stop_at_eof, daemon=True).start()
    with contextlib.suppress(_Stopped), _listener(arguments.host, arguments.port) as listener:
        # Imported here: they take seconds, and a wrong option should be reported at once.
        from greenllm.serving.limits import Limits
        from greenllm.serving.server import serve

        serve(
            arguments.folder,
            listener,
            name=arguments.name,
            threads=arguments.threads or len(usable_cpus()),
            device=arguments.device,
            limits=Limits(arguments.batch, arguments.queue, arguments.max_tokens, arguments.max_body),
            on_ready=lambda url: print(f"{READY}{url}", flush=True),
        )
    return 0


class _Stopped(BaseException):
    """SIGTERM or SIGINT while uvicorn does not handle them."""


def _stop(number: int, frame: object) -> None:
    raise _Stopped


def _stop_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


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
