"""`DeepRec/Fleet-v0`: what is chosen, seen and rewarded, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.envs import FleetEnv
from deeprec_env.envs.fleet_rewards import energy
from deeprec_env.envs.fleet_task import MOST_LEVELS, FleetTask, nodes_ladder
from deeprec_env.envs.rewards import Scale
from deeprec_env.simulation.windows import Window
from tests.conftest import fleet_day


def action(env: FleetEnv, **levels: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """By control ("both_nodes") a level of its ladder; what is not named is the first."""
    given = {name.replace("_", ".", 1): level for name, level in levels.items()}
    assert set(given) <= set(env.controls)
    return np.array([env.ladders[name].index(given.get(name, env.ladders[name][0])) for name in env.controls])


def test_an_action_sets_settings_and_nodes_of_every_group() -> None:
    env = FleetEnv(fleet_day())
    assert env.controls == (
        *("both.batch_size", "both.threshold", "both.nodes"),
        *("cpu.batch_size", "cpu.threshold", "cpu.nodes"),
    )
    env.reset(seed=0)
    chosen = action(env, both_batch_size=200, both_threshold=None, both_nodes=1, cpu_batch_size=16, cpu_nodes=2)
    observation, _, _, _, info = env.step(chosen)
    seen = dict(zip(env.fields, observation.tolist(), strict=True))
    assert (info["both.serving"], info["cpu.serving"]) == (1, 2)
    assert seen["both.serving"] == pytest.approx(1 / 3)
    assert seen["both.nodes"] == pytest.approx(1 / 3)
    assert (seen["both.batch_size"], seen["both.threshold"], seen["cpu.nodes"]) == (1.0, 1.0, 1.0)
    assert info["batch_size"] == pytest.approx((200 + 2 * 16) / 3)
    env.step(action(env, both_nodes=3, cpu_nodes=2))
    _, _, _, _, info = env.step(action(env, both_nodes=3, cpu_nodes=2))
    assert info["both.serving"] == 3


def test_nodes_that_are_off_save_energy_and_too_few_are_late() -> None:
    found = {}
    for nodes in (3, 1):
        env = FleetEnv(fleet_day())
        env.reset(seed=1, options={"split": "test"})
        over, infos, rewards = False, [], []
        while not over:
            chosen = action(env, both_batch_size=64, both_threshold=300, both_nodes=nodes, cpu_batch_size=64)
            _, reward, _, over, info = env.step(chosen)
            infos.append(info)
            rewards.append(reward)
        found[nodes] = [sum(info["energy_j"] for info in infos), len(env.finish().items), np.mean(rewards[4:8])]
        assert (env.finish().completion_s < math.inf).all()
    assert found[3][1] == found[1][1]  # the same queries
    assert found[1][0] < 0.8 * found[3][0]
    assert found[1][2] < found[3][2]


def test_the_tail_is_rewarded_with_all_nodes_on() -> None:
    env = FleetEnv(fleet_day(), reward="tail")
    assert not any(name.endswith("nodes") for name in env.controls)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(env.action_space.sample())
    assert (info["both.serving"], info["cpu.serving"]) == (3, 2)
    x = info["p95_ms"] / info["sla_ms"]
    assert reward == pytest.approx((1 - x if x <= 1 else -math.log(x)) - 5 * info["violation_rate"])


def test_the_reward_by_hand() -> None:
    def window(**more: float) -> Window:
        return Window.empty()._replace(begin_s=1.0, end_s=3.0, energy_j=100.0, sample=10.0, **more)

    scale = Scale(0.1, 200.0, p99_s=0.2)
    assert energy(window(p95_s=0.1, p99_s=0.2), scale) == pytest.approx(-0.25)
    assert energy(window(p95_s=0.05, p99_s=0.1, violation_rate=0.02), scale) == pytest.approx(-0.25 - 0.1)
    late = window(p95_s=0.3, p99_s=0.5, violation_rate=0.5)
    assert energy(late, scale) == pytest.approx(-0.25 - 2.5 - math.log(3) - math.log(2.5))
    assert energy(late, scale._replace(p99_s=math.inf)) == pytest.approx(-0.25 - 2.5 - math.log(3))


def test_the_action_of_settings_and_nodes_is_their_opposite() -> None:
    task = FleetTask(fleet_day(), "energy")
    start = task.start
    assert task.decode_action(task.action(start.settings, start.nodes), start) == start
    assert task.decode_action(task.action(start.settings, (0, 1)), start).nodes == (0, 1)


def test_ladders_of_nodes() -> None:
    assert nodes_ladder(4, 0) == (0, 1, 2, 3, 4)
    assert nodes_ladder(4, 1) == (1, 2, 3, 4)
    long = nodes_ladder(1000, 0)
    assert (len(long), long[0], long[-1]) == (MOST_LEVELS, 0, 1000)
    assert FleetEnv(fleet_day(router={"kind": "weighted"})).ladders["both.nodes"] == (1, 2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["workload"]["arrivals"].update(qps=50_000), r"'both, cpu'; has an offered load of"),
        (lambda data: data["fleet"].update(router={"kind": "random"}) or data["workload"]["arrivals"].update(qps=9000),
         r"'both'; has an offered load of"),
        (lambda data: data["fleet"]["groups"][0].update(count=0), "count"),
        (lambda data: data["control"].update(interval_s=0.7), "must divide the day"),
        (lambda data: data["fleet"]["groups"][0]["control"].update(orders=["fcfs", "small-first"]), "one stage"),
    ],
)  # fmt: skip
def test_bad_fleets_are_refused(change: Any, message: str) -> None:
    data = fleet_day()
    change(data)
    with pytest.raises(InputError, match=message):
        FleetEnv(data)


def test_bad_actions_and_scenarios_are_refused() -> None:
    env = FleetEnv(fleet_day())
    env.reset(seed=0)
    for bad in (np.array([0, 0, 4, 0, 0, 0]), np.array([-1, 0, 0, 0, 0, 0]), np.zeros(5, dtype=np.int64), "up"):
        with pytest.raises(InputError, match="action"):
            env.step(bad)
    with pytest.raises(InputError, match="fleet: got None"):
        FleetEnv("wnd")
    with pytest.raises(InputError, match="engine"):
        FleetEnv(fleet_day(), engine="live")
