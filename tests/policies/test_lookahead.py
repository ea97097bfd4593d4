from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, Scenario
from deeprec_env.envs import ServingEnv
from deeprec_env.envs.serving_task import GivenTraffic, ServingTask
from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.policies.adaptive.load_table import LoadTablePolicy, find_load_table
from deeprec_env.policies.base import PrivilegedPolicy
from deeprec_env.policies.evaluation.day_metrics import day_metrics, geometric_mean
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.privileged.hindsight import Hindsight
from deeprec_env.policies.privileged.lookahead import LookAhead
from deeprec_env.policies.privileged.rate_oracle import RateOracle
from deeprec_env.workload.stream import Traffic
from tests.policies.test_load_table import crossing_scenario

SPLIT, WHOLE = [0, 0], [1, 0]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return crossing_scenario()


@pytest.fixture(scope="module")
def table(scenario: Scenario) -> Any:
    return find_load_table(scenario, queries=2000, seed=0, engine="compiled")


def actions(policy: LookAhead, env: ServingEnv, seed: int) -> list[list[int]]:
    observation, _ = env.reset(seed=seed, options={"split": "validation"})
    policy.watch(env)
    chosen, over = [], False
    while not over:
        action, _ = policy.predict(observation)
        observation, _, _, over, _ = env.step(action)
        chosen.append(action.tolist())
    return chosen


def test_the_oracle_knows_the_rate(scenario: Scenario, table: Any) -> None:
    for qps, best in ((300.0, SPLIT), (1500.0, WHOLE)):
        env = ServingEnv(scenario.with_arrivals({"kind": "poisson", "qps": qps}), engine="compiled")
        env.windows = 6
        assert actions(RateOracle(table, 0), env, 0) == [best] * 6
    env = ServingEnv(scenario, engine="compiled")
    by_window = actions(RateOracle(table, 0), env, 0)
    rates = env.rate_qps((np.arange(24) + 0.5) * 0.1)
    assert all(action == WHOLE for action, rate in zip(by_window, rates, strict=True) if rate > 1430)
    assert all(action == SPLIT for action, rate in zip(by_window, rates, strict=True) if rate < 450)


def test_the_references_are_deterministic(scenario: Scenario, table: Any) -> None:
    env = ServingEnv(scenario, engine="compiled")
    for make in (lambda: RateOracle(table, 7), lambda: Hindsight(table)):
        policy = make()
        first = actions(policy, env, 3)
        assert actions(policy, env, 3) == first  # the same object, a second episode
        assert actions(make(), ServingEnv(scenario, engine="compiled"), 3) == first


class OtherFuture(ServingTask):
    """Meets the same queries before `from_s`, and then a third as many at other times, of other sizes."""

    def __init__(self, scenario: Scenario, from_s: float) -> None:
        super().__init__(scenario, "tail")
        self._from_s = from_s

    def open(self, seed: int, split: str, episode: int, windows: int) -> GivenTraffic:
        true = super().open(seed, split, episode, windows).start()
        known = int(np.searchsorted(true.arrival_s, self._from_s))
        later_s = np.sort(true.arrival_s[known:][::3] * 0.5 + 0.5 * windows * self.interval_s)
        arrival_s = np.concatenate([true.arrival_s[:known], later_s])
        items = np.concatenate([true.items[:known], true.items[known:][::3] + 8])
        return GivenTraffic(Traffic(arrival_s, items, true.noise_key), self.windows)


def goes_by_the_draws(make: Callable[[], LookAhead], scenario: Scenario, window: int) -> bool:
    """Whether a reference, asked at a window's start, tries or does something else when other queries are to come."""
    answers, arrivals_s = [], []
    for changed in (False, True):
        env = ServingEnv(scenario, engine="compiled")
        from_s = window * env.interval_s
        if changed:
            env._task = OtherFuture(scenario, from_s)
        observation, _ = env.reset(seed=2, options={"split": "validation"})
        for _ in range(window):
            observation, *_ = env.step(np.array(SPLIT))
        policy = make()
        policy.watch(env)
        action, _ = policy.predict(observation)
        answers.append((action.tolist(), policy.future(window, window + 3).sha256()))
        for _ in range(window, env.windows):
            env.step(np.array(SPLIT))
        arrivals_s.append(env.finish().arrival_s)
    known, known_too = (arrival_s[arrival_s < from_s].tolist() for arrival_s in arrivals_s)
    assert known == known_too
    assert len(arrivals_s[0]) > len(arrivals_s[1])  # the node itself met the other future
    return answers[0] != answers[1]


class PeekingOracle(RateOracle):
    """Draws its futures afresh, but only as many queries as will come."""

    def watch(self, env: TrafficEnv) -> None:
        super().watch(env)
        self._traffic = env.traffic()

    def future(self, window: int, until: int) -> Traffic:
        drawn = super().future(window, until)
        ends_s = np.array([window, until]) * self._interval_s
        begin, end = np.searchsorted(self._traffic.arrival_s, ends_s).tolist()
        return drawn.part(0, min(end - begin, len(drawn.items)))


class TwoFacedOracle(RateOracle):
    """Tries honest futures, and then acts by the draws."""

    def watch(self, env: TrafficEnv) -> None:
        super().watch(env)
        self._traffic = env.traffic()

    def predict(self, *arguments: Any, **more: Any) -> tuple[Any, Any]:
        super().predict(*arguments, **more)
        following = self._traffic.items[self._engine.arrived]
        return np.array(SPLIT if following == 16 else WHOLE), None


WINDOWS = [0, 5, 11, 14]


@pytest.mark.parametrize("window", WINDOWS)
def test_the_rate_oracle_does_not_see_the_draws(scenario: Scenario, table: Any, window: int) -> None:
    assert not goes_by_the_draws(lambda: RateOracle(table, 0), scenario, window)


@pytest.mark.parametrize("make", [PeekingOracle, TwoFacedOracle])
@pytest.mark.parametrize("window", WINDOWS)
def test_an_oracle_that_cheats_would_be_noticed(make: Any, scenario: Scenario, table: Any, window: int) -> None:
    assert goes_by_the_draws(lambda: make(table, 0), scenario, window)


def test_hindsight_goes_by_the_draws(scenario: Scenario, table: Any) -> None:
    assert all(goes_by_the_draws(lambda: Hindsight(table), scenario, window) for window in WINDOWS)


def test_hindsight_looks_at_what_will_come(scenario: Scenario, table: Any) -> None:
    env = ServingEnv(scenario, engine="compiled")
    env.reset(seed=1, options={"split": "validation"})
    policy = Hindsight(table)
    policy.watch(env)
    for _ in range(10):
        env.step(np.array(WHOLE))
    future, true = policy.future(10, 13), env.traffic()
    arriving = (true.arrival_s >= 1.0) & (true.arrival_s < 1.3)
    assert future.arrival_s.tolist() == true.arrival_s[arriving].tolist()
    assert future.items.tolist() == true.items[arriving].tolist()
    assert future.noise_key == true.noise_key


def test_drawn_futures_follow_the_true_rate(scenario: Scenario, table: Any) -> None:
    env = ServingEnv(scenario, engine="compiled")
    env.reset(seed=5, options={"split": "validation"})
    policy = RateOracle(table, 0)
    policy.watch(env)
    futures = [policy.future(8, 12) for _ in range(300)]
    expected = env.rate_qps(0.8 + (np.arange(32) + 0.5) * 0.0125).reshape(4, 8).mean(axis=1) * 0.1
    arrival_s = np.concatenate([future.arrival_s for future in futures])
    counts, _ = np.histogram(arrival_s, bins=[0.8, 0.9, 1.0, 1.1, 1.2])
    assert counts.sum() == len(arrival_s)
    assert np.abs(counts - 300 * expected).max() < 4 * np.sqrt(300 * expected).max()
    assert all((np.diff(future.arrival_s) >= 0).all() for future in futures)
    assert len({future.noise_key for future in futures}) == 300


def test_looking_ahead_beats_the_table(scenario: Scenario, table: Any) -> None:
    env = ServingEnv(scenario, engine="compiled")
    metrics = {
        name: geometric_mean(
            [day_metrics(run_policy(env, policy, seed, "validation"), scenario).p95_hourly_s for seed in range(4)]
        )
        for name, policy in (
            ("table", LoadTablePolicy(table)), ("oracle", RateOracle(table, 0)), ("hindsight", Hindsight(table))
        )
    }  # fmt: skip
    assert metrics["hindsight"] < metrics["oracle"] < metrics["table"]


def test_only_the_references_watch_and_they_need_the_compiled_engine(scenario: Scenario, table: Any) -> None:
    assert isinstance(RateOracle(table, 0), PrivilegedPolicy)
    assert not isinstance(LoadTablePolicy(table), PrivilegedPolicy)
    env = ServingEnv(scenario, engine="asyncio")
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"engine.*use compiled"):
        Hindsight(table).watch(env)
    env.close()
