"""Queries a second of a fleet against one node alone, on the same queries, in the same run.

    python -m benchmarks.fleet [--queries 200000] [--nodes 10,100,1000] [--kinds service,mm1] [--batch-size 25]
                               [--rounds 3] [--plot FILE.svg] [--json]

Kinds of node: `service`, that of the preset `wnd-cpu`; `ordered`, the same with its queues in the order of slack, so
that it goes event by event; `mm1`, one server with exponential service and queries of one item. Load 0.7. Every round
runs the node alone on the queries, arriving at its rate, then each fleet on the same queries arriving at the fleet's.
Timed is the engine, from drawn traffic to records: times are of the processor, the median counts, of ratios the median
of the rounds' own. `memory_mb` is the peak that the run's arrays took, as NumPy tells tracemalloc; it is measured in a
run of its own. The plot shows time and memory of a query by the number of nodes.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.options import whole_numbers
from deeprec_env.fleet.compiled_engine import CompiledFleet
from deeprec_env.pictures import picture
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import run
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

LOAD = 0.7
ROUTERS = ("random", "round-robin", "least-requests", "least-work", "power-of-d", "probing")
BATCH_SIZE = 25
NODES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "service": ({"preset": "wnd-cpu"}, {"kind": "production"}),
    "ordered": ({"preset": "wnd-cpu", "control": {"order": "least-slack"}}, {"kind": "production"}),
    "mm1": (
        {"node": {"cpu": {"servers": 1, "latency": {"kind": "exponential", "mean_ms": 1000}}}},
        {"kind": "fixed", "items": 1},
    ),
}


def fleet(node: str, router: str, count: int, qps: float, batch_size: int) -> Scenario:
    """A fleet of like nodes."""
    described, sizes = NODES[node]
    described = described | {"control": described.get("control", {}) | {"batch_size": batch_size}}
    return load_scenario(
        {
            "sla_ms": 1e6,
            "workload": {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": sizes},
            "fleet": {"router": {"kind": router}, "groups": [{"name": node, "count": count, **described}]},
        }
    )


def rate_qps(node: str, batch_size: int) -> float:
    """Of one node at the load."""
    (alone,) = fleet(node, "random", 1, 1.0, batch_size).group_scenarios
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


def compare(
    node: str, counts: tuple[int, ...], queries: int, rounds: int, batch_size: int, routers: tuple[str, ...]
) -> list[dict[str, Any]]:
    """A row for each router and number of nodes, after the row of the node alone."""
    qps = rate_qps(node, batch_size)
    (alone,) = fleet(node, "random", 1, qps, batch_size).group_scenarios
    traffic = drawn(alone, queries)
    both = [(router, count) for router in routers for count in counts]
    fleets = {(router, count): fleet(node, router, count, qps * count, batch_size) for router, count in both}
    streams = {key: drawn(scenario, queries) for key, scenario in fleets.items()}

    works: dict[Any, Callable[[], object]] = {"alone": lambda: run(alone, traffic)}
    works |= {key: partial(_run_fleet, fleets[key], streams[key]) for key in fleets}
    took: dict[Any, list[float]] = {key: [] for key in works}
    for number in range(rounds + 1):
        for key, work in works.items():
            took_s = seconds(work)
            if number > 0:  # the first round compiles
                took[key].append(took_s)
    rows = [
        {
            "node": node,
            "router": router,
            "nodes": count,
            "queries": queries,
            "qps": queries / statistics.median(took[key]),
            "ratio": statistics.median(one / other for one, other in zip(took["alone"], took[key], strict=True)),
            "memory_mb": memory_mb(works[key]),
        }
        for key, (router, count) in {"alone": ("alone", 1), **{both: both for both in fleets}}.items()
    ]
    return rows


def _run_fleet(scenario: Scenario, traffic: Traffic) -> object:
    return CompiledFleet(scenario).run(traffic)


def write_plot(path: Path, rows: list[dict[str, Any]], title: str) -> None:
    """Time and memory of a query by the number of nodes, a line for each router."""
    with picture(path, columns=2, height=3.6) as axes:
        for axis, label, value in (
            (axes[0, 0], "microseconds of processor time a query", lambda row: 1e6 / row["qps"]),
            (axes[0, 1], "bytes a query at the peak", lambda row: 1e6 * row["memory_mb"] / row["queries"]),
        ):
            for router in dict.fromkeys(row["router"] for row in rows if row["router"] != "alone"):
                own = [row for row in rows if row["router"] == router]
                axis.plot([row["nodes"] for row in own], [value(row) for row in own], marker="o", label=router)
            axis.set(xscale="log", yscale="log", xlabel="nodes", title=label)
            axis.grid(alpha=0.3)
        axes[0, 1].legend(fontsize="small")
        axes[0, 0].figure.suptitle(title)


def main(
    queries: Annotated[int, typer.Option(help="Queries of each run.")] = 200_000,
    nodes: Annotated[str, typer.Option(help="Numbers of nodes, comma-separated.")] = "10,100,1000",
    kinds: Annotated[str, typer.Option(help="Kinds of node, comma-separated.")] = "service,mm1",
    routers: Annotated[str, typer.Option(help="Routers, comma-separated.")] = ",".join(ROUTERS),
    batch_size: Annotated[int, typer.Option(help="Of all nodes.")] = BATCH_SIZE,
    rounds: Annotated[int, typer.Option(help="Rounds, after one that compiles.")] = 3,
    plot: Annotated[Path | None, typer.Option(help="Draw time and memory by the number of nodes.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare fleets with one node."""
    counts, rows = whole_numbers("nodes", nodes), []
    for node in kinds.split(","):
        rows += compare(node, counts, queries, rounds, batch_size, tuple(routers.split(",")))
    if plot is not None:
        write_plot(plot, rows, f"Fleets of {kinds}, {queries} queries at load {LOAD}")
    if json:
        console.print_json({"schema_version": 1, "queries": queries, "batch_size": batch_size, "rows": rows})
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
    title = f"{queries} queries at load {LOAD}, batches of {batch_size}"
    console.print_table(title, ("node and router", "nodes", "million queries/s", "of one node's", "MB"), cells)


if __name__ == "__main__":
    typer.run(main)
