"""Steps of vector environments a second of process time, beside those of a single environment in the same run.

    python -m benchmarks.vector_steps [--scenario wnd] [--settings best] [--rounds 5] [--json]

Training days, resets included, on one thread: Serving-v1 and Serving-v2 on a scenario, and Serving-v1 on services drawn
anew every episode (presets and random ones, as in `benchmarks.services`). Settings are the best of each file, or
`random` ones, which overload the node most of the time. Rounds alternate, the median counts; `--profile` shows where
the time of each goes.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.env_steps import step_single
from benchmarks.services import action_of, affine_service, draw_from
from deeprec_env import Scenario, console, load_scenario
from deeprec_env.arguments import choice
from deeprec_env.envs import ServingEnv, ServingV2Env
from deeprec_env.envs.vector import NodeVectorEnv, ServingV2VectorEnv, ServingVectorEnv
from deeprec_env.scenario.load import preset_names

DAYS, SERVICES = 2, 64


def best_of(env: Any, scenario: Scenario) -> tuple[int, ...]:
    """The best settings of a file as indices on the ladders of an environment of v2: no order, no limit."""
    ladders, best = env.scenario.ladders, scenario.capacity or scenario.setting
    levels = {"batch_size": best.batch_size, "offload": best.threshold, "order": "fcfs", "admit_ms": None}
    return tuple(list(ladders[name]).index(level) for name, level in levels.items())


def step_vector(env: NodeVectorEnv, action_at: Callable[[int], Any]) -> int:
    """Step through whole days, each of which starts the next; returns the steps of all environments."""
    for step in range(DAYS * env.windows):
        env.step(action_at(step))
    return DAYS * env.windows * env.num_envs


def main(
    scenario: Annotated[str, typer.Option(help="Preset or YAML file.")] = "wnd",
    settings: Annotated[str, typer.Option(help="best, or random.")] = "best",
    vector: Annotated[int, typer.Option(help="Environments of a vector environment.")] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 5,
    profile: Annotated[bool, typer.Option(help="Show where the time goes.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of traffic, services and actions.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure vector environments and a single one in one run."""
    choice("settings", settings, ("best", "random"))
    rng, loaded = np.random.default_rng(seed), load_scenario(scenario)
    presets = [load_scenario(name) for name in preset_names() if not name.startswith("kairos")]
    pool = presets + [affine_service(rng) for _ in range(SERVICES - len(presets))]
    second = ServingV2Env(loaded)
    best = {id(each): action_of(each) for each in (*pool, loaded)}
    of_v2 = best_of(second, loaded)
    envs: dict[str, NodeVectorEnv] = {
        "v1": ServingVectorEnv(vector, loaded, threads=1),
        "v2": ServingV2VectorEnv(vector, loaded, threads=1),
        "v1, services drawn anew": ServingVectorEnv(vector, partial(draw_from, pool), ladders="common", threads=1),
    }

    def actions_of(name: str, env: NodeVectorEnv) -> Callable[[int], Any]:
        if settings == "random":
            levels = env.single_action_space.nvec  # type: ignore[attr-defined]
            drawn = rng.integers(0, levels, (DAYS * env.windows, vector, len(levels)))
            return lambda step: drawn[step]
        if name == "v2":
            return lambda step: np.tile(of_v2, (vector, 1))
        return lambda step: np.array([best[id(each)] for each in env.scenarios])

    single = ServingEnv(loaded)
    days = np.tile(best[id(loaded)], (5 * single.windows, 1))
    alone = days if settings == "best" else rng.integers(0, single.action_space.nvec, days.shape)  # type: ignore[attr-defined]
    work: dict[str, Callable[[], int]] = {"v1, single": lambda: step_single(single, alone, seed)}
    for name, env in envs.items():
        env.reset(seed=seed)
        work[f"{name}: vector of {vector}"] = partial(step_vector, env, actions_of(name, env))
    for steps in work.values():
        steps()  # compiles, and makes room
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, steps in work.items():
            begun = time.process_time()
            rates[name].append(steps() / (time.process_time() - begun))
    payload = {"steps_per_s": {name: statistics.median(values) for name, values in rates.items()}}
    (console.print_json if json else console.print_facts)(payload)
    for name in work if profile else ():
        profiler = cProfile.Profile(time.process_time)
        profiler.runcall(work[name])
        print(name)
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(15)


app = console.application("Steps of vector environments a second of process time.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.vector_steps")
