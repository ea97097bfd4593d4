"""Requests a second of the engines against SimPy, on the same queries with the same service times.

    python -m benchmarks.engines [--queries 40000] [--rounds 5] [--json]

32 servers, batches of 32, production sizes, load 0.8; affine latencies with noise. SimPy and the engines are timed from
the arrival of the first query to the completion of the last, SimPy with its service times known before. Of the compiled
engine there are more figures: end to end (streams drawn, noise, recursion, records, summary), and the recursion alone,
without and with noise (splitting, service times) and contention. Rounds alternate, the median counts.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated

import numpy as np
import simpy
import typer

from deeprec_env import console
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import empty_state, node_arrays
from deeprec_env.simulation.dispatch import dispatch
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.node import admit, serve_until
from deeprec_env.simulation.offered_load import pool_work
from deeprec_env.simulation.simulate import run, summarise
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

SERVERS, BATCH_SIZE, LOAD = 32, 32, 0.8


def workload() -> Scenario:
    """The scenario of the comparison."""
    data = {
        "sla_ms": 100,
        "workload": {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "production"}},
        "node": {
            "cpu": {"servers": SERVERS, "latency": {"kind": "affine", "base_ms": 0.4, "per_item_ms": 0.05, "cv": 0.1}}
        },
        "control": {"batch_size": BATCH_SIZE},
    }
    scenario = load_scenario(data)
    (pool,) = pool_work(scenario, Setting(BATCH_SIZE, None))
    return scenario.with_arrivals({"kind": "poisson", "qps": LOAD * pool.largest_qps})


def run_engine(name: str, scenario: Scenario, traffic: Traffic) -> tuple[float, list[float]]:
    """Wall seconds and completion times of an engine."""
    engine = make_engine(scenario, traffic, name)
    begun = time.perf_counter()
    engine.drain()
    wall_s = time.perf_counter() - begun
    completions = engine.records().completion_s.tolist()
    engine.close()
    return wall_s, completions


def run_end_to_end(scenario: Scenario, queries: int, seed: int) -> float:
    """Wall seconds of the compiled engine with everything around it."""
    begun = time.perf_counter()
    traffic = QueryStream(scenario.workload, episode_seed(seed)).draw(queries)
    summarise(scenario, traffic, run(scenario, traffic, engine="compiled"))
    return time.perf_counter() - begun


def run_kernel(scenario: Scenario, traffic: Traffic, *, noise: bool, contended: bool) -> float:
    """Wall seconds of the compiled recursion alone; with `noise`, of splitting and drawing service times before it."""
    node = node_arrays(scenario)._replace(contended=np.array([contended, False]))
    state = empty_state(node, len(traffic.items), int(np.ceil(traffic.items / BATCH_SIZE).sum()))
    arguments = (np.uint64(traffic.noise_key), traffic.arrival_s, traffic.items, (BATCH_SIZE, np.inf, 0))
    for array in state:
        array.fill(0)  # touches the memory, which is not the kernel's to pay
    state.free_s.fill(-np.inf)
    begun = time.perf_counter()
    admit(node, state, *arguments)
    admitted = time.perf_counter()
    serve_until(node, state, np.inf)
    return time.perf_counter() - (begun if noise else admitted)


def run_simpy(scenario: Scenario, traffic: Traffic) -> tuple[float, list[float]]:
    """Wall seconds and completion times of SimPy: a process a request, a resource of 32 servers."""
    (requests,) = dispatch(scenario, traffic.noise_key, 0, traffic.items, BATCH_SIZE, None)
    arrivals, first, base_s = traffic.arrival_s.tolist(), requests.first.tolist(), requests.base_s.tolist()
    completions = [0.0] * len(arrivals)
    environment = simpy.Environment()
    servers = simpy.Resource(environment, SERVERS)

    def request(query: int, service_s: float):  # type: ignore[no-untyped-def]
        with servers.request() as turn:
            yield turn
            yield environment.timeout(service_s)
        completions[query] = max(completions[query], environment.now)

    def source():  # type: ignore[no-untyped-def]
        for query, arrival_s in enumerate(arrivals):
            yield environment.timeout(arrival_s - environment.now)
            for service_s in base_s[first[query] : first[query + 1]]:
                environment.process(request(query, service_s))

    environment.process(source())
    begun = time.perf_counter()
    environment.run()
    return time.perf_counter() - begun, completions


def main(
    queries: Annotated[int, typer.Option(help="Queries of a round.")] = 40_000,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the engines on the same workload in one run."""
    scenario = workload()
    traffic = QueryStream(scenario.workload, episode_seed(seed)).draw(queries)
    requests = int(np.ceil(traffic.items / BATCH_SIZE).sum())
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        peer_s, peer = run_simpy(scenario, traffic)
        seconds = {"simpy": peer_s}
        for name in ENGINES:
            seconds[name], own = run_engine(name, scenario, traffic)
            # SimPy's delays add up in floats, so that its times drift by rounding.
            if not np.allclose(peer, own, rtol=0.0, atol=1e-6):
                raise RuntimeError(f"SimPy and {name} disagree on when queries complete")
        seconds["compiled end to end"] = run_end_to_end(scenario, queries, seed)
        for noise, contended in ((False, False), (True, False), (False, True), (True, True)):
            name = f"compiled kernel{' with noise' * noise}{' with contention' * contended}"
            seconds[name] = run_kernel(scenario, traffic, noise=noise, contended=contended)
        for name, wall_s in seconds.items():
            rates.setdefault(name, []).append(requests / wall_s)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {name: rate / medians["simpy"] for name, rate in medians.items() if name != "simpy"}
    payload = {"requests": requests, "requests_per_s": medians, "over_simpy": ratios}
    (console.print_json if json else console.print_facts)(payload)


app = console.application("Engines against SimPy.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.engines")
