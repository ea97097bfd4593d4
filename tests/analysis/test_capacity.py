from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from deeprec_env import InputError, find_capacity, load_scenario
from deeprec_env.analysis.day import with_day
from deeprec_env.workload import Diurnal
from tests.conftest import day_scenario, queue

EXPONENTIAL = {"kind": "exponential", "mean_ms": 1000}


def test_mm1_capacity() -> None:
    """p95 = ln 20 / (m - l) <= target: l = m - ln 20 / target. p99 = ln 100 / (m - l) binds at factor 1.4."""
    sla = 12.0
    found = find_capacity(queue(1, EXPONENTIAL, 1.0, sla_ms=sla * 1e3), queries=60_000, precision=0.005)
    assert found.limited_by == "sla"
    assert found.qps == pytest.approx(1 - math.log(20) / sla, rel=0.05)
    assert found.p95_only_qps == found.qps
    by_p99 = find_capacity(
        queue(1, EXPONENTIAL, 1.0, sla_ms=sla * 1e3, p99_factor=1.4), queries=60_000, precision=0.005
    )
    assert by_p99.limited_by == "p99"
    assert by_p99.qps == pytest.approx(1 - math.log(100) / (1.4 * sla), rel=0.05)
    assert by_p99.p95_only_qps == pytest.approx(found.qps, rel=0.03)


def test_a_loose_target_leaves_the_pool_as_the_limit() -> None:
    found = find_capacity(queue(2, {"kind": "constant", "ms": 10}, 1.0, sla_ms=60_000), queries=3000)
    assert found.limited_by == "cpu"
    assert found.qps == pytest.approx(200, rel=0.01)
    assert found.offered_load["cpu"] < 1.0


def test_a_target_below_the_service_time_is_infeasible() -> None:
    found = find_capacity(queue(2, {"kind": "constant", "ms": 10}, 1.0, sla_ms=9), queries=2000)
    assert (found.qps, found.limited_by) == (0.0, "infeasible")


def black_hole(**changes: Any) -> dict[str, Any]:
    """A slow accelerator: a threshold that under 5 % of the queries reach hides it from p95."""
    data = day_scenario(**changes)
    data["workload"]["arrivals"] = {"kind": "poisson", "qps": 1}
    data["node"]["accelerator"]["latency"] = {"kind": "affine", "base_ms": 60, "per_item_ms": 0.01, "cv": 0.0}
    data["sla_ms"] = 40
    return data


def test_the_full_rule_sees_the_black_hole_that_p95_alone_does_not() -> None:
    found = find_capacity(black_hole(), batch_size=128, threshold=640, queries=4000)
    assert found.limited_by in ("accelerator", "p99")
    assert found.offered_load["accelerator"] < 1.0
    assert found.p95_only_qps > 1.5 * found.qps
    by_paper = find_capacity(black_hole(p99_factor=None), batch_size=128, threshold=640, queries=4000)
    assert by_paper.qps == pytest.approx(found.p95_only_qps, rel=0.03)
    assert by_paper.offered_load["accelerator"] > 1.0


def test_p95_alone_is_searched_where_p99_fails_on_an_idle_node() -> None:
    data = black_hole()
    data["node"]["accelerator"]["latency"] = {"kind": "constant", "ms": 500}
    found = find_capacity(data, batch_size=128, threshold=700, queries=2000)
    assert (found.qps, found.limited_by) == (0.0, "infeasible")
    assert found.p95_only_qps is not None
    assert found.p95_only_qps > 100
    assert find_capacity(data, batch_size=128, threshold=700, queries=2000, p95_only=False).p95_only_qps is None


def test_a_rate_that_must_be_beaten_ends_the_search_early() -> None:
    scenario = queue(2, {"kind": "constant", "ms": 10}, 1.0, sla_ms=100)
    whole = find_capacity(scenario, queries=2000)
    for at_least, limited_by in ((1.03 * whole.qps, "sla"), (1.2 * whole.qps, "cpu")):
        beaten = find_capacity(scenario, queries=2000, at_least=at_least, p95_only=False)
        assert (beaten.qps, beaten.limited_by) == (0.0, limited_by)
        assert beaten.queries_used < 0.1 * whole.queries_used
    kept = find_capacity(scenario, queries=2000, at_least=0.8 * whole.qps)
    assert kept.qps == pytest.approx(whole.qps, rel=0.02)


def test_bad_arguments_are_refused() -> None:
    for field, arguments in (
        ("queries", {"queries": 10}),
        ("precision", {"precision": 0.0}),
        ("threshold", {"threshold": 3}),
    ):
        with pytest.raises(InputError, match=field):
            find_capacity(queue(1, EXPONENTIAL, 1.0), **arguments)  # type: ignore[arg-type]


def test_any_scenario_gets_the_day_of_its_capacity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    scenario = load_scenario(day_scenario())
    assert with_day(scenario) is scenario
    stationary = scenario.with_arrivals({"kind": "poisson", "qps": 3})
    day = with_day(stationary)
    assert day.capacity is not None
    assert isinstance(day.workload.arrivals, Diurnal)
    assert day.workload.arrivals.peak_qps == pytest.approx(0.9 * day.capacity.qps, rel=1e-4)
    assert day.workload.arrivals.day_s == pytest.approx(96 * day.control.interval_s)
    assert len(list((tmp_path / "deeprec-env").iterdir())) == 1
    assert with_day(stationary) == day
    (cached,) = (tmp_path / "deeprec-env").iterdir()
    cached.write_text("damaged", encoding="utf-8")
    assert with_day(stationary) == day


def test_another_profile_of_the_same_name_is_another_capacity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile_csv: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = day_scenario()
    data["workload"] = {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "fixed", "items": 50}}
    data["node"] = {"cpu": {"servers": 2, "latency": {"kind": "profile", "profile": str(profile_csv), "model": "toy"}}}
    before = with_day(load_scenario(data)).capacity
    text = profile_csv.read_text(encoding="utf-8")
    profile_csv.write_text(text.replace("cpu,100,compute,100,20.8", "cpu,100,compute,100,41.6"), encoding="utf-8")
    after = with_day(load_scenario(data)).capacity
    assert before is not None
    assert after is not None
    assert after.qps < 0.8 * before.qps


def test_interval_and_verdict_come_from_replications() -> None:
    """M/M/1 at a load of 0.75: the interval holds the true value, fresh traffic agrees, one seed is one result."""
    scenario = queue(1, EXPONENTIAL, 1.0, sla_ms=12_000, p99_factor=None)
    true = 1 - math.log(20) / 12
    found = find_capacity(scenario, seed=2)
    assert found.qps_ci is not None
    low, high = found.qps_ci
    assert low <= true <= high
    assert low < found.qps < high
    assert max(found.qps - low, high - found.qps) <= 0.02 * found.qps
    assert found.verdict in ("pass", "undecided")
    assert found.variance_inflation is not None
    assert 10 < found.variance_inflation < 120  # an infinite run of M/M/1 at 0.75: about 45
    assert found.replications >= 4
    assert find_capacity(scenario, seed=2) == found
    assert find_capacity(scenario, seed=3).qps != found.qps
    payload = found.to_json()
    assert payload["qps_ci"] == [low, high]
    assert {"confidence", "verdict", "variance_inflation", "replications", "percentile"} <= set(payload)


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.9])
def test_any_percentile(percentile: float) -> None:
    """M/M/1: the percentile of an exponential response time of rate m - l is ln(1 / (1 - level)) / (m - l)."""
    tail = -math.log1p(-percentile / 100)
    sla = tail / 0.3
    scenario = queue(1, EXPONENTIAL, 1.0, sla_ms=sla * 1e3, p99_factor=None)
    found = find_capacity(scenario, percentile=percentile, queries=300_000, precision=0.03, confirm=False)
    assert found.qps_ci is not None
    half = found.qps_ci[1] - found.qps_ci[0]
    assert found.qps == pytest.approx(0.7, abs=half)  # twice the interval: four percentiles are four chances to miss
    assert found.qps == pytest.approx(0.7, rel=0.05)
    assert found.percentile == percentile


def test_mmc_capacity_close_to_saturation() -> None:
    """M/M/4, single-item queries: P(T > t) from Erlang C, whose 5 % point gives the capacity by bisection."""

    def late(load: float, sla: float, servers: int = 4) -> float:
        blocking = 1.0
        for busy in range(1, servers + 1):
            blocking = load * servers * blocking / (busy + load * servers * blocking)
        waits, drain = blocking / (1 - load * (1 - blocking)), servers * (1 - load)
        return math.exp(-sla) + waits * (math.exp(-drain * sla) - math.exp(-sla)) / (1 - drain)

    sla = 100.0
    low, high = 0.5, 0.9999
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if late(middle, sla) <= 0.05 else (low, middle)
    assert low > 0.99
    found = find_capacity(queue(4, EXPONENTIAL, 1.0, sla_ms=sla * 1e3), confirm=False, p95_only=False)
    assert found.qps_ci is not None
    assert found.qps_ci[0] <= 4 * low <= found.qps_ci[1]
    assert found.qps == pytest.approx(4 * low, rel=0.003)


def test_md1_capacity() -> None:
    """M/D/1 at load 0.9: p95 of the wait is 14.12867 (reference table), so a target of 15.12867 carries 0.9."""
    scenario = queue(1, {"kind": "constant", "ms": 1000}, 1.0, sla_ms=15_128.67, p99_factor=None)
    found = find_capacity(scenario, confirm=False)
    assert found.qps_ci is not None
    assert found.qps_ci[0] <= 0.9 <= found.qps_ci[1]


def test_offloading_thins_the_accelerators_stream() -> None:
    """Queries of one size on the accelerator alone: M/M/1 there. A pool's bound is servers over work per query."""
    data = day_scenario(sla_ms=12_000, p99_factor=None)
    data["workload"]["sizes"] = {"kind": "fixed", "items": 10}
    data["node"]["accelerator"]["latency"] = EXPONENTIAL
    found = find_capacity(data, threshold=1, confirm=False)
    assert found.qps_ci is not None
    assert found.qps_ci[0] <= 1 - math.log(20) / 12 <= found.qps_ci[1]
    assert found.offered_load["cpu"] == 0.0


def test_a_pools_bound_is_the_upper_end() -> None:
    found = find_capacity(queue(2, {"kind": "constant", "ms": 10}, 1.0, sla_ms=60_000), queries=3000)
    assert found.limited_by == "cpu"
    assert found.qps_ci == (pytest.approx(200, rel=0.002), 200)
    assert found.verdict == "pass"


def test_engines_agree() -> None:
    options: dict[str, Any] = {"queries": 1200, "threshold": 400, "p95_only": False}
    compiled, reference = (find_capacity(day_scenario(), engine=name, **options) for name in ("compiled", "asyncio"))
    assert compiled == reference


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"percentile": 30}, "percentile: got 30; must be between 50 and 99.9"),
        ({"percentile": 99.9, "queries": 5000}, "queries: got 5000; must be at least 10000 to estimate p99.9"),
        ({"engine": "steam"}, "engine: got 'steam'"),
    ],
)
def test_what_a_search_cannot_do_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message.replace("(", "\\(")):
        find_capacity(queue(1, EXPONENTIAL, 1.0), **arguments)


def test_a_first_interval_as_wide_as_the_search_is_narrowed() -> None:
    scenario = load_scenario("din", {"p99_factor": None})  # the paper's rule, with an overloaded accelerator
    found = find_capacity(scenario, batch_size=48, threshold=640, queries=100_000, confirm=False)
    assert found.qps_ci is not None
    low, high = found.qps_ci
    assert low < found.qps <= high
    assert high - low < 0.05 * found.qps


def test_where_no_query_is_late_the_interval_reaches_to_where_some_are() -> None:
    """Close to saturation whole replications turn late at once: at the value found here, none of them is yet."""
    scenario = load_scenario("dlrm-rmc1-cpu", {"sla_ms": 150})
    found = find_capacity(scenario, batch_size=25, queries=40_000, seed=0, p95_only=False, confirm=False)
    assert found.variance_inflation is None  # nothing is late at the value
    assert found.qps_ci is not None
    assert found.qps_ci[1] - found.qps_ci[0] > 1e-3 * found.qps
    assert found.qps_ci[0] < 4592.5 < found.qps_ci[1]  # the value with seed 1
