"""Requests a second of the event kernel under each further control, beside the recursion's, in one run.

    python -m benchmarks.controls [--queries 40000] [--rounds 7] [--json]

The servers of `benchmarks.engines` (32, batches of 32, production sizes, noise) with one accelerator, threshold 512, at
load 0.8 of the busier pool under that threshold. What is timed is an engine from the arrival of the first query to the
completion of the last: cutting queries into requests, drawing service times, predicting, queueing. The recursion serves
the plain node and the one that cuts evenly; whatever an order, a prediction, admission or batching decides it can't.
Controls change how many requests there are, so that the queries a second are there too. Rounds alternate; times are of
the processor, the median counts, of ratios the median of the rounds' own.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.engines import LOAD, workload
from deeprec_env import console
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.kernel_choice import Kernel
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

ACCELERATOR = {"servers": 1, "latency": {"kind": "affine", "base_ms": 1.0, "per_item_ms": 0.01, "cv": 0.1}}
THRESHOLD = 512
BATCHING = {"node.accelerator.batching": {"max_items": 2000}}

CONTROLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "even": {"control.split": "even"},
    "small-first": {"control.order": "small-first"},
    "least-slack": {"control.order": "least-slack"},
    "predicted": {"control.offload": "predicted"},
    "admission": {"control.admit_ms": 100},
    "batching": BATCHING,
    "all": {
        "control.split": "even", "control.order": "small-first", "control.offload": "predicted",
        "control.admit_ms": 100, **BATCHING,
    },
}  # fmt: skip
"""By name: what is changed in the scenario."""

RUNS: dict[str, tuple[str, Kernel]] = {
    "recursion": ("plain", "recursion"),
    "recursion, even": ("even", "recursion"),
    **{f"events, {name}": (name, "events") for name in CONTROLS},
}
"""By name: a control and the kernel that serves it."""


def with_accelerator() -> Scenario:
    """The node of the comparison, at its load."""
    plain = load_scenario(workload(), {"node.accelerator": ACCELERATOR, "control.threshold": THRESHOLD})
    saturated_qps = min(pool.saturation_qps for pool in service_demands(plain, plain.setting))
    return plain.with_arrivals({"kind": "poisson", "qps": LOAD * saturated_qps})


def drain(scenario: Scenario, traffic: Traffic, kernel: Kernel) -> tuple[float, int]:
    """Processor seconds that an engine takes to serve its traffic, and the requests that it served."""
    engine = CompiledEngine(scenario, traffic, kernel)
    begun = time.process_time()
    engine.drain()
    took_s = time.process_time() - begun
    requests = len(engine.records().stages[0].start_s)
    engine.close()
    return took_s, requests


def main(
    queries: Annotated[int, typer.Option(help="Queries of a round.")] = 40_000,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 7,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the event kernel under each control with the recursion."""
    plain = with_accelerator()
    traffic = QueryStream(plain.workload, episode_seed(seed)).draw(queries)
    scenarios = {name: load_scenario(plain, changes) for name, changes in CONTROLS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in RUNS}
    requests: dict[str, int] = {}
    for _ in range(rounds):
        for name, (control, kernel) in RUNS.items():
            took_s, requests[name] = drain(scenarios[control], traffic, kernel)
            seconds[name].append(took_s)
    rates = {name: (requests[name] / np.array(taken)).tolist() for name, taken in seconds.items()}
    payload = {
        "queries": queries,
        "requests": requests,
        "requests_per_s": {name: statistics.median(found) for name, found in rates.items()},
        "queries_per_s": {name: queries / statistics.median(taken) for name, taken in seconds.items()},
        "over_recursion": {
            name: statistics.median(np.divide(found, rates["recursion"]).tolist())
            for name, found in rates.items()
            if name != "recursion"
        },
    }
    (console.print_json if json else console.print_facts)(payload)


app = console.application("The event kernel under each control, beside the recursion.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.controls")
