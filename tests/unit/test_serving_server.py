"""The server over real HTTP, with an engine that answers when the test lets it."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from greenllm.engines import Completion, PromptError
from greenllm.engines.decoding_choice import Decoding
from greenllm.errors import UserError
from greenllm.serving.app import make_app
from greenllm.serving.limits import Limits
from greenllm.serving.scripted_replies import Replies
from greenllm.serving.service import Served


class Parrot:
    """An engine that repeats the prompt, one word per token, while `free` is set; it records its batches.

    Confidence falls with length: one token has confidence 1, two have 1/2, three 1/3.
    """

    name, precision, context, gpus = "parrot", "fp32", 20, 0

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Semaphore(0)  # released whenever a batch begins
        self.batches: list[list[str]] = []
        self.decodings: list[Decoding] = []
        self.separator: str | None = None  # of words; None: white space
        self.pause_after: str | None = None  # wait for `free` after this word, instead of before the first

    def generate(
        self,
        prompts: Sequence[str],
        max_tokens: int | Sequence[int],
        on_token: Callable[[int, str], None] | None = None,
        cancelled: Callable[[int], bool] | None = None,
        confidence: bool = False,
        decodings: Sequence[Decoding] | None = None,
    ) -> list[Completion]:
        self.decodings += decodings or []
        self.batches.append(list(prompts))
        self.busy.release()
        if self.pause_after is None:
            self.free.wait()
        limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else list(max_tokens)
        completions = []
        for index, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
            if prompt == "crash":
                raise RuntimeError("/secret/path is broken")
            words = [f"{word} " for word in prompt.split(self.separator)]
            for word in words[:limit]:
                if on_token:
                    on_token(index, word)
                if word == self.pause_after:
                    self.free.wait()
            reason = "stop" if len(words) <= limit else "length"
            tokens = min(len(words), limit)
            sure = 1 / tokens if confidence else None
            completions.append(Completion("".join(words[:limit]), tokens, len(words), reason, sure))  # type: ignore[arg-type]
        return completions

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def use_threads(self, threads: int) -> None:
        pass

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> str:
        if messages[-1]["role"] == "assistant":
            raise PromptError("the last message must be the user's")
        return " ".join(message["content"] for message in messages)


class Unloadable(Parrot):
    """An engine that can be unloaded; it loads while `may_load` is set, and answers while it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.may_load = threading.Event()
        self.may_load.set()
        self.may_unload = threading.Event()
        self.may_unload.set()
        self.unloading = threading.Semaphore(0)  # released whenever an unloading begins
        self.loading = threading.Semaphore(0)  # released whenever a loading begins
        self.loaded = True

    def unload(self) -> None:
        self.unloading.release()
        self.may_unload.wait()
        self.loaded = False

    def load(self) -> None:
        self.loading.release()
        self.may_load.wait()
        self.loaded = True

    def generate(self, *given: Any, **more: Any) -> list[Completion]:
        assert self.loaded
        return super().generate(*given, **more)


class Server:
    def __init__(
        self,
        limits: Limits,
        replies: Replies | None = None,
        engine: Parrot | None = None,
        folder: Path = Path("nowhere"),
        unload_after_s: float | None = None,
    ) -> None:
        self.engine = engine or Parrot()
        self.served = Served()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        app = make_app(
            self.engine, "parrot", limits, self.served, replies, folder=folder, unload_after_s=unload_after_s
        )
        self.uvicorn = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
        self.thread = threading.Thread(target=lambda: asyncio.run(self.uvicorn.serve([listener])))
        self.thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)
        self.pool = ThreadPoolExecutor(16)

    def complete(self, prompt: str, **more: object) -> httpx.Response:
        return self.client.post("/v1/completions", json={"prompt": prompt} | more)

    def chat(self, text: str, **more: object) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        return self.client.post("/v1/chat/completions", json={"messages": messages} | more)

    def metric(self, name: str) -> float:
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def until_waiting(self, number: int) -> None:
        """Return when this number of requests waits in the queue; each poll is a request, too."""
        deadline_s = time.monotonic() + 30
        while self.metric("greenllm_waiting_requests") != number:
            assert time.monotonic() < deadline_s, f"never {number} waiting"

    def stop(self) -> None:
        self.uvicorn.should_exit = True

    def close(self) -> None:
        self.engine.free.set()
        self.stop()
        self.thread.join()
        self.pool.shutdown()
        self.client.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    with contextlib.ExitStack() as stack:

        def start(replies: Replies | None = None, **limits: int) -> Server:
            server = Server(Limits(**limits), replies)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Server]:
    """A server whose engine is unloaded as soon as nobody asks for it."""
    (tmp_path / "weights").write_text("1")
    server = Server(Limits(queue=4), engine=Unloadable(), folder=tmp_path, unload_after_s=0.01)
    yield server
    server.engine.may_load.set()  # type: ignore[attr-defined]
    server.engine.may_unload.set()  # type: ignore[attr-defined]
    server.close()


def until_loaded(server: Server, loaded: bool) -> None:
    deadline_s = time.monotonic() + 30
    while server.client.get("/health").json()["loaded"] != loaded:
        assert time.monotonic() < deadline_s, f"loaded is never {loaded}"


def test_an_idle_model_is_unloaded_and_loaded_again_by_the_next_request(idle: Server) -> None:
    for number in range(1, 4):
        until_loaded(idle, False)
        assert idle.metric("greenllm_model_loaded") == 0
        assert idle.complete(f"word{number}").json()["choices"][0]["text"] == f"word{number} "
        assert idle.metric("greenllm_load_duration_seconds_count") == number
        assert idle.metric("greenllm_unloads_total") >= number


def test_requests_wait_while_the_model_is_loaded(idle: Server) -> None:
    engine = idle.engine
    assert isinstance(engine, Unloadable)
    until_loaded(idle, False)
    engine.may_load.clear()
    first = idle.pool.submit(idle.complete, "first")
    engine.loading.acquire()
    waiting = [idle.pool.submit(idle.complete, f"word{number}", stream=number == 2) for number in range(4)]
    idle.until_waiting(4)  # the server answers meanwhile, and refuses more than the queue holds
    assert not idle.client.get("/health").json()["loaded"]
    assert "later" in refusal(idle.complete("late"), 429)
    assert "the prompt is empty" in refusal(idle.complete(""), 422)
    engine.may_load.set()
    assert first.result().json()["choices"][0]["text"] == "first "
    assert [answer.result().status_code for answer in waiting] == [200] * 4
    assert idle.metric("greenllm_unloads_total") - idle.metric("greenllm_load_duration_seconds_count") in (0, 1)


def test_a_request_that_arrives_while_the_model_is_unloaded_is_answered(idle: Server) -> None:
    engine = idle.engine
    assert isinstance(engine, Unloadable)
    until_loaded(idle, False)
    engine.unloading.acquire()
    engine.may_unload.clear()
    idle.complete("before")
    engine.loading.acquire()
    engine.unloading.acquire()
    answer = idle.pool.submit(idle.complete, "just now")
    idle.until_waiting(1)
    engine.may_unload.set()
    assert answer.result().json()["choices"][0]["text"] == "just now "
    engine.loading.acquire()


def test_no_request_is_lost_between_unloading_and_loading(idle: Server) -> None:
    answers = [idle.pool.submit(idle.complete, f"word{number}") for number in range(3)]
    for number in range(3, 60):
        answers.append(idle.pool.submit(idle.complete, f"word{number}"))
        answers[number - 3].result()  # at most 3 at once, with pauses about as long as the idle time
        if number % 2:
            until_loaded(idle, False)
    texts = [answer.result().json()["choices"][0]["text"] for answer in answers]
    assert texts == [f"word{number} " for number in range(60)]


def test_a_model_that_has_changed_on_disk_is_not_loaded_in_its_place(
    idle: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    until_loaded(idle, False)
    (tmp_path / "weights").write_text("other")
    assert "failed" in refusal(idle.complete("word"), 500)
    (said,) = capfd.readouterr().err.splitlines()
    assert said == f"greenllm serve: error: {tmp_path}: has changed since the server started; start the server again"
    assert not idle.client.get("/health").json()["loaded"]


def test_a_server_that_stops_while_its_model_is_unloaded_loads_nothing(idle: Server) -> None:
    until_loaded(idle, False)
    idle.stop()
    idle.thread.join()
    assert not idle.engine.loaded  # type: ignore[attr-defined]


def test_an_engine_that_cannot_be_unloaded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="parrot cannot be unloaded; leave --unload-after out"):
        make_app(Parrot(), "parrot", Limits(), Served(), folder=tmp_path, unload_after_s=1)


def refusal(response: httpx.Response, status: int) -> str:
    """Assert that a response is an error in OpenAI's form, and return its message."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["message"])


def test_a_lone_request_does_not_wait_and_those_that_wait_are_batched(serve: Callable[..., Server]) -> None:
    server = serve(batch=3)
    server.engine.free.clear()
    answers = [server.pool.submit(server.complete, "first")]
    server.engine.busy.acquire()  # begun at once, alone
    for number in range(1, 6):
        answers.append(server.pool.submit(server.complete, f"word{number}"))
        server.until_waiting(number)
    server.engine.free.set()
    texts = [answer.result().json()["choices"][0]["text"] for answer in answers]
    assert texts == ["first ", *(f"word{number} " for number in range(1, 6))]
    assert [len(batch) for batch in server.engine.batches] == [1, 3, 2]
    assert server.metric("greenllm_batch_size_count") == 3
    assert server.metric("greenllm_batch_size_sum") == 6


def test_it_is_healthy_while_it_generates(serve: Callable[..., Server]) -> None:
    server = serve()
    server.engine.free.clear()
    answer = server.pool.submit(server.complete, "a b")
    server.engine.busy.acquire()
    assert server.client.get("/health").json()["status"] == "ok"
    assert not answer.done()
    server.engine.free.set()
    assert answer.result().status_code == 200


def test_a_full_queue_is_refused_and_the_waiting_are_answered(serve: Callable[..., Server]) -> None:
    server = serve(batch=1, queue=2)
    server.engine.free.clear()
    answers = [server.pool.submit(server.complete, "one")]
    server.engine.busy.acquire()
    for number in (1, 2):
        answers.append(server.pool.submit(server.complete, f"waiting{number}"))
        server.until_waiting(number)
    refused = server.complete("late")
    assert "later" in refusal(refused, 429)
    assert int(refused.headers["Retry-After"]) >= 1
    assert "later" in refusal(server.complete("late", stream=True), 429)
    server.engine.free.set()
    assert [answer.result().status_code for answer in answers] == [200, 200, 200]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_disconnects_is_dropped(serve: Callable[..., Server], stream: bool) -> None:
    server = serve(batch=1)
    server.engine.free.clear()
    kept = server.pool.submit(server.complete, "kept")
    server.engine.busy.acquire()
    body = json.dumps({"prompt": "left", "stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        server.until_waiting(1)
    server.until_waiting(0)
    server.engine.free.set()
    assert kept.result().status_code == 200
    assert server.engine.batches == [["kept"]]
    assert server.metric("greenllm_dropped_requests_total") == 1


def test_a_graceful_stop_answers_running_and_waiting_requests(serve: Callable[..., Server]) -> None:
    server = serve(batch=1)
    server.engine.free.clear()
    answers = [server.pool.submit(server.complete, "one two")]
    server.engine.busy.acquire()
    answers.append(server.pool.submit(server.complete, "three"))
    server.until_waiting(1)
    server.stop()
    server.engine.free.set()
    assert [answer.result().status_code for answer in answers] == [200, 200]
    server.thread.join()
    assert server.served == Served(requests=2, tokens=3, prompt_tokens=3)


def test_a_failing_engine_reveals_no_details_and_the_next_request_is_answered(
    serve: Callable[..., Server], capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    message = refusal(server.complete("crash"), 500)
    assert "secret" not in message
    assert "Traceback" not in message
    streamed = server.complete("crash", stream=True).text
    assert "secret" not in streamed
    assert '"error"' in streamed
    assert "[DONE]" not in streamed
    assert server.complete("fine").status_code == 200
    assert "/secret/path is broken" in capfd.readouterr().err


def test_a_stream_has_the_text_piece_by_piece_then_its_finish_reason_and_the_usage(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    response = server.complete("a b c", stream=True, max_tokens=2, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["text"] for choice in choices) == "a b "
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["length"]
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


SEPARATORS = "a\u2028b\u2029c\x85d\x0be\x1cf\rg"  # line ends for str.splitlines, but not in an event stream


def test_a_stream_is_read_by_clients_that_split_lines_anywhere(serve: Callable[..., Server]) -> None:
    server = serve()
    server.engine.separator = "|"
    body = {"prompt": f"{SEPARATORS}|x", "stream": True}
    with server.client.stream("POST", "/v1/completions", json=body) as response:
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == f"{SEPARATORS} x "
    assert server.complete(f"{SEPARATORS}|x").json()["choices"][0]["text"] == f"{SEPARATORS} x "


def test_a_streams_first_text_arrives_before_the_answer_is_complete(serve: Callable[..., Server]) -> None:
    server = serve()
    server.engine.pause_after = "a "
    server.engine.free.clear()
    with server.client.stream("POST", "/v1/completions", json={"prompt": "a b", "stream": True}) as response:
        parts = response.iter_text()
        assert '"a "' in next(parts)
        server.engine.free.set()
        rest = "".join(parts)
    assert '"b "' in rest
    assert rest.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_ten_megabytes_is_too_large(serve: Callable[..., Server], chunked: bool) -> None:
    server = serve()
    body = json.dumps({"prompt": "x" * 10_000_000}).encode()
    content = (body[start : start + 65536] for start in range(0, len(body), 65536)) if chunked else body
    response = server.client.post("/v1/completions", content=content, headers={"Content-Type": "application/json"})
    assert "1048576 bytes" in refusal(response, 413)
    assert server.complete("fine").status_code == 200
    assert server.engine.batches == [["fine"]]


def test_a_body_at_the_limit_is_taken(serve: Callable[..., Server]) -> None:
    server = serve(body_bytes=40)
    body = json.dumps({"prompt": "a"}).encode().ljust(40)
    assert server.client.post("/v1/completions", content=body, headers={"Content-Type": "application/json"}).is_success
    assert refusal(server.client.post("/v1/completions", content=body + b" "), 413)


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        ({"prompt": "word " * 20}, 422, "20 tokens"),
        ({"prompt": "word " * 15, "max_tokens": 6}, 422, "15 tokens and 6 more"),
        ({"prompt": " "}, 422, "empty"),
        ({}, 422, "prompt: Field required"),
        ({"prompt": []}, 422, "prompt: is an empty list"),
        ({"prompt": ["one", ""]}, 422, "empty"),
        ({"prompt": 5}, 422, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, 422, "max_tokens: 0 is only for `echo: true`; ask for at least 1"),
        ({"prompt": "a", "max_tokens": 9}, 422, "at most 8"),
        ({"prompt": "a", "model": "gpt-5"}, 404, "gpt-5"),
        ({"prompt": "a", "temperature": 3}, 422, "temperature: expected a number from 0 to 2"),
        ({"prompt": "a", "temperature": -0.1}, 422, "temperature: expected a number from 0 to 2"),
        ({"prompt": "a", "top_p": 1.5}, 422, "top_p: expected a number from 0 to 1"),
        ({"prompt": "a", "n": 0}, 422, "n: expected an integer from 1 to 128"),
        ({"prompt": ["a"] * 100, "n": 100}, 422, "10000 answers are asked for"),
        ({"prompt": "a", "n": 3, "best_of": 2}, 422, "best_of: only the number of `n`"),
        ({"prompt": "a", "stop": ["."] * 100}, 422, "stop: 100 stop strings; expected at most 16"),
        ({"prompt": "a", "stop": ["."] * 3 + [""]}, 422, "stop: a stop string is empty"),
        ({"prompt": "a", "stop": 5}, 422, "stop"),
        ({"prompt": "a", "logprobs": 6}, 422, "logprobs: expected an integer from 0 to 5"),
        ({"prompt": "a", "logprobs": True}, 422, "logprobs: expected an integer from 0 to 5"),
        ({"prompt": "a", "logprobs": 0}, 422, "logprobs: log probabilities can't be computed by the engine parrot"),
        ({"prompt": [1, 2], "echo": True}, 422, "can't be computed by the engine parrot"),
        ({"prompt": "a", "frobnicate": 1}, 422, "frobnicate"),
        ([], 422, "body"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    serve: Callable[..., Server], body: object, status: int, expected: str
) -> None:
    server = serve(max_tokens=8)
    assert expected in refusal(server.client.post("/v1/completions", json=body), status)
    assert server.engine.batches == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "role"),
        ({"messages": [{"role": "user"}]}, "content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            'messages.0.content: parts of type "image_url" are not supported; send text',
        ),
        (
            {"messages": [{"role": "assistant", "content": None}, {"role": "user", "content": "a"}]},
            "messages.0.content: is null; this server knows no tool calls and no refusals; send text",
        ),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "the user's"),
        ({"messages": [{"role": "user", "content": "a"}], "logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": "a"}], "logprobs": 2}, "logprobs"),
        ({"messages": [{"role": "user", "content": "a"}], "logprobs": True, "top_logprobs": 21}, "0 to 20"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}, "max_tokens"),
        (
            {"messages": [{"role": "user", "content": "a"}], "max_tokens": 5, "max_completion_tokens": 7},
            "max_completion_tokens: is 7, and max_tokens is 5: expected one of them",
        ),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]}, "tools"),
    ],
)
def test_a_chat_that_cannot_be_answered_is_refused(serve: Callable[..., Server], body: object, expected: str) -> None:
    assert expected in refusal(serve().client.post("/v1/chat/completions", json=body), 422)


NOTHING: dict[str, list[object]] = {
    "model": ["parrot", None],
    "max_tokens": [None],
    "n": [1, None],
    "stop": [None, [], "", ["@@"] * 16],
    "logprobs": [False, None],
    "temperature": [0, 0.0, None],
    "top_p": [1, 0.5, None],
    "seed": [3, -1, 2**63 - 1, None],
    "user": ["u", None],
    "safety_identifier": ["u", None],
    "prompt_cache_key": ["k", None],
    "metadata": [{"a": "b"}, {}, None],
    "store": [False, None],
    "service_tier": ["auto", "default", None],
    "stream": [False, None],
    "stream_options": [None, {}, {"include_usage": False}, {"include_usage": None}],
    "presence_penalty": [0, 0.0, None],
    "frequency_penalty": [0, None],
    "logit_bias": [{}, None],
    "what_nobody_knows": [None],
}
OF_COMPLETIONS: dict[str, list[object]] = {"best_of": [1, None], "echo": [False, None], "suffix": [None, ""]}
OF_CHATS: dict[str, list[object]] = {
    "max_completion_tokens": [None, 3],
    "response_format": [{"type": "text"}, None],
    "tool_choice": ["none", "auto", None],
    "tools": [[], None],
    "functions": [[], None],
    "function_call": ["none", None],
    "parallel_tool_calls": [True, False, None],
    "modalities": [["text"], None],
    "audio": [None],
    "prediction": [None],
    "top_logprobs": [0, None],
    "reasoning_effort": [None, "none"],
    "verbosity": [None, "medium"],
    "web_search_options": [None],
}


def each(*fields: dict[str, list[object]]) -> list[tuple[str, object]]:
    return [(name, value) for some in fields for name, values in some.items() for value in values]


def test_fields_that_ask_for_nothing_are_no_errors(serve: Callable[..., Server]) -> None:
    server = serve()
    for name, value in each(NOTHING, OF_COMPLETIONS):
        response = server.complete("a", **{name: value})
        assert response.status_code == 200, response.text
        assert response.json()["choices"][0]["text"] == "a "
    for name, value in each(NOTHING, OF_CHATS):
        response = server.chat("a", **{name: value})
        assert response.status_code == 200, response.text
        assert response.json()["choices"][0]["message"]["content"] == "a "


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("functions", [{"name": "f"}]),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("service_tier", "flex"),
        ("reasoning_effort", "high"),
        ("frequency_penalty", 0.5),
        ("logit_bias", {"5": -100}),
        ("top_logprobs", 2),
        ("n", True),
        ("stream", "yes, please"),
        ("what_nobody_knows", 0),
        ("temperature", "hot"),
        ("seed", True),
        ("seed", "7"),
        ("seed", 2**63),  # OpenAI's largest is one less
        ("max_tokens", "7"),
        ("store", "true"),
    ],
)
def test_fields_that_ask_for_what_it_cannot_do_are_named(
    serve: Callable[..., Server], field: str, value: object
) -> None:
    server = serve()
    response = server.chat("a", **{field: value})
    assert field in refusal(response, 422)
    assert response.json()["error"]["param"] == field
    assert server.engine.batches == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ["a"] * 300}, "prompt"),
        ({"prompt": ["a"] * 3, "n": 100}, "n"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
    ],
)
def test_the_field_that_asks_for_too_much_is_named(
    serve: Callable[..., Server], body: dict[str, object], param: str
) -> None:
    response = serve().client.post("/v1/completions", json=body)
    assert refusal(response, 422)
    assert response.json()["error"]["param"] == param


def test_the_openai_client_may_send_all_that_it_knows(serve: Callable[..., Server]) -> None:
    import openai

    client = openai.OpenAI(base_url=f"{serve().url}/v1", api_key="none", max_retries=0)
    common: dict[str, Any] = {name: values[0] for name, values in NOTHING.items() if name != "what_nobody_knows"}
    common["stream"] = False
    chats: dict[str, Any] = {name: values[0] for name, values in OF_CHATS.items()}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": " b"}]
    messages: Any = [{"role": "developer", "content": "x"}, {"role": "user", "content": parts, "name": "me"}]
    chat = client.chat.completions.create(messages=messages, **common, **chats)
    assert chat.choices[0].message.content == "x a b "
    unknown = {name: common.pop(name) for name in ("metadata", "store", "service_tier", "safety_identifier")}
    unknown["prompt_cache_key"] = common.pop("prompt_cache_key")
    whole: dict[str, Any] = {name: values[0] for name, values in OF_COMPLETIONS.items()}
    completion = client.completions.create(prompt="a b", **common, **whole, extra_body=unknown)
    assert completion.choices[0].text == "a b "
    assert client.models.retrieve("parrot").id == "parrot"
    with pytest.raises(openai.NotFoundError, match="own/other"):
        client.models.retrieve("own/other")


def test_a_model_is_found_by_its_name(serve: Callable[..., Server]) -> None:
    client = serve().client
    assert client.get("/v1/models/parrot").json() == client.get("/v1/models").json()["data"][0]
    for other in ("gpt-5", "own/model", "own%2Fmodel"):
        assert "this server has 'parrot'" in refusal(client.get(f"/v1/models/{other}"), 404)


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (rb'{"prompt": "x \ud83d"}', 422, "prompt: half of a surrogate pair"),
        (rb'{"prompt": ["x \udc00"]}', 422, "prompt.0: half of a surrogate pair"),
        (rb'{"prompt": "x", "stop": ["\ud83d"]}', 422, "stop.0: half of a surrogate pair"),
        (rb'{"prompt": "x", "user": "\ud83d"}', 422, "user: half of a surrogate pair"),
        (rb'{"prompt": "x", "metadata": {"\ud83d": "a"}}', 422, "metadata: half of a surrogate pair"),
        (rb'{"prompt": "x", "metadata": {"a": "\ud83d"}}', 422, "metadata.a: half of a surrogate pair"),
        (rb'{"prompt": "x", "\ud83d": null}', 422, "body: half of a surrogate pair"),
        (rb'{"prompt": "x", "model": "\ud83d"}', 422, "model: half of a surrogate pair"),
        (rb'"\ud83d"', 422, "body: half of a surrogate pair"),
        (b'{"prompt": "caf\xe9"}', 400, "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", 400, "not UTF-8"),
        (b'{"prompt": "x", "temperature": NaN}', 400, "NaN"),
        (b'{"prompt": "x", "top_p": -Infinity}', 400, "-Infinity"),
        (b'{"prompt": "x", "seed": ' + b"1" * 5000 + b"}", 400, "not valid JSON"),
        (b'{"prompt": "x", "max_tokens": ' + b"1" * 400 + b"}", 422, "tokens"),
        (b'{"prompt": "x", "top_p": ' + b"1" * 400 + b"}", 422, "top_p"),
        (b'{"prompt": [' + b"1" * 400 + b"]}", 422, "prompt"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"prompt": ' + b"[" * 300 + b"]" * 300 + b"}", 422, "prompt"),
        (b'{"prompt": "a", "prompt": "b"}', 422, "prompt: appears twice"),
        (b'{"prompt": "a", "metadata": {"k": "1", "k": "2"}}', 422, "k: appears twice"),
        (rb'{"prompt": "a", "\ud83d": 1, "\ud83d": 2}', 422, "appears twice"),
        (b'{"prompt": [true]}', 422, "prompt"),
        (b'{"prompt": [1.0]}', 422, "prompt"),
        (b'{"prompt": null}', 422, "prompt: "),
        (b'{"prompt": "a", "foo": 1}', 422, "foo: is not known to this server"),
        (b'{"prompt": "a", "stream": true, "stream_options": {"foo": 1}}', 422, "stream_options.foo: is not known"),
        (b"[]", 422, "is not a JSON object"),
        (b"", 400, "is empty"),
        (b" \n", 400, "is empty"),
        (b"null", 422, "body"),
        (b"5", 422, "body"),
        (b'"prompt"', 422, "body"),
        (b"prompt=hello", 400, "not valid JSON"),
    ],
)
def test_a_body_that_is_not_valid_json_is_refused(
    serve: Callable[..., Server], content: bytes, status: int, expected: str
) -> None:
    server = serve()
    for path in ("/v1/completions", "/v1/chat/completions"):
        response = server.client.post(path, content=content, headers={"Content-Type": "application/json"})
        message = refusal(response, status)
        if path == "/v1/completions":
            assert expected in message
    assert server.engine.batches == []
    assert server.complete("fine \U0001f642").status_code == 200


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_of_another_type_is_refused(serve: Callable[..., Server], kind: str | None) -> None:
    server = serve()
    headers = {} if kind is None else {"Content-Type": kind}
    for path in ("/v1/completions", "/v1/chat/completions"):
        message = refusal(server.client.post(path, content=b'{"prompt": "a"}', headers=headers), 415)
        assert (kind or "missing") in message
        assert "-H 'Content-Type: application/json'" in message


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/ld+json"])
def test_every_content_type_of_json_is_accepted(serve: Callable[..., Server], kind: str) -> None:
    response = serve().client.post("/v1/completions", content=b'{"prompt": "a"}', headers={"Content-Type": kind})
    assert response.json()["choices"][0]["text"] == "a "


def test_the_documentation_describes_the_bodies(serve: Callable[..., Server]) -> None:
    document = serve().client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, field in (("/v1/completions", "prompt"), ("/v1/chat/completions", "messages")):
        reference = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert field in schemas[reference.removeprefix("#/components/schemas/")]["properties"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    assert references == {f"#/components/schemas/{name}" for name in schemas} & references
    assert "#/components/schemas/Message" in references


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/completions", b'{"prompt": "a', 400),
        ("GET", "/nope", b"", 404),
        ("GET", "/v1/completions", b"", 405),
    ],
)
def test_other_errors_have_the_same_form(
    serve: Callable[..., Server], method: str, path: str, content: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    assert refusal(serve().client.request(method, path, content=content, headers=headers), status)


def test_prometheus_reads_requests_tokens_and_latency(serve: Callable[..., Server]) -> None:
    server = serve()
    server.complete("a b")
    server.complete("a b c", stream=True)
    server.complete("")
    assert server.metric('greenllm_requests_total{path="/v1/completions",status="200"}') == 2
    assert server.metric('greenllm_requests_total{path="/v1/completions",status="422"}') == 1
    assert server.metric("greenllm_completion_tokens_total") == 5
    assert server.metric("greenllm_prompt_tokens_total") == 5
    assert server.metric("greenllm_request_duration_seconds_count") == 2
    assert server.metric("greenllm_time_to_first_token_seconds_count") == 1


REPLIES = Replies(threshold=0.5, hand_over="A person will answer.", replies={"card lost": "Block the card."})


@pytest.mark.parametrize(
    ("named", "content", "reason"),
    [
        ("Card  LOST", "Block the card.", {"intent": "Card LOST", "confidence": 0.5, "handed_over": False}),
        ("unheard of", "A person will answer.", {"intent": "unheard of", "confidence": 0.5, "handed_over": True}),
        (
            "card lost now",
            "A person will answer.",
            {"intent": "card lost now", "confidence": 1 / 3, "handed_over": True},
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_gets_the_scripted_reply_or_a_person_where_the_model_is_not_sure(
    serve: Callable[..., Server], named: str, content: str, reason: Mapping[str, object], stream: bool
) -> None:
    response = serve(replies=REPLIES).chat(named, max_tokens=1, stream=stream)
    if stream:
        events = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
        assert events.pop() == "[DONE]"
        chunks = [json.loads(event) for event in events]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == content
        answer, finish_reason = chunks[-1], chunks[-1]["choices"][0]["finish_reason"]
    else:
        answer = response.json()
        finish_reason = answer["choices"][0]["finish_reason"]
        assert answer["choices"][0]["message"]["content"] == content
        assert answer["usage"]["completion_tokens"] == len(named.split())  # the work done, not the reply's length
    assert answer["greenllm"] == pytest.approx(reason)
    assert finish_reason == "stop"


@pytest.mark.parametrize("more", [{"n": 2}, {"stop": "a"}, {"logprobs": True}, {"ignore_eos": True}])
def test_what_a_scripted_reply_does_not_have_is_refused(serve: Callable[..., Server], more: dict[str, object]) -> None:
    message = refusal(serve(replies=REPLIES).chat("card lost", **more), 422)
    assert message.startswith(f"{next(iter(more))}: chats get scripted replies here")


def test_replies_leave_completions_as_they_are_and_a_server_without_them_its_chats(
    serve: Callable[..., Server],
) -> None:
    completion = serve(replies=REPLIES).complete("card lost").json()
    assert completion["choices"][0]["text"] == "card lost "
    assert "greenllm" not in completion
    chat = serve().chat("card lost").json()
    assert chat["choices"][0]["message"]["content"] == "card lost "
    assert "greenllm" not in chat


@pytest.mark.parametrize("more", [{"tool_calls": [{"id": "1"}]}, {"foo": 1}, {"audio": {"id": "1"}}])
def test_what_a_message_asks_for_and_the_server_cannot_do_is_refused(
    serve: Callable[..., Server], more: dict[str, object]
) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", **more}]
    message = refusal(serve().client.post("/v1/chat/completions", json={"messages": messages}), 422)
    assert f"messages.1.{next(iter(more))}: " in message


def test_an_answer_may_be_sent_back_with_all_its_empty_fields(serve: Callable[..., Server]) -> None:
    empty: dict[str, object] = dict.fromkeys(("refusal", "tool_calls", "audio", "function_call"))
    empty |= {"annotations": [], "name": "x"}
    messages = [{"role": "assistant", "content": "b", **empty}, {"role": "user", "content": "a"}]
    response = serve().client.post("/v1/chat/completions", json={"messages": messages})
    assert response.status_code == 200, response.text
