"""The same work by threads, by processes and by a Ray cluster of two nodes on this machine: seconds, the same bytes.

    python -m benchmarks.cluster [--part 1] [--scenario wnd] [--queries 20000] [--tasks 2000] [--json]

Needs the extra `cluster`. The works are a sweep of pipelines (every `part`-th of those of
`examples/pipelines/recpipe-5000.yaml`) and a capacity map of a preset; `overhead` are tasks that add two numbers, and
its milliseconds those of one of them. Each node of the cluster has half the cores. Before the clock starts each work is
done in small, by all, so that code is compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.analysis.capacity import PERCENTILE, PRECISION
from deeprec_env.analysis.sweep import Sweep
from deeprec_env.cores import usable_cores
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.executors.processes import Processes
from deeprec_env.executors.ray_cluster import RayCluster
from deeprec_env.recpipe.design_space.space import load_space, space_of
from deeprec_env.recpipe.design_space.sweep import sweep
from deeprec_env.scenario.load import load_scenario

SPACE = Path(__file__).resolve().parents[1] / "examples" / "pipelines" / "recpipe-5000.yaml"

Work = Callable[[Path, Executor], Path]
"""Does something into a folder, and says which file holds its results."""


def pipelines(part: int) -> Work:
    """The sweep."""
    space = space_of(load_space(SPACE))
    chosen = replace(space, candidates=space.candidates[::part])

    def swept(folder: Path, executor: Executor) -> Path:
        sweep(chosen, folder, executor=executor)
        return folder / "cells.csv"

    return swept


def capacities(scenario: str, queries: int) -> Work:
    """The map."""

    def mapped(folder: Path, executor: Executor) -> Path:
        options: dict[str, Any] = {
            "percentile": PERCENTILE,
            "precision": PRECISION,
            "seed": 0,
            "engine": "compiled",
        }
        found = Sweep(load_scenario(scenario), scenario, folder, queries=queries, pictures=(), **options)
        found.run(executor=executor)
        return found.csv

    return mapped


@contextlib.contextmanager
def cluster_of_two() -> Iterator[RayCluster]:
    """A Ray cluster of two nodes on this machine, each with half its cores."""
    from ray.cluster_utils import Cluster

    each = max(1, usable_cores() // 2)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": each})
    cluster.add_node(num_cpus=each)
    try:
        yield RayCluster(cluster.address)
    finally:
        for node in cluster.list_all_nodes():
            node.kill_all_processes(check_alive=False, allow_graceful=False)


def timed(work: Work, executor: Executor) -> tuple[float, str]:
    """Seconds, and the digest of the results."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        file = work(Path(folder), executor)
        took_s = time.perf_counter() - begun
        return took_s, hashlib.sha256(file.read_bytes()).hexdigest()


def main(
    part: Annotated[int, typer.Option(help="Sweep every so manieth pipeline only.")] = 1,
    scenario: Annotated[str, typer.Option(help="A preset, whose capacities are mapped.")] = "wnd",
    queries: Annotated[int, typer.Option(help="Queries of a replication of the map.")] = 20_000,
    tasks: Annotated[int, typer.Option(help="Tasks that add two numbers.")] = 2000,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Time executors."""
    cores = usable_cores()
    works = {"pipelines": pipelines(part), "capacity map": capacities(scenario, queries)}
    small = {"pipelines": pipelines(500), "capacity map": capacities("ncf-cpu", 2000)}
    rows: list[dict[str, Any]] = []

    def add(**row: Any) -> None:
        rows.append(row)
        typer.echo(f"{row['work']}, {row['by']}: {row['seconds']:.1f} s", err=True)

    with cluster_of_two() as cluster:
        executors: dict[str, Executor] = {
            "alone": Threads(1),
            "threads": Threads(cores),
            "processes": Processes(cores),
            "cluster": cluster,
        }
        for name, work in works.items():
            found = {}
            for label, executor in executors.items():
                timed(small[name], executor)
                found[label] = timed(work, executor)
                add(work=name, by=label, seconds=found[label][0], sha256=found[label][1])
            assert len({digest for _, digest in found.values()}) == 1, f"{name}: not the same bytes"
        for label in ("processes", "cluster"):
            begun = time.perf_counter()
            assert sorted(executors[label].results(operator.add, 0, range(tasks)))[-1] == (tasks - 1, tasks - 1)
            took_s = time.perf_counter() - begun
            add(work="overhead", by=label, seconds=took_s, ms_a_task=took_s / tasks * 1e3)
    if json:
        console.print_json({"schema_version": 1, "cores": cores, "rows": rows})
    else:
        cells = [[row["work"], row["by"], f"{row['seconds']:.1f}", f"{row.get('ms_a_task', 0):.2f}"] for row in rows]
        console.print_table(f"{cores} cores", ("work", "by", "seconds", "ms a task"), cells)
    sys.stdout.flush()
    os._exit(0)  # Ray would wait for its head


if __name__ == "__main__":
    typer.run(main)
