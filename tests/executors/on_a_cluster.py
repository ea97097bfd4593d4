"""What the test of the cluster does, as a program: prints one JSON object."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from deeprec_env.errors import InputError, WorkLost
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.executors.ray_cluster import RayCluster
from deeprec_env.recpipe.design_space.space import load_space, space_of
from deeprec_env.recpipe.design_space.sweep import sweep
from tests.executors.test_executors import refused, squared_slowly

SPACE = {
    "sla_ms": 25,
    "queries": 2000,
    "qps": [100, 400],
    "grids": [{"stages": [{"model": ["dim_4", "dim_16"], "items": [256, 1024], "device": "cpu", "engines": [8]}]}],
}


def swept(folder: Path, executor: Executor) -> str:
    """The table of a small sweep."""
    sweep(space_of(load_space(SPACE)), folder, executor=executor)
    return (folder / "cells.csv").read_text(encoding="utf-8")


def main(folder: Path) -> None:
    """A cluster of two nodes; then without its head."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    executor = RayCluster(cluster.address)
    found: dict[str, object] = {
        "alone": swept(folder / "alone", Threads(1)),
        "on the cluster": swept(folder / "cluster", executor),
    }
    marks = folder / "marks"
    marks.mkdir()
    results = executor.results(squared_slowly, marks, range(20))
    done = [next(results)]
    doing = {path.name.split("-")[1] for path in marks.iterdir()}
    os.kill(int(min(doing)), signal.SIGKILL)
    done += results
    found["after the death of a worker"] = sorted(done)
    found["a worker was killed"] = len({path.name.split("-")[1] for path in marks.iterdir()} - doing) > 0
    try:
        list(executor.results(refused, 0, range(5)))
    except InputError as error:
        found["what a piece raises"] = str(error)
    told = 0
    try:
        for _ in executor.results(squared_slowly, marks, range(200)):
            told += 1
            if told == 3:
                cluster.head_node.kill_gcs_server()
    except WorkLost as lost:
        found["after the death of the head"] = str(lost)
    found["told before it"] = told
    print(json.dumps(found), flush=True)
    for node in cluster.list_all_nodes():
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    os._exit(0)  # Ray would wait for its head


if __name__ == "__main__":
    main(Path(sys.argv[1]))
