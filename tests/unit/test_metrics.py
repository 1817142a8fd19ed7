import urllib.error
import urllib.request

import pytest

from adapters.metrics import MetricsServer, PrometheusObserver
from schemas.metrics import CATALOGUE

PERSONAL = {"patient", "patient_id", "device", "device_id", "subject", "subject_id", "value"}


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_no_metric_has_a_label_that_names_a_person_or_a_device():
    assert not [m.name for m in CATALOGUE.values() if PERSONAL & set(m.labels)]


def test_every_metric_of_the_catalogue_can_be_recorded_and_is_exposed():
    observer = PrometheusObserver()
    for metric in CATALOGUE.values():
        record = {"counter": observer.count, "gauge": observer.gauge, "histogram": observer.seconds}[metric.kind]
        record(metric.name, 3.0, **dict.fromkeys(metric.labels, "x"))
    exposed = observer.exposition().decode()
    for metric in CATALOGUE.values():
        labels = "{" + ",".join(f'{name}="x"' for name in sorted(metric.labels)) + "}" if metric.labels else ""
        suffix = "_sum" if metric.kind == "histogram" else ""
        assert f"vitalwire_{metric.name}{suffix}{labels} 3.0" in exposed


def test_a_metric_that_is_not_in_the_catalogue_is_an_error():
    with pytest.raises(KeyError, match="surprise"):
        PrometheusObserver().count("surprise")


def test_a_counter_cannot_be_set_as_a_gauge():
    with pytest.raises(KeyError, match="no gauge 'readings_total'"):
        PrometheusObserver().gauge("readings_total", 1, outcome="late", reason="")


def test_a_label_that_is_not_declared_is_an_error():
    with pytest.raises(ValueError, match="takes the labels"):
        PrometheusObserver().count("readings_total", outcome="late", reason="", device_id="mon-17")


def test_a_missing_label_is_an_error():
    with pytest.raises(ValueError, match="takes the labels"):
        PrometheusObserver().count("readings_total", outcome="late")


def test_the_server_shows_metrics_and_readiness_as_it_changes():
    observer, waits_for = PrometheusObserver(), ["compiling"]
    server = MetricsServer(observer, lambda: next(iter(waits_for), None))
    try:
        observer.count("readings_total", 7, outcome="windowed", reason="")
        assert 'vitalwire_readings_total{outcome="windowed",reason=""} 7.0' in get(server.port, "/metrics")[1]
        assert get(server.port, "/health/live")[0] == 200
        assert get(server.port, "/health/ready") == (503, "not ready: compiling\n")
        waits_for.clear()
        assert get(server.port, "/health/ready")[0] == 200
        assert get(server.port, "/anything")[0] == 404
    finally:
        server.stop()


def test_a_stopped_server_frees_its_port():
    first = MetricsServer(PrometheusObserver(), lambda: None)
    first.stop()
    second = MetricsServer(PrometheusObserver(), lambda: None, port=first.port)
    try:
        assert get(second.port, "/health/live")[0] == 200
    finally:
        second.stop()
