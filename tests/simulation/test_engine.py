from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeprec_env import InputError, Scenario, load_scenario, simulate
from deeprec_env.scenario import Threshold
from deeprec_env.simulation import AsyncioEngine, Records
from deeprec_env.simulation.engine import Engine
from deeprec_env.simulation.simulate import ENGINES, make_engine, run
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import OwnLatency, day_scenario, queue
from tests.simulation.oracle import OracleStage, oracle

latencies = st.one_of(
    # Constant times on a grid make ties normal: completions, entries, arrivals and starts at one instant.
    st.sampled_from([{"kind": "constant", "ms": ms} for ms in (250.0, 500.0, 1000.0)]),
    st.sampled_from([{"kind": "exponential", "mean_ms": 400.0}, OwnLatency()]),
    st.sampled_from([{"kind": "affine", "base_ms": 100.0, "per_item_ms": 50.0, "cv": cv} for cv in (0.0, 0.5)]),
)
contentions = st.sampled_from([{}, {"c": [0.9, 0.5, 0.1]}, {"c": [1.0, 0.25, 0.0], "servers": 7}])


@st.composite
def pools(draw: Any) -> dict[str, Any]:
    return {"servers": draw(st.integers(1, 4)), "latency": draw(latencies), "contention": draw(contentions)}


@st.composite
def scenarios(draw: Any) -> Scenario:
    stages = []
    for position in range(draw(st.integers(1, 3))):
        stage = {"name": f"s{position}", "cpu": draw(pools())}
        if draw(st.booleans()):
            stage["accelerator"] = draw(pools())
        stage["keep"] = draw(st.sampled_from([None, 1, 3, 5]))
        stage["overhead_s"] = draw(st.sampled_from([0.0, 0.125]))
        stage["transfer_s"] = draw(st.sampled_from([0.0, 0.25]))
        stages.append(stage)
    return load_scenario(
        {
            "sla_ms": 2000,
            "workload": {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "fixed", "items": 1}},
            "pipeline": stages,
        }
    )


@st.composite
def traffics(draw: Any) -> Traffic:
    count = draw(st.integers(1, 40))
    if draw(st.booleans()):  # on a grid, several at one instant
        gaps = draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=count, max_size=count))
    else:
        gaps = np.random.default_rng(draw(st.integers(0, 99))).exponential(0.4, count).tolist()
    items = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    return Traffic(np.cumsum(gaps), np.array(items, dtype=np.int64), draw(st.integers(0, 2**64 - 1)))


settings_of_a_window = st.tuples(st.integers(1, 6), st.sampled_from([None, 1, 3, 6]))


def allowed(scenario: Scenario, setting: tuple[int, Threshold]) -> tuple[int, Threshold]:
    return setting if scenario.has_accelerator else (setting[0], None)


def assert_same(records: Records, stages: list[OracleStage]) -> None:
    for have, want in zip(records.stages, stages, strict=True):
        assert have.offloaded.tolist() == want.offloaded
        assert np.diff(have.first).tolist() == [len(starts) for starts in want.start_s]
        assert have.start_s.tolist() == [start for starts in want.start_s for start in starts]
        assert have.end_s.tolist() == [end for ends in want.end_s for end in ends]
    assert records.completion_s.tolist() == [max(ends) for ends in stages[-1].end_s]


@pytest.mark.parametrize("name", ENGINES)
@given(scenario=scenarios(), traffic=traffics(), windows=st.lists(settings_of_a_window, min_size=1, max_size=6))
def test_engines_are_the_fcfs_recursion_to_the_bit_with_settings_that_change(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[tuple[int, Threshold]]
) -> None:
    interval = 1.25
    chosen = [allowed(scenario, setting) for setting in windows]
    engine = make_engine(scenario, traffic, name)
    for index, setting in enumerate(chosen):
        engine.control(*setting)
        engine.advance((index + 1) * interval)
        assert engine.now_s == (index + 1) * interval
    engine.drain()
    records = engine.records()
    engine.close()
    window = np.minimum(traffic.arrival_s // interval, len(chosen) - 1).astype(int)
    in_force = [chosen[index] for index in window]
    assert list(zip(records.batch_size.tolist(), records.threshold.tolist(), strict=True)) == [
        (size, np.inf if threshold is None else threshold) for size, threshold in in_force
    ]
    assert_same(records, oracle(scenario, traffic, in_force))


def state(engine: Engine) -> tuple[object, ...]:
    """All that an engine shows at an instant."""
    records = engine.records()
    arrays = [records.arrival_s, records.items, records.batch_size, records.threshold, records.completion_s]
    for log in records.stages:
        arrays += [log.offloaded, log.first, log.start_s, log.end_s]
    return engine.now_s, engine.arrived, engine.completed, *(array.tobytes() for array in arrays)


@settings(max_examples=1000)
@given(
    scenario=scenarios(),
    traffic=traffics(),
    windows=st.lists(settings_of_a_window, min_size=1, max_size=6),
    interval=st.sampled_from([0.25, 0.7, 1.25]),
)
def test_both_engines_show_the_same_bytes_at_every_window(
    scenario: Scenario, traffic: Traffic, windows: list[tuple[int, Threshold]], interval: float
) -> None:
    """A thousand random scenarios: pipelines of 1 to 3 stages, ties, contention, overload, settings that change."""
    engines = [make_engine(scenario, traffic, name) for name in ENGINES]
    for index, setting in enumerate(windows):
        for engine in engines:
            engine.control(*allowed(scenario, setting))
            engine.advance((index + 1) * interval)
        assert state(engines[0]) == state(engines[1])
    for engine in engines:
        engine.drain()
    assert state(engines[0]) == state(engines[1])
    for engine in engines:
        engine.close()


@given(scenario=scenarios(), traffic=traffics(), setting=settings_of_a_window)
def test_path_properties(scenario: Scenario, traffic: Traffic, setting: tuple[int, Threshold]) -> None:
    scenario = scenario.with_settings(*allowed(scenario, setting))
    records = run(scenario, traffic)
    assert len(records) == len(traffic.arrival_s)
    assert np.isfinite(records.completion_s).all()
    assert (records.latency_s > 0).all()
    for stage, log in zip(scenario.stages, records.stages, strict=True):
        for kind, pool in stage.pools().items():
            starts, ends = log.of_pool(kind == "accelerator")
            for instant in starts:  # never more requests in service than servers
                assert ((starts <= instant) & (ends > instant)).sum() <= pool.servers
    again = run(scenario, traffic)
    assert again.completion_s.tobytes() == records.completion_s.tobytes()


@given(traffic=traffics(), servers=st.integers(1, 3), batch_size=st.integers(1, 5), latency=latencies)
def test_stretching_gaps_and_adding_servers_never_hurt_a_single_stage(
    traffic: Traffic, servers: int, batch_size: int, latency: dict[str, Any]
) -> None:
    def latency_s(count: int, stretch: float) -> np.ndarray:
        stretched = Traffic(traffic.arrival_s * stretch, traffic.items, traffic.noise_key)
        scenario = queue(count, latency, 1.0, control={"batch_size": batch_size})
        return run(scenario, stretched).latency_s

    before = latency_s(servers, 1.0)
    assert (latency_s(servers, 1.5) <= before + 1e-9).all()
    assert (latency_s(servers + 1, 1.0) <= before + 1e-9).all()


def test_different_actions_see_the_same_arrivals_sizes_and_noise() -> None:
    """Must show 7: under B = 1 every item is a request of its own, so that its service time shows its noise."""
    scenario = load_scenario(day_scenario(), {"node.cpu.latency": {"kind": "exponential", "mean_ms": 1.0}})
    traffic = QueryStream(scenario.workload, episode_seed(3)).draw(300)
    rng = np.random.default_rng(0)
    services = []
    for _ in range(2):
        engine = AsyncioEngine(scenario, traffic)
        for window in range(1, 10):
            engine.control(int(rng.choice([1, 7, 40])), [None, 64, 300][rng.integers(3)])
            engine.advance(window * 0.08)
        engine.drain()
        records = engine.records()
        assert records.arrival_s.tobytes() == traffic.arrival_s.tobytes()
        assert records.items.tobytes() == traffic.items.tobytes()
        (log,) = records.stages
        first_requests = log.first[:-1]
        service = log.end_s[first_requests] - log.start_s[first_requests]
        services.append({i: service[i] for i in range(300) if not records.offloaded[i]})
    both = sorted(set(services[0]) & set(services[1]))
    assert len(both) > 50
    assert [services[0][i] for i in both] == pytest.approx([services[1][i] for i in both], rel=1e-9)


def test_an_empty_node_runs_the_list_schedule() -> None:
    scenario = queue(3, {"kind": "affine", "base_ms": 100, "per_item_ms": 10}, 1.0, control={"batch_size": 4})
    records = run(scenario, Traffic(np.array([5.0]), np.array([18]), 1))
    # Requests of 4, 4, 4, 4 and 2 items: 0.14 s each and 0.12 s; the fourth and fifth wait for a server.
    assert records.stages[0].end_s - 5.0 == pytest.approx([0.14, 0.14, 0.14, 0.28, 0.26])
    assert records.latency_s == pytest.approx([0.28])


def test_gaps_can_be_stretched_in_mid_run() -> None:
    scenario = queue(1, {"kind": "constant", "ms": 1}, 1.0)
    engine = AsyncioEngine(scenario, Traffic(np.arange(1.0, 9.0), np.ones(8, dtype=np.int64), 1))
    engine.advance(3.5)
    engine.stretch_gaps(2.0)
    engine.drain()
    assert engine.records().arrival_s.tolist() == [1.0, 2.0, 3.0, 4.5, 6.5, 8.5, 10.5, 12.5]


def test_running_until_so_many_have_completed() -> None:
    scenario = queue(2, {"kind": "exponential", "mean_ms": 900}, 1.0)
    traffic = QueryStream(scenario.workload, episode_seed(0)).draw(100)
    engine = AsyncioEngine(scenario, traffic)
    engine.run_until_completed(40)
    assert engine.completed == 40
    assert len(engine.finished_latency_s(0, 40)) == 40
    engine.drain()
    assert engine.records().completion_s.tobytes() == run(scenario, traffic).completion_s.tobytes()
    engine.close()
    engine.close()


def test_what_the_compiled_engine_cannot_do_names_the_one_that_can() -> None:
    async def idle(node: AsyncioEngine) -> None:
        await anyio.sleep(1)

    with pytest.raises(InputError, match="use asyncio"):
        simulate(day_scenario(), queries=2000, engine="compiled", coroutines=[idle])
    engine = make_engine(
        queue(1, {"kind": "constant", "ms": 1}, 1.0), Traffic(np.ones(1), np.ones(1, int), 1), "compiled"
    )
    with pytest.raises(InputError, match="use asyncio"):
        engine.run_until_completed(1)


def test_bad_settings_are_refused_by_name() -> None:
    scenario = queue(1, {"kind": "constant", "ms": 1}, 1.0)
    engine = AsyncioEngine(scenario, QueryStream(scenario.workload, episode_seed(0)).draw(5))
    for field, setting in (("batch_size", (0, None)), ("threshold", (4, 0)), ("threshold", (4, 64))):
        with pytest.raises(InputError, match=field):
            engine.control(*setting)
    with pytest.raises(InputError, match="pool"):
        engine.waiting("accelerator")
