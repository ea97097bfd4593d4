"""Every request of a run, from its records: when it entered its stage, its items, its noise, its busy neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from deeprec_env.latency import checked
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import KINDS, PoolSpec
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import ORDER, ORDERS, PLAN, Setting
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.splitting import cut, request_items, share, split, stage_rule
from deeprec_env.workload.noise import query_keys

_SMALL_FIRST, _LEAST_SLACK = ORDERS.index("small-first"), ORDERS.index("least-slack")


@dataclass(frozen=True)
class RunRequests:
    """The requests of a drained run at one stage, in (query, part) order, each array (requests,) unless said.

    `first`, (sub-batches + 1,): sub-batch b of a query has the requests `first[b]` to `first[b + 1]`. `query` is its
    query's place in the records. `base_s` is the service without slow-down, of a batch that of the whole of it; `busy`
    the servers of its pool that are at work when it starts, its own included. `place` says by pool (CPU, accelerator)
    in which order its requests start; where they are served in batches, `lead` is the request that carries each one's
    batch (elsewhere itself).
    """

    first: Ints
    query: Ints
    items: Ints
    away: NDArray[np.bool_]
    entry_s: Floats
    start_s: Floats
    end_s: Floats
    base_s: Floats
    busy: Ints
    lead: Ints
    place: tuple[Ints, Ints]

    def servers(self, pool: PoolSpec, away: bool) -> Ints:
        """The server of each of a pool's requests, in the order of `place`: the lowest that is free at its start.

        Engines do not tell servers of a pool apart, so this is as good a numbering as any.
        """
        free, busy = list(range(pool.servers)), list[tuple[float, int]]()
        found = np.zeros(len(self.query), dtype=np.int64)
        chosen = self.place[away]
        for request, lead, start_s, end_s in zip(
            chosen.tolist(),
            self.lead[chosen].tolist(),
            self.start_s[chosen].tolist(),
            self.end_s[chosen].tolist(),
            strict=True,
        ):
            if request != lead:
                found[request] = found[lead]
                continue
            while busy and busy[0][0] <= start_s:
                heappush(free, heappop(busy)[1])
            server = heappop(free)
            heappush(busy, (end_s, server))
            found[request] = server
        return found[chosen]


def run_requests(records: Records, scenario: Scenario, noise_key: int) -> list[RunRequests]:
    """By stage, the requests of a run that has been drained; `noise_key` is that of its traffic."""
    settings, group = np.unique(records.setting, axis=0, return_inverse=True)
    left_s = np.repeat(records.arrival_s, scenario.sub_batches)
    found = []
    for position in range(len(scenario.stages)):
        requests, left_s = _at_stage(records, scenario, noise_key, position, left_s, settings, group.ravel())
        found.append(requests)
    return found


def _at_stage(
    records: Records,
    scenario: Scenario,
    noise_key: int,
    position: int,
    left_s: Floats,
    settings: Floats,
    group: Ints,
) -> tuple[RunRequests, Floats]:
    """The requests at a stage of sub-batches that left the one before at `left_s`, and when they leave this one."""
    log, each = records.stages[position], scenario.sub_batches
    keys = query_keys(noise_key, position, records.query)
    counts = np.zeros(len(records) * each, dtype=np.int64)
    held = []  # by group of queries under one setting: sub-batches, and items and U of their requests
    entering = np.zeros(len(records), dtype=np.int64)
    for row, numbers in enumerate(settings):
        chosen = np.flatnonzero((group == row) & ~records.shed)
        rule = stage_rule(scenario, position, Setting.of(tuple(numbers.tolist())))
        entering[chosen] = np.minimum(records.items[chosen], rule.most_items)
        planned, first, items, u = split(rule, records.items[chosen], keys[chosen], each)
        parts = (chosen[:, None] * each + np.arange(each)).ravel()
        came = np.ones(len(items), dtype=np.bool_)
        # Offloaded by prediction: one request of all items, where there was room for several.
        predicted = np.flatnonzero(log.offloaded[parts // each] & ~planned & (np.diff(first) > 0))
        items[first[predicted]] = entering[parts[predicted] // each]
        for at in predicted.tolist():
            came[first[at] + 1 : first[at + 1]] = False
        kept = np.concatenate([[0], np.cumsum(came)])[first]
        counts[parts] = np.diff(kept)
        held.append((parts, items[came], u[came]))
    first = np.concatenate([[0], np.cumsum(counts)])
    sizes, noise = np.empty(first[-1], dtype=np.int64), np.empty(first[-1])
    for parts, items, u in held:
        places = _places(first[parts], counts[parts])
        sizes[places], noise[places] = items, u
    part = np.repeat(np.arange(len(counts)), counts)
    query: Ints = part // each
    away = log.offloaded[query]
    works = counts > 0
    entry_s = np.where(works, left_s + scenario.stages[position].transfer_s, left_s)
    leave_s = left_s.copy()
    if works.any():
        leave_s[works] = np.maximum.reduceat(log.end_s, first[:-1][works])
    of_pool = [
        _started(records, scenario, position, kind, np.flatnonzero(away == kind), query, entering, entry_s[part])
        for kind in (0, 1)
    ]
    base_s, busy, lead = np.empty(first[-1]), np.empty(first[-1], dtype=np.int64), np.arange(first[-1])
    plan = records.setting[:, PLAN].astype(np.int64)
    for kind, order in enumerate(of_pool):
        if len(order) == 0:
            continue
        if log.carries is not None:
            lead[order] = _leads(order, log.start_s, log.end_s, log.carries)
        carrying = order[lead[order] == order]
        total = np.bincount(lead[order], sizes[order], minlength=len(lead)).astype(np.int64)
        busy[carrying] = _busy(log.start_s[carrying], log.end_s[carrying])
        for each_plan in np.unique(plan[query[carrying]]):
            mine = carrying[plan[query[carrying]] == each_plan]
            pool = scenario.planned_stages[each_plan][position].pools()[KINDS[kind]]
            base_s[mine] = checked.base_s(pool.latency, total[mine], noise[mine])
        base_s[order], busy[order] = base_s[lead[order]], busy[lead[order]]
    found = RunRequests(
        first,
        query,
        sizes,
        away,
        entry_s[part],
        log.start_s,
        log.end_s,
        base_s,
        busy,
        lead,
        (of_pool[0], of_pool[1]),
    )
    return found, leave_s


def _places(first: Ints, counts: Ints) -> Ints:
    """Where the requests of some sub-batches stand, one after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(int(counts.sum()))


def _started(
    records: Records,
    scenario: Scenario,
    position: int,
    kind: int,
    of_pool: Ints,
    query: Ints,
    entering: Ints,
    entry_s: Floats,
) -> Ints:
    """Requests of a pool in the order of their starts, those of one instant in that of the queue (rule 14)."""
    mine = query[of_pool]
    order = records.setting[mine, ORDER].astype(np.int64)
    rank = entry_s[of_pool].copy()
    rank[order == _SMALL_FIRST] = entering[mine][order == _SMALL_FIRST]
    urgent = np.flatnonzero(order == _LEAST_SLACK)
    if len(urgent):
        rank[urgent] = _slack_s(records, scenario, position, kind, mine[urgent], entering)
    return of_pool[np.lexsort((np.arange(len(of_pool)), rank, records.stages[position].start_s[of_pool]))]


def _leads(order: Ints, start_s: Floats, end_s: Floats, carries: NDArray[np.bool_]) -> Ints:
    """Of each request of a pool, given in the order of starts, the one that carries its batch.

    A batch is one of those that start and end with it; if there are several, in the order of the queue.
    """
    place = np.lexsort((np.arange(len(order)), end_s[order], start_s[order]))
    in_batches = order[place]
    new = np.ones(len(order), dtype=np.bool_)  # whether a request is the first of its start and end
    new[1:] = (np.diff(start_s[in_batches]) > 0.0) | (np.diff(end_s[in_batches]) != 0.0)
    carrying = carries[in_batches]
    number = np.cumsum(carrying)
    before: Ints = (number - carrying)[np.flatnonzero(new)][np.cumsum(new) - 1]  # carriers before its start and end
    leads = np.empty(len(order), dtype=np.int64)
    leads[place] = in_batches[carrying][np.maximum(number - 1, before)]
    return leads


def _slack_s(records: Records, scenario: Scenario, position: int, kind: int, queries: Ints, entering: Ints) -> Floats:
    """By when each of some queries would have to start its first request here to be in time."""
    slack_s = np.empty(len(queries))
    known: dict[tuple[float, ...], float] = {}
    for at, query in enumerate(queries.tolist()):
        numbers, n = tuple(records.setting[query].tolist()), int(entering[query])
        key = (*numbers, n)
        if key not in known:
            setting = Setting.of(numbers)
            rule = stage_rule(scenario, position, setting)
            items = request_items(cut(rule, share(n, min(rule.most_parts, n), 0), bool(kind)), 0)
            pool = scenario.planned_stages[setting.plan][position].pools()[KINDS[kind]]
            known[key] = float(np.ravel(checked.mean_s(pool.latency, np.array([items])))[0])
        slack_s[at] = (records.arrival_s[query] + scenario.sla_s) - known[key]
    return slack_s


def _busy(start_s: Floats, end_s: Floats) -> Ints:
    """Servers at work when each of a pool's requests starts, given in that order, its own included (rule 6)."""
    earlier = np.searchsorted(start_s, start_s, side="left")
    together = np.arange(len(start_s)) - earlier + 1
    # Of those that started earlier, who had ended; one that took no time ended at its start, which is earlier too.
    return earlier - np.searchsorted(np.sort(end_s), start_s, side="right") + together
