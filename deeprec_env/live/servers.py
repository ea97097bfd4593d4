"""Worker processes as the servers of a live node's pools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from deeprec_env.cores import usable_cores
from deeprec_env.errors import InputError
from deeprec_env.live.core_pinning import plan_cores
from deeprec_env.live.wall_clock import WallClockLoop
from deeprec_env.live.worker_pool import Answer, WorkerPool
from deeprec_env.scenario.pools import PoolKind, PoolSpec
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.batching_pool import ServeBatch
from deeprec_env.simulation.loop import EventHeap
from deeprec_env.simulation.pool import Serve, StageLog


@dataclass(frozen=True)
class LiveOptions:
    """How models are run.

    `model`: in place of those that the scenario's profiles name, for all its pools. `rows_scale`: None is that of the
    profile, 1 without one. `seed`: of weights and inputs. `spares`: processes of every CPU pool that have started and
    wait to take the place of a worker that dies.
    """

    model: str | None = None
    rows_scale: float | None = None
    seed: int = 0
    spares: int = 0


@dataclass
class StageTimes:
    """What was measured of each request of a stage, by its place in the log, in seconds on the loop's clock.

    `begun_s` and `ended_s` are the worker's own times, and `worker` its number.
    """

    begun_s: dict[int, float] = field(default_factory=dict)
    ended_s: dict[int, float] = field(default_factory=dict)
    worker: dict[int, int] = field(default_factory=dict)


class WorkerServers:
    """The servers of a scenario's pools: for each a `WorkerPool`, with a process for each server (`Servers`)."""

    with_items = True

    def __init__(self, scenario: Scenario, loop: EventHeap, options: LiveOptions) -> None:
        assert isinstance(loop, WallClockLoop)
        self._scenario, self._loop, self._options = scenario, loop, options
        sizes, probability = scenario.workload.sizes.probabilities()
        self._largest = int(sizes[probability > 0.0].max())
        self.pools: list[WorkerPool] = []
        self.times = [StageTimes() for _ in scenario.stages]
        self.failed = 0  # requests that a model refused
        check_workers(scenario)
        self.cores = plan_cores(sum(pool.servers for stage in scenario.stages for pool in stage.pools().values()))

    def one_by_one(self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]) -> Serve:
        """See `Servers`."""
        in_batches = self.in_batches(position, kind, log, complete)
        return lambda part, request, busy: in_batches([(part, request)], busy)

    def in_batches(
        self, position: int, kind: PoolKind, log: StageLog, complete: Callable[[int, int], None]
    ) -> ServeBatch:
        """See `Servers`."""
        loop, times, served = self._loop, self.times[position], dict[int, list[tuple[int, int]]]()
        start_s, end_s, items_of = log.start_s, log.end_s, log.items
        assert items_of is not None

        def answered(answer: Answer) -> None:
            loop.now = received_s = loop.since_zero(answer.received_s)
            carrier = answer.ticket
            times.begun_s[carrier] = loop.since_zero(answer.begun_s)
            times.ended_s[carrier] = loop.since_zero(answer.ended_s)
            times.worker[carrier] = answer.worker
            self.failed += not answer.ok
            members = served.pop(carrier)
            for _, request in members:
                end_s[request] = received_s
            for part, request in members:
                complete(part, request)

        spec = self._scenario.stages[position].pools()[kind]
        model, rows_scale = model_of(spec, self._options)
        device = "cuda" if kind == "accelerator" else "cpu"
        placed = sum(pool.workers for pool in self.pools)
        pool = WorkerPool(
            model,
            spec.servers,
            answered,
            most_items=self._largest,
            rows_scale=rows_scale,
            device=device,
            seed=self._options.seed,
            cores=self.cores.workers[placed : placed + spec.servers],
            spares=self._options.spares if device == "cpu" else 0,
        )
        self.pools.append(pool)
        pool.attach(loop)

        def serve(members: list[tuple[int, int]], busy: int) -> None:
            carrier = members[0][1]
            served[carrier] = members
            items = sum(items_of[request] for _, request in members)
            sent_s = loop.since_zero(pool.submit(carrier, items, pool.place_of(carrier, items)))
            for _, request in members:
                start_s[request] = sent_s

        return serve

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        for pool in self.pools:
            pool.close()

    @property
    def deaths(self) -> int:
        """Workers that have died and were replaced."""
        return sum(pool.deaths for pool in self.pools)


def check_workers(scenario: Scenario) -> None:
    """Raise `InputError` for a node with more CPU servers than cores, or with an accelerator where CUDA is absent."""
    cores, wanted = usable_cores(), sum(stage.cpu.servers for stage in scenario.stages if stage.cpu is not None)
    if wanted > cores:
        raise InputError("servers", wanted, f"must be at most {cores}, the cores that this process may use")
    if scenario.has_accelerator:
        from deeprec_env.live.model_memory import check_device  # torch is loaded for models alone

        check_device("cuda")


def model_of(spec: PoolSpec, options: LiveOptions) -> tuple[str, float]:
    """The model of a pool, and the scale of its tables."""
    from deeprec_env.latency.profile import Profile, load_profile

    latency = spec.latency
    if isinstance(latency, Profile):
        measured_at = float(load_profile(latency.profile).header.get("rows_scale", "1"))
        model = options.model or latency.model
    elif options.model is None:
        raise InputError("latency.kind", latency.kind, "names no model that could run; give a model, or kind profile")
    else:
        measured_at, model = 1.0, options.model
    return model, measured_at if options.rows_scale is None else options.rows_scale
