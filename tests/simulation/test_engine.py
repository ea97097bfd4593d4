from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deeprec_env import InputError, Scenario, load_scenario, simulate
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation import AsyncioEngine, Records
from deeprec_env.simulation.engine import Engine, ForkableEngine
from deeprec_env.simulation.engines import ENGINES, FORK, STOP, engine_kind, make_engine
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import day_scenario, queue
from tests.simulation.oracle import OracleStage, oracle
from tests.simulation.random_scenarios import allowed, bursty_traffics, scenarios, settings_of_a_window


def assert_same(records: Records, stages: list[OracleStage], completion_s: list[float]) -> None:
    for have, want in zip(records.stages, stages, strict=True):
        assert have.offloaded.tolist() == want.offloaded
        assert np.diff(have.first).tolist() == [len(starts) for starts in want.start_s]
        assert have.start_s.tolist() == [start for starts in want.start_s for start in starts]
        assert have.end_s.tolist() == [end for ends in want.end_s for end in ends]
    assert records.completion_s.tolist() == completion_s


@pytest.mark.parametrize("name", ENGINES)
@given(scenario=scenarios(), traffic=bursty_traffics(), windows=st.lists(settings_of_a_window, min_size=1, max_size=6))
def test_engines_are_the_fcfs_recursion_to_the_bit_with_settings_that_change(
    name: str, scenario: Scenario, traffic: Traffic, windows: list[Setting]
) -> None:
    interval = 1.25
    chosen = [allowed(scenario, setting) for setting in windows]
    engine = make_engine(scenario, traffic, name)
    for index, setting in enumerate(chosen):
        engine.control(setting)
        engine.advance((index + 1) * interval)
        assert engine.now_s == (index + 1) * interval
    engine.drain()
    records = engine.records()
    engine.close()
    window = np.minimum(traffic.arrival_s // interval, len(chosen) - 1).astype(int)
    in_force = [chosen[index] for index in window]
    assert [Setting.of(row) for row in records.setting] == in_force
    assert records.batch_size.tolist() == [setting.batch_size for setting in in_force]
    assert records.threshold.tolist() == [setting.numbers.threshold for setting in in_force]
    assert (records.plan is None) == (scenario.plans is None)
    assert records.plan is None or records.plan.tolist() == [setting.plan for setting in in_force]
    assert_same(records, *oracle(scenario, traffic, in_force))


def state(engine: Engine) -> tuple[object, ...]:
    """All that an engine shows at an instant."""
    records = engine.records()
    arrays: list[NDArray[Any]] = [records.arrival_s, records.items, records.batch_size, records.threshold]
    arrays.append(records.completion_s)
    if records.plan is not None:
        arrays.append(records.plan)
    for log in records.stages:
        arrays += [log.offloaded, log.first, log.start_s, log.end_s]
    return engine.now_s, engine.arrived, engine.completed, *(array.tobytes() for array in arrays)


@settings(max_examples=1000)
@given(
    scenario=scenarios(),
    traffic=bursty_traffics(),
    windows=st.lists(settings_of_a_window, min_size=1, max_size=6),
    interval=st.sampled_from([0.25, 0.7, 1.25]),
)
def test_both_engines_show_the_same_bytes_at_every_window(
    scenario: Scenario, traffic: Traffic, windows: list[Setting], interval: float
) -> None:
    """A thousand random scenarios: 1 to 3 stages, ties, bursts, contention, overload, settings that change."""
    engines = [make_engine(scenario, traffic, name) for name in ENGINES]
    for index, setting in enumerate(windows):
        for engine in engines:
            engine.control(allowed(scenario, setting))
            engine.advance((index + 1) * interval)
        assert state(engines[0]) == state(engines[1])
    for engine in engines:
        engine.drain()
    assert state(engines[0]) == state(engines[1])
    for engine in engines:
        engine.close()


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
    with pytest.raises(InputError, match="can't stop after a completion, as my tuner needs; use asyncio"):
        engine_kind("compiled", STOP, asker="my tuner")
    with pytest.raises(InputError, match="can't be copied in mid-run; use compiled"):
        engine_kind("asyncio", FORK)
    assert isinstance(make_engine(load_scenario(day_scenario()), Traffic.nothing(), "compiled"), ForkableEngine)


def test_bad_settings_are_refused_by_name() -> None:
    scenario = queue(1, {"kind": "constant", "ms": 1}, 1.0)
    engine = AsyncioEngine(scenario, QueryStream(scenario.workload, episode_seed(0)).draw(5))
    with pytest.raises(InputError, match="threshold"):
        engine.control(Setting(4, 64))
    with pytest.raises(InputError, match="pool"):
        engine.waiting("accelerator")
