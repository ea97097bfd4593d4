"""Steps a second of Serving-v1 at about 200 queries a step, beside CartPole-v1 in the same run.

    python -m benchmarks.env_steps [--scenario wnd] [--rounds 5] [--json]

Random actions on training days, resets included: they overload the node most of the time, which leaves long queues;
the longest with `--settings held`, random ones that are held for a day each. `--settings capacity` holds the scenario's
best settings instead. Rounds alternate, the median counts.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from numpy.typing import NDArray

from deeprec_env import console
from deeprec_env.envs import SERVING, ServingEnv
from deeprec_env.envs.vector import ServingVectorEnv
from deeprec_env.errors import InputError

Actions = NDArray[np.int64]


def step_single(env: gym.Env[Any, Any], actions: Any, seed: int) -> int:
    """Step through an episode after another, with one action a step; returns the steps."""
    env.reset(seed=seed)
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return len(actions)


def step_vector(env: ServingVectorEnv, actions: Actions, seed: int) -> int:
    """As `step_single`; returns the steps of all environments."""
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
    return len(actions) * env.num_envs


def draw_actions(env: ServingEnv, rng: np.random.Generator, settings: str, shape: tuple[int, ...]) -> Actions:
    """Actions of that shape, whole days of them: random, held for a day, or the settings of the scenario's capacity."""
    if settings == "random":
        return rng.integers(0, env.action_space.nvec, (*shape, 2))
    if settings == "held":
        by_day = rng.integers(0, env.action_space.nvec, (shape[0] // env.windows, *shape[1:], 2))
        return np.repeat(by_day, env.windows, axis=0)
    found = env.scenario.capacity
    if settings != "capacity" or found is None:
        raise InputError("settings", settings, "must be random, held, or capacity where the scenario holds one")
    action = (env.batch_sizes.index(found.batch_size), env.thresholds.index(found.threshold))
    return np.broadcast_to(np.array(action), (*shape, 2))


def main(
    scenario: Annotated[str, typer.Option(help="Preset or YAML file.")] = "wnd",
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 5,
    vector: Annotated[int, typer.Option(help="Environments of the vector environment.")] = 64,
    settings: Annotated[
        str, typer.Option(help="random, held (random ones, for a day each), or capacity: the scenario's best.")
    ] = "random",
    profile: Annotated[bool, typer.Option(help="Show where the time of the single and the vector one goes.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of traffic and actions.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the environments in one run."""
    rng = np.random.default_rng(seed)
    envs = {
        name: gym.make(SERVING, scenario=scenario, engine=name, disable_env_checker=True)
        for name in ("asyncio", "compiled")
    }
    server = envs["compiled"].unwrapped
    assert isinstance(server, ServingEnv)
    several = ServingVectorEnv(vector, scenario)
    cart = gym.make("CartPole-v1", disable_env_checker=True)
    pushes = [int(push) for push in rng.integers(0, 2, 20_000)]

    def single(name: str, episodes: int) -> Callable[[], int]:
        actions = draw_actions(server, rng, settings, (episodes * server.windows,))
        return lambda: step_single(envs[name], actions, seed)

    days = draw_actions(server, rng, settings, (2 * server.windows, vector))
    work: dict[str, Callable[[], int]] = {
        "asyncio": single("asyncio", 1),
        "compiled": single("compiled", 10),
        f"vector of {vector}": lambda: step_vector(several, days, seed),
        "CartPole-v1": lambda: step_single(cart, pushes, seed),
    }
    rates: dict[str, list[float]] = {name: [] for name in work}
    for steps in work.values():
        steps()  # compiles, and makes the vector's room
    for _ in range(rounds):
        for name, steps in work.items():
            begun = time.perf_counter()
            rates[name].append(steps() / (time.perf_counter() - begun))
    payload = {"steps_per_s": {name: statistics.median(values) for name, values in rates.items()}}
    (console.print_json if json else console.print_facts)(payload)
    for name in ("compiled", f"vector of {vector}") if profile else ():
        with cProfile.Profile() as profiler:
            work[name]()
        print(name)
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(10)
    several.close()


app = console.application("Steps a second of the environments.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.env_steps")
