"""The closed forms against the reference values of the project's notes on correctness (m = 1 or D = 1)."""

from __future__ import annotations

import pytest

from tests.simulation.closed_forms import (
    erlang_c,
    list_makespan,
    md1_wait_within,
    mm1_p95_response,
    mmc_mean_wait,
    mmc_response_over,
    mmc_wait_over,
    pollaczek_khinchine,
    quantile,
)


@pytest.mark.parametrize(
    ("servers", "load", "waits", "mean_wait", "p95_response"),
    [
        (1, 0.7, 0.7, 2.333333, 9.98577),
        (4, 0.7, 0.428654, 0.357212, 3.75250),
        (8, 0.8, 0.457645, 0.286028, 3.50844),
        (16, 0.9, 0.591343, 0.369590, 3.62354),
        (32, 0.9, 0.458197, 0.143186, 3.18477),
    ],
)
def test_mmc(servers: int, load: float, waits: float, mean_wait: float, p95_response: float) -> None:
    rate = load * servers
    assert erlang_c(servers, load) == pytest.approx(waits, abs=5e-7)
    assert mmc_wait_over(0.0, servers, rate, 1.0) == pytest.approx(waits, abs=5e-7)
    assert mmc_mean_wait(servers, rate, 1.0) == pytest.approx(mean_wait, abs=5e-7)
    assert quantile(0.95, lambda t: mmc_response_over(t, servers, rate, 1.0)) == pytest.approx(p95_response, abs=5e-6)


def test_mm1_response_is_exponential() -> None:
    assert mm1_p95_response(0.7, 1.0) == pytest.approx(9.98577, abs=5e-6)
    assert mmc_response_over(mm1_p95_response(0.7, 1.0), 1, 0.7, 1.0) == pytest.approx(0.05)
    assert mmc_response_over(2.0, 2, 1.0, 1.0) == pytest.approx(mmc_response_over(2.0, 2, 1.0 + 1e-7, 1.0))  # m = w


@pytest.mark.parametrize(
    ("load", "mean_wait", "p95_wait"), [(0.5, 0.5, 2.05064), (0.7, 1.166667, 4.10290), (0.9, 4.5, 14.12867)]
)
def test_md1(load: float, mean_wait: float, p95_wait: float) -> None:
    assert pollaczek_khinchine(load, 1.0, 1.0) == pytest.approx(mean_wait, abs=5e-7)
    assert md1_wait_within(0.0, load, 1.0) == pytest.approx(1.0 - load)
    assert quantile(0.95, lambda t: 1.0 - md1_wait_within(t, load, 1.0)) == pytest.approx(p95_wait, abs=5e-6)


def test_mx_m1() -> None:
    """A query of 4 exponential requests of mean 1 on one core at load 0.7: E[S] = 4, E[S^2] = 4 + 4^2."""
    assert 4.0 + pollaczek_khinchine(0.7 / 4, 4.0, 20.0) == pytest.approx(9.8333, abs=5e-5)


def test_list_schedule() -> None:
    assert list_makespan([3.0, 1.0, 1.0, 2.0], 2) == 4.0
    assert list_makespan([0.5] * 7, 3) == 1.5
