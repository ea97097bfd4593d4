"""What a service says to Prometheus: counts since its start, and the gauges of the last second."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from deeprec_env.live.service.admission import REASONS, Admission
from deeprec_env.live.service.latency_counts import BOUNDS_S
from deeprec_env.live.service.monitor import Monitor

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics(Collector):
    """A service's metrics, read when they are asked for: nothing is done for them on the way of a request."""

    def __init__(self, admission: Admission, monitor: Monitor) -> None:
        self._admission, self._monitor = admission, monitor
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In Prometheus' format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        node, last = self._admission.node, self._monitor.last
        accepted = node.arrived - node.shed
        for name, words, count in (
            ("accepted", "Queries that were let in.", accepted),
            ("answered", "Queries that got their scores.", node.answered),
            ("failed", "Queries that were let in and that the model, or dying workers, failed.", node.failed),
            ("worker_deaths", "Workers that died and were replaced.", node.crew.deaths),
        ):
            yield CounterMetricFamily(f"deeprec_{name}", words, value=count)
        refused = CounterMetricFamily("deeprec_refused", "Queries that were not let in, by reason.", labels=["reason"])
        for reason in REASONS:
            refused.add_metric([reason], self._admission.refused[reason])
        yield refused
        buckets = [*map(str, BOUNDS_S), "+Inf"]
        yield HistogramMetricFamily(
            "deeprec_latency_seconds",
            "From the arrival of a query, its body read, to its last score.",
            buckets=list(zip(buckets, accumulate(node.latencies.counts), strict=True)),
            sum_value=node.latencies.sum_s,
        )
        for name, words, value in (
            ("target_seconds", "The target of p95.", node.scenario.sla_s),
            ("in_flight", "Queries waiting or being served, now.", node.in_flight),
            ("workers", "Worker processes that there are when all are well.", node.crew.workers),
            ("offered_qps", "Queries that were let in, in the last second.", last.offered_qps),
            ("completed_qps", "Queries that were answered in the last second.", last.completed_qps),
            ("p50_seconds", "Median latency of the last second.", last.p50_s),
            ("p95_seconds", "95th percentile of the latencies of the last second.", last.p95_s),
            ("p99_seconds", "99th percentile of the latencies of the last second.", last.p99_s),
            ("violation_rate", "Share of the last second's queries over the target.", last.violation_rate),
            ("queue", "Requests waiting at the end of the last second.", last.queue),
            ("busy_workers", "Workers that served at the end of the last second.", last.busy_workers),
            ("workers_alive", "Workers that could serve at the end of the last second.", last.workers_alive),
            ("batch_size", "Most items in a request.", last.batch_size),
            ("threshold", "Items from which on a query goes to the accelerator.", last.threshold),
        ):
            yield GaugeMetricFamily(f"deeprec_{name}", words, value=float("inf") if value is None else value)
