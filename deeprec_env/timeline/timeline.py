"""A run, or a part of it, as a timeline: servers with their requests, queries, and counters, whatever the format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeprec_env.arguments import real, whole
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import SettingNumbers, numbers_of
from deeprec_env.simulation.offered_load import pool_label
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import Result
from deeprec_env.timeline.requests import RunRequests, run_requests
from deeprec_env.timeline.traffic import records_of, traffic_of

MOST_REQUESTS = 500_000
"""Requests that a timeline holds at most: some 50 MB, which browsers still open."""

Window = tuple[float, float]
"""From, to, in seconds of simulated time."""


@dataclass(frozen=True)
class PoolSlices:
    """What the servers of a pool did, each array (requests,) in the order of starts.

    `query`: numbers in the traffic. `carries`: not so where a request is served in the batch of another one, which
    comes before it.
    """

    label: str
    servers: int
    query: Ints
    items: Ints
    server: Ints
    entry_s: Floats
    start_s: Floats
    end_s: Floats
    carries: NDArray[np.bool_]


@dataclass(frozen=True)
class Counter:
    """A figure over time: its value from each time on, until the next."""

    name: str
    time_s: Floats
    value: Floats


@dataclass(frozen=True)
class Timeline:
    """What happened in some windows of a run. Queries: their number, items, arrival and completion, NaN if shed."""

    pools: tuple[PoolSlices, ...]
    counters: tuple[Counter, ...]
    query: Ints
    items: Ints
    arrival_s: Floats
    completion_s: Floats


def read_window(text: str) -> Window:
    """A window as `--timeline-window` takes it, FROM:TO in seconds."""
    allowed = "must be FROM:TO in seconds, such as 1.5:2"
    try:
        begin, end = (float(part) for part in text.split(":"))
    except ValueError:
        raise InputError("timeline_window", text, allowed) from None
    return check_window((begin, end))


def check_window(window: Window) -> Window:
    """A window; `InputError` for one that is none."""
    begin, end = (real("timeline_window", time_s, "must be two times in seconds") for time_s in window)
    if not 0.0 <= begin < end:
        raise InputError("timeline_window", window, "must begin at 0 or later, and end after that")
    return begin, end


def check_shown(window: Window | None, slowest: int | None) -> dict[str, Any]:
    """The arguments of `timeline_of` that say what is shown, checked."""
    if window is not None and slowest is not None:
        raise InputError("timeline_slowest", slowest, "must not stand beside timeline_window")
    return {
        "window": None if window is None else check_window(window),
        "slowest": None if slowest is None else whole("timeline_slowest", slowest, 1),
    }


def timeline_of(result: Result, *, window: Window | None = None, slowest: int | None = None) -> Timeline:
    """The timeline of a run; of a `window` of it alone, or of the time between arrival and completion of the slowest.

    Raises `InputError` for a streamed run, and for a timeline of more than `MOST_REQUESTS`.
    """
    check_shown(window, slowest)
    records, scenario = records_of(result), result.scenario
    windows = _windows(records, result.warmup, window, slowest)
    stages = run_requests(records, scenario, traffic_of(result).noise_key)
    chosen = [
        (position, kind, requests.place[kind][_overlaps(windows, *_times(requests, kind))])
        for position, requests in enumerate(stages)
        for kind in (0, 1)
    ]
    count = sum(len(requests) for _, _, requests in chosen)
    if count > MOST_REQUESTS:
        allowed = f"must be at most {MOST_REQUESTS}: give a timeline_window, or fewer timeline_slowest"
        raise InputError("timeline", f"{count} requests", allowed)
    until_s = np.where(records.shed, records.arrival_s, records.completion_s)
    met = _overlaps(windows, records.arrival_s, until_s)
    if not met.any():
        allowed = f"must be a part of the run, which lasts from 0 to {float(until_s.max()):g} s"
        raise InputError("timeline_window", window, allowed)
    pools = [
        _slices(records, scenario, stages[position], position, kind, requests) for position, kind, requests in chosen
    ]
    counters = [
        *(_waiting(scenario, requests, position, kind) for position, requests in enumerate(stages) for kind in (0, 1)),
        _rate(records, scenario),
        *_settings(records),
    ]
    return Timeline(
        tuple(pool for pool in pools if pool is not None),
        tuple(_within(windows, counter) for counter in counters if counter is not None),
        records.query[met],
        records.items[met],
        records.arrival_s[met],
        records.completion_s[met],
    )


def _windows(records: Records, warmup: int, window: Window | None, slowest: int | None) -> Floats:
    """The windows of time that are shown, (windows, 2), ascending, none overlapping another."""
    if window is not None:
        return np.array([window])
    if slowest is None:
        return np.array([(-math.inf, math.inf)])
    latency_s = np.where(records.shed, -math.inf, records.latency_s)[warmup:]
    chosen = np.sort(warmup + np.argsort(-latency_s, kind="stable")[:slowest])
    joined: list[list[float]] = []
    for begin, end in zip(records.arrival_s[chosen].tolist(), records.completion_s[chosen].tolist(), strict=True):
        if math.isnan(end):
            continue
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    return np.array(joined).reshape(-1, 2)


def _overlaps(windows: Floats, begin_s: Floats, end_s: Floats) -> NDArray[np.bool_]:
    """Which of some spans of time have a part in a window."""
    first = np.searchsorted(windows[:, 1], begin_s, side="left")  # the first window that ends then or later
    opens = np.append(windows[:, 0], math.inf)[first]
    return np.asarray(opens <= end_s)


def _times(requests: RunRequests, kind: int) -> tuple[Floats, Floats]:
    of_pool = requests.place[kind]
    return requests.start_s[of_pool], requests.end_s[of_pool]


def _slices(
    records: Records, scenario: Scenario, stage: RunRequests, position: int, kind: int, requests: Ints
) -> PoolSlices | None:
    spec = scenario.stages[position].pools().get(KINDS[kind])
    if spec is None:
        return None
    server = np.empty(len(stage.query), dtype=np.int64)
    server[stage.place[kind]] = stage.servers(spec, bool(kind))
    return PoolSlices(
        pool_label(scenario.stages[position].name, KINDS[kind]),
        spec.servers,
        records.query[stage.query[requests]],
        stage.items[requests],
        server[requests],
        stage.entry_s[requests],
        stage.start_s[requests],
        stage.end_s[requests],
        stage.lead[requests] == requests,
    )


def _waiting(scenario: Scenario, stage: RunRequests, position: int, kind: int) -> Counter | None:
    """Requests in a pool's queue, after all that happens at an instant."""
    if KINDS[kind] not in scenario.stages[position].pools():
        return None
    of_pool = stage.place[kind]
    time_s = np.concatenate([stage.entry_s[of_pool], stage.start_s[of_pool]])
    step: Floats = np.repeat([1.0, -1.0], len(of_pool))
    order = np.argsort(time_s, kind="stable")
    last = np.append(np.diff(time_s[order]) > 0.0, True)[: len(order)]
    name = f"waiting for {pool_label(scenario.stages[position].name, KINDS[kind])}"
    return _changes(name, time_s[order][last], np.cumsum(step[order])[last])


def _rate(records: Records, scenario: Scenario) -> Counter:
    """Arrivals a second in each of the windows in which a controller could act."""
    width_s = scenario.control.interval_s
    arrivals = np.bincount((records.arrival_s / width_s).astype(np.int64))
    time_s: Floats = np.arange(len(arrivals), dtype=np.float64) * width_s
    return _changes("queries a second", time_s, arrivals / width_s)


def _settings(records: Records) -> list[Counter]:
    """What was in force for the queries that arrived; 0 where there is no threshold or limit."""
    found = []
    for name in dict.fromkeys(name for control in records.controls for name in numbers_of(control)):
        value = records.setting[:, SettingNumbers._fields.index(name)]
        found.append(_changes(name.replace("_", " "), records.arrival_s, np.where(np.isinf(value), 0.0, value)))
    return found


def _changes(name: str, time_s: Floats, value: Floats) -> Counter:
    """A counter without the times at which it stays as it is."""
    changed = np.append(True, np.diff(value) != 0.0)[: len(value)]
    return Counter(name, time_s[changed], value[changed])


def _within(windows: Floats, counter: Counter) -> Counter:
    """A counter in some windows: its value at the begin of each, and the changes inside."""
    times, values = [], []
    for begin, end in windows.tolist():
        first, last = np.searchsorted(counter.time_s, [begin, end], side="right")
        if first > 0:
            times.append(np.array([begin]))
            values.append(counter.value[first - 1 : first])
        times.append(counter.time_s[first:last])
        values.append(counter.value[first:last])
    return Counter(counter.name, np.concatenate(times), np.concatenate(values))


def nanoseconds(time_s: Floats) -> Sequence[int]:
    """Times as formats take them: whole nanoseconds, in the same order."""
    return [int(time) for time in np.rint(time_s * 1e9).tolist()]
