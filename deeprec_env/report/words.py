"""Scenarios and figures in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any


def number(value: Any, digits: int = 4) -> str:
    """A figure for a reader."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:,.{digits}g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:,.0f}"


def with_ci(value: Any, ci: Any, digits: int = 4) -> str:
    """A figure with its interval, if it has one."""
    if value is None or not ci or all(end is None for end in ci):
        return number(value, digits)
    return f"{number(value, digits)} [{number(ci[0], digits)}, {number(ci[1], digits)}]"


_LABELS = {"violation_rate": "late queries (share)", "p95_hourly_ms": "hourly p95 ms", "p95_hourly_s": "hourly p95 s"}


def label(key: str) -> str:
    """What a figure of an evaluation is called."""
    return _LABELS.get(key, key.replace("_", " "))


def in_words(scenario: Mapping[str, Any]) -> str:
    """A scenario, from its JSON, in some sentences."""
    return " ".join(_sentences(scenario))


def _sentences(scenario: Mapping[str, Any]) -> Iterator[str]:
    arrivals, sizes = scenario["workload"]["arrivals"], scenario["workload"]["sizes"]
    rate = f", {number(arrivals['qps'])} queries/s" if "qps" in arrivals else ""
    yield f"Arrivals: {arrivals['kind']}{rate}{_parameters(arrivals)}; sizes: {sizes['kind']}{_parameters(sizes)}."
    if scenario.get("fleet"):
        yield from _fleet(scenario["fleet"])
    stages = [] if scenario.get("fleet") else scenario.get("pipeline") or [{"name": "", **scenario["node"]}]
    for stage in stages:
        pools = [_pool(kind, stage[kind]) for kind in ("cpu", "accelerator") if stage.get(kind)]
        name = f"Stage {stage['name']}" if stage["name"] else "The node"
        keep = f", and keeps {stage['keep']} items" if stage.get("keep") else ""
        yield f"{name} has {' and '.join(pools)}{keep}."
    factor = scenario.get("p99_factor")
    times = "2 times, the default" if factor == 2 else f"{number(factor)} times"
    p99 = f", p99 within {number(factor * scenario['sla_ms'])} ms ({times})" if factor else ""
    yield f"The target: p95 within {number(scenario['sla_ms'])} ms{p99}."


def _parameters(part: Mapping[str, Any]) -> str:
    """The numbers of arrivals, sizes or latencies, but for the rate, in brackets."""
    told = [
        f"{key} {f'{value:g}' if isinstance(value, float) else value}"
        for key, value in part.items()
        if key != "qps" and isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return f" ({', '.join(told)})" if told else ""


def _fleet(fleet: Mapping[str, Any]) -> Iterator[str]:
    groups = ", ".join(f"{group['count']} of {_group(group)}" for group in fleet["groups"])
    yield f"Machines: {groups}."
    network, age = number(fleet["network_ms"]), number(fleet["probe_age_ms"])
    yield f"The router is {fleet['router']['kind']}, {network} ms away; what it knows of them is {age} ms old."


def _group(group: Mapping[str, Any]) -> str:
    if group.get("preset"):
        return f"{group['name']} (as {group['preset']})"
    pools = [_pool(kind, group["node"][kind]) for kind in ("cpu", "accelerator") if group["node"].get(kind)]
    return f"{group['name']} ({' and '.join(pools)})"


def _pool(kind: str, pool: Mapping[str, Any]) -> str:
    servers = pool.get("servers") or f"{pool.get('cores')} / {pool.get('threads') or 1}"
    latency = pool["latency"]
    named = " ".join(str(latency[key]) for key in ("model", "profile") if key in latency)
    what = f"{latency['kind']} {named}".strip() + _parameters(latency)
    batching = f", batches of up to {pool['batching']['max_items']} items" if pool.get("batching") else ""
    noun = "core" if kind == "cpu" else "accelerator"
    return f"{servers} {noun}{'' if servers == 1 else 's'} (latency: {what}{batching})"
