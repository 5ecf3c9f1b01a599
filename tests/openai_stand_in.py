"""An executable with OpenAI's interface, like `vllm serve`: a stand-in for such a server.

Its answer to a prompt is the prompt's last word in capitals, or the number of its token ids; a chat is answered so as
well, after the system message.

Files in its model folder: a server dies after the number of requests in `dies-after`, the baseline's twin after that in
`twin-dies-after`. With each request that `suspends-at` lists, by its number, the host is suspended for an hour
(`hardware/suspension.c`).
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def answer_to(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if isinstance(body.get("prompt"), list):
        return f"{len(body['prompt'])} ids"
    said = [message["content"] for message in messages] if messages else [body["prompt"]]
    *before, prompt = said
    return " ".join([*before, prompt.split()[-1].upper()])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""
    left: float = math.inf  # requests before it dies
    suspends_at: Sequence[int] = ()
    number = 0  # of the request

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, value: object) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refused(self) -> bool:
        key = os.environ.get("STAND_IN_KEY")
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return False
        self.answer(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
        return True

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self.answer(404, {"error": {"message": "not found"}})
        elif not self.refused():
            self.answer(200, {"object": "list", "data": [{"id": self.name, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if Handler.left == 0:
            os._exit(9)
        Handler.left -= 1
        Handler.number += 1
        if Handler.number in Handler.suspends_at:
            suspend()
        if self.refused():
            return
        if body.get("model") != self.name:
            self.answer(404, {"error": {"message": f"The model `{body.get('model')}` does not exist."}})
            return
        assert body["temperature"] == 0
        text, chat = answer_to(body), self.path == "/v1/chat/completions"
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        if body.get("stream"):
            said = {"delta": {"content": text}} if chat else {"text": text}
            chunks = [{"choices": [{**said, "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
            events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
            self.answer(200, "".join([*events, "data: [DONE]\n\n"]).encode())
            return
        said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        self.answer(200, {"choices": [{**said, "finish_reason": "stop"}], "usage": usage})


def suspend() -> None:
    """Simulate that the host is suspended for an hour."""
    clock = Path(os.environ["SIMULATED_SUSPENSION"])
    slept_s = int(clock.read_text()) if clock.exists() else 0
    clock.with_suffix(".new").write_text(str(slept_s + 3600))
    clock.with_suffix(".new").rename(clock)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-model-len", type=int, help="as vLLM's; more than the model's is an error there")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without a worker")
    arguments = parser.parse_args()
    if not Path(arguments.model).is_dir():
        sys.exit(f"stand-in: no model {arguments.model}")
    if not arguments.alone and os.fork() == 0:  # a separate worker, like vLLM's engine; it outlives its parent
        time.sleep(600)
        os._exit(0)
    if arguments.never_ready:
        time.sleep(600)
    model = Path(arguments.model)
    is_twin = b"~twin" in Path(f"/proc/{os.getppid()}/cmdline").read_bytes()  # of its meter
    if (dies_after := model / ("twin-dies-after" if is_twin else "dies-after")).is_file():
        Handler.left = int(dies_after.read_text())
    if (suspends_at := model / "suspends-at").is_file():
        Handler.suspends_at = [int(number) for number in suspends_at.read_text().split()]
    Handler.name = arguments.served_model_name
    with Server(("127.0.0.1", arguments.port), Handler) as server:
        print(f"stand-in: listens at {server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
