"""What other settings would have done for some queries of a run: the same traffic, met again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.progress import Progress, Step, silent
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import ORDERS, PREDICTED
from deeprec_env.simulation.simulate import run, with_options
from deeprec_env.workload.stream import Traffic

_APART = 100.0
"""Times the longest latency that queries are apart which meet an idle node."""


@dataclass(frozen=True)
class WhatIf:
    """A run with another setting: what it is in words, the latencies of the queries asked for, the p95 of all.

    A query that is shed there has an infinite latency.
    """

    change: str
    latency_s: Floats
    p95_s: float


def p95_s(latency_s: Floats, warmup: int) -> float:
    """That of the counted queries; who was shed is infinitely late."""
    return float(np.percentile(np.where(np.isnan(latency_s), math.inf, latency_s)[warmup:], 95.0))


def what_ifs(
    scenario: Scenario,
    traffic: Traffic,
    queries: list[int],
    warmup: int,
    engine: str,
    progress: Progress = silent,
) -> list[WhatIf]:
    """What the neighbouring settings do, each in a run of its own; those that the scenario does not allow are left out.

    Neighbours are the next batch sizes and thresholds of the ladders, another order of the queues, and offload by
    prediction.
    """
    found = []
    changes = list(_changes(scenario, [int(traffic.items[query]) for query in queries]))
    for done, (words, change) in enumerate(changes):
        progress(Step(words, done / len(changes)))
        try:
            latency_s = run(with_options(scenario, **change), traffic, engine=engine).latency_s
        except InputError:
            continue
        mine = np.where(np.isnan(latency_s[queries]), math.inf, latency_s[queries])
        found.append(WhatIf(words, mine, p95_s(latency_s, warmup)))
    return found


def alone_s(scenario: Scenario, traffic: Traffic, queries: list[int], longest_s: float, engine: str) -> Floats:
    """Latencies of some queries if each had met an idle node."""
    apart = np.arange(len(queries), dtype=np.float64) * max(1.0, _APART * longest_s)
    return run(scenario, traffic.chosen(np.array(queries)).at(apart), engine=engine).latency_s


def _changes(scenario: Scenario, items: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    setting = scenario.setting
    for size in _beside(list(scenario.control.batch_sizes), setting.batch_size):
        yield f"batch size {size} (not {setting.batch_size})", {"batch_size": size}
    if scenario.has_accelerator:
        now = setting.threshold
        if setting.offload != PREDICTED:
            ladder = [math.inf if threshold is None else threshold for threshold in scenario.thresholds]
            reach = [max((each for each in ladder if each <= n), default=math.inf) for n in items]
            tried = {*_beside(ladder, math.inf if now is None else now), *reach, math.inf}
            for threshold in sorted(tried - {math.inf if now is None else now}):
                words = "never" if threshold == math.inf else f"{threshold:g}"
                chosen = None if threshold == math.inf else int(threshold)
                yield f"offload threshold {words} (not {now or 'never'})", {"threshold": chosen}
            yield f"offload {PREDICTED} (not by threshold)", {"offload": PREDICTED}
    for order in ORDERS:
        if order != setting.order:
            yield f"order {order} (not {setting.order})", {"order": order}


def _beside(ladder: list[Any], now: float) -> list[Any]:
    """The next lower and the next higher level."""
    lower, higher = [level for level in ladder if level < now], [level for level in ladder if level > now]
    return [*([max(lower)] if lower else []), *([min(higher)] if higher else [])]
