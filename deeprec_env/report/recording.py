"""A live recording as a result: what `deeprec live --json` would say of it, as far as the file tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeprec_env.live.recording import Recording
from deeprec_env.live.replay import live_latency_s
from deeprec_env.provenance import KEY
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import SCHEMA_VERSION
from deeprec_env.simulation.intervals import mean_interval, quantile_interval
from deeprec_env.simulation.summary import Tail, latencies_grow, warmup_queries


def payload_of(recording: Recording) -> dict[str, Any]:
    """The keys of `simulate` that reports read."""
    latency_s, header, scenario = live_latency_s(recording), recording.header, recording.scenario
    warmup = warmup_queries(len(latency_s))
    counted_s = latency_s[warmup:]
    known_s = counted_s[~np.isnan(counted_s)]
    p50_s, p95_s, p99_s = np.percentile(known_s, (50, 95, 99)).tolist()
    tail = Tail(
        mean_s=float(known_s.mean()),
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        mean_ci_s=mean_interval(counted_s),
        p95_ci_s=quantile_interval(counted_s, 0.95),
        p99_ci_s=quantile_interval(counted_s, 0.99),
    )
    arrival_s, completion_s = (recording.of_queries(name) for name in ("arrival_s", "completion_s"))
    begin_s, end_s = float(arrival_s[warmup]), float(arrival_s[-1])
    completed = int(((completion_s >= begin_s) & (completion_s < end_s)).sum())
    overloaded = latencies_grow(counted_s)
    question = {"command": "live", "scenario": header["scenario"], "engine": "live"}
    return {
        "schema_version": SCHEMA_VERSION,
        "latency_ms": tail.to_json(),
        "sla_ms": scenario.sla_ms,
        "verdict": "fail" if overloaded else tail.verdict(scenario),
        "overloaded": overloaded,
        "shed_rate": 1.0 - len(known_s) / len(counted_s),
        "goodput": float((known_s <= scenario.sla_s).sum() / len(counted_s)),
        "qps_achieved": completed / (end_s - begin_s),
        "queries": len(latency_s),
        "utilisation": {},
        "offered_load": {},
        KEY: question | {name: header[name] for name in ("seed", "split") if name in header},
        "versions": header.get("versions", {}),
    }


def records_of(recording: Recording) -> dict[str, Floats]:
    """Arrival and latency of the counted queries, in seconds."""
    latency_s, arrival_s = live_latency_s(recording), recording.of_queries("arrival_s")
    counted = (np.arange(len(latency_s)) >= warmup_queries(len(latency_s))) & ~np.isnan(latency_s)
    return {"arrival_s": arrival_s[counted], "latency_s": latency_s[counted]}
