"""Prometheus metrics and health of one role over HTTP, on loopback by default."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from schemas.metrics import CATALOGUE, Kind, Metric

M = TypeVar("M")
PREFIX = "vitalwire_"


class PrometheusObserver:
    """`schemas.ports.Observer` over one Prometheus registry. A name or label outside the catalogue is an error."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {m.name: _counter(m, self.registry) for m in CATALOGUE.values() if m.kind == "counter"}
        self._gauges = {m.name: _gauge(m, self.registry) for m in CATALOGUE.values() if m.kind == "gauge"}
        self._histograms = {m.name: _histogram(m, self.registry) for m in CATALOGUE.values() if m.kind == "histogram"}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        metric = self._known(self._counters, name, "counter")
        (metric.labels(**labels) if _declared(name, labels) else metric).inc(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        metric = self._known(self._gauges, name, "gauge")
        (metric.labels(**labels) if _declared(name, labels) else metric).set(value)

    def seconds(self, name: str, value_s: float, **labels: str) -> None:
        """Observe a duration in a histogram. A clock that stepped back counts as zero."""
        metric = self._known(self._histograms, name, "histogram")
        (metric.labels(**labels) if _declared(name, labels) else metric).observe(max(0.0, value_s))

    def exposition(self) -> bytes:
        """All metrics in Prometheus text format."""
        return generate_latest(self.registry)

    @staticmethod
    def _known(metrics: dict[str, M], name: str, kind: Kind) -> M:
        if name not in metrics:
            raise KeyError(f"no {kind} '{name}' in the catalogue of metrics (schemas/metrics.py)")
        return metrics[name]


def _declared(name: str, labels: dict[str, str]) -> bool:
    if set(labels) != set(CATALOGUE[name].labels):
        raise ValueError(f"metric '{name}' takes the labels {CATALOGUE[name].labels}, not {tuple(labels)}")
    return bool(labels)


def _counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    return Counter(PREFIX + metric.name, metric.help, metric.labels, registry=registry)


def _gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    return Gauge(PREFIX + metric.name, metric.help, metric.labels, registry=registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(PREFIX + metric.name, metric.help, metric.labels, registry=registry, buckets=metric.buckets)


class MetricsServer:
    """Serves /metrics, /health/live and /health/ready from its own thread, so that a busy role still responds.

    `waits_for` names what keeps the role from its work; None while it is ready.
    """

    def __init__(
        self,
        observer: PrometheusObserver,
        waits_for: Callable[[], str | None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._http = ThreadingHTTPServer((host, port), _handler(observer, waits_for))
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def _handler(observer: PrometheusObserver, waits_for: Callable[[], str | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0
        server_version = "vitalwire"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, observer.exposition())
            elif self.path == "/health/live":
                self._answer(200, "text/plain", b"live\n")
            elif self.path == "/health/ready":
                missing = waits_for()
                state = "ready\n" if missing is None else f"not ready: {missing}\n"
                self._answer(200 if missing is None else 503, "text/plain", state.encode())
            else:
                self._answer(404, "text/plain", b"try /metrics, /health/live or /health/ready\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
            """Scrapes are not logged."""

    return Handler
