"""A step that is interrupted (Ctrl-C in a notebook) has not happened."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from deeprec_env.envs import ServingEnv
from deeprec_env.envs.serving_task import GivenTraffic, ServingTask
from deeprec_env.envs.vector import NodeVectorEnv
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.stream import Traffic
from tests.conftest import OwnLatency, day_scenario

countdown: list[int] = []
"""Calls until the interrupt, while there is one to come."""


def count_down() -> None:
    if countdown:
        countdown[0] -= 1
        if countdown[0] < 0:
            countdown.clear()
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _no_interrupt_is_left() -> Iterator[None]:
    yield
    countdown.clear()


class Interrupted(OwnLatency):
    """Asked while the engine runs a window, and interrupted there."""

    def base_s(self, items: Ints, u: Floats) -> Floats:
        count_down()
        return 0.005 * super().base_s(items, u)


def own() -> dict[str, Any]:
    scenario = day_scenario()
    scenario["workload"]["arrivals"]["qps"] = 4000
    scenario["node"]["cpu"] = {"servers": 8, "latency": Interrupted()}
    return scenario


def actions(windows: int) -> list[Any]:
    return list(np.random.default_rng(2).integers(0, 13, (windows, 2)))


def outcome(result: Any) -> tuple[Any, ...]:
    observation, reward, _, over, info = result
    return observation.tobytes(), reward, over, info


# asyncio dispatches 256 queries at once: the second call is in mid-window, the loop having run.
@pytest.mark.parametrize(("engine", "calls"), [("compiled", 0), ("asyncio", 0), ("asyncio", 1)])
def test_an_interrupted_step_has_not_happened(engine: str, calls: int) -> None:
    undisturbed, env = (ServingEnv(own(), engine, render_mode="ansi") for _ in range(2))
    for each in (undisturbed, env):
        each.reset(seed=5)
    chosen = actions(12)
    for action in chosen[:6]:
        assert outcome(env.step(action)) == outcome(undisturbed.step(action))
    countdown.append(calls)
    with pytest.raises(KeyboardInterrupt):
        env.step(np.array([0, 12]))
    twin = copy.deepcopy(env)
    assert env.render() == undisturbed.render()
    for action in chosen[6:]:
        expected = outcome(undisturbed.step(action))
        assert outcome(env.step(action)) == outcome(twin.step(action)) == expected
    assert env.finish().completion_s.tobytes() == undisturbed.finish().completion_s.tobytes()


def test_an_interrupted_reset_starts_the_episode_when_it_can() -> None:
    undisturbed, env = ServingEnv(own(), "asyncio"), ServingEnv(own(), "asyncio")
    undisturbed.reset(seed=5)
    env.reset(seed=4)
    env.step(np.array([1, 1]))
    countdown.append(0)
    with pytest.raises(KeyboardInterrupt):
        env.reset(seed=5)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.array([0, 0]))
    env.reset(seed=5)
    for action in actions(3):
        assert outcome(env.step(action)) == outcome(undisturbed.step(action))


class InterruptedTraffic(GivenTraffic):
    """Interrupted between the windows of the first environments and those of the others."""

    def ahead(self, step: int) -> Traffic | None:
        count_down()
        return super().ahead(step)

    def on_window(self, window: Window) -> None:
        count_down()
        super().on_window(window)


class InterruptedTask(ServingTask):
    def open(self, seed: int, split: str, episode: int, windows: int) -> InterruptedTraffic:
        count_down()
        traffic = self.stream(seed, split, episode).draw_until(windows * self.interval_s)
        return InterruptedTraffic(traffic, self.windows)


def vector(threads: int) -> NodeVectorEnv:
    return NodeVectorEnv(4, InterruptedTask(day_scenario(), "tail"), "compiled", threads, None)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("calls", [0, 3, 6])
@pytest.mark.parametrize("interrupted", ["step", "last step", "reset"])
def test_an_interrupted_vector_environment_asks_for_reset(threads: int, calls: int, interrupted: str) -> None:
    undisturbed, env = vector(threads), vector(threads)
    chosen = np.random.default_rng(2).integers(0, 13, (12, 4, 2))
    env.reset(seed=9)
    for action in chosen[: 11 if interrupted == "last step" else 5]:
        env.step(action)
    countdown.append(calls if interrupted != "reset" else min(calls, 3))
    act: Callable[[], Any] = (lambda: env.reset(seed=1)) if interrupted == "reset" else (lambda: env.step(chosen[11]))
    with pytest.raises(KeyboardInterrupt):
        act()
    with pytest.raises(RuntimeError, match="call reset before step, and after one that was interrupted"):
        env.step(chosen[0])
    observations = [each.reset(seed=3)[0].tobytes() for each in (undisturbed, env)]
    assert observations[0] == observations[1]
    for action in chosen:
        ours, expected = env.step(action), undisturbed.step(action)
        for got, wanted in zip(ours[:4], expected[:4], strict=True):
            assert got.tobytes() == wanted.tobytes()
