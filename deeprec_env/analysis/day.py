"""The day of a scenario, built from its own capacity."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.errors import InputError
from deeprec_env.files import replacing
from deeprec_env.scenario.schema import Capacity, Scenario, Workload
from deeprec_env.sources import RESULTS, sources_digest
from deeprec_env.workload.between import Between
from deeprec_env.workload.diurnal import Diurnal, Flash
from deeprec_env.workload.drifting import Drifting

WINDOWS = 96
QUERIES_PER_WINDOW = 200
TROUGH, PEAK = 0.2, 0.9


def with_day(scenario: Scenario, *, engine: str = "compiled") -> Scenario:
    """The scenario with a day of traffic: as it is if it has one, else the day of its capacity.

    Where the file holds no capacity, that of the scenario's own settings is found first, and remembered in the user's
    cache folder.
    """
    if isinstance(scenario.workload.arrivals, Diurnal):
        return scenario
    if scenario.capacity is not None:
        return day_of(scenario, scenario.capacity)
    found = remembered_capacity(scenario, "capacity", RESULTS, lambda: own_capacity(scenario, engine))
    return day_of(scenario, found)


def day_of(scenario: Scenario, capacity: Capacity) -> Scenario:
    """The scenario with that capacity and its day: 96 windows of about 200 queries, from 0.2 to 0.9 of capacity."""
    mean_qps = 0.5 * (TROUGH + PEAK) * capacity.qps
    interval_s = float(f"{QUERIES_PER_WINDOW / mean_qps:.4g}")
    arrivals = Diurnal(
        kind="diurnal", qps=float(f"{mean_qps:.6g}"), day_s=WINDOWS * interval_s, trough=TROUGH, peak=PEAK
    )
    control = scenario.control.model_copy(update={"interval_s": interval_s})
    return scenario.with_arrivals(arrivals).replace(control=control, capacity=capacity)


def own_capacity(scenario: Scenario, engine: str) -> Capacity:
    """The capacity of the scenario's own settings, found in a short search; `InputError` where they hold no rate."""
    found = find_capacity(scenario, engine=engine, p95_only=False, confirm=False)
    if found.qps == 0.0:
        raise InputError("sla_ms", scenario.sla_ms, "is out of reach of these settings even on an idle node")
    return Capacity(
        qps=found.qps,
        batch_size=scenario.control.batch_size,
        threshold=scenario.control.threshold,
        found_by="deeprec capacity",
    )


def with_flash(scenario: Scenario) -> Scenario:
    """A scenario with a day, with flash crowds on it."""
    day = scenario.workload.arrivals
    assert isinstance(day, Diurnal)
    return scenario.with_arrivals(Flash(kind="flash", qps=day.qps, day_s=day.day_s, trough=day.trough, peak=day.peak))


def with_drift(scenario: Scenario) -> Scenario:
    """A scenario with a day, whose queries grow through it: all of the smaller half of its sizes at first, at the end
    all of the larger half.

    At noon, when most come, and over the whole day they are the scenario's own sizes, so that its capacity stays.
    """
    day, sizes = scenario.workload.arrivals, scenario.workload.sizes
    assert isinstance(day, Diurnal)
    small, large = Between(kind="between", of=sizes, high=0.5), Between(kind="between", of=sizes, low=0.5)
    drifting = Drifting(kind="drifting", before=small, after=large, queries=max(1, round(day.qps * day.day_s)))
    return scenario.replace(workload=Workload(arrivals=day, sizes=drifting))


def remembered_capacity(
    scenario: Scenario, purpose: str, sources: Sequence[str], find: Callable[[], Capacity]
) -> Capacity:
    """A capacity that takes long to find, kept in the user's cache folder for as long as the `sources` do not change.

    `purpose`: what the files are called by.
    """
    latencies = [latency.fingerprint for latency in scenario.latencies]
    described = (
        scenario.model_dump_json(exclude={"capacity"}) + scenario.workload.sizes.fingerprint + " ".join(latencies)
    )
    key = hashlib.sha256(f"{sources_digest(sources)} {described}".encode()).hexdigest()[:24]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deeprec-env"
    path = folder / f"{purpose}-{key}.json"
    with contextlib.suppress(OSError, ValueError):  # missing, unreadable or damaged: found anew
        return Capacity.model_validate_json(path.read_text(encoding="utf-8"))
    capacity = find()
    with contextlib.suppress(OSError):  # a cache that can't be written costs time, not results
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            json.dump(capacity.model_dump(), file)
    return capacity
