"""What a node predicts of its own latencies by mean service times, and decides by that (rules 14 to 16)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from deeprec_env.scenario.pools import KINDS, PoolKind
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PLAN, Setting, SettingNumbers
from deeprec_env.simulation.batching_pool import BatchingPool
from deeprec_env.simulation.mean_tables import mean_tables, median_items
from deeprec_env.simulation.ordered_pool import OrderedPool
from deeprec_env.simulation.pool import Clock
from deeprec_env.simulation.prediction import free_in_s, latest_end_s, whole_ns
from deeprec_env.simulation.query_log import Arrival
from deeprec_env.simulation.splitting import DispatchRule, cut, offloads, request_items, share, stage_rule
from deeprec_env.simulation.waiting import FCFS, Waiting
from deeprec_env.simulation.windows import Window


class Forecast:
    """Predictions for a node's pools, as they are at the present instant before its starts.

    Queries have at most `largest` items.
    """

    def __init__(
        self, scenario: Scenario, clock: Clock, pools: Sequence[dict[PoolKind, OrderedPool]], largest: int
    ) -> None:
        self._scenario, self._clock, self._pools = scenario, clock, pools
        self._largest = -1
        self._rules: dict[SettingNumbers, list[DispatchRule]] = {}
        self._median_items = median_items(scenario)
        self.expect(largest)

    def expect(self, largest: int) -> None:
        """Be ready for queries of at most `largest` items."""
        if largest > self._largest:
            self._largest = largest
            self._mean_s = mean_tables(self._scenario, largest).tolist()  # by plan, pool and items

    def waiting(self, position: int, away: bool, arrival: Arrival) -> Waiting:
        """A sub-batch as it would wait for a stage's CPU, or if `away`, for its accelerator."""
        rule = self._rules_under(arrival.setting)[position]
        mean_s = self._mean_s[int(arrival.setting[PLAN])][2 * position + away]
        pool = self._pools[position][KINDS[away]]
        n = min(arrival.items, rule.most_items)
        parts = self._scenario.sub_batches
        held = n if parts == 1 else share(n, min(rule.most_parts, n), arrival.part % parts)
        own = cut(rule, held, away)
        return Waiting(
            arrival.part,
            n,
            (arrival.arrival_s + self._scenario.sla_s) - mean_s[request_items(own, 0)],
            own,
            mean_s,
            whole_ns(mean_s[own.large_items] + pool.overhead_s, 1),
            whole_ns(mean_s[own.small_items] + pool.overhead_s, 1),
        )

    def offloads(self, position: int, arrival: Arrival) -> bool:
        """Whether a query that enters a stage goes to the accelerator because it is predicted to complete first there.

        False where something else decides that.
        """
        if not self._rules_under(arrival.setting)[position].predicted:
            return False
        return self._ends_in_s(position, True, arrival) < self._ends_in_s(position, False, arrival)

    def latency_s(self, arrival: Arrival) -> float:
        """Predicted latency of a query that arrives now, over all stages that it visits, as these are now."""
        total_s = 0.0
        for position, (stage, rule) in enumerate(
            zip(self._scenario.stages, self._rules_under(arrival.setting), strict=True)
        ):
            n = min(arrival.items, rule.most_items)
            if n == 0:
                continue
            if rule.predicted:
                stage_s = min(self._ends_in_s(position, away, arrival) for away in (False, True))
            else:
                stage_s = self._ends_in_s(position, bool(offloads(rule, n)), arrival)
            total_s += stage.transfer_s + stage_s
        return total_s

    def added_to(self, window: Window, setting: SettingNumbers) -> Window:
        """A window that ends now, with what waits, and the latency predicted of a query of median size.

        That one arrives now under a setting, and goes behind all of the same rank.
        """
        waiting = {
            kind: float(sum(pools[kind].waiting_requests() for pools in self._pools if kind in pools)) for kind in KINDS
        }
        predicted_s = 0.0
        if self._scenario.sub_batches == 1:
            predicted_s = self.latency_s(Arrival(sys.maxsize, self._clock.now, self._median_items, setting))
        return window._replace(
            waiting_cpu=waiting["cpu"], waiting_accelerator=waiting["accelerator"], predicted_s=predicted_s
        )

    def _rules_under(self, setting: SettingNumbers) -> list[DispatchRule]:
        """By stage."""
        if setting not in self._rules:
            named = Setting.of(setting)
            positions = range(len(self._scenario.stages))
            self._rules[setting] = [stage_rule(self._scenario, position, named) for position in positions]
        return self._rules[setting]

    def _ends_in_s(self, position: int, away: bool, arrival: Arrival) -> float:
        """In how many seconds the last request of a query that enters a pool now is predicted to end."""
        pool, own = self._pools[position][KINDS[away]], self.waiting(position, away, arrival)
        factor = pool.slowdown[max(1, pool.busy)]

        def expected_s(entry: Waiting, items: int) -> float:
            return entry.mean_s[items] * factor + pool.overhead_s

        free_s = free_in_s(self._clock.now, pool.begun_s, pool.expected_s)
        if isinstance(pool, BatchingPool):
            total = own.items + sum(entry.items for _, _, entry in pool.ahead_of(own))
            whole = (total - 1) // pool.max_items
            rest_s = expected_s(own, total - whole * pool.max_items)
            return latest_end_s(free_s, whole_ns(expected_s(own, pool.max_items), whole), 1, rest_s, 0, 0.0)
        if not pool.contended:
            ahead = pool.ahead_of(own) if pool.order != FCFS else ()
            ahead_ns = pool.waiting_ns if pool.order == FCFS else sum(entry.left_ns for _, _, entry in ahead)
        else:
            ahead_ns = sum(
                whole_ns(expected_s(entry, entry.cut.large_items), entry.large_left)
                + whole_ns(expected_s(entry, entry.cut.small_items), entry.small_left)
                for _, _, entry in pool.ahead_of(own)
            )
        large_s, small_s = expected_s(own, own.cut.large_items), expected_s(own, own.cut.small_items)
        return latest_end_s(free_s, ahead_ns, own.cut.large, large_s, own.cut.requests - own.cut.large, small_s)
