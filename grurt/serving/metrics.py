"""What Prometheus reads of a service. It is counted where it happens, a whole call at once, and put in form here."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from grurt.serving.service import Service

_BY_MODEL = ["model"]


class ServiceCollector(Collector):
    """The metrics of a service, at the moment when somebody asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._of_models()
        yield from self._of_requests()
        yield from self._of_changes()
        yield from self._of_refusals()
        yield from self._of_store()
        lag = GaugeMetricFamily("grurt_loop_lag_seconds", "How long the event loop made somebody wait, of late")
        lag.add_metric([], self._service.lag)
        yield lag
        connections = GaugeMetricFamily("grurt_connections", "WebSocket connections of sessions")
        connections.add_metric([], len(self._service.connections))
        yield connections
        for metrics in self._service.more_metrics:
            yield from metrics()

    def _of_models(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily("grurt_sessions", "Sessions in memory", labels=_BY_MODEL)
        waiting = GaugeMetricFamily("grurt_waiting_sessions", "Sessions that wait for their turn", labels=_BY_MODEL)
        samples = CounterMetricFamily("grurt_samples", "Samples that were answered", labels=_BY_MODEL)
        seconds = CounterMetricFamily("grurt_step_seconds", "Time in the model", labels=_BY_MODEL)
        batches = HistogramMetricFamily("grurt_batch_samples", "Samples in a call of the model", labels=_BY_MODEL)
        for name, served in self._service.rooms.items():
            rooms = [served, *(room for room in self._service.replaced.rooms if room.name == name)]
            counts = served.turns.counts  # of all of them
            sessions.add_metric([name], sum(map(len, rooms)))
            waiting.add_metric([name], sum(room.turns.n_waiting_sessions for room in rooms))
            samples.add_metric([name], counts.samples)
            seconds.add_metric([name], counts.call_seconds)
            batches.add_metric([name], _cumulative(counts.calls_by_size), counts.samples)
        yield from (sessions, waiting, samples, seconds, batches)

    def _of_requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("grurt_whole_requests", "Whole sequences answered", labels=_BY_MODEL)
        seconds = CounterMetricFamily("grurt_whole_seconds", "Time in models of whole sequences", labels=_BY_MODEL)
        for name, model in self._service.whole.items():
            requests.add_metric([name], model.counts.requests)
            seconds.add_metric([name], model.counts.seconds)
        generated = CounterMetricFamily("grurt_generated_tokens", "Tokens that were generated", labels=_BY_MODEL)
        for name in self._service.rooms:
            generated.add_metric([name], self._service.generators.n_tokens[name])
        running = GaugeMetricFamily("grurt_generating_requests", "Requests for which is generated, or that wait for it")
        running.add_metric([], self._service.generators.n_running)
        yield from (requests, seconds, generated, running)

    def _of_changes(self) -> Iterator[Metric]:
        service = self._service
        served = GaugeMetricFamily(
            "grurt_model_info", "The model that is served", labels=["model", "version", "fingerprint"]
        )
        changes = CounterMetricFamily("grurt_model_changes", "Times that a model was replaced", labels=_BY_MODEL)
        failures = CounterMetricFamily(
            "grurt_model_change_failures", "Times that a model's file held none that could be served", labels=_BY_MODEL
        )
        for each in service.all_served:
            name = each.name
            served.add_metric([name, str(each.version), each.model.fingerprint.hex()], 1)
            changes.add_metric([name], service.changes[name])
            failures.add_metric([name], service.failed_changes[name])
        replaced = GaugeMetricFamily("grurt_replaced_models", "Models in memory that were replaced")
        replaced.add_metric([], len(service.replaced.rooms))
        renewed = CounterMetricFamily("grurt_sessions_renewed", "Sessions that have begun anew on another model")
        renewed.add_metric([], service.replaced.n_renewed)
        yield from (served, changes, failures, replaced, renewed)

    def _of_refusals(self) -> Iterator[Metric]:
        refused = CounterMetricFamily("grurt_refused", "What was refused", labels=["kind"])
        for kind, number in self._service.refused.items():
            refused.add_metric([kind], number)
        yield refused
        ended = CounterMetricFamily("grurt_sessions_ended", "Sessions that have ended by themselves", labels=["why"])
        found: dict[str, int] = {}
        for room in self._service.rooms.values():  # those that were replaced count here, too
            for end, number in room.ended.items():
                found[end.name.lower()] = found.get(end.name.lower(), 0) + number
        for why, number in found.items():
            ended.add_metric([why], number)
        yield ended

    def _of_store(self) -> Iterator[Metric]:
        keeper = self._service.keeper
        if keeper is None:
            return
        age = GaugeMetricFamily("grurt_store_age_seconds", "Since when the store has not had everything")
        age.add_metric([], perf_counter() - keeper.written_at)
        rows = CounterMetricFamily("grurt_store_rows", "States that were written")
        rows.add_metric([], keeper.rows_written)
        failures = CounterMetricFamily("grurt_store_failures", "Times that the store could not be written")
        failures.add_metric([], keeper.failures)
        yield from (age, rows, failures)


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    """Return the buckets of a histogram, of counts whose index is the binary logarithm of the bound."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for exponent, count in enumerate(counts):
        total += count
        buckets.append((str(float(1 << exponent)), total))
    return [*buckets[:-1], ("+Inf", total)]


def exposed(service: Service) -> bytes:
    """Return all metrics in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(ServiceCollector(service))
    return generate_latest(registry)
