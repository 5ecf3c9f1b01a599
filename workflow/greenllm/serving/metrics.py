"""The server's metrics for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Requests, tokens, latencies, queue and batches of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "greenllm_requests",
            "Requests answered, by path and HTTP status.",
            ["path", "status"],
            registry=self._registry,
        )
        self.prompt_tokens = Counter(
            "greenllm_prompt_tokens", "Prompt tokens of answered requests.", registry=self._registry
        )
        self.completion_tokens = Counter(
            "greenllm_completion_tokens", "Tokens generated for answered requests.", registry=self._registry
        )
        self.dropped = Counter(
            "greenllm_dropped_requests",
            "Requests whose client disconnected before the answer.",
            registry=self._registry,
        )
        self.latency_s = Histogram(
            "greenllm_request_duration_seconds",
            "From a request's arrival to the end of its answer.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self.first_token_s = Histogram(
            "greenllm_time_to_first_token_seconds",
            "From a streamed request's arrival to its first text.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batch = Histogram(
            "greenllm_batch_size",
            "Requests generated together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self._registry,
        )
        Gauge("greenllm_waiting_requests", "Requests in the queue.", registry=self._registry).set_function(waiting)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class CountRequests:
    """ASGI middleware that counts requests by path and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it when its answer begins."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Only paths that exist: one label for every path that anybody requests would fill the memory.
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted)
