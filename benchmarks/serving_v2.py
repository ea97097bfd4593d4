"""Steps of Serving-v2 a second of process time beside those of Serving-v1 in the same run.

    python -m benchmarks.serving_v2 [--scenario wnd] [--rounds 5] [--json]

Random actions on training days, resets included: of v1; the same settings in v2, whose node then does the same work
event by event; random ones of v2; and random ones of v2 that offload by prediction. One thread; rounds alternate, the
median counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.env_steps import step_single, step_vector
from deeprec_env import console
from deeprec_env.envs import ServingEnv, ServingV2Env
from deeprec_env.envs.vector import ServingV2VectorEnv, ServingVectorEnv
from deeprec_env.scenario.setting import PREDICTED

Actions = NDArray[np.int64]


def actions_by_name(
    first: ServingEnv, second: ServingV2Env, rng: np.random.Generator, steps: int
) -> dict[str, Actions]:
    """Random actions by the name of their row, (steps, controls)."""
    of_v1, of_v2 = (
        rng.integers(0, env.action_space.nvec, (steps, len(env.action_space.nvec))) for env in (first, second)
    )  # type: ignore[attr-defined]
    ladders = second.scenario.ladders
    offloads, admits = list(ladders["offload"]), list(ladders["admit_ms"])
    by_threshold = np.array([offloads.index(level) for level in first.thresholds])
    fcfs, never = ladders["order"].index("fcfs"), admits.index(None)
    alike = np.stack([of_v1[:, 0], by_threshold[of_v1[:, 1]], np.full(steps, fcfs), np.full(steps, never)], axis=1)
    rows = {"v1": of_v1, "v2, v1's settings": alike, "v2": of_v2}
    if PREDICTED in offloads:
        predicted = of_v2.copy()
        predicted[:, 1] = offloads.index(PREDICTED)
        rows["v2, predicted"] = predicted
    return rows


def main(
    scenario: Annotated[str, typer.Option(help="Preset or YAML file.")] = "wnd",
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 5,
    vector: Annotated[int, typer.Option(help="Environments of the vector environment.")] = 64,
    days: Annotated[int, typer.Option(help="Days of the single environment in a round; of the vector one, two.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of traffic and actions.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure both versions in one run."""
    rng = np.random.default_rng(seed)
    singles = {"v1": ServingEnv(scenario), "v2": ServingV2Env(scenario)}
    several: dict[str, Any] = {
        "v1": ServingVectorEnv(vector, scenario, threads=1),
        "v2": ServingV2VectorEnv(vector, scenario, threads=1),
    }
    first, second = singles["v1"], singles["v2"]
    assert isinstance(second, ServingV2Env)

    def work_of(name: str, alone: Actions, together: Actions) -> dict[str, Callable[[], int]]:
        version = name[:2]
        return {
            f"{name}: single": lambda: step_single(singles[version], list(alone), seed),
            f"{name}: vector of {vector}": lambda: step_vector(several[version], together, seed),
        }

    alone = actions_by_name(first, second, rng, days * first.windows)
    together = actions_by_name(first, second, rng, 2 * first.windows * vector)
    work: dict[str, Callable[[], int]] = {}
    for name, actions in alone.items():
        work |= work_of(name, actions, together[name].reshape(-1, vector, actions.shape[1]))
    for steps in work.values():
        steps()  # compiles, and makes room
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, steps in work.items():
            begun = time.process_time()
            rates[name].append(steps() / (time.process_time() - begun))
    payload = {"steps_per_s": {name: statistics.median(values) for name, values in rates.items()}}
    (console.print_json if json else console.print_facts)(payload)


app = console.application("Steps a second of Serving-v2 beside Serving-v1.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.serving_v2")
