"""`greenllm load` on event streams that are written and cut in every way that the standard allows."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from greenllm.cli import main

TEXT = "Grüße, 你好\u2028neue\u2029Zeile\x85 \x0b\x0c\x1c 🙂"
USAGE = {"completion_tokens": 3, "prompt_tokens": 2}


def answers(parts: Sequence[bytes]) -> Iterator[str]:
    """Serve answers one after another, each in these parts; yield the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                head, _, body = received.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                while len(body) < length:
                    body += connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                for part in parts:
                    connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                connection.sendall(b"0\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def chunk(text: str, finish_reason: str | None = None) -> str:
    return json.dumps({"choices": [{"text": text, "finish_reason": finish_reason}]}, ensure_ascii=False)


def stream(end: str) -> str:
    """An event stream with this line end, with comments, other fields and data of several lines."""
    indented = json.dumps({"choices": [], "usage": USAGE}, indent=1).split("\n")
    lines = [": a comment", "", "event: chunk", "id: 1", f"data: {chunk(TEXT[:9])}", "", ""]
    lines += [f"data:{chunk(TEXT[9:])}", "retry: 10", "", f"data: {chunk('', 'stop')}", ""]
    lines += [*(f"data: {line}" for line in indented), "", "data: [DONE]", "", ""]
    return end.join(lines)


def load(folder: Path, parts: Sequence[bytes]) -> dict[str, object]:
    (folder / "predictions.jsonl").write_text('{"id": "1", "prompt": "a"}\n')
    for url in answers(parts):
        command = ["load", "--url", url, "--predictions", str(folder / "predictions.jsonl"), "--requests", "1"]
        status = main([*command, "--warmup", "0", "--out", str(folder / "load.json")])
    return json.loads((folder / "load.json").read_text())["answers"][0] if status == 0 else {"status": status}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("length", [1, 2, 7, 10_000])
def test_every_stream_that_the_standard_allows_is_read(tmp_path: Path, end: str, length: int) -> None:
    content = stream(end).encode()
    answer = load(tmp_path, [content[start : start + length] for start in range(0, len(content), length)])
    assert (answer["text"], answer["error"], answer["finish_reason"]) == (TEXT, None, "stop")
    assert (answer["tokens"], answer["prompt_tokens"]) == (3, 2)


def test_a_stream_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert load(tmp_path, [b"\xef\xbb\xbf" + stream("\n").encode()])["text"] == TEXT


def test_a_stream_may_end_with_the_reason_of_its_end(tmp_path: Path) -> None:
    """As that of `transformers serve`, which sends no [DONE]."""
    last = json.dumps({"choices": [{"text": "", "finish_reason": "length"}], "usage": USAGE})
    answer = load(tmp_path, [f"data: {chunk(TEXT)}\n\ndata: {last}\n\n".encode()])
    assert (answer["text"], answer["error"], answer["tokens"]) == (TEXT, None, 3)


def test_a_stream_that_ends_before_its_answer_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(tmp_path, [f"data: {chunk(TEXT)}\n\n".encode()]) == {"status": 2}
    assert "ended before the answer did" in capsys.readouterr().err


@pytest.mark.parametrize("data", ["not JSON", '{"choices": 5}', '{"error": "no object"}'])
def test_a_stream_of_another_interface_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    assert load(tmp_path, [f"data: {data}\n\ndata: [DONE]\n\n".encode()]) == {"status": 2}
    assert "none of 1 requests was answered; the first: not a valid OpenAI stream" in capsys.readouterr().err
