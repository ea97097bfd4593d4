"""A recorded run through the simulator: on its own service times, which tests the queueing, and blind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappush

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.live.gaps import Gaps, dispatch_gaps, gap_by_row_s
from deeprec_env.live.recording import Recording
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.pools import PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.batching_pool import ServeBatch
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.kernel_choice import follows_state
from deeprec_env.simulation.loop import COMPLETION, EventHeap
from deeprec_env.simulation.pool import Serve, StageLog
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.workload.stream import Traffic

LEVELS = {"p50": 50.0, "p95": 95.0, "p99": 99.0}

LEAST_S = 1e-3
"""Errors are relative to the latency, or to this where it is less."""


SEEDS = 20
"""Of the noise, that a blind prediction is the mean over: that of the machine is not known."""


@dataclass(frozen=True)
class Comparison:
    """Latencies of the counted queries, measured and predicted, in seconds by name: mean and percentiles.

    `range_s`: where the predictions of 95 % of the seeds lie; empty where there is but one.
    """

    measured_s: dict[str, float]
    predicted_s: dict[str, float]
    range_s: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def error(self) -> dict[str, float]:
        """Predicted less measured, relative to the measured or to a millisecond, whichever is more."""
        return {
            name: (self.predicted_s[name] - measured) / max(measured, LEAST_S)
            for name, measured in self.measured_s.items()
        }


def latency_figures_s(latency_s: Floats) -> dict[str, float]:
    """Mean and percentiles of the queries after the warm-up that were not shed."""
    counted = latency_s[warmup_queries(len(latency_s)) :]
    known = counted[~np.isnan(counted)]
    return {"mean": float(known.mean())} | {name: float(np.percentile(known, level)) for name, level in LEVELS.items()}


def live_latency_s(recording: Recording) -> Floats:
    """From the intended arrival, (queries,)."""
    return np.asarray(recording.of_queries("completion_s") - recording.of_queries("arrival_s"))


def replay_services(recording: Recording, gap_s: float | None) -> Comparison:
    """The queries as they were taken up, and each request as long as it took from hand-over to answer.

    Before each there is the dispatcher's gap: `gap_s`, or where that is None each request's own. With its own what
    differs from the run is the simulator's queueing alone; with a fitted one, the dispatcher's pauses, too. Latencies
    are from the intended arrivals, as those of the run. `InputError` where the requests followed from the node's state,
    which need not be the same again.
    """
    scenario = recording.scenario
    if follows_state(scenario) or scenario.control.uses("admit_ms"):
        raise InputError(
            "recording", "predicted offload, admission or batching", "requests must not follow from the node's state"
        )
    columns = recording.columns
    gaps_s = np.nan_to_num(gap_by_row_s(recording)) if gap_s is None else np.full(len(columns["query"]), gap_s)
    recorded = partial(
        RecordedServers,
        services_s=_by_stage(recording, columns["end_s"] - columns["start_s"]),
        gaps_s=_by_stage(recording, gaps_s),
    )
    engine = AsyncioEngine(scenario, recording.traffic("entry_s"), servers=recorded)
    return Comparison(
        latency_figures_s(live_latency_s(recording)),
        latency_figures_s(_completion_s(engine, recording, "entry_s") - recording.of_queries("arrival_s")),
    )


def replay_blind(
    recording: Recording, scenario: Scenario | None = None, seeds: int = SEEDS, seed: int = 0
) -> Comparison:
    """The intended arrivals through the simulator, which knows no more than the scenario, or another of its shape.

    The mean over `seeds` of the service noise (and slow phases), the first of them the recording's own; with another
    `seed` than 0 all are others.
    """
    chosen = recording.scenario if scenario is None else _of_same_shape(recording.scenario, scenario)
    traffic, found = recording.traffic(), []
    for noise_key, slow_key in _noise_keys(traffic, seeds, seed):
        engine = CompiledEngine(chosen, replace(traffic, noise_key=noise_key, slow_key=slow_key))
        completion_s = _completion_s(engine, recording, "arrival_s")
        found.append(latency_figures_s(completion_s - recording.of_queries("arrival_s")))
    figures = {name: np.array([each[name] for each in found]) for name in found[0]}
    ranges = {name: tuple(np.quantile(values, (0.025, 0.975)).tolist()) for name, values in figures.items()}
    return Comparison(
        latency_figures_s(live_latency_s(recording)),
        {name: float(values.mean()) for name, values in figures.items()},
        ranges if seeds > 1 else {},
    )


def fitted_gap_s(recordings: Sequence[Recording]) -> float:
    """The dispatcher's gap in some runs, in seconds."""
    return Gaps(np.concatenate([dispatch_gaps(recording).gap_s for recording in recordings])).mean_s


class RecordedServers:
    """Servers in virtual time that take as long as was recorded, and a gap before (`Servers`).

    `services_s` and `gaps_s`: by stage, of each request in the order of the log.
    """

    with_items = False

    def __init__(
        self,
        scenario: Scenario,
        loop: EventHeap,
        traffic: Traffic,
        *,
        services_s: Sequence[Sequence[float]],
        gaps_s: Sequence[Sequence[float]],
    ) -> None:
        self._loop, self._services_s, self._gaps_s = loop, services_s, gaps_s

    def one_by_one(self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]) -> Serve:
        """See `Servers`."""
        loop, service_s, gap_s = self._loop, self._services_s[position], self._gaps_s[position]

        def serve(part: int, request: int, busy: int) -> None:
            start_s = log.start_s[request] = loop.now + gap_s[request]
            end_s = log.end_s[request] = start_s + service_s[request]
            heappush(loop.events, (end_s, COMPLETION, part, request, complete))

        return serve

    def in_batches(
        self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]
    ) -> ServeBatch:
        """Refused before: who is served together follows from the node's state."""
        raise NotImplementedError


def _noise_keys(traffic: Traffic, seeds: int, seed: int) -> list[tuple[int, int]]:
    """Of the service noise and of the slow phases, so many of each."""
    if seed:
        keys = np.random.SeedSequence([traffic.noise_key, seed]).generate_state(2 * seeds, np.uint64).tolist()
    else:
        further = np.random.SeedSequence(traffic.noise_key).generate_state(2 * (seeds - 1), np.uint64).tolist()
        keys = [traffic.noise_key, traffic.slow_key, *further]
    return list(zip(keys[::2], keys[1::2], strict=True))


def _completion_s(engine: AsyncioEngine | CompiledEngine, recording: Recording, times: str) -> Floats:
    """When each query completes, under the settings as they were in force for each."""
    settings, arrival_s = recording.settings(), recording.of_queries(times)
    changes = 1 + np.flatnonzero((settings[1:] != settings[:-1]).any(axis=1))
    try:
        for query in (0, *changes.tolist()):
            engine.advance(float(arrival_s[query]))
            engine.control(Setting.of(settings[query]))
        engine.drain()
        return engine.records().completion_s
    finally:
        engine.close()


def _by_stage(recording: Recording, values: Floats) -> list[list[float]]:
    """A column, (rows,), by stage."""
    stage = recording.columns["stage"]
    return [values[stage == position].tolist() for position in range(len(recording.scenario.stages))]


def _of_same_shape(recorded: Scenario, other: Scenario) -> Scenario:
    """The other scenario; `InputError` unless its node could have been the one that was recorded."""
    shapes = [
        [{kind: pool.servers for kind, pool in stage.pools().items()} for stage in scenario.stages]
        for scenario in (recorded, other)
    ]
    if shapes[0] != shapes[1]:
        raise InputError("recording", shapes[0], f"is of another scenario, whose servers are {shapes[1]}")
    return other
