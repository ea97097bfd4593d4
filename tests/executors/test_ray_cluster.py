"""On a Ray cluster of two nodes on this machine, in a process of its own: Ray leaves much behind in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeprec_env.errors import InputError
from deeprec_env.extras import is_installed

pytestmark = pytest.mark.skipif(not is_installed("ray"), reason="the extra cluster is not installed")

ROOT = Path(__file__).resolve().parents[2]


def test_a_cluster_gives_the_same_bytes_and_survives_a_worker_but_not_its_head(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "tests.executors.on_a_cluster", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=400,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["alone"] == found["on the cluster"]
    assert found["a worker was killed"]
    assert found["after the death of a worker"] == [[task, task * task] for task in range(20)]
    assert "the head of the cluster" in found["after the death of the head"]
    assert 0 < found["told before it"] < 200
    assert "must not be 3" in found["what a piece raises"]


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("nowhere", "HOST:PORT"), ("host:0", "HOST:PORT"), ("host:99999", "HOST:PORT"), (":6379", "HOST:PORT")],
)
def test_an_address_that_is_none_is_refused(address: str, allowed: str) -> None:
    from deeprec_env.executors.ray_cluster import RayCluster

    with pytest.raises(InputError, match=allowed):
        RayCluster(address)


def test_a_cluster_that_does_not_answer_is_refused() -> None:
    from deeprec_env.executors.ray_cluster import RayCluster
    from tests.executors.test_executors import times

    with pytest.raises(InputError, match="did not answer within 10 s"):
        list(RayCluster("127.0.0.1:9").results(times, 1, [1, 2]))
