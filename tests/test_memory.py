"""Memory is asked for before it is taken: what needs more than there is is refused, in no time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from deeprec_env import InputError, find_capacity, load_scenario, simulate
from deeprec_env.memory import available_bytes, check_memory
from deeprec_env.simulation.checks import requests_per_query
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.conftest import day_scenario, pipeline_day

MILLION_ITEMS = {"kind": "fixed", "items": 10**6}


def test_what_there_is_may_be_taken_and_no_more() -> None:
    available = available_bytes()
    assert available is not None
    check_memory("count", 3, 0.5 * available)
    with pytest.raises(InputError, match=r"^count: got 3; needs about \d.* GiB of memory; .* are available$"):
        check_memory("count", 3, 2.0 * available + 2.0**40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"queries": 10**10, "engine": "asyncio"}, r"^queries: .* of .* requests each'; needs about"),
        ({"queries": 10**11}, r"^queries: got 100000000000; must be .* at most 10000000000$"),
    ],
)
def test_long_runs_are_refused(arguments: dict[str, Any], message: str) -> None:
    begun = time.perf_counter()
    for run in (simulate, find_capacity):
        with pytest.raises(InputError, match=message):
            run(**{"scenario": day_scenario()} | arguments)  # type: ignore[operator]
    assert time.perf_counter() - begun < 5.0


def test_many_requests_are_refused_where_they_are_kept_and_where_they_stream() -> None:
    data = day_scenario(control={"batch_size": 1})
    data["workload"]["sizes"] = MILLION_ITEMS
    for queries in (20_000, 2_000_000):
        with pytest.raises(InputError, match=r"^queries.* of 1e\+06 requests each'; needs about"):
            simulate(data, queries=queries)


def test_requests_are_counted_as_they_are_made() -> None:
    for data in (day_scenario(), day_scenario(control={"batch_size": 32, "threshold": 300}), pipeline_day()):
        records = simulate(data, queries=4000).records
        assert records is not None
        made = sum(len(stage.start_s) for stage in records.stages) / len(records)
        assert requests_per_query(load_scenario(data)) == pytest.approx(made, rel=0.05)


@pytest.mark.parametrize("name", ["deeprec_env:DeepRec/Serving-v1", "deeprec_env:DeepRec/Capacity-v0"])
def test_many_environments_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^num_envs: got 100000000; needs about"):
        gym.make_vec(name, num_envs=10**8, scenario=day_scenario(), vectorization_mode="vector_entry_point")


def test_a_day_too_long_to_hold_is_refused() -> None:
    data = day_scenario()
    data["workload"]["arrivals"]["day_s"] = 1e9
    env = gym.make("deeprec_env:DeepRec/Serving-v1", scenario=data)
    with pytest.raises(InputError, match=r"^queries of an episode: got .*; needs about"):
        env.reset(seed=0)
    assert simulate(data, queries=1100).queries == 1100  # which needs none of it


def test_copies_of_a_trace_are_refused(tmp_path: Path) -> None:
    (tmp_path / "trace.txt").write_text("\n".join(map(str, np.arange(10**5))), encoding="utf-8")
    data = day_scenario()
    data["workload"]["arrivals"] = {"kind": "trace", "path": str(tmp_path / "trace.txt"), "rate_scale": 1e12}
    with pytest.raises(InputError, match="rate_scale: got 1000000000000"):
        load_scenario(data)
    data["workload"]["arrivals"]["rate_scale"] = 1e6
    stream = QueryStream(load_scenario(data).workload, episode_seed(0))
    with pytest.raises(InputError, match=r"^rate_scale: got 1000000.0; needs about"):
        stream.draw(10)
