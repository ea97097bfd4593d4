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

    They reach as far as the largest query of the scenario, or `largest`, and of a pool that batches as far as its
    batches; beyond they hold 0, which nobody asks for. Raises `InputError` if there is no memory for them.
    """
    query = max(int(size_probabilities(scenario.workload.sizes)[0].max()), largest)
    batches = [stage.batching.max_items for stage in scenario.stages if stage.batching is not None]
    shape = len(scenario.planned_stages), 2 * len(scenario.stages), max([query, *batches]) + 1
    check_memory("items of the largest query", shape[-1] - 1, 24.0 * shape[0] * shape[1] * shape[2])
    tables = np.zeros(shape)
    for plan, stages in enumerate(scenario.planned_stages):
        for position, stage in enumerate(stages):
            for kind, pool in enumerate((stage.cpu, stage.accelerator)):
                if pool is not None:
                    most = query if pool.batching is None else max(query, pool.batching.max_items)
                    tables[plan, 2 * position + kind, 1 : most + 1] = checked.mean_s(
                        pool.latency, np.arange(1, most + 1)
                    )
    return tables


def median_items(scenario: Scenario) -> int:
    """The median of the query sizes."""
    items, probability = size_probabilities(scenario.workload.sizes)
    order = np.argsort(items, kind="stable")
    return int(items[order][np.searchsorted(np.cumsum(probability[order]), 0.5 * probability.sum())])
