"""What holds of every environment, on both engines: the next one added is tested by its line in the registry."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from deeprec_env import InputError
from deeprec_env.envs import register_environments
from deeprec_env.envs.environments import EARLIER, FLEET, SERVING, SERVING_V2, SPECS, find_spec
from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.envs.wrappers import BoxActions, DiscreteActions
from tests.conftest import OwnLatency, day_scenario, fleet_day, pipeline_day, plans_day
from tests.envs.episodes import INFO, assert_same, episode

ENGINES = ("compiled", "asyncio")
CAPACITY = {"qps": 1500, "batch_size": 64, "threshold": 256, "found_by": "a test"}
WINDOWS = 12

NODES: dict[str, list[dict[str, Any]]] = {
    "pipeline": [plans_day(), plans_day(sub_batches=3)],
    "fleet": [fleet_day(), fleet_day(router={"kind": "probing", "probes": 2}, network_ms=2)],
}
"""Small scenarios of the environments that need special ones; the first is that of most tests."""

every_environment = pytest.mark.parametrize("spec", [*SPECS, *EARLIER], ids=lambda spec: spec.id)
every_engine = pytest.mark.parametrize("engine", ENGINES)


def nodes(spec: EnvSpec) -> list[dict[str, Any]]:
    others = [day_scenario(capacity=CAPACITY), pipeline_day(), day_scenario(capacity=CAPACITY, sla_ms=1)]
    return NODES.get(spec.name, others)


def make(spec: EnvSpec, engine: str = "compiled", scenario: Any = None, **arguments: Any) -> NodeEnv:
    env = spec.make(nodes(spec)[0] if scenario is None else scenario, engine, **arguments)
    env.windows = WINDOWS
    return env


def actions(spec: EnvSpec, seed: int, count: int = WINDOWS, each: int | None = None) -> list[Any]:
    """Actions of an environment, or of `each` at once."""
    space = spec.make_task(nodes(spec)[0]).action_space
    space = copy.deepcopy(space) if each is None else batch_space(space, each)
    space.seed(seed)
    return [space.sample() for _ in range(count)]


@every_environment
def test_gymnasium_makes_it_under_its_name(spec: EnvSpec) -> None:
    register_environments()
    register_environments()
    with warnings.catch_warnings():
        # Gymnasium says that there is a newer version.
        warnings.simplefilter("ignore" if spec in (*EARLIER, SERVING) else "error")
        env = gym.make(f"deeprec_env:{spec.id}", scenario=nodes(spec)[0]).unwrapped
        several = gym.make_vec(f"deeprec_env:{spec.id}", num_envs=2, scenario=nodes(spec)[0])
        default = gym.make(spec.id).unwrapped
    assert type(env) is type(spec.make(nodes(spec)[0]))
    assert type(several.unwrapped) is type(spec.make_vector(2, nodes(spec)[0]))
    assert several.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert isinstance(default, NodeEnv)
    assert default.scenario == spec.make().scenario
    assert default._task.rewards[spec.reward()] == default._task._reward


@every_engine
@every_environment
def test_gymnasiums_checker_passes_with_warnings_as_errors(spec: EnvSpec, engine: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make(spec, engine)
        check_env(env, skip_render_check=True)  # tests of rendering make one of each mode
        env.close()
        env.close()


@every_environment
def test_stable_baselines_checker_passes_with_warnings_as_errors(spec: EnvSpec) -> None:
    stable_baselines = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable_baselines.check_env(make(spec))


@pytest.mark.parametrize("wrapper", [DiscreteActions, BoxActions])
@every_environment
def test_other_shapes_of_the_action_pass_the_checkers(spec: EnvSpec, wrapper: type[gym.Wrapper]) -> None:
    stable_baselines = pytest.importorskip("stable_baselines3.common.env_checker")
    env = wrapper(make(spec))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stable_baselines.check_env(env)
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version.*")
        check_env(env, skip_render_check=True)


@every_environment
def test_the_same_seed_gives_the_same_bytes_on_both_engines(spec: EnvSpec) -> None:
    env = make(spec)
    first = episode(env, actions(spec, 0))
    with pytest.raises(RuntimeError, match="the episode is over"):
        env.step(actions(spec, 0)[0])
    assert episode(env, actions(spec, 0)) == first
    assert episode(make(spec), actions(spec, 0), seed=4) != first
    assert episode(make(spec), actions(spec, 1)) != first
    for scenario in nodes(spec):
        both = [make(spec, engine, scenario) for engine in ENGINES]
        episodes = [episode(each, actions(spec, 0)) for each in both]
        assert episodes[0] == episodes[1]
        records = [each.finish() for each in both]
        assert records[0].completion_s.tobytes() == records[1].completion_s.tobytes()


@every_engine
@every_environment
def test_an_episode_ends_by_truncation_and_info_and_observation_keep_their_shape(spec: EnvSpec, engine: str) -> None:
    env = make(spec, engine)
    for ask in (lambda: env.engine, lambda: env.step(actions(spec, 0)[0]), env.finish):
        with pytest.raises(RuntimeError):
            ask()
    observation, start = env.reset(seed=0)
    assert set(start) >= INFO
    for step, action in enumerate(actions(spec, 0)):
        with pytest.raises(RuntimeError, match="not over"):
            env.finish()
        assert env.observation_space.contains(observation)
        observation, reward, terminated, truncated, info = env.step(action)
        assert set(info) == set(start)
        assert all(type(value) is float for value in info.values())
        assert type(reward) is float
        assert (terminated, truncated) == (False, step == WINDOWS - 1)
    assert env.observation_space.contains(observation)
    env.finish()


@every_engine
@every_environment
def test_pickles_and_copies_in_mid_episode_continue_alike(spec: EnvSpec, engine: str) -> None:
    env, chosen = make(spec, engine, render_mode="ansi"), actions(spec, 2)
    env.reset(seed=5)
    for action in chosen[:6]:
        env.step(action)
    twins = [env, pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for action in chosen[6:]:
        steps = [twin.step(action) for twin in twins]
        assert len({(step[0].tobytes(), repr(step[1:])) for step in steps}) == 1
        assert len({twin.render() for twin in twins}) == 1
    assert len({twin.finish().completion_s.tobytes() for twin in twins}) == 1
    starts = [twin.reset()[0].tobytes() + twin.step(chosen[0])[0].tobytes() for twin in twins]
    assert len(set(starts)) == 1  # the next episode is the same too
    fresh = pickle.loads(pickle.dumps(make(spec, engine)))  # never reset
    fresh.reset(seed=0)


@every_environment
def test_splits_are_disjoint_and_episodes_go_on_in_their_stream(spec: EnvSpec) -> None:
    env, seen = make(spec), []
    for split in ("train", "validation", "test", "test"):
        for again in ({"seed": 0}, {}):
            env.reset(options={"split": split}, **again)
            for action in actions(spec, 0):
                env.step(action)
            seen.append(env.finish().arrival_s.tobytes())
    assert len(set(seen)) == 6
    assert seen[-2:] == seen[-4:-2]


@every_environment
def test_what_an_agent_does_does_not_change_the_sizes_of_queries(spec: EnvSpec) -> None:
    items = []
    for seed in (0, 1):
        env = make(spec)
        episode(env, actions(spec, seed), split="test")
        items.append(env.finish().items)
    shorter = min(map(len, items))
    assert shorter > 100
    assert items[0][:shorter].tolist() == items[1][:shorter].tolist()


@every_engine
@every_environment
def test_a_step_inside_a_running_loop_works(spec: EnvSpec, engine: str) -> None:
    async def notebook() -> list[bytes]:
        await asyncio.sleep(0)
        outer = asyncio.get_running_loop()
        out = episode(make(spec, engine), actions(spec, 0))
        assert asyncio.get_running_loop() is outer
        await asyncio.sleep(0)
        return out

    assert asyncio.run(notebook()) == episode(make(spec), actions(spec, 0))


def _spawned(queue: Any, names: list[str]) -> None:
    for name in names:
        env = gym.make(f"deeprec_env:{name}")
        env.action_space.seed(0)
        observation, _ = env.reset(seed=1)
        queue.put((observation.tobytes(), [str(env.step(env.action_space.sample())) for _ in range(2)]))


def test_make_works_in_a_spawned_process() -> None:
    context, names = multiprocessing.get_context("spawn"), [spec.id for spec in SPECS]
    theirs, mine = context.Queue(), context.Queue()
    process = context.Process(target=_spawned, args=(theirs, names))
    process.start()
    found = [theirs.get(timeout=120) for _ in names]
    process.join()
    _spawned(mine, names)
    assert [mine.get(timeout=60) for _ in names] == found


@pytest.mark.parametrize("threads", [1, 3])
@every_environment
def test_the_vector_environment_is_so_many_single_ones(spec: EnvSpec, threads: int) -> None:
    for scenario in nodes(spec):
        several = spec.make_vector(5, scenario, threads=threads)
        several.windows = WINDOWS
        singles = SyncVectorEnv(
            [lambda scenario=scenario: make(spec, "asyncio", scenario) for _ in range(5)],
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        for options in ({"split": "test"}, None):
            assert_same(several.reset(seed=4, options=options), singles.reset(seed=4, options=options))
            for action in actions(spec, 1, 2 * WINDOWS + 3, each=5):
                assert_same(several.step(action), singles.step(action))
            assert_same(several.reset(), singles.reset())
        several.close()
        several.close()


@every_environment
def test_the_vector_environment_pickles_and_copies_in_mid_episode(spec: EnvSpec) -> None:
    several = spec.make_vector(4, nodes(spec)[0], threads=2)
    several.windows = WINDOWS
    several.reset(seed=3)
    chosen = actions(spec, 0, WINDOWS + 4, each=4)
    for action in chosen[:5]:
        several.step(action)
    twins = [pickle.loads(pickle.dumps(several)), copy.deepcopy(several)]
    for action in chosen[5:]:
        result = several.step(action)
        for twin in twins:
            assert_same(twin.step(action), result)


@every_environment
def test_rewards_have_names_the_first_being_the_default(spec: EnvSpec) -> None:
    assert spec.reward() == next(iter(spec.task.rewards))
    for name in spec.task.rewards:
        rewards = {}
        for reward in (name, None):
            env = make(spec, reward=reward)
            env.reset(seed=1)
            env.action_space.seed(3)  # a reward may leave less to choose
            rewards[reward] = [env.step(env.action_space.sample())[1] for _ in range(WINDOWS)]
        assert (rewards[name] == rewards[None]) == (name == spec.reward())


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"reward": "joy"}, "reward"),
        ({"engine": "steam"}, "engine"),
        ({"scenario": "nowhere"}, "scenario"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
@every_environment
def test_bad_arguments_are_refused(spec: EnvSpec, arguments: dict[str, Any], field: str) -> None:
    given = {"scenario": nodes(spec)[0]} | arguments
    with pytest.raises(InputError, match=field):
        spec.make(**given)
    with pytest.raises(InputError, match=field):
        spec.make_vector(2, **given)


@every_engine
@every_environment
def test_bad_calls_are_refused(spec: EnvSpec, engine: str) -> None:
    env = make(spec, engine)
    for options in ({"split": "tset"}, {"splt": "test"}):
        with pytest.raises(InputError):
            env.reset(options=options)
    env.reset(seed=0)
    levels = [len(ladder) for ladder in env._task.choices]
    for action in (np.array(levels), np.zeros(len(levels) + 1, dtype=np.int64), np.full(len(levels), 0.5)):
        with pytest.raises(InputError, match="action"):
            env.step(action)


@every_environment
def test_a_latency_of_the_users_own_works_in_single_environments_alone(spec: EnvSpec) -> None:
    own = nodes(spec)[0] | {"sla_ms": 2000}
    latency = {"servers": 90, "latency": OwnLatency()}
    if "fleet" in own:
        groups = own["fleet"]["groups"]
        own["fleet"] = own["fleet"] | {"groups": [groups[0], {**groups[1], "node": {"cpu": latency}}]}
    elif "pipeline" in own:
        own["pipeline"] = [own["pipeline"][0] | {"cpu": latency}, *own["pipeline"][1:]]
    else:
        own["node"] = own["node"] | {"cpu": latency}
    if spec in (SERVING_V2, FLEET):
        episode(make(spec, "asyncio", own), actions(spec, 0))
        with pytest.raises(InputError, match="use engine asyncio"):
            make(spec, "compiled", own).reset()
    else:
        episodes = [episode(make(spec, engine, own), actions(spec, 0)) for engine in ENGINES]
        assert episodes[0] == episodes[1]
    with pytest.raises(InputError, match="vectorization_mode='sync'"):
        spec.make_vector(2, own)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_it_is_found_by_its_names(spec: EnvSpec) -> None:
    assert find_spec(spec.name) is find_spec(spec.id) is spec
    with pytest.raises(InputError, match="must be one of serving, capacity, pipeline"):
        find_spec(f"{spec.id}0")
