"""Steps a second of vector environments whose nodes differ, beside those of equal nodes in the same run.

    python -m benchmarks.services [--count 64] [--rounds 3] [--json]

The services are the presets, with and without accelerator, and random ones of affine latencies, each under the best
settings of its file (a random one: those that it starts with). `mixed` has one of each, `drawn` draws them anew every
episode, `equal` is the mean, over the services, of a vector environment of that one alone.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from deeprec_env import Scenario, console, load_scenario
from deeprec_env.envs.vector import ServingVectorEnv
from deeprec_env.scenario.control import BATCH_SIZES, THRESHOLDS
from deeprec_env.scenario.load import preset_names
from deeprec_env.scenario.setting import Setting


def affine_service(rng: np.random.Generator) -> Scenario:
    """A random service whose day has 96 windows of 200 queries, at half of what its cores can do."""
    servers, base_ms, per_item_ms = int(rng.integers(4, 41)), rng.uniform(0.1, 1.0), rng.uniform(0.005, 0.03)
    qps = 0.5 * servers / ((3.0 * base_ms + 208.0 * per_item_ms) * 1e-3)
    cpu = {"kind": "affine", "base_ms": base_ms, "per_item_ms": per_item_ms, "cv": rng.uniform(0.1, 0.6)}
    accelerator = {"kind": "affine", "base_ms": 1.0, "per_item_ms": rng.uniform(0.001, 0.005), "cv": 0.05}
    node: dict[str, Any] = {"cpu": {"servers": servers, "latency": cpu}}
    if rng.random() < 0.5:
        node["accelerator"] = {"servers": 1, "latency": accelerator}
    return load_scenario(
        {
            "sla_ms": rng.uniform(20.0, 100.0),
            "workload": {
                "arrivals": {"kind": "diurnal", "qps": qps, "day_s": 96 * 200 / qps},
                "sizes": {"kind": "production"},
            },
            "node": node,
            "control": {
                "batch_size": 96,
                "threshold": 640 if "accelerator" in node else None,
                "interval_s": 200 / qps,
            },
        }
    )


def draw_from(pool: list[Scenario], rng: np.random.Generator) -> Scenario:
    """One of the services."""
    return pool[rng.integers(len(pool))]


def action_of(scenario: Scenario) -> tuple[int, int]:
    """The best settings of a file as indices on the common ladders."""
    best = scenario.capacity or scenario.setting
    setting = Setting(best.batch_size, best.threshold)
    return BATCH_SIZES.index(setting.batch_size), THRESHOLDS.index(setting.threshold)


def measure(several: ServingVectorEnv, actions: dict[int, tuple[int, int]], steps: int) -> float:
    """Steps a second, a reset included."""
    begun = time.perf_counter()
    several.reset(seed=0)
    for _ in range(steps):
        several.step(np.array([actions[id(scenario)] for scenario in several.scenarios]))
    return several.num_envs * steps / (time.perf_counter() - begun)


def main(
    count: Annotated[int, typer.Option(help="Services, and environments of a vector environment.")] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 3,
    steps: Annotated[int, typer.Option(help="Steps of a measurement.")] = 192,
    seed: Annotated[int, typer.Option(help="Seed of the random services.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure vector environments of different, drawn and equal services in one run."""
    rng = np.random.default_rng(seed)
    presets = [load_scenario(name) for name in preset_names() if not name.startswith("kairos")][:count]
    pool = presets + [affine_service(rng) for _ in range(count - len(presets))]
    actions = {id(scenario): action_of(scenario) for scenario in pool}
    make = partial(ServingVectorEnv, count, ladders="common")
    mixed, drawn = make(pool), make(partial(draw_from, pool))
    rates: dict[str, list[float]] = {"mixed": [], "drawn": [], "equal": []}
    for several in (mixed, drawn):
        measure(several, actions, steps)  # compiles, and makes their room
    for _ in range(rounds):
        rates["mixed"].append(measure(mixed, actions, steps))
        rates["drawn"].append(measure(drawn, actions, steps))
        equal = []
        for scenario in pool:
            alone = make(scenario)
            measure(alone, actions, 1)
            equal.append(measure(alone, actions, steps))
            alone.close()
        rates["equal"].append(statistics.fmean(equal))
    payload = {"steps_per_s": {name: statistics.median(values) for name, values in rates.items()}}
    (console.print_json if json else console.print_facts)(payload)


app = console.application("Steps a second of vector environments whose nodes differ.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.services")
