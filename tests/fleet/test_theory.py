"""Fleets of M/M/1 nodes against queueing theory."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.scenario.parts import Floats
from tests.fleet.fleets import drawn, one_item_nodes


def latencies_s(router: dict[str, object], nodes: int, load: float, queries: int) -> Floats:
    """Of the later four fifths of a run."""
    scenario = one_item_nodes(router, nodes, load)
    return run_fleet(scenario, drawn(scenario, queries)).whole.latency_s[queries // 5 :]


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_a_random_split_of_poisson_traffic_is_poisson_traffic_of_every_node(load: float) -> None:
    """M/M/1: response times are exponential with rate m - l."""
    found = latencies_s({"kind": "random"}, 20, load, 500_000)
    assert found.mean() == pytest.approx(1 / (1 - load), rel=0.02)
    assert np.percentile(found, 95) == pytest.approx(math.log(20) / (1 - load), rel=0.025)


@pytest.mark.parametrize(("nodes", "load"), list(product((2, 10), (0.5, 0.8))))
def test_nodes_in_turn_have_erlang_arrivals(nodes: int, load: float) -> None:
    """E_k/M/1: response times are exponential with rate 1 - s, s the root of s = A*(1 - s), A* of the gaps."""
    sigma = brentq(lambda s: (nodes * load / (nodes * load + 1 - s)) ** nodes - s, 0.0, 1 - 1e-6)
    found = latencies_s({"kind": "round-robin"}, nodes, load, 1_000_000)
    assert found.mean() == pytest.approx(1 / (1 - sigma), rel=0.03)
    assert np.percentile(found, 95) == pytest.approx(math.log(20) / (1 - sigma), rel=0.04)


def fixed_point_s(load: float, d: int) -> float:
    """Mean response of the best of d of many nodes: Mitzenmacher (2001), sum of load^((d^i - d) / (d - 1))."""
    return sum(load ** ((d**i - d) / (d - 1)) for i in range(1, 30 if d == 2 else 15))


@pytest.mark.parametrize(("d", "load"), list(product((2, 3), (0.7, 0.9))))
def test_the_best_of_a_few_of_many_nodes(d: int, load: float) -> None:
    found = latencies_s({"kind": "power-of-d", "d": d}, 500, load, 500_000)
    assert found.mean() == pytest.approx(fixed_point_s(load, d), rel=0.015)


@pytest.mark.parametrize("load", [0.7, 0.9])
def test_the_shortest_of_many_queues_is_empty(load: float) -> None:
    """The limit of the fixed point as d grows: service alone, exponential of mean 1."""
    found = latencies_s({"kind": "least-requests"}, 500, load, 500_000)
    assert found.mean() == pytest.approx(1.0, rel=0.01)
    assert np.percentile(found, 95) == pytest.approx(math.log(20), rel=0.015)


def shorter_of_two_s(load: float, most: int = 60) -> float:
    """Mean response of two M/M/1 nodes, each query to the shorter: the chain of both lengths, cut at `most`."""
    states = {pair: at for at, pair in enumerate(product(range(most + 1), repeat=2))}
    rows, columns, rates = [], [], []
    for (a, b), at in states.items():
        moves = []
        if min(a, b) < most:
            joins = [(a + 1, b)] if a < b else [(a, b + 1)] if b < a else [(a + 1, b), (a, b + 1)]
            moves += [(pair, 2 * load / len(joins)) for pair in joins]
        moves += [((a - 1, b), 1.0)] * (a > 0) + [((a, b - 1), 1.0)] * (b > 0)
        for pair, rate in moves:
            rows += [states[pair], at]
            columns += [at, at]
            rates += [rate, -rate]
    balance = csr_matrix((rates, (rows, columns)), shape=(len(states),) * 2).tolil()
    balance[0] = np.ones(len(states))
    share = spsolve(balance.tocsr(), np.eye(len(states), 1).ravel())
    return float(share @ [a + b for a, b in states]) / (2 * load)


@pytest.mark.parametrize("router", [{"kind": "least-requests"}, {"kind": "power-of-d"}])
@pytest.mark.parametrize("load", [0.7, 0.9])
def test_the_shorter_of_two_queues(router: dict[str, object], load: float) -> None:
    assert latencies_s(router, 2, load, 1_000_000).mean() == pytest.approx(shorter_of_two_s(load), rel=0.025)
