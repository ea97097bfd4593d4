"""Policies for fleets, and how they are compared."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, evaluate, load_scenario
from deeprec_env.envs import FleetEnv
from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.policies.evaluation.episodes import run_episode
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.fleet.autoscaler import Autoscaler, desired, stabilisation_windows
from deeprec_env.policies.fleet.provisioning import ProvisioningPolicy, find_table
from deeprec_env.policies.fleet.rate_ahead import RateAhead
from tests.conftest import fleet_day

OPTIONS = TuneOptions(queries=4000, days=2)


def test_what_kubernetes_desires() -> None:
    assert desired(4, 0, 0.8, 0.5) == 7  # ceil(4 x 1.6)
    assert desired(4, 0, 0.2, 0.5) == 2
    assert desired(4, 0, 0.549, 0.5) == desired(4, 0, 0.451, 0.5) == 4  # within the tolerance
    assert desired(4, 0, 0.0, 0.5) == 1
    assert desired(2, 2, 0.8, 0.5) == 4  # those that start are idle: 1.6 x 2 / 4 = 0.8, and nothing is ordered twice
    assert desired(3, 1, 1.0, 0.5) == 6  # ceil(4 x 2 x 3 / 4)


def seen(task: FleetTask, **fields: float) -> Any:
    """An observation with some entries, all else 0."""
    values = {name.replace("_", ".", 1): value for name, value in fields.items()}
    values["offered"] = values.get("offered", 0.5)
    return np.array([values.get(name, 0.0) for name in task.fields], dtype=np.float32)


def test_the_autoscaler_goes_up_at_once_and_down_when_the_past_agrees() -> None:
    task = FleetTask(fleet_day(), "energy")
    assert stabilisation_windows(task) == 1
    policy, state = Autoscaler(task, 0.5), None
    wanted = []
    for both, cpu in ((0.9, 0.9), (0.1, 0.9), (0.1, 0.2)):
        present = {"both_serving": 1.0, "cpu_serving": 1.0}
        observation = seen(task, both_cpu_utilisation=both, cpu_cpu_utilisation=cpu, **present)
        action, state = policy.predict(observation, state, np.array([state is None]))
        wanted.append(task.decode_action(action, task.start).nodes)
    assert wanted == [(3, 2), (3, 2), (1, 2)]
    several, _ = policy.predict(np.stack([observation] * 2), None, np.array([True, True]))
    assert several.shape == (2, len(task.controls))


def test_the_table_has_the_mix_of_fewest_watts_that_carries_the_rate() -> None:
    task = FleetTask(fleet_day(), "energy")
    table = find_table(task, OPTIONS, lambda what: None)
    both, cpu = table.capacities_qps
    assert 200 < cpu < both < 2000
    for qps in (100.0, 700.0, 1300.0, 1e6):
        chosen = table.nodes(qps, 1.2 * qps)
        able = [(a, b) for a, b in product(range(4), range(3)) if a * both + b * cpu >= 1.2 * qps]
        if not able:
            assert chosen == (3, 2)
            continue

        def watts(mix: tuple[int, ...], qps: float = qps) -> float:
            at = int(np.flatnonzero((table.mixes == np.array(mix)).all(axis=1))[0])
            return float(table.idle_w[at] + table.joules_per_query[at] * qps)

        assert chosen in able
        assert watts(chosen) == min(watts(mix) for mix in able)
    alone = np.flatnonzero((table.mixes == np.array([0, 1])).all(axis=1))[0]
    assert table.idle_w[alone] == 20.0
    assert 20.0 + table.joules_per_query[alone] * cpu < 60.0  # below its power when all servers are busy


def test_who_knows_the_rate_ahead_has_nodes_up_before_it_rises() -> None:
    data = fleet_day()
    task = FleetTask(data, "energy")
    table = find_table(task, OPTIONS, lambda what: None)
    env = FleetEnv(data)
    ahead, behind = RateAhead(task, table, 1.2), ProvisioningPolicy(task, table, 1.2)
    runs = [run_episode(env, policy, 0, "test") for policy in (ahead, behind)]
    serving = [[info["both.serving"] + info["cpu.serving"] for info in run.infos] for run in runs]
    assert serving[0][5] > serving[1][5] or serving[0][4] > serving[1][4]  # the morning, rising


def test_policies_are_compared_on_days() -> None:
    names = ["all-on", "autoscaler", "provisioning", "rate-oracle", "random"]
    compared = evaluate(fleet_day(), names, env="fleet", seeds=2, queries=4000, progress=lambda what: None)
    found = json.loads(json.dumps(compared.to_json()))
    assert list(found["policies"]) == names
    each = found["policies"]
    for entry in each.values():
        assert {"joules_per_query", "p95_day_ms", "p99_day_ms", "violation_rate", "tuning_queries", "vs"} <= set(entry)
    assert each["provisioning"]["joules_per_query"] < each["all-on"]["joules_per_query"]
    assert each["autoscaler"]["reward"] > each["random"]["reward"]
    assert each["all-on"]["nodes"] == 5
    assert set(found["devices"]) == {"both", "cpu"}


def test_days_are_needed() -> None:
    data = fleet_day()
    data["workload"]["arrivals"] = {"kind": "poisson", "qps": 900}
    with pytest.raises(InputError, match="must be diurnal"):
        evaluate(load_scenario(data), ["all-on"], env="fleet", seeds=1)
    with pytest.raises(InputError, match="fleet"):
        evaluate("wnd", ["all-on"], env="fleet", seeds=1)
