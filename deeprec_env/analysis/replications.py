"""Independent replications of fixed settings at any rate: the share of queries above each target, with its error."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from deeprec_env.analysis.steady import SteadyRun, sample_pools
from deeprec_env.analysis.warmup import WarmRun
from deeprec_env.cores import usable_cores
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.intervals import t_quantile
from deeprec_env.simulation.kernel_choice import follows_state
from deeprec_env.simulation.offered_load import ServiceDemand, pool_label
from deeprec_env.simulation.summary import latencies_grow, seconds_sent
from deeprec_env.workload.stream import episode_seed

T = TypeVar("T")
U = TypeVar("U")

_SAMPLE = 2**19  # episode of the sample of works, after all replications


def sample_seed(seed: int, split: str, first: int = 0) -> np.random.SeedSequence:
    """The seed of the sample of queries whose works stand for those of the replications from `first` on."""
    return episode_seed(seed, split, first + _SAMPLE)


@dataclass(frozen=True)
class TailRule:
    """At most the share `allowed` of the queries may take longer than `limit_s`; `name` is what it is called."""

    name: str
    limit_s: float
    allowed: float


@dataclass(frozen=True)
class Streams:
    """Which traffic: `count` episodes of a seed and split from `first` on, of `queries` queries each.

    With a `warmup` they start empty and that many queries come before these; without, they start in steady state.
    """

    seed: int
    split: str
    first: int
    count: int
    queries: int
    warmup: int = 0

    @property
    def counted(self) -> int:
        """Queries of a replication that count: it starts near steady state, so a short warm-up of a fifth does."""
        return self.queries - self.queries // 5


class Replications:
    """Replications of a scenario's settings, planned once, and the queries that their runs took.

    The bytes are the same whatever the number of threads. `demands` are all pools: where one is overloaded all its
    queries are late in the long run, and count so, unless queries are shed. Those that can keep up with `highest_qps`
    begin in steady state, or empty where the streams have a warm-up. Where the node's state decides who goes where
    there are none; then all queries are late at a rate at which the backlog of any replication grows.
    """

    def __init__(
        self,
        scenario: Scenario,
        demands: Sequence[ServiceDemand],
        rules: Sequence[TailRule],
        streams: Streams,
        *,
        highest_qps: float,
        engine: str = "compiled",
    ) -> None:
        self.rules, self.streams, self.highest_qps = rules, streams, highest_qps
        self.queries_used = 0
        self._demands = demands if scenario.setting.admit_ms is None else ()
        self._scenario, self._engine, self._follows = scenario, engine, follows_state(scenario)
        self._growing: dict[float, int] = {}
        self._shed: dict[float, float] = {}
        longest_s = max(rule.limit_s for rule in rules)
        able = sorted(
            (demand for demand in demands if demand.load(highest_qps) < 1.0), key=lambda demand: demand.saturation_qps
        )
        sample = sample_seed(streams.seed, streams.split, streams.first)
        pools = (
            [] if streams.warmup else sample_pools(scenario, able if len(scenario.stages) == 1 else able[:1], sample)
        )
        # Only compiled code runs outside Python's lock.
        self._threads = min(usable_cores(), 8) if engine == "compiled" else 1
        self._known: dict[float, Floats] = {}

        def planned(episode: int) -> SteadyRun | WarmRun:
            seed = episode_seed(streams.seed, streams.split, episode)
            if streams.warmup:
                return WarmRun(scenario, seed, streams.queries, streams.warmup)
            return SteadyRun(scenario, pools, seed, streams.queries, highest_qps=highest_qps, longest_s=longest_s)

        self._runs = self._map(planned, range(streams.first, streams.first + streams.count))

    def __len__(self) -> int:
        return len(self._runs)

    def fingerprint(self) -> str:
        """SHA-256 of the replications' traffic at one query a second."""
        return hashlib.sha256("".join(run.planned.unit.sha256() for run in self._runs).encode()).hexdigest()

    def shares(self, qps: float) -> Floats:
        """Share of the counted queries above each rule's limit at a rate, (replications, rules). Remembered."""
        if qps not in self._known:
            overloaded = [demand for demand in self._demands if demand.load(qps) >= 1.0]

            def of(run: SteadyRun | WarmRun) -> tuple[list[float], float, bool]:
                latency_s = run.latency_s(qps, self._engine)
                for demand in overloaded:
                    latency_s[run.visits(demand)] = math.inf
                counted = latency_s[-self.streams.counted :]
                late = [float((~(counted <= rule.limit_s)).mean()) for rule in self.rules]  # those that are shed, too
                return late, float(np.isnan(counted).mean()), self._follows and latencies_grow(counted)

            late, shed, grows = zip(*self._map(of, self._runs), strict=True)
            self._growing[qps], self._shed[qps] = sum(grows), float(np.mean(shed))
            self._known[qps] = np.ones_like(late) if any(grows) else np.array(late)
            self.queries_used += sum(len(run) for run in self._runs)
        return self._known[qps]

    def growing(self, qps: float) -> int:
        """Replications in which the backlog grows at a rate; 0 where the pools' loads say what is stable."""
        self.shares(qps)
        return self._growing[qps]

    def shed_rate(self, qps: float) -> float:
        """Share of the counted queries that are shed at a rate."""
        self.shares(qps)
        return self._shed[qps]

    def sent(self, qps: float) -> dict[str, float]:
        """Mean work that the counted queries send to each pool at a rate, in its servers' time."""

        def of(run: SteadyRun | WarmRun) -> Floats:
            arrival_s, first = run.arrival_s(qps), len(run) - self.streams.counted
            work_s = np.array(seconds_sent(run.planned.records(arrival_s, self._engine), first))
            return np.asarray(work_s / (arrival_s[-1] - arrival_s[first]))

        busy = np.mean(self._map(of, self._runs), axis=0)
        self.queries_used += sum(len(run) for run in self._runs)
        stages = enumerate(self._scenario.stages)
        return {
            pool_label(stage.name, kind): float(busy[position, KINDS.index(kind)]) / pool.servers
            for position, stage in stages
            for kind, pool in stage.pools().items()
        }

    @property
    def known(self) -> list[float]:
        """The rates that have been run."""
        return sorted(self._known)

    def means(self, qps: float) -> Floats:
        """Mean share above each rule's limit, (rules,)."""
        return np.asarray(self.shares(qps).mean(axis=0))

    def half_widths(self, qps: float) -> Floats:
        """Half-width of each rule's interval at a rate for the square root of the mean share, (rules,).

        The square root, because what is counted is rare and comes in clusters, so that its variance is about
        proportional to its mean: the interval is then as good a distance away from `qps`. From the t interval across
        replications. Where no query is above any limit they say nothing, and those at the lowest known rate above
        where one is speak for them (0 without such a rate).
        """
        if not self.means(qps).any():
            qps = next((rate for rate in self.known if rate > qps and self.means(rate).any()), qps)
        means, count = self.means(qps), len(self)
        error = self.shares(qps).std(axis=0, ddof=1) / math.sqrt(count)
        return np.asarray(t_quantile(count - 1) * error / (2.0 * np.sqrt(np.maximum(means, self._least))))

    def allowed(self, moved: Floats | float = 0.0) -> Floats:
        """The share that each rule allows, moved by so much on the scale of square roots, (rules,)."""
        roots = np.sqrt([rule.allowed for rule in self.rules])
        return np.asarray(np.maximum(roots + moved, 0.1 * roots) ** 2)

    def excess(self, qps: float, allowed: Floats) -> float:
        """Positive where a rule's mean share is above what is allowed: the largest logarithm of their ratio.

        Where tails are exponential it is nearly linear in the rate.
        """
        return float(self._ratios(qps, allowed).max())

    def worst(self, qps: float) -> int:
        """Index of the rule that is met least."""
        return int(self._ratios(qps, self.allowed()).argmax())

    def variance_inflation(self, qps: float, rule: int) -> float | None:
        """Variance of a rule's share across replications, in that of as many independent queries (None if 0 / 0)."""
        share = float(self.means(qps)[rule])
        if not 0.0 < share < 1.0:
            return None
        return float(self.shares(qps)[:, rule].var(ddof=1)) * self.streams.counted / (share * (1.0 - share))

    @property
    def _least(self) -> float:
        """Less than one query in all replications."""
        return 0.5 / (len(self) * self.streams.counted)

    def _ratios(self, qps: float, allowed: Floats) -> Floats:
        return np.log(np.maximum(self.means(qps), self._least) / allowed)

    def _map(self, function: Callable[[T], U], values: Sequence[T]) -> list[U]:
        if self._threads == 1:
            return [function(value) for value in values]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(function, values))
