"""The dispatch rule (rules 4 and 13), compiled: which requests a query becomes at a stage under a setting.

Written once, for both engines and all kernels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.jit import compiled
from deeprec_env.scenario.bounds import MOST_ITEMS
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import OFFLOADS, PREDICTED, SPLITS, Setting, SettingNumbers
from deeprec_env.simulation.arrays import ACCELERATOR, CPU, NodeArrays
from deeprec_env.workload.noise import Keys, uniform


@compiled
def setting_numbers(settings: Floats, row: int) -> SettingNumbers:
    """A setting that is a row of an array, (rows, controls)."""
    return SettingNumbers(
        settings[row, 0],
        settings[row, 1],
        settings[row, 2],
        settings[row, 3],
        settings[row, 4],
        settings[row, 5],
        settings[row, 6],
    )


_EVEN, _PREDICTED = SPLITS.index("even"), OFFLOADS.index(PREDICTED)


class DispatchRule(NamedTuple):
    """What a setting means at one stage.

    Of a query at most `most_items` enter the stage (0: it is skipped), in at most `most_parts` sub-batches. On the CPU
    a request has at most `largest` items, and the requests of a sub-batch are as equal as can be if `even`; with
    `offload_from` items and more a query is one request on the accelerator (0: never, or, if the setting says so, where
    it is `predicted` to complete first).
    """

    most_items: int
    most_parts: int
    largest: int
    even: bool
    offload_from: int
    predicted: bool


class Cut(NamedTuple):
    """A sub-batch as requests: `large` of them have `large_items` items, then all up to `requests` `small_items`."""

    requests: int
    large: int
    large_items: int
    small_items: int


@compiled
def dispatch_rule(
    most_items: int, most_parts: int, whole: bool, cpu: bool, accelerator: bool, setting: SettingNumbers
) -> DispatchRule:
    """The rule of a stage under a setting. Without an accelerator nothing is offloaded, without a CPU everything.

    `most_items` and `most_parts` as in the rule; `whole`: its queries are never split; `cpu`, `accelerator`: it has
    such a pool.
    """
    largest = np.int64(MOST_ITEMS) if whole else np.int64(setting.batch_size)
    predicted = cpu and accelerator and setting.offload == _PREDICTED
    if not cpu:
        offload_from = np.int64(1)
    elif setting.threshold == math.inf or not accelerator or predicted:
        offload_from = np.int64(0)
    else:
        offload_from = np.int64(setting.threshold)
    even = setting.split == _EVEN
    return DispatchRule(most_items, most_parts, largest, even, offload_from, predicted)  # type: ignore[arg-type]


@compiled
def rule_at(node: NodeArrays, stage: int, setting: SettingNumbers) -> DispatchRule:
    """The rule of a compiled node's stage under a setting."""
    return rule_of(node.entering, node.fewest, node.whole, node.servers, node.sub_batches, stage, setting)


@compiled
def rule_of(
    entering: Ints,
    fewest: Ints,
    whole: NDArray[np.bool_],
    servers: Ints,
    sub_batches: int,
    stage: int,
    setting: SettingNumbers,
) -> DispatchRule:
    """`rule_at`, from the fields of a `NodeArrays` that it looks at."""
    plan = np.int64(setting.plan)
    return dispatch_rule(
        entering[plan, stage],
        min(sub_batches, fewest[plan]),
        whole[stage],
        servers[2 * stage + CPU] > 0,
        servers[2 * stage + ACCELERATOR] > 0,
        setting,
    )


def stage_rule(scenario: Scenario, position: int, setting: Setting) -> DispatchRule:
    """The rule of a scenario's stage under a setting."""
    stage, plan = scenario.stages[position], setting.plan
    return dispatch_rule(
        scenario.planned_items[plan][position],
        min(scenario.sub_batches, scenario.fewest_items[plan]),
        stage.whole,
        stage.cpu is not None,
        stage.accelerator is not None,
        setting.numbers,
    )


@compiled
def offloads(rule: DispatchRule, items: Any) -> Any:
    """Whether a query of `items` items at the stage goes to the accelerator; of an array, elementwise."""
    return (rule.offload_from > 0) & (items >= rule.offload_from)


@compiled
def share(items: int, parts: int, position: int) -> int:
    """Items of a query's sub-batch at a position: `parts` of them divide the items, the first ones take what is over.

    The sub-batches after these are empty; so are all where a query has no items.
    """
    if position >= parts:
        return np.int64(0)  # type: ignore[return-value]
    if parts == 1:
        return np.int64(items)  # type: ignore[return-value]
    return np.int64(items // parts + (1 if position < items % parts else 0))  # type: ignore[return-value]


@compiled
def requests_of(items: int, largest: int, offloaded: bool) -> int:
    """How many requests `items` items are."""
    return (items + largest - 1) // largest if not offloaded else min(items, 1)


@compiled
def cut(rule: DispatchRule, items: int, offloaded: bool) -> Cut:
    """The requests of a sub-batch of at least one item: whole on the accelerator, else as the rule splits it."""
    requests = requests_of(items, rule.largest, offloaded)
    if rule.even:
        small_items = items // requests
        large = items - small_items * requests
        return Cut(requests, large, small_items + (large > 0), small_items)
    if requests == 1:
        return Cut(requests, 0, items, items)
    return Cut(requests, requests - 1, rule.largest, items - (requests - 1) * rule.largest)


@compiled
def request_items(cut: Cut, request: int) -> int:
    """Items of a request of a sub-batch, counted from 0."""
    return cut.large_items if request < cut.large else cut.small_items


@compiled
def requests_at(rule: DispatchRule, items: Ints, sub_batches: int) -> int:
    """How many requests queries of `items` items are at a stage, each in `sub_batches`."""
    total = 0
    for n in items:
        n = min(n, rule.most_items)
        away = offloads(rule, n)
        for position in range(sub_batches):
            total += requests_of(share(n, min(rule.most_parts, n), position), rule.largest, away)
    return total


@compiled
def split_queries(rule: DispatchRule, items: Ints, sub_batches: int) -> tuple[NDArray[np.bool_], Ints]:
    """Whether queries of `items` items are offloaded at a stage, and where their requests begin; see `split`."""
    count = len(items)
    offloaded = np.empty(count * sub_batches, dtype=np.bool_)
    first = np.empty(count * sub_batches + 1, dtype=np.int64)
    first[0] = 0
    for query in range(count):
        n = min(items[query], rule.most_items)
        away = offloads(rule, n)
        for position in range(sub_batches):
            at = query * sub_batches + position
            offloaded[at] = away
            held = share(n, min(rule.most_parts, n), position)
            first[at + 1] = first[at] + requests_of(held, rule.largest, away)
    return offloaded, first


@compiled
def split(
    rule: DispatchRule, items: Ints, keys: Keys, sub_batches: int
) -> tuple[NDArray[np.bool_], Ints, Ints, Floats]:
    """Requests at a stage of queries of `items` items with noise hashes `keys`, each in `sub_batches`.

    Returns by sub-batch whether it is offloaded and where its requests begin (one more entry: the end), and by request
    its items and its U.
    """
    offloaded, first = split_queries(rule, items, sub_batches)
    sizes = np.empty(first[-1], dtype=np.int64)
    u = np.empty(first[-1])
    even = rule.even
    for query in range(len(items)):
        n = min(items[query], rule.most_items)
        begin = first[query * sub_batches]
        for position in range(sub_batches):
            at = query * sub_batches + position
            left = share(n, min(rule.most_parts, n), position)
            for request in range(first[at], first[at + 1]):
                size = left if offloaded[at] else min(rule.largest, left)
                if even:
                    behind = first[at + 1] - request  # requests, this one included: the larger ones come first
                    size = (left + behind - 1) // behind
                sizes[request] = size
                u[request] = uniform(keys[query], request - begin)
                left -= size
    return offloaded, first, sizes, u
