"""Rule 19: phases in which a pool is slow, by hand, in the long run, and against closed forms."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from deeprec_env import InputError, Scenario, find_capacity, load_scenario, simulate
from deeprec_env.analysis.fluid import most_qps
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.pools import Slowness
from deeprec_env.simulation.compiled_engine import CompiledEngine
from deeprec_env.simulation.engines import ENGINES, make_engine
from deeprec_env.simulation.offered_load import offered_load
from deeprec_env.simulation.simulate import run
from deeprec_env.simulation.slow_phases import SlowPhases
from deeprec_env.workload import QueryStream, Traffic, episode_seed
from tests.conftest import day_scenario, queue
from tests.simulation.closed_forms import mm1_p95_response, pollaczek_khinchine
from tests.simulation.node_oracle import NodeOracle

EVER, NEVER = (
    {"factor": 3.0, "mean_slow_s": slow_s, "mean_normal_s": normal_s}
    for slow_s, normal_s in ((1e12, 1e-4), (1e-4, 1e12))
)
"""Slow from the first request on, and never, in any run that ends."""

EXPONENTIAL = {"kind": "exponential", "mean_ms": 1000.0}


def slowed(scenario: Scenario, slowness: dict[str, Any] | None, pool: str = "cpu") -> Scenario:
    return load_scenario(scenario, {f"node.{pool}.slowness": slowness})


def completions_s(name: str, scenario: Scenario, traffic: Traffic) -> list[float]:
    if name == "event loop":
        loop = NodeOracle(scenario, traffic)
        loop.drain()
        return [query.completion_s for query in loop.queries]
    engine = make_engine(scenario, traffic, name)
    engine.drain()
    found: list[float] = engine.records().completion_s.tolist()
    engine.close()
    return found


@pytest.mark.parametrize("name", [*ENGINES, "event loop"])
@pytest.mark.parametrize("order", ["fcfs", "small-first"])
def test_slow_services_are_base_times_slow_down_times_factor_and_then_the_overhead(name: str, order: str) -> None:
    """One item of 2 s on two cores, 1.5 times slower if both are busy, 3 times in slow phases; 0.25 s to dispatch."""
    pool = {"servers": 2, "latency": {"kind": "constant", "ms": 2000}, "contention": {"c": [0.5, 1.0, 0.0]}}
    workload = {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "fixed", "items": 1}}
    stage = {"name": "only", "overhead_s": 0.25}
    control = {"order": order}
    for slowness, expected in ((EVER, [6.25, 10.25, 15.5]), (NEVER, [2.25, 4.25, 5.5])):
        data = {"sla_ms": 1e4, "workload": workload, "control": control}
        scenario = load_scenario(data | {"pipeline": [stage | {"cpu": pool | {"slowness": slowness}}]})
        traffic = Traffic(np.array([0.0, 1.0, 2.0]), np.ones(3, dtype=np.int64), 1)
        assert completions_s(name, scenario, traffic) == expected


@pytest.mark.parametrize("name", [*ENGINES, "event loop"])
def test_a_batch_takes_the_factor_at_its_start_once(name: str) -> None:
    accelerator = {"servers": 1, "latency": {"kind": "affine", "base_ms": 1000, "per_item_ms": 1000}}
    accelerator |= {"batching": {"max_items": 10, "max_wait_ms": 0}, "slowness": EVER}
    workload = {"arrivals": {"kind": "poisson", "qps": 1.0}, "sizes": {"kind": "fixed", "items": 2}}
    scenario = load_scenario(
        {"sla_ms": 1e4, "workload": workload, "pipeline": [{"name": "only", "accelerator": accelerator}]}
    )
    traffic = Traffic(np.array([0.0, 1.0, 2.0]), np.full(3, 2, dtype=np.int64), 1)
    assert completions_s(name, scenario, traffic) == [9.0, 24.0, 24.0]


@pytest.mark.parametrize("name", ENGINES)
def test_a_request_takes_the_phase_that_it_starts_in_and_no_other(name: str) -> None:
    slowness = {"factor": 3.0, "mean_slow_s": 2.0, "mean_normal_s": 5.0}
    scenario = slowed(queue(1, {"kind": "constant", "ms": 400}, 1.0), slowness)
    traffic = QueryStream(scenario.workload, episode_seed(3)).draw(2000)
    records = run(scenario, traffic, engine=name)
    log = records.stages[0]
    assert scenario.node is not None
    phases = SlowPhases(scenario.node.cpu, 0, traffic.slow_key)
    factors = [phases.factor_at(start_s) for start_s in log.start_s.tolist()]
    assert log.end_s.tolist() == [s + 0.4 * factor for s, factor in zip(log.start_s.tolist(), factors, strict=True)]
    assert set(factors) == {1.0, 3.0}


def test_pools_have_phases_of_their_own_that_no_setting_changes() -> None:
    """Starts differ with the batch size; whether a time is slow does not."""
    slowness = {"factor": 2.0, "mean_slow_s": 0.3, "mean_normal_s": 0.5}
    scenario = load_scenario(day_scenario(control={"batch_size": 64, "threshold": 256}))
    scenario = slowed(slowed(scenario, slowness), slowness, "accelerator")
    assert scenario.node is not None
    times_s = np.arange(0.0, 50.0, 0.01).tolist()
    key = QueryStream(scenario.workload, episode_seed(0)).slow_key
    here, again, other, later = (
        [phases.factor_at(time_s) for time_s in times_s]
        for phases in (
            SlowPhases(scenario.node.cpu, pool, key + more) for pool, more in ((0, 0), (0, 0), (1, 0), (0, 1))
        )
    )
    assert here == again
    for others in (other, later):
        assert 0.2 < np.mean(np.array(here) != np.array(others)) < 0.8


def test_phases_are_exponential_and_begin_in_the_middle() -> None:
    """Shares at time 0 over 20,000 runs, and lengths of some 20,000 phases of one run."""
    slowness = {"factor": 2.0, "mean_slow_s": 1.0, "mean_normal_s": 3.0}
    spec = slowed(queue(1, EXPONENTIAL, 1.0), slowness).node
    assert spec is not None
    at_0 = np.array([SlowPhases(spec.cpu, 0, key).factor_at(0.0) for key in range(20_000)]) > 1.0
    assert at_0.mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 20_000))
    phases, step_s = SlowPhases(spec.cpu, 0, 5), 0.02
    slow = np.array([phases.factor_at(time_s) for time_s in np.arange(0.0, 40_000.0, step_s).tolist()]) > 1.0
    assert slow.mean() == pytest.approx(0.25, rel=0.03)
    changes = np.flatnonzero(np.diff(slow)) + 1
    lengths_s = np.diff(changes) * step_s
    for place, mean_s in ((0, 3.0 if not slow[changes[0]] else 1.0), (1, 1.0 if not slow[changes[0]] else 3.0)):
        found = lengths_s[place::2]
        assert found.mean() == pytest.approx(mean_s, rel=0.05)
        assert np.mean(found > mean_s) == pytest.approx(np.exp(-1.0), abs=0.02)


def response_s(scenario: Scenario, queries: int, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Latencies, waits and arrivals after a warm-up."""
    traffic = QueryStream(scenario.workload, episode_seed(seed)).draw(queries)
    records = run(scenario, traffic)
    kept = slice(queries // 50, None)
    waits_s = records.stages[0].start_s - records.arrival_s
    return records.latency_s[kept], waits_s[kept], records.arrival_s[kept]


def test_long_phases_are_two_mm1_one_after_the_other() -> None:
    """Phases of hours, a service of a second: nearly all queries see an M/M/1 in its own steady state."""
    rate, slowness = 0.3, {"factor": 2.0, "mean_slow_s": 2e4, "mean_normal_s": 3e4}
    scenario = slowed(queue(1, EXPONENTIAL, rate), slowness)
    assert scenario.node is not None
    latency_s, waits_s, arrival_s = response_s(scenario, 1_000_000)
    phases = SlowPhases(scenario.node.cpu, 0, QueryStream(scenario.workload, episode_seed(0)).slow_key)
    slow = np.array([phases.factor_at(time_s) for time_s in arrival_s.tolist()]) > 1.0
    assert slow.mean() == pytest.approx(0.4, abs=0.1)
    for chosen, service_s in ((slow, 2.0), (~slow, 1.0)):
        assert waits_s[chosen].mean() == pytest.approx(pollaczek_khinchine(rate, service_s, 2 * service_s**2), rel=0.03)
        assert np.quantile(latency_s[chosen], 0.95) == pytest.approx(mm1_p95_response(rate, service_s), rel=0.03)


@pytest.mark.parametrize("order", ["fcfs", "small-first"])
def test_short_phases_are_a_hyperexponential_mg1(order: str) -> None:
    """Phases of hundredths of a service: each request meets one of its own, slow with its share of the time."""
    rate, slowness = 0.5, {"factor": 4.0, "mean_slow_s": 0.01, "mean_normal_s": 0.09}
    scenario = slowed(queue(1, EXPONENTIAL, rate, control={"order": order}), slowness)
    latency_s, waits_s, _ = response_s(scenario, 200_000)
    first_s, second_s2 = 0.9 + 0.1 * 4.0, 2.0 * (0.9 + 0.1 * 16.0)
    assert np.mean(latency_s - waits_s) == pytest.approx(first_s, rel=0.01)
    assert waits_s.mean() == pytest.approx(pollaczek_khinchine(rate, first_s, second_s2), rel=0.04)
    assert offered_load(scenario, rate, scenario.setting)["cpu"] == pytest.approx(rate * first_s, rel=1e-12)


@pytest.mark.parametrize(("factor", "scale"), [(3.0, 1e-2), (3.0, 1.0), (3.0, 1e3), (0.25, 1.0), (0.25, 1e3)])
def test_what_a_full_pool_gets_done_is_between_the_least_and_the_mean_factor(factor: float, scale: float) -> None:
    """A server that never idles, phases against services of 1 s: short ones meet the mean, long ones the least."""
    data = {"factor": factor, "mean_slow_s": 2.0 * scale, "mean_normal_s": 3.0 * scale}
    slowness = Slowness.model_validate(data)
    scenario = slowed(queue(1, EXPONENTIAL, 10.0), data)
    queries = 50_000 if scale < 100.0 else 1_000_000
    traffic = QueryStream(scenario.workload, episode_seed(1)).draw(queries)
    log = run(scenario, traffic).stages[0]
    factor_met = float(log.end_s[-1]) / queries
    assert slowness.least_factor < slowness.mean_factor
    assert slowness.least_factor * 0.94 <= factor_met <= slowness.mean_factor * 1.02
    if scale == 1e-2:
        assert factor_met == pytest.approx(slowness.mean_factor, rel=0.03)
    if scale == 1e3:
        assert factor_met == pytest.approx(slowness.least_factor, rel=0.06)


def test_capacity_knows_slow_phases() -> None:
    """Within the bound of the load, by replications that warm up, and less than without them."""
    plain = load_scenario(day_scenario(control={"batch_size": 64}))
    plain = plain.with_arrivals({"kind": "poisson", "qps": 1.0})
    slowness = {"factor": 2.0, "mean_slow_s": 0.2, "mean_normal_s": 0.8}
    scenario = slowed(plain, slowness)
    one, two = (find_capacity(each, queries=30_000, precision=0.1, p95_only=False) for each in (plain, scenario))
    assert 0.5 * one.qps < two.qps < 0.9 * one.qps
    assert two.offered_load["cpu"] < 1.0
    by_state = slowed(load_scenario(day_scenario(control={"offload": "predicted"})), slowness)
    without = slowed(by_state, None)
    assert most_qps(by_state) < most_qps(without)


def test_a_fork_with_the_runs_own_key_goes_on_and_with_another_draws_what_is_to_come() -> None:
    scenario = slowed(queue(2, EXPONENTIAL, 0.2), {"factor": 3.0, "mean_slow_s": 20.0, "mean_normal_s": 20.0})
    stream = QueryStream(scenario.workload, episode_seed(2))
    traffic = stream.draw(600)
    engine = CompiledEngine(scenario, traffic)
    engine.advance(200.0)
    ahead = traffic.part(engine.arrived, 600)
    whole = run(scenario, traffic).completion_s[-200:]
    assert scenario.node is not None
    slow_now = SlowPhases(scenario.node.cpu, 0, traffic.slow_key).factor_at(200.0) > 1.0
    ends = []
    for key in (traffic.slow_key, *range(400)):
        future = Traffic(ahead.arrival_s, ahead.items, ahead.noise_key, ahead.query, key)
        fork = engine.fork(future)
        fork.drain()
        completion_s = fork.records().completion_s[-200:]
        assert (key == traffic.slow_key) == (completion_s.tolist() == whole.tolist())
        phase = fork._state.phases[0]
        ends.append(bool(phase["slow"]))
    assert 0.3 < np.mean(ends) < 0.7  # long after, both are as likely, however it was
    soon = []
    for key in range(400):
        fork = engine.fork(Traffic(np.array([205.0]), np.array([1]), 1, np.array([600]), key))
        fork.drain()
        soon.append(bool(fork._state.phases[0]["slow"]))
    assert np.mean(np.array(soon) == slow_now) == pytest.approx(0.5 + 0.5 * np.exp(-5.0 / 10.0), abs=0.08)


def test_the_other_streams_stay_and_the_text_without_it_too() -> None:
    scenario = load_scenario("wnd")
    slowness = {"factor": 2.0, "mean_slow_s": 0.05, "mean_normal_s": 0.1}
    slow = slowed(scenario, slowness)
    one, two = (simulate(each, queries=2000) for each in (scenario, slow))
    assert one.streams_sha256 == two.streams_sha256
    assert one.tail != two.tail
    assert "slowness" not in scenario.model_dump_json()
    assert load_scenario(slow.model_dump()) == slow
    assert slow.model_dump()["node"]["cpu"]["slowness"] == slowness


def test_an_environment_with_slow_phases_is_copied_in_mid_episode() -> None:
    data = day_scenario(control={"batch_size": 64})
    data["node"]["cpu"]["slowness"] = {"factor": 2.0, "mean_slow_s": 0.2, "mean_normal_s": 0.4}
    for engine in ENGINES:
        env = gym.make("deeprec_env:DeepRec/Serving-v1", scenario=data, engine=engine)
        env.reset(seed=4)
        for _ in range(5):
            env.step(env.action_space.sample())
        twin, action = copy.deepcopy(env), env.action_space.sample()
        assert env.step(action)[4] == twin.step(action)[4]


def test_services_without_slow_phases_alone_have_features() -> None:
    from deeprec_env.analysis.service_features import check_service

    with pytest.raises(InputError, match=r"cpu\.slowness"):
        check_service(slowed(load_scenario("wnd"), EVER))
