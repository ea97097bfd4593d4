"""A scenario on the wall clock: an open loop of queries against worker processes, summarised as a simulation is."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.arguments import path as checked_path
from deeprec_env.arguments import real, whole
from deeprec_env.errors import InputError
from deeprec_env.live.engine import LiveEngine
from deeprec_env.live.gaps import Gaps, dispatch_gaps
from deeprec_env.live.recording import Recording, check_recording_path, record, write_recording
from deeprec_env.live.servers import LiveOptions, check_workers, model_of
from deeprec_env.progress import Progress, Step, silent
from deeprec_env.provenance import ask
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.header import versions
from deeprec_env.simulation.simulate import Result, summarise, with_options
from deeprec_env.simulation.summary import backlog_grows, work_sent
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import QueryStream, episode_seed

Controller = Callable[[Window | None], Setting]
"""Chooses the setting of the window that begins, from the one that has ended (None: there was none)."""

LATE_S = 1e-4
"""A query that is taken up so much after its intended arrival was sent late."""

LEAST_QUERIES = 1100
"""The first 1000 are warm-up."""


@dataclass(frozen=True)
class LiveResult:
    """A live run: what `simulate` says of one, and what only a real clock brings.

    `entry_s`, float64 (queries,): when each query was taken up. `models`: by pool, how many workers ran which.
    """

    result: Result
    recording: Recording
    entry_s: Floats
    gaps: Gaps
    models: dict[str, tuple[int, str]]
    duration_s: float
    deaths: int
    failed: int

    @property
    def lateness_s(self) -> Floats:
        """How much later than intended each query was taken up, (queries,)."""
        assert self.result.records is not None
        return self.entry_s - self.result.records.arrival_s

    def to_json(self) -> dict[str, Any]:
        """The keys of `simulate`, and "live"."""
        records, warmup, columns = self.result.records, self.result.warmup, self.recording.columns
        assert records is not None
        late_s = self.lateness_s[warmup:]
        from_entry_s = (records.completion_s - self.entry_s)[warmup:]
        served = columns["stage"] >= 0
        return self.result.to_json() | {
            "live": {
                "duration_s": self.duration_s,
                "workers": {name: workers for name, (workers, _) in self.models.items()},
                "models": {name: model for name, (_, model) in self.models.items()},
                "lateness_ms": _spread_ms(late_s) | {"max": float(late_s.max()) * 1e3},
                "late": int((late_s > LATE_S).sum()),
                "from_entry_ms": _spread_ms(from_entry_s[np.isfinite(from_entry_s)]),
                "service_ms": _spread_ms((columns["end_s"] - columns["start_s"])[served]),
                "worker_ms": _spread_ms(_known((columns["worker_end_s"] - columns["worker_begin_s"])[served])),
                "gap_us": {"median": self.gaps.median_s * 1e6, "mean": self.gaps.mean_s * 1e6},
                "worker_deaths": self.deaths,
                "failed_requests": self.failed,
            }
        }


def live_scenario(scenario: Scenario, *, workers: int | None = None, cuda: bool = False) -> Scenario:
    """A scenario's node as this machine can be it: so many CPU servers, and no accelerator unless CUDA is asked for.

    A capacity found for the node that it was is dropped.
    """
    if cuda and not scenario.has_accelerator:
        raise InputError("cuda", True, "needs a scenario with an accelerator")
    if scenario.node is None:
        if workers is not None:
            raise InputError("workers", workers, "must be left out: a pipeline's stages say their own servers")
        return scenario
    node = scenario.node.model_dump()
    changed = False
    if workers is not None:
        whole("workers", workers, 1)
        node["cpu"] = {key: value for key, value in node["cpu"].items() if key not in ("cores", "threads")}
        changed = node["cpu"].get("servers") != workers
        node["cpu"]["servers"] = workers
    control = scenario.control.model_dump()
    if node["accelerator"] is not None and not cuda:
        node["accelerator"], changed = None, True
        control |= {"threshold": None, "thresholds": None, "offload": "threshold", "offloads": None}
    if not changed:
        return scenario
    return scenario.replace(node=node, control=control, capacity=None)


def run_live(
    scenario: Scenario,
    *,
    duration_s: float = 10.0,
    qps: float | None = None,
    controller: Controller | None = None,
    options: LiveOptions | None = None,
    seed: int = 0,
    split: str = "train",
    record_to: Path | None = None,
    progress: Progress = silent,
) -> LiveResult:
    """Run a scenario for `duration_s` real seconds and until all queries have completed.

    `qps` replaces the scenario's arrivals by stationary Poisson. A `controller` chooses the setting of every window of
    the scenario's control; without one its own is in force. `record_to` names a Parquet or CSV file. Raises
    `InputError` for bad input, before anything starts.
    """
    chosen = with_options(scenario, qps=qps)
    options = LiveOptions() if options is None else options
    if real("duration", duration_s) <= 0.0:
        raise InputError("duration", duration_s, "must be above 0 seconds")
    if record_to is not None:
        check_recording_path(checked_path("record", record_to))
    check_workers(chosen)
    models = {
        f"{stage.name}.{kind}": (pool.servers, "{} at rows_scale {:g}".format(*model_of(pool, options)))
        for stage in chosen.stages
        for kind, pool in stage.pools().items()
    }
    stream = QueryStream(chosen.workload, episode_seed(seed, split))
    traffic = stream.draw_until(duration_s)
    if len(traffic.items) < LEAST_QUERIES:
        allowed = f"must be longer: {len(traffic.items)} queries arrive in it, {LEAST_QUERIES} are needed at least"
        raise InputError("duration", duration_s, allowed)
    progress("workers start")
    engine = LiveEngine(chosen, traffic, options=options)
    try:
        _drive(engine, chosen, duration_s, controller, progress)
        progress(Step("the last queries", 1.0))
        engine.drain()
        header = {
            "noise_key": traffic.noise_key,
            "slow_key": traffic.slow_key,
            "seed": seed,
            "split": split,
            "duration_s": duration_s,
            "models": models,
            "options": {"model": options.model, "rows_scale": options.rows_scale, "seed": options.seed},
            "versions": versions(),
        }
        recording = record(engine, header, chosen)
        records = engine.records()
        entry_s, deaths, failed = engine.entry_s, engine.crew.deaths, engine.crew.failed
    finally:
        engine.close()
    del engine
    gc.collect()  # the node holds itself, and with it the memory of its models
    question = ask("live", chosen, seed=seed, split=split, engine="live", unrepeatable="it ran on the wall clock")
    result = summarise(chosen, traffic, records)
    measured = replace(
        result,
        offered_load=work_sent(records, chosen, result.warmup),
        overloaded=backlog_grows(records, result.warmup),
        question=question,
    )
    if record_to is not None:
        write_recording(recording, record_to)
    return LiveResult(measured, recording, entry_s, dispatch_gaps(recording), models, duration_s, deaths, failed)


def _drive(
    engine: LiveEngine, scenario: Scenario, duration_s: float, controller: Controller | None, progress: Progress
) -> None:
    """Run the engine up to a time, window by window where somebody controls it, else second by second."""
    interval_s = 1.0 if controller is None else scenario.control.interval_s
    window: Window | None = None
    for index in range(int(np.ceil(duration_s / interval_s))):
        begin_s, end_s = index * interval_s, (index + 1) * interval_s
        progress(Step("live", begin_s / duration_s))
        if controller is None:
            engine.advance(min(end_s, duration_s))
        else:
            window = engine.run_window(controller(window), begin_s, end_s)


def _spread_ms(values_s: Floats) -> dict[str, float]:
    if not values_s.size:
        return {"mean": np.nan, "p50": np.nan, "p95": np.nan, "p99": np.nan}
    p50, p95, p99 = np.percentile(values_s, (50, 95, 99)) * 1e3
    return {"mean": float(values_s.mean()) * 1e3, "p50": float(p50), "p95": float(p95), "p99": float(p99)}


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]
