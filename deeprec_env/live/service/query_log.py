"""The log of a node that never ends: queries are taken one by one, and forgotten once every window has seen them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeVar

from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.query_log import QueryLog

T = TypeVar("T")


class Sliding(list[T]):
    """A list that lets its first entries go; the others keep their places."""

    def __init__(self, values: Iterable[T] = ()) -> None:
        super().__init__(values)
        self._gone = 0

    def __len__(self) -> int:
        return self._gone + super().__len__()

    def __getitem__(self, at: Any) -> Any:
        if at.__class__ is int:  # several of each for every request
            return super().__getitem__(at - self._gone if at >= 0 else at)
        return super().__getitem__(self._held(at))

    def __setitem__(self, at: Any, value: Any) -> None:
        super().__setitem__(at - self._gone if at.__class__ is int else self._held(at), value)

    def let_go(self, before: int) -> None:
        """Forget the entries before a place."""
        super().__delitem__(slice(0, before - self._gone))
        self._gone = before

    def _held(self, at: slice) -> slice:
        return slice(at.start - self._gone, at.stop - self._gone, at.step)


class ServiceLog(QueryLog):
    """A `QueryLog` of one stage whose queries are dispatched as they arrive, each under the setting in force."""

    def __init__(self, scenario: Scenario, with_items: bool = False) -> None:
        super().__init__(scenario, with_items)
        assert len(self.stages) == self._sub_batches == 1
        (stage,) = self.stages
        for of, names in (
            (stage, ("offloaded", "first", "left", "base_s", "start_s", "end_s", "first_u", "carries", "items")),
            (self, ("arrival_s", "items", "query", "in_force", "completion_s", "left")),
        ):
            for name in names:
                if getattr(of, name) is not None:
                    setattr(of, name, Sliding(getattr(of, name)))
        self.held_from = 0  # queries before it are forgotten
        self._queries = self._requests = 0  # that were taken
        self._cuts: dict[int, tuple[bool, list[int]]] = {}  # by items, under the setting in force
        self._cut_under: object = None

    def take(self, arrival_s: float, items: int) -> tuple[bool, list[int]]:
        """Add the query that arrives now; whether its size offloads it, and the items of its requests."""
        away, sizes = self.cut_of(items)
        (log,), requests = self.stages, len(sizes)
        self._requests += requests
        log.offloaded.append(away)
        log.first.append(self._requests)
        log.left.append(requests)
        log.base_s += [0.0] * requests  # nobody asks how long it takes: it takes as long as it does
        log.start_s += [math.inf] * requests
        log.end_s += [math.inf] * requests
        if log.first_u is not None:
            log.first_u.append(0.5)
        if log.carries is not None:
            log.carries += [True] * requests
        assert log.items is not None
        log.items += sizes
        self.query.append(self._queries)
        self._queries += 1
        self.arrival_s.append(arrival_s)
        self.items.append(items)
        self.in_force.append(len(self.settings) - 1)
        self.completion_s.append(math.inf)
        self.left.append(1)
        return away, sizes

    def forget(self, keep: int) -> None:
        """Nothing is dispatched ahead."""

    def let_go(self, before: int) -> None:
        """Forget the queries before one."""
        (log,) = self.stages
        requests = log.first[before]
        for lists, place in (
            ((log.offloaded, log.first, log.left, log.first_u), before),
            ((log.base_s, log.start_s, log.end_s, log.carries, log.items), requests),
            ((self.arrival_s, self.items, self.query, self.in_force, self.completion_s, self.left), before),
        ):
            for values in lists:
                if values is not None:
                    assert isinstance(values, Sliding)
                    values.let_go(place)
        self.held_from = before
        self._forget_settings()

    def cut_of(self, items: int) -> tuple[bool, list[int]]:
        """Whether a query of so many items would go to the accelerator now, and the items of its requests."""
        numbers = self.settings[-1]
        if numbers is not self._cut_under:
            self._cuts, self._cut_under = {}, numbers
        found = self._cuts.get(items)
        if found is None:
            from deeprec_env.simulation.splitting import cut, offloads, request_items, stage_rule

            rule = stage_rule(self._scenario, 0, Setting.of(numbers))
            away = bool(offloads(rule, items))
            made = cut(rule, items, away)
            found = away, [int(request_items(made, request)) for request in range(made.requests)]
            self._cuts[items] = found
        return found

    def _forget_settings(self) -> None:
        """Settings under which no query is left, but the one in force."""
        held = len(self.arrival_s) > self.held_from
        unused = self.in_force[self.held_from] if held else len(self.settings) - 1
        if unused:
            del self.settings[:unused]
            for query in range(self.held_from, len(self.arrival_s)):
                self.in_force[query] -= unused
