"""The generalist: the best setting of a service that it has never seen, by predicted tails, without a simulated query.

A network, trained once on random services, predicts p95 and p99 of every setting at the measured rate. While it runs it
corrects the profile: by a factor on the service times of each pool, from measured against expected utilisation, and by
one on the sizes, from the measured mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.analysis.service_features import Service
from deeprec_env.envs.observation import FIELDS
from deeprec_env.policies.adaptive.tail_network import TailNetwork, shipped_network
from deeprec_env.policies.adaptive.utilisation import Factors, Seen, UtilisationModel
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario

MOST_LOAD = 0.985
"""No pool is loaded more by the setting chosen, where any setting keeps it."""

MEMORY = 0.5
"""Weight of the past in the smoothed rate."""

HEADROOM = 1.03
"""On the smoothed rate: it may rise until the next window."""

_RATE_STEP = 0.01
"""Rates are told apart by this share of the scenario's reference rate, service times and sizes by `_FACTOR_STEP`."""

_FACTOR_STEP = 0.02
_FIRST = np.arange(0.1, 1.01, 0.1)
"""Loads that the first window may bring, alike likely, in that of the setting that carries most."""

_DEAREST = 3.0
"""Most that a load counts against a setting for the first window, as a logarithm: overload lasts one window."""

_AT = {name: place for place, name in enumerate(FIELDS)}


@dataclass(frozen=True)
class Belief:
    """What is known of the running service: the smoothed rate in queries a second, and factors on the profile.

    `refused` is the share of queries that was refused of late, `strangers` the number of those in the node that no
    threshold sent where they are. `sustained_qps` is the mean rate of the last `windows` windows, None where nothing is
    made of it.
    """

    qps: float
    factors: Factors
    refused: float = 0.0
    strangers: float = 0.0
    sustained_qps: float | None = None
    windows: int = 0


class Chosen(NamedTuple):
    """The place of a setting among the scenario's, its predicted p99 in targets, and the load of its busiest pool."""

    place: int
    p99: float
    busiest: float


class GeneralistPolicy:
    """Each window the setting of least predicted cost at the measured rate: p95, dear where p99 nears its limit.

    The cost is p95 x (1 + 0.5 max(0, p99 / target - 0.8)). Settings that load a pool more than `MOST_LOAD` are left
    out; where none is left, the one whose busiest pool has least to do is taken. For features unlike those of the
    training the queueing estimates stand alone. In the first window, when nothing has been measured, the setting is
    that which is the least worse than the best over all loads there may be.

    Raises `InputError` for a scenario whose service can't be described (see `Service`).
    """

    def __init__(self, scenario: Scenario, network: TailNetwork | None = None) -> None:
        self._network = network or shipped_network()
        self._scenario, self._settings = scenario, scenario.settings()
        self._sla_s = scenario.sla_s
        self._thresholds = len(scenario.thresholds)
        self._places = len(scenario.control.batch_sizes) - 1, self._thresholds - 1
        self._unit_qps = scenario.capacity.qps if scenario.capacity else scenario.workload.arrivals.mean_qps
        self._services = {0: Service(scenario, self._settings)}
        self._utilisation = UtilisationModel(scenario, self._services[0])
        self._chosen: dict[tuple[int, int, int, int], Chosen] = {}
        self._start: int | None = None

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The action for each observation; `state` holds a `Belief` for each, None before the first window."""
        seen = np.atleast_2d(np.asarray(observation, dtype=np.float64))
        starts = np.broadcast_to(state is None if episode_start is None else episode_start, len(seen))
        before = [None] * len(seen) if state is None else state
        beliefs, actions = [], []
        for row, known, start in zip(seen, before, starts, strict=True):
            belief = None if start else self._updated(row, known)
            beliefs.append(belief)
            actions.append(self._action(belief))
        chosen = np.array(actions, dtype=np.int64)
        return (chosen if np.ndim(observation) == 2 else chosen[0]), tuple(beliefs)

    def best(self, belief: Belief) -> Chosen:
        """The setting to take."""
        factors = belief.factors
        steps = [
            round(float(np.log(each)) / _FACTOR_STEP) for each in (factors.cpu, factors.accelerator, factors.items)
        ]
        level = max(1, int(np.ceil(HEADROOM * belief.qps / (_RATE_STEP * self._unit_qps) - 1e-9)))
        key = (level, steps[0], steps[1], steps[2])
        if key not in self._chosen:
            cpu, accelerator, items = (float(np.exp(step * _FACTOR_STEP)) for step in steps)
            if steps[2] not in self._services:
                self._services[steps[2]] = Service(self._scenario, self._settings, items)
            service = self._services[steps[2]]
            cost, p99, busiest = self._judged(
                service, np.array([level * _RATE_STEP * self._unit_qps]), (cpu, accelerator)
            )
            place = int(np.argmin(cost[0]))
            self._chosen[key] = Chosen(place, float(p99[0, place]), float(busiest[0, place]))
        return self._chosen[key]

    def costs(self, service: Service, qps: Floats, factors: tuple[float, float] = (1.0, 1.0)) -> Floats:
        """Logarithms of the settings' costs in seconds, (rates, settings); of overloaded ones more than of all others.

        Of these the ones with the least busy pools cost least.
        """
        return self._judged(service, qps, factors)[0]

    def first(self) -> int:
        """The setting for a window before which nothing was measured."""
        if self._start is None:
            service = self._services[0]
            most_qps = MOST_LOAD / service.loads(np.ones(1))[0].max(axis=-1).min()
            costs = self.costs(service, _FIRST * most_qps * (1.0 - 1e-9))
            worse = (costs - costs.min(axis=-1, keepdims=True)).clip(0.0, _DEAREST)
            self._start = int(np.argmin(worse.mean(axis=0)))
        return self._start

    def _action(self, belief: Belief | None) -> tuple[int, ...]:
        """Indices on the ladders."""
        return divmod(self.first() if belief is None else self.best(belief).place, self._thresholds)

    def _judged(self, service: Service, qps: Floats, factors: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
        """Costs, p99 in targets and the load of the busiest pool, each (rates, settings)."""
        estimate = service.estimate(qps, factors)
        log_tail_s = self._network.log_tail_s(estimate)
        p99 = np.exp(log_tail_s[..., 1]) / self._sla_s
        busiest = estimate.loads.max(axis=-1)
        cost = log_tail_s[..., 0] + np.log1p(0.5 * (p99 - 0.8).clip(0.0))
        return np.where(busiest < MOST_LOAD, cost, 1e3 + busiest), p99, busiest

    def _place(self, row: Floats) -> int | None:
        """The place among the settings of the one that a window was under; None where it does not say all."""
        batch, threshold = (
            round(float(row[_AT[name]]) * most)
            for name, most in zip(("batch_size", "threshold"), self._places, strict=True)
        )
        return batch * self._thresholds + threshold

    def _seen(self, row: Floats, known: Belief | None) -> Seen:
        """What a window showed; `known` was believed before it."""
        return Seen(
            self._place(row),
            float(row[_AT["offered"]]) * self._unit_qps,
            float(row[_AT["completed"]]) * self._unit_qps,
            float(row[_AT["mean_items"]]) * self._utilisation.mean_items,
            (float(row[_AT["cpu_utilisation"]]), float(row[_AT["accelerator_utilisation"]])),
        )

    def _updated(self, row: Floats, known: Belief | None) -> Belief:
        seen = self._seen(row, known)
        qps = seen.offered_qps
        factors = self._utilisation.updated(known.factors if known else Factors(), seen)
        return Belief(qps if known is None else MEMORY * known.qps + (1.0 - MEMORY) * qps, factors)
