"""Requests a second of the engines against SimPy, on the same queries with the same service times.

    python -m benchmarks.engines [--queries 40000] [--rounds 5] [--json]

32 servers, batches of 32, production sizes, load 0.8; affine latencies with noise. SimPy and the engines are timed from
the arrival of the first query to the completion of the last, SimPy with its service times known before. `events` is the
compiled engine by its event kernel, which serves what the recursion can't. Of both there are more figures: end to end
(streams drawn, noise, kernel, records, summary), and the kernels alone. Of the recursion without and with noise
(splitting, service times) and contention; the event kernel draws service times itself, so that its figure without noise
is one of affine latencies of cv 0, and its splitting is counted with noise alone. Rounds alternate; times are of the
processor, the median counts, of ratios the median of the rounds' own.
"""

from __future__ import annotations

import statistics
import time
from typing import Annotated, Any

import numpy as np
import simpy
import typer

from deeprec_env import console
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.arrays import NodeState, empty_state, node_arrays
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.dispatch import dispatch
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.event_kernel import admit_unserved, serve_events
from deeprec_env.simulation.event_state import EventState, empty_events
from deeprec_env.simulation.kernel_choice import Kernel
from deeprec_env.simulation.node import admit, serve_until
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import summarise
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

SERVERS, BATCH_SIZE, LOAD = 32, 32, 0.8

COMPARED = {
    "end to end": ("events end to end", "compiled end to end"),
    "kernel": ("event kernel", "compiled kernel"),
    "kernel with noise": ("event kernel with noise", "compiled kernel with noise"),
    "kernel with noise to one without": ("event kernel with noise", "compiled kernel"),
    "kernel with noise with contention": (
        "event kernel with noise with contention",
        "compiled kernel with noise with contention",
    ),
}
"""Of the event kernel with the recursion."""


def workload(cv: float = 0.1, c: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Scenario:
    """The scenario of the comparison; `cv` of its service times, `c` their contention, at the rate of none."""
    data = {
        "sla_ms": 100,
        "workload": {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "production"}},
        "node": {
            "cpu": {
                "servers": SERVERS,
                "latency": {"kind": "affine", "base_ms": 0.4, "per_item_ms": 0.05, "cv": cv},
                "contention": {"c": c},
            }
        },
        "control": {"batch_size": BATCH_SIZE},
    }
    scenario = load_scenario(data)
    (pool,) = service_demands(scenario, Setting(BATCH_SIZE, None))
    return scenario.with_arrivals({"kind": "poisson", "qps": LOAD * pool.saturation_qps})


def drain(engine: Engine) -> tuple[float, list[float]]:
    """Seconds that an engine takes to serve its traffic, and completion times."""
    begun = time.process_time()
    engine.drain()
    took_s = time.process_time() - begun
    completions = engine.records().completion_s.tolist()
    engine.close()
    return took_s, completions


def run_end_to_end(scenario: Scenario, queries: int, seed: int, kernel: Kernel) -> float:
    """Seconds of the compiled engine with everything around it."""
    begun = time.process_time()
    traffic = QueryStream(scenario.workload, episode_seed(seed)).draw(queries)
    engine = CompiledEngine(scenario, traffic, kernel)
    engine.drain()
    summarise(scenario, traffic, engine.records())
    return time.process_time() - begun


def run_recursion(scenario: Scenario, traffic: Traffic, *, noise: bool, contended: bool) -> float:
    """Seconds of the compiled recursion alone; with `noise`, of splitting and drawing service times before it."""
    node = node_arrays(scenario)._replace(contended=np.array([contended, False]))
    state = empty_state(node, len(traffic.items), _requests(traffic))
    _touch(state)
    state.free_s.fill(-np.inf)
    begun = time.process_time()
    admit(node, state, *_arguments(scenario, traffic))
    admitted = time.process_time()
    serve_until(node, state, np.inf)
    return time.process_time() - (begun if noise else admitted)


def run_events(scenario: Scenario, traffic: Traffic, *, noise: bool) -> float:
    """Seconds of the event kernel alone; with `noise`, of splitting too."""
    node = node_arrays(scenario)
    state, events = empty_state(node, len(traffic.items), _requests(traffic)), empty_events(node, len(traffic.items))
    _touch(state)
    _touch(events)
    begun = time.process_time()
    admit_unserved(node, state, events, *_arguments(scenario, traffic))
    admitted = time.process_time()
    serve_events(node, state, events, 0, np.inf)
    return time.process_time() - (begun if noise else admitted)


def _requests(traffic: Traffic) -> int:
    return int(np.ceil(traffic.items / BATCH_SIZE).sum())


def _arguments(scenario: Scenario, traffic: Traffic) -> tuple[Any, ...]:
    return np.uint64(traffic.noise_key), traffic.arrival_s, traffic.items, traffic.query, scenario.setting.numbers


def _touch(arrays: NodeState | EventState) -> None:
    """Use the memory of an idle node, which is not the kernel's to pay."""
    for array in arrays:
        array.fill(0)


def run_simpy(scenario: Scenario, traffic: Traffic) -> tuple[float, list[float]]:
    """Seconds and completion times of SimPy: a process a request, a resource of 32 servers."""
    (requests,) = dispatch(scenario, traffic, scenario.setting)
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
    begun = time.process_time()
    environment.run()
    return time.process_time() - begun, completions


def main(
    queries: Annotated[int, typer.Option(help="Queries of a round.")] = 40_000,
    rounds: Annotated[int, typer.Option(help="Rounds; the median counts.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the engines on the same workload in one run."""
    scenario = workload()
    traffic = QueryStream(scenario.workload, episode_seed(seed)).draw(queries)
    calm, contended = workload(cv=0.0), workload(c=(0.9, 0.1, 0.0))
    requests = _requests(traffic)
    rates: dict[str, list[float]] = {}
    for _ in range(rounds):
        peer_s, peer = run_simpy(scenario, traffic)
        seconds = {"simpy": peer_s}
        engines = {name: make_engine(scenario, traffic, name) for name in ENGINES}
        engines["events"] = CompiledEngine(scenario, traffic, "events")
        for name, engine in engines.items():
            seconds[name], own = drain(engine)
            # SimPy's delays add up in floats, so that its times drift by rounding.
            if not np.allclose(peer, own, rtol=0.0, atol=1e-6):
                raise RuntimeError(f"SimPy and {name} disagree on when queries complete")
        seconds["compiled end to end"] = run_end_to_end(scenario, queries, seed, "recursion")
        seconds["events end to end"] = run_end_to_end(scenario, queries, seed, "events")
        for noise, contention in ((False, False), (True, False), (False, True), (True, True)):
            name = f"compiled kernel{' with noise' * noise}{' with contention' * contention}"
            seconds[name] = run_recursion(scenario, traffic, noise=noise, contended=contention)
        seconds["event kernel"] = run_events(calm, traffic, noise=False)
        seconds["event kernel with noise"] = run_events(scenario, traffic, noise=True)
        seconds["event kernel with noise with contention"] = run_events(contended, traffic, noise=True)
        for name, took_s in seconds.items():
            rates.setdefault(name, []).append(requests / took_s)

    def ratio(one: str, other: str) -> float:
        return statistics.median(np.divide(rates[one], rates[other]).tolist())

    payload = {
        "requests": requests,
        "requests_per_s": {name: statistics.median(values) for name, values in rates.items()},
        "over_simpy": {name: ratio(name, "simpy") for name in rates if name != "simpy"},
        "events_over_recursion": {name: ratio(*pair) for name, pair in COMPARED.items()},
    }
    (console.print_json if json else console.print_facts)(payload)


app = console.application("Engines against SimPy.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.engines")
