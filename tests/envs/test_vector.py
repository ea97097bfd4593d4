from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.envs import SERVING, CapacityEnv, PipelineEnv, ServingEnv
from deeprec_env.envs.task import episode_child
from deeprec_env.envs.vector import CapacityVectorEnv, NodeVectorEnv, PipelineVectorEnv, ServingVectorEnv
from tests.conftest import OwnLatency, day_scenario, pipeline_day
from tests.envs.episodes import assert_same


def actions(steps: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 13, (steps, count, 2))


def affine_service(seed: int, **changes: Any) -> dict[str, Any]:
    """A service of its own: pools, latencies, target, power, contention, interval and load; two in three offload."""
    rng = np.random.default_rng(seed)
    cpu = {
        "servers": int(rng.integers(1, 9)),
        "latency": {
            "kind": "affine", "base_ms": float(rng.uniform(0.1, 2)), "per_item_ms": float(rng.uniform(0.005, 0.05)),
            "cv": 0.4,
        },
        "contention": {"c": [0.9, 0.1, 0.0]},
        "idle_w": 10 * seed, "busy_w": 100 + seed,
    }  # fmt: skip
    latency = {"kind": "exponential", "mean_ms": float(rng.uniform(2, 20))}
    node = {"cpu": cpu} | ({"accelerator": {"servers": 1 + seed % 2, "latency": latency}} if seed % 3 else {})
    interval_s = (0.1, 0.25)[seed % 2]
    scenario = day_scenario(
        sla_ms=float(rng.uniform(20, 80)), node=node, control={"interval_s": interval_s, "batch_size": 64 + seed}
    )
    scenario["workload"]["arrivals"] |= {"day_s": 12 * interval_s, "qps": float(rng.uniform(200, 900))}
    scenario["workload"]["sizes"] = {"kind": "lognormal", "mu": float(rng.uniform(4.5, 5.5)), "sigma": 0.7}
    return scenario | changes


def planned_service() -> dict[str, Any]:
    """A pipeline with plans, of which the second skips a stage."""
    scenario = pipeline_day()
    for stage in scenario["pipeline"]:
        stage.pop("keep", None)
    scenario["plans"] = [{"name": "all", "items": [300, 100, 20]}, {"name": "two", "items": [0, 150, 20]}]
    return scenario | {"control": {"plan": "two", "interval_s": 0.1}}


SERVICES = [load_scenario(affine_service(seed)) for seed in range(9)]


def drawn_service(rng: np.random.Generator) -> Scenario:
    return SERVICES[rng.integers(len(SERVICES))]


def assert_same_episodes(several: NodeVectorEnv, singles: list[Any], steps: int) -> None:
    """The same bytes as from single environments, over episodes' ends."""
    together = SyncVectorEnv([lambda env=env: env for env in singles], autoreset_mode=AutoresetMode.SAME_STEP)
    for options in ({"split": "test"}, None):
        assert_same(several.reset(seed=4, options=options), together.reset(seed=4, options=options))
        rng = np.random.default_rng(0)
        for _ in range(steps):
            action = rng.integers(0, singles[0].action_space.nvec, (len(singles), len(singles[0].action_space.nvec)))
            assert_same(several.step(action), together.step(action))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, "NextStep"])
def test_the_next_episodes_may_start_in_the_next_step(mode: Any) -> None:
    several = ServingVectorEnv(3, SERVICES[:3], ladders="common", autoreset_mode=mode)
    singles = [ServingEnv(each, ladders="common") for each in SERVICES[:3]]
    together = SyncVectorEnv([lambda env=env: env for env in singles], autoreset_mode=AutoresetMode.NEXT_STEP)
    rng, truncations = np.random.default_rng(0), []
    for options, steps in (({"split": "test"}, 30), (None, 12), (None, 14)):  # the second ends with its episodes
        assert_same(several.reset(seed=4 if options else None, options=options), together.reset(
            seed=4 if options else None, options=options
        ))  # fmt: skip
        for _ in range(steps):
            action = rng.integers(0, several.single_action_space.nvec, (3, 2))
            result = several.step(action)
            assert_same(result, together.step(action))
            truncations.append(bool(result[3].all()))
    assert [step for step, over in enumerate(truncations[:30]) if over] == [11, 24]  # one step of 13 starts episodes
    assert truncations[41]


def test_gymnasiums_normalisation_takes_it_and_the_mode_is_checked() -> None:
    made = gym.make_vec("deeprec_env:DeepRec/Serving-v1", num_envs=2, scenario="wnd", autoreset_mode="NextStep")
    wrapped = gym.wrappers.vector.NormalizeObservation(made)
    wrapped.reset(seed=0)
    for _ in range(98):
        observations, *_ = wrapped.step(np.zeros((2, 2), dtype=np.int64))
    assert np.isfinite(observations).all()
    assert ServingVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for wrong in (AutoresetMode.DISABLED, "Disabled", "later", None):
        with pytest.raises(InputError, match=r"autoreset_mode: got .*must be .*'SameStep'.*'NextStep'"):
            ServingVectorEnv(2, SERVICES[0], autoreset_mode=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 2])
def test_nodes_may_differ(threads: int) -> None:
    services = [*SERVICES[:7], pipeline_day(), planned_service(), day_scenario(sla_ms=1)]
    several = ServingVectorEnv(10, services, threads=threads, ladders="common")
    singles = [ServingEnv(each, engine="asyncio", ladders="common") for each in services]
    assert_same_episodes(several, singles, 30)
    assert several.scenarios[3] is SERVICES[3]


def test_other_tasks_take_nodes_that_differ() -> None:
    services = [SERVICES[1], SERVICES[2], SERVICES[4]]
    assert_same_episodes(CapacityVectorEnv(3, services), [CapacityEnv(each) for each in services], 40)
    pipelines = [
        load_scenario("recpipe-cpu", {"sla_ms": sla_ms, "pipeline.0.cpu.servers": servers, "plans.0.quality": quality})
        for sla_ms, servers, quality in ((100, 20, 0.9), (150, 31, 0.5))
    ]
    several = PipelineVectorEnv(2, pipelines)
    several.windows = 8
    singles = [PipelineEnv(each) for each in pipelines]
    for single in singles:
        single.windows = 8
    assert_same_episodes(several, singles, 20)


def test_services_may_be_drawn_anew_every_episode() -> None:
    source = f"{__name__}:drawn_service"
    several = gym.make_vec(f"deeprec_env:{SERVING}", num_envs=5, scenario=source, ladders="common")
    assert isinstance(several.unwrapped, ServingVectorEnv)
    singles = [ServingEnv(drawn_service, engine="asyncio", ladders="common") for _ in range(5)]
    assert_same_episodes(several.unwrapped, singles, 50)
    drawn = []
    for _ in range(12):
        several.reset()
        drawn.append(tuple(each.sla_ms for each in several.unwrapped.scenarios))
    assert len(set(drawn)) == 12  # each episode has its own, whatever else was drawn
    assert {single.scenario.sla_ms for single in singles} <= {each.sla_ms for each in SERVICES}
    several.reset(seed=8)
    again = ServingEnv(drawn_service, ladders="common")
    again.reset(seed=10)
    assert again.scenario is several.unwrapped.scenarios[2]


def test_what_is_drawn_for_an_episode_leaves_its_traffic_alone() -> None:
    given = []

    def draw(rng: np.random.Generator) -> Scenario:
        given.append(rng.random())
        return SERVICES[1]

    fixed, drawn = ServingEnv(SERVICES[1]), ServingEnv(draw)
    for env in (fixed, drawn):
        env.reset(seed=5)
    assert fixed.traffic().sha256() == drawn.traffic().sha256()
    drawn.reset(seed=5)
    assert given[1] == given[2] != given[0]
    assert given[1] != episode_child(5, "train", 0).random()  # which the day's peak is drawn with


def test_common_ladders_are_chosen_from_and_ignored_without_an_accelerator() -> None:
    without, alone = (ServingEnv(SERVICES[0], ladders=ladders) for ladders in ("common", None))
    assert without.thresholds == ServingEnv(SERVICES[1]).thresholds
    assert without.action_space == ServingEnv(SERVICES[1]).action_space != alone.action_space
    results = []
    for env, threshold in ((without, 3), (without, 12), (alone, 0)):
        env.reset(seed=1)
        results.append([env.step(np.array([batch_size, threshold])) for batch_size in range(4)])
    assert_same(*(tuple(step[0] for step in result) for result in results[:2]))
    for step, other in zip(results[0], results[2], strict=True):
        assert step[1:] == other[1:]
        assert step[4]["threshold"] == np.inf
        assert step[0][11] == 1.0  # nothing is offloaded: the last of the ladder
    with_accelerator = [ServingEnv(SERVICES[1], ladders=ladders) for ladders in ("common", None)]
    for env in with_accelerator:
        env.reset(seed=1)
    assert_same(*(env.step(np.array([3, 4])) for env in with_accelerator))


def test_seeds_may_be_given_one_to_each() -> None:
    several = ServingVectorEnv(3, day_scenario())
    several.reset(seed=[9, 2, 5])
    observations, *_ = several.step(np.full((3, 2), 4))
    for seed, observation in zip((9, 2, 5), observations, strict=True):
        single = ServingEnv(day_scenario())
        single.reset(seed=seed)
        assert single.step(np.array([4, 4]))[0].tobytes() == observation.tobytes()
    with pytest.raises(InputError, match="seed"):
        several.reset(seed=[1, 2])
    several.reset(seed=[None, 1, None])
    several.step(np.full((3, 2), 4))


def test_long_queues_outgrow_the_room_of_the_nodes() -> None:
    overload = day_scenario(control={"batch_size": 8, "interval_s": 0.1})
    overload["workload"]["arrivals"] |= {"qps": 30_000}
    several, single = ServingVectorEnv(2, overload), ServingEnv(overload, engine="asyncio")
    several.reset(seed=1)
    single.reset(seed=1)
    for _ in range(several.windows):
        observations, rewards, _, _, infos = several.step(np.zeros((2, 2), dtype=np.int64))
        observation, reward, _, _, info = single.step(np.zeros(2, dtype=np.int64))
    assert rewards[0] == reward
    assert infos["final_info"]["backlog"][0] == info["backlog"] > 10_000
    assert infos["final_obs"][0].tobytes() == observation.tobytes()
    assert observations[0].tobytes() != observation.tobytes()


def test_make_vec_takes_it_and_declares_its_autoreset() -> None:
    several = gym.make_vec(f"deeprec_env:{SERVING}", num_envs=2, scenario=day_scenario())
    assert isinstance(several.unwrapped, ServingVectorEnv)
    assert several.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observations, infos = several.reset(seed=0)
    assert several.observation_space.contains(observations)
    assert infos["sla_ms"].tolist() == [60.0, 60.0]
    recorded = gym.wrappers.vector.RecordEpisodeStatistics(several)
    recorded.reset(seed=0)
    for action in actions(12, 2):
        *_, infos = recorded.step(action)
    assert infos["episode"]["l"].tolist() == [12, 12]


@pytest.mark.parametrize("scenario", [day_scenario(), SERVICES[:4], drawn_service])
def test_it_pickles_and_copies_in_mid_episode(scenario: Any) -> None:
    several = ServingVectorEnv(4, scenario, threads=2, ladders="common")
    several.reset(seed=3)
    chosen = actions(14, 4)
    for action in chosen[:5]:
        several.step(action)
    twins = [pickle.loads(pickle.dumps(several)), copy.deepcopy(several)]
    for action in chosen[5:]:
        result = several.step(action)
        for twin in twins:
            assert_same(twin.step(action), result)


def test_bad_input_is_refused() -> None:
    for arguments, field in (
        ({"num_envs": 0}, "num_envs"),
        ({"threads": 0}, "threads"),
        ({"engine": "asyncio"}, "engine"),
        ({"reward": "joy"}, "reward"),
        ({"render_mode": "ansi"}, "render_mode"),
    ):
        with pytest.raises(InputError, match=field):
            ServingVectorEnv(**{"num_envs": 2, "scenario": day_scenario()} | arguments)
    several = ServingVectorEnv(2, day_scenario())
    with pytest.raises(RuntimeError, match="call reset"):
        several.step(np.zeros((2, 2), dtype=np.int64))
    several.reset(seed=0)
    for action in (
        np.full((2, 2), 13),
        np.zeros((3, 2), dtype=np.int64),
        np.full((2, 2), 0.9),
        np.zeros((2, 2), dtype=np.bool_),
    ):
        with pytest.raises(InputError, match="action"):
            several.step(action)


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        (SERVICES[:2], "scenario: got '2 scenarios'; must be 3"),
        (SERVICES[:3], "scenario.1.control.thresholds: got .1, .* must hold 1 levels"),
        (
            [SERVICES[1], SERVICES[2], affine_service(1, control={"batch_sizes": [8, 9]})],
            "scenario.2.control.batch_siz",
        ),
        ([SERVICES[1]] * 2 + [affine_service(4, control={"interval_s": 0.05})], "scenario.2.workload.arrivals"),
        (["wnd", "wnd", "no-such"], "scenario"),
        (3, "scenario"),
        ("tests.envs.test_vector:SERVICES", "must be a function of a generator"),
        ("tests.envs.test_vector:no_such", "can't be imported"),
        (lambda rng: "wnd", "must be a Scenario where a function draws it"),
    ],
)
def test_scenarios_that_can_not_be_stacked_are_refused(scenario: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ServingVectorEnv(3, scenario)


def test_scenarios_that_differ_too_much_are_refused_where_they_are_drawn() -> None:
    pool = [SERVICES[1], SERVICES[0]]
    single = ServingEnv(lambda rng: pool.pop(0))
    with pytest.raises(InputError, match=r"scenario.control.thresholds: got .None.; must hold 13.*ladders='common'"):
        single.reset(seed=0)
    with pytest.raises(InputError, match="a list is for make_vec"):
        ServingEnv(SERVICES[:2])
    with pytest.raises(InputError, match="ladders"):
        ServingEnv(SERVICES[1], ladders="full")


def test_a_latency_of_the_users_own_needs_single_environments() -> None:
    scenario = day_scenario()
    scenario["node"]["cpu"] = {"servers": 2, "latency": OwnLatency()}
    with pytest.raises(InputError, match="vectorization_mode='sync'"):
        ServingVectorEnv(2, scenario)


def test_stable_baselines_sees_what_its_own_vector_environment_shows() -> None:
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecMonitor

    from deeprec_env.agents.vec_env import NodeVecEnv

    mine = VecMonitor(NodeVecEnv(ServingVectorEnv(3, day_scenario())))
    theirs = make_vec_env(ServingEnv, n_envs=3, env_kwargs={"scenario": day_scenario()})
    for venv in (mine, theirs):
        venv.seed(7)
    assert mine.reset().tobytes() == theirs.reset().tobytes()
    for action in actions(30, 3):
        for ours, other in zip(mine.step(action), theirs.step(action), strict=True):
            if not isinstance(ours, list):
                assert np.asarray(ours).tobytes() == np.asarray(other).tobytes()
                continue
            for info, expected in zip(ours, other, strict=True):
                returns = [given.pop("episode")["r"] for given in (info, expected) if "episode" in given]
                assert returns[:1] == pytest.approx(returns[1:], abs=1e-4)
                assert {name: repr(value) for name, value in info.items()} == {
                    name: repr(value) for name, value in expected.items()
                }
    assert mine.get_attr("windows") == [12, 12, 12]
    mine.close()
