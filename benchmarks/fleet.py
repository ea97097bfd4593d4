"""Queries a second of a fleet against one node alone, on the same queries, in the same run.

    python -m benchmarks.fleet [--queries 200000] [--nodes 10,100,1000] [--rounds 3] [--json]

Two kinds of node: `service`, that of the preset `wnd-cpu` as it is, and `mm1`, one server with
exponential service and queries of one item. Load 0.7. Every round runs the node alone on the queries, arriving at its
rate, then each fleet on the same queries arriving at the fleet's. Timed is the engine, from drawn traffic to records:
times are of the processor, the median counts, of ratios the median of the rounds' own. `memory_mb` is the peak that the
run's arrays took, as NumPy tells tracemalloc; it is measured in a run of its own.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import whole_numbers
from deeprec_env.fleet.compiled_engine import CompiledFleet
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

LOAD = 0.7
ROUTERS = ("random", "round-robin", "least-requests", "least-work", "power-of-d", "probing")
NODES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "service": ({"preset": "wnd-cpu"}, {"kind": "production"}),
    "mm1": (
        {"node": {"cpu": {"servers": 1, "latency": {"kind": "exponential", "mean_ms": 1000}}}},
        {"kind": "fixed", "items": 1},
    ),
}


def fleet(node: str, router: str, count: int, qps: float) -> Scenario:
    """A fleet of like nodes."""
    described, sizes = NODES[node]
    return load_scenario(
        {
            "sla_ms": 1e6,
            "workload": {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": sizes},
            "fleet": {"router": {"kind": router}, "groups": [{"name": node, "count": count, **described}]},
        }
    )


def rate_qps(node: str) -> float:
    """Of one node at the load."""
    (alone,) = fleet(node, "random", 1, 1.0).group_scenarios
    return LOAD / max(demand.load(1.0) for demand in service_demands(alone, alone.setting))


def drawn(scenario: Scenario, queries: int) -> Traffic:
    """The same queries at the scenario's rate."""
    return QueryStream(scenario.workload, episode_seed(0)).draw(queries)


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def memory_mb(work: Callable[[], object]) -> float:
    """The peak of what a call takes."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def compare(node: str, counts: tuple[int, ...], queries: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each router and number of nodes, after the row of the node alone."""
    qps = rate_qps(node)
    (alone,) = fleet(node, "random", 1, qps).group_scenarios
    traffic = drawn(alone, queries)
    fleets = {(router, count): fleet(node, router, count, qps * count) for router in ROUTERS for count in counts}
    streams = {key: drawn(scenario, queries) for key, scenario in fleets.items()}

    def work(key: tuple[str, int]) -> Callable[[], object]:
        return lambda: CompiledFleet(fleets[key]).run(streams[key])

    took: dict[Any, list[float]] = {key: [] for key in ("alone", *fleets)}
    for number in range(rounds + 1):
        warm = number > 0  # the first round compiles
        found = {"alone": seconds(lambda: run(alone, traffic))} | {key: seconds(work(key)) for key in fleets}
        for key, took_s in found.items() if warm else ():
            took[key].append(took_s)
    rows: list[dict[str, Any]] = [
        {"node": node, "router": "alone", "nodes": 1, "qps": queries / statistics.median(took["alone"]), "ratio": 1.0,
         "memory_mb": memory_mb(lambda: run(alone, traffic))}
    ]  # fmt: skip
    for key in fleets:
        ratios = [single / many for single, many in zip(took["alone"], took[key], strict=True)]
        rows.append(
            {"node": node, "router": key[0], "nodes": key[1], "qps": queries / statistics.median(took[key]),
             "ratio": statistics.median(ratios), "memory_mb": memory_mb(work(key))}
        )  # fmt: skip
    return rows


def main(
    queries: Annotated[int, typer.Option(help="Queries of each run.")] = 200_000,
    nodes: Annotated[str, typer.Option(help="Numbers of nodes, comma-separated.")] = "10,100,1000",
    rounds: Annotated[int, typer.Option(help="Rounds, after one that compiles.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare fleets with one node."""
    counts = whole_numbers("nodes", nodes)
    rows = [row for node in NODES for row in compare(node, counts, queries, rounds)]
    if json:
        console.print_json({"schema_version": 1, "queries": queries, "rows": rows})
        return
    cells = [
        [
            f"{row['node']} {row['router']}",
            str(row["nodes"]),
            f"{row['qps'] / 1e6:.2f}",
            f"{row['ratio']:.2f}",
            f"{row['memory_mb']:.0f}",
        ]
        for row in rows
    ]
    title = f"{queries} queries at load {LOAD}"
    console.print_table(title, ("node and router", "nodes", "million queries/s", "of one node's", "MB"), cells)


if __name__ == "__main__":
    typer.run(main)
