"""Waits and responses of single pools under Poisson arrivals, against closed forms, for both engines."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.simulation.engines import ENGINES
from tests.conftest import queue
from tests.simulation.closed_forms import (
    md1_wait_within,
    mm1_p95_response,
    mmc_mean_wait,
    mmc_response_over,
    mmc_wait_over,
    pollaczek_khinchine,
    quantile,
)
from tests.simulation.replications import (
    Law,
    assert_laws,
    mean_wait,
    share_of_responses_over,
    share_of_waits_over,
)

QUEUES = Path(__file__).parents[1] / "queues"
EXPONENTIAL, CONSTANT = {"kind": "exponential", "mean_ms": 1000}, {"kind": "constant", "ms": 1000}

both_engines = pytest.mark.parametrize("engine", ENGINES)


def mean_response(theory: Callable[[float], float]) -> Law:
    return Law(lambda sample: float(sample.latency_s.mean()), theory)


@both_engines
def test_mm1_response_is_exponential_at_rate_m_less_l(engine: str) -> None:
    rate = 0.7

    def over(time_s: float) -> Law:
        return share_of_responses_over(time_s, lambda s: math.exp(-(1.0 / s - rate) * time_s))

    mean = mean_response(lambda s: 1.0 / (1.0 / s - rate))
    assert_laws(queue(1, EXPONENTIAL, rate), engine, [mean, over(1.0), over(4.0), over(mm1_p95_response(rate, 1.0))])


@both_engines
@pytest.mark.parametrize(("servers", "load", "longer"), [(4, 0.7, 1), (8, 0.8, 1), (16, 0.9, 3), (32, 0.9, 3)])
def test_mmc_is_erlang_c(engine: str, servers: int, load: float, longer: float) -> None:
    rate = load * servers
    wait_s = 1.0 / (servers - rate)  # mean of the waits that are not 0
    p95_s = quantile(0.95, lambda t: mmc_response_over(t, servers, rate, 1.0))
    laws = [
        mean_wait(lambda s: mmc_mean_wait(servers, rate, s)),
        share_of_waits_over(0.0, lambda s: mmc_wait_over(0.0, servers, rate, s)),
        share_of_waits_over(wait_s, lambda s: mmc_wait_over(wait_s, servers, rate, s)),
        share_of_responses_over(p95_s, lambda s: mmc_response_over(p95_s, servers, rate, s)),
    ]
    assert_laws(queue(servers, EXPONENTIAL, rate), engine, laws, longer=longer)


@both_engines
@pytest.mark.parametrize(("load", "longer"), [(0.5, 1), (0.7, 1), (0.9, 3)])
def test_md1(engine: str, load: float, longer: float) -> None:
    p95_s = quantile(0.95, lambda t: 1.0 - md1_wait_within(t, load, 1.0))

    def over(time_s: float) -> Law:
        return share_of_waits_over(time_s, lambda s: 1.0 - md1_wait_within(time_s, load, s))

    mean = mean_wait(lambda s: pollaczek_khinchine(load, s, s * s))
    assert_laws(queue(1, CONSTANT, load), engine, [mean, over(0.0), over(0.5), over(1.5), over(p95_s)], longer=longer)


def assert_mg1(scenario: Scenario, engine: str, offloaded: bool, rate: float, first_s: float, second_s2: float) -> None:
    """Pollaczek-Khinchine for the queries on one of the node's pools; a query waits with the pool's load."""
    laws = [
        Law(
            lambda sample: float(sample.wait_s[sample.offloaded == offloaded].mean()),
            lambda s: pollaczek_khinchine(rate, s * first_s, s * s * second_s2),
        ),
        Law(
            lambda sample: float((sample.wait_s[sample.offloaded == offloaded] > 0.0).mean()),
            lambda s: rate * s * first_s,
        ),
        Law(
            lambda sample: float(sample.latency_s[sample.offloaded == offloaded].mean()),
            lambda s: s * first_s + pollaczek_khinchine(rate, s * first_s, s * s * second_s2),
        ),
    ]
    assert_laws(scenario, engine, laws, longer=2)


def production_queue(qps: float, batch_size: int) -> Scenario:
    """One core with lognormal noise over an affine latency: 2 + 0.05 n ms, cv 0.5; production sizes."""
    latency = {"kind": "affine", "base_ms": 2.0, "per_item_ms": 0.05, "cv": 0.5}
    workload = {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": {"kind": "production"}}
    return queue(1, latency, qps, workload=workload, control={"batch_size": batch_size})


@both_engines
@pytest.mark.parametrize("batch_size", [1000, 64])
def test_whole_and_split_queries_on_one_core_are_mg1(engine: str, batch_size: int) -> None:
    """The service of a query is the sum of its requests': in one request or several, with independent noise."""
    qps = 40.0
    scenario = production_queue(qps, batch_size)
    items, probability = scenario.workload.sizes.probabilities()
    full, rest = items // batch_size, items % batch_size
    full_s, rest_s = 2e-3 + 5e-5 * batch_size, np.where(rest > 0, 2e-3 + 5e-5 * rest, 0.0)
    mean_s = full * full_s + rest_s
    variance = 0.5**2 * (full * full_s**2 + rest_s**2)
    assert_mg1(scenario, engine, False, qps, float(probability @ mean_s), float(probability @ (variance + mean_s**2)))


@both_engines
def test_a_split_query_of_exponential_requests_is_mx_m1(engine: str) -> None:
    """Four requests of mean 1 at load 0.7: mean response 9.8333."""
    scenario = queue(1, EXPONENTIAL, 0.7 / 4, items=4, control={"batch_size": 1})
    assert_mg1(scenario, engine, False, 0.7 / 4, 4.0, 4.0 + 4.0**2)


@both_engines
@pytest.mark.parametrize("offloaded", [True, False])
def test_offload_thins_a_poisson_stream_into_two_mg1(engine: str, offloaded: bool) -> None:
    """Accelerator: rate l P(n >= T), service L(n given n >= T); one core: the rest of the queries, whole."""
    threshold, qps = 300, 250.0
    base_s, per_item_s = (1e-3, 2e-5) if offloaded else (1e-3, 1e-5)
    scenario = load_scenario(
        QUEUES / "offload.yaml",
        {"node.cpu": {"servers": 1, "latency": {"kind": "affine", "base_ms": 1.0, "per_item_ms": 0.01}}},
    )
    items, probability = scenario.workload.sizes.probabilities()
    chosen = (items >= threshold) == offloaded
    share = float(probability[chosen].sum())
    service_s = base_s + per_item_s * items[chosen]
    first_s, second_s2 = (float(probability[chosen] @ service_s**k) / share for k in (1, 2))
    assert_mg1(scenario, engine, offloaded, qps * share, first_s, second_s2)
