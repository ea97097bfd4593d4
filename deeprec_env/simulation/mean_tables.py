"""What a node knows of its own service times: their means, which predictions are made of (rule 15)."""

from __future__ import annotations

import numpy as np

from deeprec_env.latency import checked
from deeprec_env.memory import check_memory
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.workload.checked import size_probabilities


def mean_tables(scenario: Scenario, largest: int = 0) -> Floats:
    """Mean service in seconds of a request of 0, 1, ... items, (plans, pools, items + 1); pools as in `NodeArrays`.

    They reach as far as the largest query of the scenario, the largest batch, or `largest`. Raises `InputError` if
    there is no memory for them.
    """
    most = max(int(size_probabilities(scenario.workload.sizes)[0].max()), largest)
    most = max([most, *(stage.batching.max_items for stage in scenario.stages if stage.batching is not None)])
    shape = len(scenario.planned_stages), 2 * len(scenario.stages), most + 1
    check_memory("items of the largest query", most, 24.0 * shape[0] * shape[1] * shape[2])
    tables, items = np.zeros(shape), np.arange(1, most + 1)
    for plan, stages in enumerate(scenario.planned_stages):
        for position, stage in enumerate(stages):
            for kind, pool in enumerate((stage.cpu, stage.accelerator)):
                if pool is not None:
                    tables[plan, 2 * position + kind, 1:] = checked.mean_s(pool.latency, items)
    return tables


def median_items(scenario: Scenario) -> int:
    """The median of the query sizes."""
    items, probability = size_probabilities(scenario.workload.sizes)
    order = np.argsort(items, kind="stable")
    return int(items[order][np.searchsorted(np.cumsum(probability[order]), 0.5 * probability.sum())])
