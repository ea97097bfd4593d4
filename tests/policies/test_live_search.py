from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.cli.main import main
from deeprec_env.envs.capacity import CapacityEnv
from deeprec_env.envs.environments import CAPACITY
from deeprec_env.envs.observation import CAPACITY_FIELDS
from deeprec_env.policies.adaptive.live_search import (
    ARR_STEPS,
    LONGEST_WAIT,
    SCHED_TIMEOUT,
    SEARCHES,
    LiveSearch,
    nearest,
)
from deeprec_env.policies.base import Setting
from deeprec_env.policies.evaluation import capacity
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.episodes import run_episode
from tests.conftest import day_scenario

FOUND = {"qps": 600, "batch_size": 64, "threshold": None, "found_by": "a test"}


def scenario(accelerator: bool = True) -> Any:
    data = day_scenario(capacity=FOUND)
    if not accelerator:
        del data["node"]["accelerator"]
    return load_scenario(data)


def observation(load: float, p95: float = 0.5) -> np.ndarray:
    values = np.zeros(len(CAPACITY_FIELDS), dtype=np.float32)
    values[CAPACITY_FIELDS.index("p95")], values[CAPACITY_FIELDS.index("load")] = p95, load
    return values


def searched(policy: LiveSearch, carried: dict[Setting, float]) -> tuple[list[Setting], Setting | None]:
    """The settings tried, in order, on a server whose load is at once what a setting carries, and the one found."""
    found, state, tried, load = scenario(), None, [], 0.5
    for _ in range(2000):
        action, state = policy.predict(observation(load), state)
        setting = Setting(found.control.batch_sizes[action[0]], found.thresholds[action[1]])
        if not tried or setting != tried[-1]:
            tried.append(setting)
        load = carried.get(setting, 0.2)
        if policy.found(state[0]):
            break
    return tried, policy.found(state[0])


def test_the_papers_search_climbs_while_more_is_carried_on_rungs_of_the_ladders() -> None:
    carried = {Setting(8): 0.4, Setting(16): 0.5, Setting(32): 0.7, Setting(64): 0.6}
    carried |= {Setting(32, 1): 0.1, Setting(32, 64): 0.8}
    tried, found = searched(LiveSearch(scenario(), "deeprecsched"), carried)
    # 1, 2 and 4 stand for 8, and 2 to 8 for the threshold 1; 128 is the first that carries less than the best.
    assert tried[:4] == [Setting(8), Setting(16), Setting(32), Setting(64)]
    assert tried[4:7] == [Setting(32, 1), Setting(32, 64), Setting(32, 128)]
    assert found == Setting(32, 64)


def test_the_repositorys_search_goes_down_its_list_until_one_is_worse_than_the_one_before() -> None:
    carried = {Setting(512): 0.5, Setting(384): 0.6, Setting(256): 0.55}
    carried |= {Setting(384, 128): 0.3, Setting(384, 192): 0.7}
    tried, found = searched(LiveSearch(scenario(), "deeprecsched-repository"), carried)
    assert tried[:3] == [Setting(512), Setting(384), Setting(256)]
    assert tried[3:6] == [Setting(384, 128), Setting(384, 192), Setting(384, 256)]
    assert found == Setting(384, 192)


def test_a_trial_waits_for_the_backlog_and_its_last_windows_are_its_result() -> None:
    policy, state = LiveSearch(scenario(), "deeprecsched"), None
    for _ in range(LONGEST_WAIT + 5):  # over the target all the time: it waits no longer than that
        _, state = policy.predict(observation(0.9, p95=3.0), state)
    assert len(state[0].loads) == 5
    state = None
    loads = [0.9] * 3 + [0.1] * (SCHED_TIMEOUT - ARR_STEPS) + [0.4] * ARR_STEPS
    for step, load in enumerate(loads):
        _, state = policy.predict(observation(load, p95=3.0 if step < 3 else 0.5), state)
    assert not state[0].results
    action, state = policy.predict(observation(0.4), state)
    assert action.tolist() == [1, 12]  # the next level
    assert state[0].results[0].qps == pytest.approx(1.05 ** (-47 + 0.4 * 57), rel=1e-6)


def test_several_observations_are_so_many_searches_and_an_episodes_start_is_a_new_one() -> None:
    policy = LiveSearch(scenario(), "deeprecsched-repository")
    both, one = None, None
    for step in range(3 * SCHED_TIMEOUT):
        seen = np.stack([observation(0.5 - 0.001 * step), observation(0.5)])
        actions, both = policy.predict(seen, both)
        action, one = policy.predict(seen[0], one)
        assert actions[0].tolist() == action.tolist()
        assert both[0] == one[0]
        both = pickle.loads(pickle.dumps(both))
    assert both[0] != both[1]
    _, both = policy.predict(seen, both, np.array([True, False]))
    assert both[0].results == ()
    assert both[1].results != ()


def test_settings_off_the_ladders_stand_for_their_nearest_rungs() -> None:
    assert nearest(scenario(), Setting(1, 1000)) == Setting(8, 900)
    assert nearest(scenario(), Setting(11)) == Setting(8)
    assert nearest(scenario(), Setting(12, 96)) == Setting(16, 128)
    assert nearest(scenario(accelerator=False), Setting(700, 5)) == Setting(512)


@pytest.mark.parametrize("name", list(SEARCHES))
def test_a_search_settles_on_a_real_server_well_above_its_worst_setting(name: str) -> None:
    env = CapacityEnv(scenario(accelerator=False))
    policy, state = LiveSearch(env.scenario, name), None
    env.windows = 1200
    seen, _ = env.reset(seed=0, options={"split": "validation"})
    while state is None or policy.found(state[0]) is None:
        action, state = policy.predict(seen, state)
        seen, *_ = env.step(action)
    found = policy.found(state[0])
    assert found is not None
    results = {tried.setting: tried.qps for tried in state[0].results}
    assert results[found] > 0.8 * max(results.values())
    assert results[found] > min(results.values())


def test_a_comparison_is_paired_and_names_what_was_settled_on(capsys: pytest.CaptureFixture[str]) -> None:
    result = compare(
        CAPACITY, scenario(accelerator=False), ["static", "deeprecsched", "random"], seeds=2, choices={"windows": 600}
    )
    payload = result.to_json()
    json.dumps(payload, allow_nan=False)
    assert payload["reference_qps"] == 600
    assert [each.setting for each in result.policies["static"].episodes] == [Setting(125)] * 2  # 1000 items / 8 cores
    assert [each.setting for each in result.policies["random"].episodes] == [None] * 2
    settled = result.policies["deeprecsched"]
    assert all(each.setting is not None for each in settled.episodes)
    mine, theirs = settled.values("final_carried"), result.policies["static"].values("final_carried")
    ratio = payload["policies"]["deeprecsched"]["vs"]["static"]["ratio"]
    assert ratio == pytest.approx(math.sqrt(mine[0] * mine[1] / theirs[0] / theirs[1]))
    again = compare(CAPACITY, scenario(accelerator=False), ["deeprecsched"], seed=1, seeds=1, choices={"windows": 600})
    assert again.policies["deeprecsched"].episodes[0] == settled.episodes[1]

    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "ncf-cpu", "--env", "capacity", "--policies", "static", "--seeds", "1", "--windows", "20"])
    assert caught.value.code == 0
    assert "B 25, T never" in capsys.readouterr().out


def test_an_episodes_figures_are_those_of_its_windows() -> None:
    result = compare(CAPACITY, scenario(), ["static"], seeds=1, choices={"windows": 16}).policies["static"]
    env = CapacityEnv(result.prepared.scenario)
    env.windows = 16
    again = run_episode(env, result.prepared.policy, 0, "test")
    assert capacity.CAPACITY.measure(again, result.prepared) == result.episodes[0]
    seen, info = env.reset(seed=0, options={"split": "test"})
    rewards, loads = [], []
    for _ in range(16):
        loads.append(info["load_qps"] / 600)
        _, reward, _, _, info = env.step(result.prepared.policy.predict(seen)[0])
        rewards.append(reward)
    assert result.episodes[0].reward == pytest.approx(np.mean(rewards))
    assert result.episodes[0].final_carried == pytest.approx(np.mean(rewards[-2:]))
    assert result.episodes[0].final_load == pytest.approx(np.median(loads[-2:]))


def test_agents_are_compared_where_they_were_trained_and_nowhere_else(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    from deeprec_env.agents.training import TrainSettings, train

    parameters = tmp_path / "tiny.yml"
    tiny = "{n_envs: 1, n_timesteps: 16, policy: MlpPolicy, n_steps: 16, batch_size: 16}"
    parameters.write_text(f"DeepRec/Serving-v1: {tiny}\nDeepRec/Capacity-v0: {tiny}\n")
    for env in ("serving", "capacity"):
        data = day_scenario() if env == "serving" else scenario()
        trained = train(TrainSettings(scenario=data, env=env, hyperparams=parameters), tmp_path / env)
    assert trained.best["not_carried"] == pytest.approx(1.0 - trained.best["carried"])
    found = compare(CAPACITY, scenario(), [str(tmp_path / "capacity")], seeds=1, choices={"windows": 2})
    assert found.policies[str(tmp_path / "capacity")].episodes[0].reward >= 0.0
    with pytest.raises(InputError, match="was trained in DeepRec/Serving-v1, not in DeepRec/Capacity-v0"):
        compare(CAPACITY, scenario(), [str(tmp_path / "serving")], seeds=1, choices={"windows": 2})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"policies": []}, "policies"),
        ({"policies": ["static", "static"]}, "policies"),
        ({"policies": ["rate-oracle"]}, "policy"),
        ({"policies": ["nobody"]}, "policy"),
        ({"seeds": 0}, "seeds"),
        ({"choices": {"windows": 0}}, "windows"),
        ({"choices": {"traffic": "flash"}}, "traffic"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_comparisons_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        compare(CAPACITY, scenario(), **{"policies": ["static"]} | change)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "arguments",
    [("--env", "moon"), ("--env", "capacity", "--traffic", "flash"), ("--windows", "9")],
)
def test_bad_options_are_one_line_and_status_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "ncf-cpu", *arguments])
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
