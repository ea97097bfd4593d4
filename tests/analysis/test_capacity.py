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
    assert by_p99.p95_only_qps == pytest.approx(found.qps, rel=0.01)


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
    assert found.p95_only_qps > 2 * found.qps
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
    assert find_capacity(scenario, queries=2000, at_least=1.2 * whole.qps).qps == 0.0
    kept = find_capacity(scenario, queries=2000, at_least=0.8 * whole.qps)
    assert kept.qps == pytest.approx(whole.qps, rel=0.02)
    assert kept.queries_used <= whole.queries_used


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
