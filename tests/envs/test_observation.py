"""Every entry of the observation, by value: worked out again from records, without the code of the environments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from deeprec_env.envs import CapacityEnv, PipelineEnv, ServingEnv
from deeprec_env.envs.node_env import NodeEnv
from deeprec_env.envs.observation import CAPACITY_FIELDS, FIELDS
from deeprec_env.scenario import Stage
from deeprec_env.simulation import Records
from deeprec_env.simulation.records import StageRecords
from tests.conftest import day_scenario, pipeline_day, plans_day

CAPACITY = {"qps": 1500, "batch_size": 64, "threshold": 256, "found_by": "a test"}
Columns = dict[str, float]


class Day:
    """An environment's records, asked about its windows."""

    def __init__(self, env: NodeEnv, records: Records, scale_qps: float) -> None:
        self.env, self.records, self.scale_qps = env, records, scale_qps
        self.sla_s, self.mean_items = env.scenario.sla_s, env.scenario.workload.sizes.mean_items

    def bounds_s(self, window: int) -> tuple[float, float]:
        return window * self.env.interval_s, (window + 1) * self.env.interval_s

    def sample(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """The queries in the sample, and their latencies or ages."""
        begin_s, end_s = self.bounds_s(window)
        arrival_s, completion_s = self.records.arrival_s, self.records.completion_s
        completed = (begin_s <= completion_s) & (completion_s < end_s)
        old = (arrival_s < end_s) & (end_s <= completion_s) & (end_s - arrival_s > self.sla_s)
        queries = np.flatnonzero(completed | old)
        return queries, np.minimum(completion_s, end_s)[queries] - arrival_s[queries]

    def busy_share(self, window: int, log: StageRecords, stage: Stage, kind: str) -> float:
        begin_s, end_s = self.bounds_s(window)
        if kind not in stage.pools():
            return 0.0
        request = np.repeat(log.offloaded == (kind == "accelerator"), np.diff(log.first))
        overlap_s = np.minimum(log.end_s, end_s) - np.maximum(log.start_s, begin_s)
        return overlap_s[request].clip(0.0).sum() / (stage.pools()[kind].servers * (end_s - begin_s))

    def backlog(self, queries: float) -> float:
        return math.log(1.0 + queries / (self.scale_qps * self.sla_s))

    def measured(self, window: int) -> Columns:
        begin_s, end_s = self.bounds_s(window)
        _, times_s = self.sample(window)
        arrival_s, completion_s = self.records.arrival_s, self.records.completion_s
        arrived = (begin_s <= arrival_s) & (arrival_s < end_s)
        completed = ((begin_s <= completion_s) & (completion_s < end_s)).sum()
        shares = {
            kind: [self.busy_share(window, *stage, kind) for stage in self.stages()] for kind in ("cpu", "accelerator")
        }
        return {
            **{
                f"p{level}": np.percentile(times_s, level) / self.sla_s if times_s.size else 0.0
                for level in (50, 95, 99)
            },
            "violation_rate": (times_s > self.sla_s).mean() if times_s.size else 0.0,
            "offered": arrived.sum() / self.env.interval_s / self.scale_qps,
            "completed": completed / self.env.interval_s / self.scale_qps,
            "mean_items": self.records.items[arrived].mean() / self.mean_items if arrived.any() else 0.0,
            **{f"{kind}_utilisation": max(share) for kind, share in shares.items()},
            "backlog": self.backlog(((arrival_s < end_s) & (completion_s >= end_s)).sum()),
        }

    def stages(self) -> list[tuple[StageRecords, Stage]]:
        return list(zip(self.records.stages, self.env.scenario.stages, strict=True))

    def at_stage(self, window: int) -> list[int]:
        """Queries at each stage at the window's end: the first one whose requests have not all ended."""
        _, end_s = self.bounds_s(window)
        counts = [0] * len(self.records.stages)
        in_flight = (self.records.arrival_s < end_s) & (self.records.completion_s >= end_s)
        for query in np.flatnonzero(in_flight):
            ends_s = [log.end_s[log.first[query] : log.first[query + 1]] for log in self.records.stages]
            counts[next(stage for stage, of_it in enumerate(ends_s) if (of_it >= end_s).any())] += 1
        return counts


def time_of_day(window: int, windows: int) -> Columns:
    angle = 2.0 * math.pi * (window + 1) / windows
    return {"day_sin": math.sin(angle), "day_cos": math.cos(angle)}


def played(env: NodeEnv, actions: np.ndarray, scale_qps: float) -> tuple[Day, np.ndarray]:
    """The day of an episode, and the observations that it gave, (windows, entries)."""
    env.reset(seed=3, options={"split": "test"})
    observations = np.array([env.step(action)[0] for action in actions])
    return Day(env, env.finish(), scale_qps), observations


def assert_columns(
    names: tuple[str, ...], observations: np.ndarray, expected: list[Columns], still: frozenset[str] = frozenset()
) -> None:
    """Equal, entry by entry; and, but for those that stand `still`, no entry is always the same."""
    for column, name in enumerate(names):
        values = np.clip([columns[name] for columns in expected], -1.0, 10.0)
        np.testing.assert_allclose(observations[:, column], values, rtol=1e-6, atol=1e-7, err_msg=name)
        assert (len(set(values.tolist())) == 1) == (name in still), name
    assert set(names) == set(expected[0])


def overloaded(data: dict[str, Any]) -> dict[str, Any]:
    """So many more queries that some wait for ten times the target."""
    data["workload"]["arrivals"] |= {"qps": 4000}
    return data | {"sla_ms": 12}


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
@pytest.mark.parametrize(
    ("scenario", "scale_qps"),
    [
        (day_scenario(sla_ms=20), 400),
        (day_scenario(sla_ms=20, capacity=CAPACITY), 1500),
        (pipeline_day() | {"sla_ms": 25}, 400),
        (overloaded(day_scenario()), 4000),
    ],
    ids=["day", "of-capacity", "stages", "overloaded"],
)
def test_every_entry_of_serving(scenario: dict[str, Any], scale_qps: float, engine: str) -> None:
    env = ServingEnv(scenario, engine=engine)
    actions = np.random.default_rng(5).integers(0, [13, 13], (12, 2))
    day, observations = played(env, actions, scale_qps)
    expected = [
        day.measured(window) | {"batch_size": first / 12, "threshold": second / 12} | time_of_day(window, 12)
        for window, (first, second) in enumerate(actions.tolist())
    ]
    assert_columns(FIELDS, observations, expected)
    assert (observations.max() == 10.0) == (scale_qps == 4000)  # clipped there alone


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
def test_every_entry_of_capacity(engine: str) -> None:
    env = CapacityEnv(day_scenario(capacity=CAPACITY), engine=engine)
    env.windows = 24
    actions = np.random.default_rng(6).integers(0, [13, 13], (24, 2))
    _, start = env.reset(seed=3, options={"split": "test"})
    step = round(math.log(start["load_qps"] / 1500, 1.05))  # of the rate of the first window, from the reference
    day, observations = played(env, actions, 1500)
    expected = []
    for window, (first, second) in enumerate(actions.tolist()):
        _, times_s = day.sample(window)
        if times_s.size:
            p95_s = np.percentile(times_s, 95)
            step += -1 if p95_s > env.scenario.sla_s else 1 if p95_s < env.scenario.sla_s / 1.1 else 0
        place = {"batch_size": first / 12, "threshold": second / 12, "load": (step + 47) / 57}
        expected.append(day.measured(window) | place)
    assert_columns(CAPACITY_FIELDS, observations, expected)


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
def test_every_entry_of_pipeline(engine: str) -> None:
    env = PipelineEnv(plans_day(), engine=engine)
    actions = np.random.default_rng(7).integers(0, [4, 3, 3], (12, 3))
    day, observations = played(env, actions, 1500)
    assert day.records.plan is not None
    quality = np.array([0.9, 0.85, 0.7, 0.6])[day.records.plan]
    expected = []
    for window, (plan, first, second) in enumerate(actions.tolist()):
        columns = day.measured(window) | {"batch_size": first / 2, "threshold": second / 2} | time_of_day(window, 12)
        (filters, filter_stage), (ranks, rank_stage) = day.stages()
        columns["filter_cpu"] = day.busy_share(window, filters, filter_stage, "cpu")
        columns["rank_cpu"] = day.busy_share(window, ranks, rank_stage, "cpu")
        columns["rank_accelerator"] = day.busy_share(window, ranks, rank_stage, "accelerator")
        for name, queries in zip(("filter", "rank"), day.at_stage(window), strict=True):
            columns[f"{name}_backlog"] = day.backlog(queries)
        columns |= {f"plan_{index}": float(index == plan) for index in range(4)}
        queries, _ = day.sample(window)
        columns["quality"] = quality[queries].mean() / 0.9 if queries.size else 0.0
        expected.append(columns)
    assert_columns(env.fields, observations, expected, frozenset({"mean_items"}))  # queries of one size


@pytest.mark.parametrize(
    ("env", "batch_size", "threshold"),
    [
        (ServingEnv(day_scenario(control={"interval_s": 0.1, "batch_size": 100, "threshold": 700})), 7 / 13, 10 / 13),
        (CapacityEnv(day_scenario(control={"interval_s": 0.1, "batch_size": 25, "threshold": None})), 2 / 12, 1.0),
        (PipelineEnv(plans_day()), 1 / 2, 1.0),
    ],
    ids=["off-the-ladder", "capacity", "pipeline"],
)
def test_the_first_observation_is_of_an_empty_window(env: Any, batch_size: float, threshold: float) -> None:
    observation, info = env.reset(seed=0)
    expected = {"batch_size": batch_size, "threshold": threshold, "day_cos": 1.0, "plan_0": 1.0}
    if "load_qps" in info:
        expected["load"] = (round(math.log(info["load_qps"] / info["reference_qps"], 1.05)) + 47) / 57
    names = env.fields if isinstance(env, PipelineEnv) else CAPACITY_FIELDS if "load_qps" in info else FIELDS
    assert observation.tolist() == pytest.approx([expected.get(name, 0.0) for name in names], rel=1e-6)
