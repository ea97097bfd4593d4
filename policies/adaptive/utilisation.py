"""What measured utilisation says of a profile: how many times slower than it the pools are, and how much larger sizes.

Over the windows the server-seconds that a pool was busy are compared with those expected of the queries that came. The
ratio is believed once it is beyond chance: a right profile is left alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from deeprec_env.analysis.service_features import Service
from deeprec_env.scenario.pools import PoolSpec
from deeprec_env.scenario.schema import Scenario
from deeprec_env.workload.checked import size_probabilities

MEMORY = 0.97
"""Weight of the past in what was measured, a window."""

DOUBT = 3.0
"""Standard errors that a ratio must be from 1 to be believed."""

SIZES_MEMORY, SIZES_DOUBT = 0.6, 4.0
"""The same of sizes, which may drift through the day: a short memory is deceived more often."""

SATURATED = 0.97
"""A pool as busy as this, now or in the window before, has done the work of those who came less those left waiting."""

BUSY = 0.85
"""A pool less busy than this leaves no queries waiting."""

MOST = 6.0
"""Factors are from 1 / MOST to MOST."""


@dataclass(frozen=True)
class Sums:
    """Measured and expected over the windows, and the variance of their difference by chance.

    Of what is expected, `refused` is the most that queries may have brought which were refused. Of the last window:
    `saturated` says whether the pool was, `left` is the work that it left waiting, in that of all servers in a window.
    """

    measured: float = 0.0
    expected: float = 0.0
    variance: float = 0.0
    saturated: bool = False
    refused: float = 0.0
    left: float = 0.0

    def more(
        self,
        measured: float,
        expected: float,
        variance: float,
        saturated: bool = False,
        memory: float = MEMORY,
        refused: float = 0.0,
        left: float = 0.0,
    ) -> Sums:
        """With another window."""
        return Sums(
            memory * self.measured + measured,
            memory * self.expected + expected,
            memory * memory * self.variance + variance,
            saturated,
            memory * self.refused + refused,
            left,
        )

    def factor(self, edge: float = 0.0, doubt: float = DOUBT) -> float:
        """Measured in expected, 1 where that may be chance; `edge` is the error of where the windows begin and end."""
        if self.measured <= 0.0:
            return 1.0
        believable = min(max(self.measured, self.expected - self.refused), self.expected)
        expected = max(believable, self.measured / MOST)
        error = math.sqrt(self.variance + edge * edge) / expected
        ratio = math.log(self.measured / expected)
        return min(max(math.exp(ratio), 1.0 / MOST), MOST) if abs(ratio) > doubt * error else 1.0


@dataclass(frozen=True)
class Factors:
    """Times the profile's: service times of CPU and accelerator, and sizes; and what they were computed from."""

    cpu: float = 1.0
    accelerator: float = 1.0
    items: float = 1.0
    sums: tuple[Sums, Sums, Sums] = field(default=(Sums(), Sums(), Sums()), repr=False)


class Seen(NamedTuple):
    """What a window showed: the setting's place among the service's, rates, sizes, busy shares of both pools.

    The setting is None where it does not say which pool a query goes to. `waiting` counts the requests that wait before
    either pool at the window's end, None where that is not measured; `strange` says that some were there at its
    beginning that came under no such setting.
    """

    setting: int | None
    offered_qps: float
    completed_qps: float
    mean_items: float
    utilisation: tuple[float, float]
    refused_qps: float = 0.0
    waiting: tuple[float, float] | None = None
    strange: bool = False


class UtilisationModel:
    """Expected utilisation of a service's pools under its settings, and what measured utilisation says of it."""

    def __init__(self, scenario: Scenario, service: Service) -> None:
        assert scenario.node is not None
        self._service, self._interval_s = service, scenario.control.interval_s
        self._pools = (scenario.node.cpu, scenario.node.accelerator)
        self.mean_items = service.mean_items
        items, probability = size_probabilities(scenario.workload.sizes)
        self._items_sd = math.sqrt(max(float(items.astype(np.float64) ** 2 @ probability) - self.mean_items**2, 0.0))

    def updated(self, factors: Factors, window: Seen) -> Factors:
        """The factors after another window."""
        queries = window.offered_qps * self._interval_s
        if queries < 1.0:
            return factors
        cpu, accelerator, sizes = factors.sums
        sizes = sizes.more(
            window.mean_items * queries, self.mean_items * queries, queries * self._items_sd**2, memory=SIZES_MEMORY
        )
        items = sizes.factor(doubt=SIZES_DOUBT)
        if items != 1.0 or window.setting is None:
            # Of other sizes than the scenario's only the mean is known, not what they would keep the pools busy.
            cpu, accelerator = (replace(sums, saturated=False, left=0.0) for sums in (cpu, accelerator))
            return replace(factors, items=items, sums=(cpu, accelerator, sizes))
        pools = [self._pool(kind, sums, window, window.setting) for kind, sums in enumerate((cpu, accelerator))]
        values = [sums.factor(self._edge(kind, window.setting)) for kind, sums in enumerate(pools)]
        return replace(factors, cpu=values[0], accelerator=values[1], items=items, sums=(pools[0], pools[1], sizes))

    def _pool(self, kind: int, sums: Sums, window: Seen, setting: int) -> Sums:
        service, pool = self._service, self._pools[kind]
        if pool is None:
            return sums
        servers = pool.servers
        visits = (service.visits_cpu, service.visits_accelerator)[kind][setting]
        mean_s = (service.cpu_s, service.accelerator_s)[kind][setting]
        # The line through the sizes takes out most of the chance that lies in which queries came.
        of_items_s = max(
            mean_s + service.by_items_s[kind, setting] * (window.mean_items - self.mean_items), 0.1 * mean_s
        )
        measured = window.utilisation[kind]
        expected = window.offered_qps * of_items_s / servers * _contended(pool, measured)
        saturated = measured >= SATURATED
        if window.waiting is not None:
            return self._known_left(kind, sums, window, setting, expected)
        if (saturated or sums.saturated) and visits > 0.0:
            # Those left waiting are its own, unless the other pool is busy enough to have left some too.
            whose = 1.0 if window.utilisation[1 - kind] < BUSY else visits
            expected -= (window.offered_qps - window.completed_qps) * whose * mean_s / visits / servers
        return sums.more(measured, expected, self._variance(kind, window, setting), saturated)

    def _known_left(self, kind: int, sums: Sums, window: Seen, setting: int, of_arrivals: float) -> Sums:
        """With a window after which those who wait were counted, and of those who came some may have been refused."""
        pool = self._pools[kind]
        assert pool is not None
        assert window.waiting is not None
        contended = _contended(pool, window.utilisation[kind])
        each = self._edge(kind, setting) * contended
        left = window.waiting[kind] * each / (self._service.requests[setting] if kind == 0 else 1.0)
        if window.strange:
            return replace(sums, left=left)
        # The large ones are refused first: such a one as a server spends its time on.
        largest_s = self._service.squares_s2[kind, setting] / max(
            (self._service.cpu_s, self._service.accelerator_s)[kind][setting], 1e-12
        )
        refused = window.refused_qps * largest_s / pool.servers * contended
        expected = of_arrivals + sums.left - left
        variance = self._variance(kind, window, setting)
        return sums.more(window.utilisation[kind], expected, variance, refused=refused, left=left)

    def _variance(self, kind: int, window: Seen, setting: int) -> float:
        pool = self._pools[kind]
        assert pool is not None
        queries = window.offered_qps * self._interval_s
        return float(queries * (self._service.rest_s[kind, setting] / (pool.servers * self._interval_s)) ** 2)

    def _edge(self, kind: int, setting: int) -> float:
        """Work that may lie on either side of a window's end, in the share of a window of all servers: a request's."""
        service, pool = self._service, self._pools[kind]
        if pool is None:
            return 0.0
        visits = (service.visits_cpu, service.visits_accelerator)[kind][setting]
        mean_s = (service.cpu_s, service.accelerator_s)[kind][setting]
        return float(mean_s / max(visits, 1e-9) / (pool.servers * self._interval_s))


def _contended(pool: PoolSpec, busy: float) -> float:
    """Slow-down with a share of the servers busy, in that with all of them."""
    return pool.slowdown(max(1, round(busy * pool.servers))) / pool.slowdown(pool.servers)
