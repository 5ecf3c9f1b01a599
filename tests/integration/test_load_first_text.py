"""The time to the first token is that of the first text, whatever a server sends before it."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from deploying import GREENLLM

BEFORE_TEXT_S = 0.2


class Early(BaseHTTPRequestHandler):
    """Sends an event with the role at once, as OpenAI's servers do, and the text later."""

    def log_message(self, *arguments: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self._event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        time.sleep(BEFORE_TEXT_S)
        self._event({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, value: object) -> None:
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
        self.wfile.flush()


@pytest.fixture
def early() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Early) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_event_without_text_is_not_the_first_token(early: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.jsonl").write_text('{"id": "1", "prompt": "a"}\n')
    options = ["--requests", "1", "--warmup", "0", "--chat", "--out", str(tmp_path / "load.json")]
    command = [*GREENLLM, "load", "--url", early, "--predictions", str(tmp_path / "predictions.jsonl"), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["answered"] == 1
    assert BEFORE_TEXT_S <= found["time_to_first_token_s"]["p50"] <= found["latency_s"]["p50"]
