"""Closed forms of queueing theory: arrival rate l, service rate m of a server, load r = l / (c m), service time S.

Sources: Kleinrock, Queueing Systems I (M/M/c, section 3.5; M/G/1, section 5.7); Erlang 1909 and Crommelin 1932 (M/D/1);
Graham 1969 (list schedules); Cobham 1954 (priorities); Bailey 1954 (bulk service); Boots and Tijms
1999 (impatient customers). Nothing here is shared with the engines.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np


def erlang_c(servers: int, load: float) -> float:
    """Probability that a query waits in M/M/c."""
    offered, blocked = load * servers, 1.0  # Erlang B, by its recursion in the number of servers
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked / (1.0 - load * (1.0 - blocked))


def mmc_mean_wait(servers: int, rate: float, service_s: float) -> float:
    """Mean wait in M/M/c: C / (c m - l)."""
    return erlang_c(servers, rate * service_s / servers) / (servers / service_s - rate)


def mmc_wait_over(time_s: float, servers: int, rate: float, service_s: float) -> float:
    """P(wait > t) in M/M/c: C exp(-(c m - l) t)."""
    return erlang_c(servers, rate * service_s / servers) * math.exp(-(servers / service_s - rate) * time_s)


def mmc_response_over(time_s: float, servers: int, rate: float, service_s: float) -> float:
    """P(response > t) in M/M/c: a wait of 0, or exponential at rate c m - l, and then an exponential service."""
    waits = erlang_c(servers, rate * service_s / servers)
    m, w = 1.0 / service_s, servers / service_s - rate
    served, waited = math.exp(-m * time_s), math.exp(-w * time_s)
    both = (1.0 + m * time_s) * served if math.isclose(m, w) else (w * served - m * waited) / (w - m)
    return (1.0 - waits) * served + waits * both


def mm1_p95_response(rate: float, service_s: float) -> float:
    """p95 of the response in M/M/1, which is exponential at rate m - l."""
    return math.log(20.0) / (1.0 / service_s - rate)


def md1_wait_within(time_s: float, rate: float, service_s: float) -> float:
    """P(wait <= t) in M/D/1: (1 - r) sum_i [l (iD - t)]^i / i! exp(-l (iD - t)) over i D <= t."""
    steps = [rate * (i * service_s - time_s) for i in range(math.floor(time_s / service_s) + 1)]
    terms = (step**i / math.factorial(i) * math.exp(-step) for i, step in enumerate(steps))
    return (1.0 - rate * service_s) * math.fsum(terms)


def pollaczek_khinchine(rate: float, first_s: float, second_s2: float) -> float:
    """Mean wait in M/G/1 from E[S] and E[S^2]: l E[S^2] / (2 (1 - r))."""
    return rate * second_s2 / (2.0 * (1.0 - rate * first_s))


def cobham(rates: Sequence[float], firsts_s: Sequence[float], seconds_s2: Sequence[float]) -> list[float]:
    """Mean waits of the classes of M/G/1, the most urgent first, that never interrupt a service.

    W_k = sum_i l_i E[S_i^2] / 2 / ((1 - r_1 - ... - r_k-1) (1 - r_1 - ... - r_k)).
    """
    residual_s = 0.5 * sum(rate * square for rate, square in zip(rates, seconds_s2, strict=True))
    free, waits = 1.0, []
    for rate, first_s in zip(rates, firsts_s, strict=True):
        waits.append(residual_s / (free * (free - rate * first_s)))
        free -= rate * first_s
    return waits


def mdb1_mean_wait(rate: float, service_s: float, most: int) -> float:
    """Mean wait in M/D^[1,b]/1: a free server takes min(b, those waiting) at once, and an arrival if none waits.

    The number X left behind when a service ends has X' = max(X, 1) - min(max(X, 1), b) + Poisson(l D). The queue in
    mid-service is that behind the last start and what has come since; with L its mean over time, W = L / l.
    """
    offered, largest = rate * service_s, 1500 + 20 * most
    coming = np.array([math.exp(k * math.log(offered) - offered - math.lgamma(k + 1)) for k in range(largest + 1)])
    steps = np.zeros((largest + 1, largest + 1))
    for found in range(largest + 1):
        behind = max(found - most, 0)
        steps[found, behind:] = coming[: largest + 1 - behind]
        steps[found, largest] += 1.0 - steps[found].sum()
    equations = np.vstack([(steps.T - np.eye(largest + 1))[:-1], np.ones(largest + 1)])
    chance = np.linalg.solve(equations, np.append(np.zeros(largest), 1.0))
    assert chance[-most:].sum() < 1e-9  # cut far out
    behind_mean = float(chance @ np.maximum(np.arange(largest + 1) - most, 0))
    busy_s, idle_s = service_s, float(chance[0]) / rate
    waiting = (behind_mean + 0.5 * offered) * busy_s / (busy_s + idle_s)
    return waiting / rate


def shed_beyond(load: float, over: float) -> float:
    """Loss of M/G/1 whose arrivals are refused if their wait would be longer than tau; `over` is P(W > tau) without.

    (1 - r) q / (1 - r q): exact, the waits of the admitted being those of the unlimited queue, cut at tau.
    """
    return (1.0 - load) * over / (1.0 - load * over)


def quantile(level: float, over: Callable[[float], float]) -> float:
    """The t at which the decreasing P(X > t) = `over(t)` comes down to 1 - `level`, by bisection."""
    low, high = 0.0, 1.0
    while over(high) > 1.0 - level:
        high *= 2.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if over(middle) > 1.0 - level else (low, middle)
    return high


def list_makespan(times_s: Iterable[float], servers: int) -> float:
    """When the last of the jobs ends, if each in turn goes to the server that comes free first."""
    free = [0.0] * servers
    for time_s in times_s:
        heapq.heapreplace(free, free[0] + time_s)
    return max(free)
