"""The server's metrics for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greenllm.serving.request_energy import SharedInterval

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Requests, tokens, latencies, queue and batches of one server."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        names, sizes = ["path", "status"], (1, 2, 4, 8, 16, 32, 64, 128)
        text = "Requests answered, by path and HTTP status."
        self.requests = Counter("greenllm_requests", text, names, registry=registry)
        text = "Prompt tokens of answered requests."
        self.prompt_tokens = Counter("greenllm_prompt_tokens", text, registry=registry)
        text = "Tokens generated for answered requests."
        self.completion_tokens = Counter("greenllm_completion_tokens", text, registry=registry)
        text = "Requests whose client disconnected before the answer."
        self.dropped = Counter("greenllm_dropped_requests", text, registry=registry)
        text = "From a request's arrival to the end of its answer."
        self.latency_s = Histogram("greenllm_request_duration_seconds", text, buckets=SECONDS, registry=registry)
        text = "From a streamed request's arrival to its first text."
        self.first_token_s = Histogram("greenllm_time_to_first_token_seconds", text, buckets=SECONDS, registry=registry)
        text = "Requests generated together."
        self.batch = Histogram("greenllm_batch_size", text, buckets=sizes, registry=registry)
        self.loaded = Gauge("greenllm_model_loaded", "1: the model is in memory; 0: not.", registry=registry)
        text = "Times that the model was unloaded, since nobody had asked for it."
        self.unloads = Counter("greenllm_unloads", text, registry=registry)
        text = "Loading the model again for a request, after it was unloaded."
        self.load_s = Histogram("greenllm_load_duration_seconds", text, buckets=SECONDS, registry=registry)
        Gauge("greenllm_waiting_requests", "Requests in the queue.", registry=registry).set_function(waiting)

    def of_energy(self) -> "EnergyMetrics":
        """Add the server's energy."""
        return EnergyMetrics(self._registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class EnergyMetrics:
    """The energy of one server: of its answers, and idle. Both together are what its meter counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ["component", "use"]
        text = "The server's energy, by component (gpu, cpu, dram) and use: requests, or idle."
        self._own_J = Counter("greenllm_energy_joules", text, names, registry=registry)
        text = "What the same sensors counted of the whole host meanwhile, by component."
        self._host_J = Counter("greenllm_host_energy_joules", text, names[:1], registry=registry)

    def count(self, shared: SharedInterval) -> None:
        """Add an interval whose energy is shared."""
        for component, energy_J in shared.growth.components_J.items():
            self._own_J.labels(component, "requests").inc(energy_J * shared.requests)
            self._own_J.labels(component, "idle").inc(energy_J * shared.idle)
        for component, energy_J in shared.growth.host_J.items():
            self._host_J.labels(component).inc(energy_J)


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
