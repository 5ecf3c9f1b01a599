"""A model folder behind HTTP: the engine, the application and uvicorn, together."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from greenllm.engines import Device, load_engine
from greenllm.meter.threads import usable_threads
from greenllm.model_folder.manifest import read_manifest
from greenllm.serving.app import make_app
from greenllm.serving.limits import Limits
from greenllm.serving.scripted_replies import read_replies
from greenllm.serving.service import Served
from greenllm.work import write_work


def serve(
    folder: Path,
    listener: socket.socket,
    *,
    name: str | None,
    threads: int,
    device: Device,
    limits: Limits,
    on_ready: Callable[[str], object],
) -> None:
    """Serve a model folder at a bound socket until SIGTERM or SIGINT; running requests are answered first.

    `name` is the model's name in the interface (default: the manifest's, else the folder's). `on_ready` is called with
    the URL. In the end the work done is reported to the meter. Raises `UserError` if the model can't be loaded.
    """
    engine = load_engine(folder, threads=usable_threads(threads), device=device)
    served = Served()
    name = name or read_manifest(folder).name or folder.resolve().name
    app = make_app(engine, name, limits, served, read_replies(folder))
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready(url)

    server = Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on"))
    try:
        server.run(sockets=[listener])
    finally:
        write_work(requests=served.requests, tokens=served.tokens, prompt_tokens=served.prompt_tokens)
        print(f"greenllm serve: stopped after {served.requests} requests", file=sys.stderr)
