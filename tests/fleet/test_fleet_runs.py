"""Runs of fleets: what commands print, their records, long runs that stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from deeprec_env import simulate_fleet
from deeprec_env.fleet.simulate import run_fleet
from tests.fleet.fleets import ROUTERS, drawn, fleet
from tests.test_cli import call, payload


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet(ROUTERS["power-of-d"]).model_dump(mode="json")))
    return path


def test_the_command_prints_groups_beside_the_fleets_own_figures(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "fleet.parquet"
    found = payload(capsys, "simulate", file, "--queries", 3000, "--records", records)
    assert list(found["groups"]) == ["gpu", "cpu"]
    assert found["router"] == {"kind": "power-of-d", "d": 2}
    table = pd.read_parquet(records)
    assert set(table["group"][table["node"] < 3]) == {"gpu"}
    counted = table[~table["warmup"]]
    for name, group in found["groups"].items():
        own = counted[counted["group"] == name]
        assert group["queries"] == len(own)
        assert group["latency_ms"]["p95"] == pytest.approx(np.percentile(own["latency_s"], 95) * 1e3)
    assert found["latency_ms"]["p95"] == pytest.approx(np.percentile(counted["latency_s"], 95) * 1e3)


def test_its_result_can_be_had_again(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "result.json"
    result.write_text(json.dumps(payload(capsys, "simulate", file, "--queries", 2000, "--batch-size", 64)))
    assert call(capsys, "rerun", result) == (0, "same\n", "")


def test_energy_is_the_sum_over_the_nodes() -> None:
    scenario = fleet(ROUTERS["random"])
    result = simulate_fleet(scenario, queries=3000)
    traffic, records = drawn(scenario, 3000), run_fleet(scenario, drawn(scenario, 3000))
    begin_s, end_s = float(traffic.arrival_s[1000]), float(traffic.arrival_s[-1])
    joules = 0.0
    for group, node, count in zip(records.groups, scenario.group_scenarios, (3, 4), strict=True):
        (log,), (stage,) = group.stages, node.stages
        inside_s = np.clip(np.minimum(log.end_s, end_s) - np.maximum(log.start_s, begin_s), 0.0, None)
        away = np.repeat(log.offloaded, np.diff(log.first))
        for kind, pool in stage.pools().items():
            busy_s = inside_s[away == (kind == "accelerator")].sum()
            joules += count * pool.idle_w * (end_s - begin_s) + (pool.busy_w - pool.idle_w) * busy_s / pool.servers
    completed = result.usage.qps_achieved * (end_s - begin_s)
    assert result.usage.joules_per_query == pytest.approx(joules / completed)


@pytest.mark.parametrize("router", ["round-robin", "least-work"])
def test_a_run_that_streams_is_that_which_is_kept(router: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, told = fleet(ROUTERS[router], network_ms=0.2), []
    kept = simulate_fleet(scenario, queries=6000, records=tmp_path / "kept.csv").to_json()
    monkeypatch.setattr("deeprec_env.fleet.simulate.MOST_KEPT", 2000)
    monkeypatch.setattr("deeprec_env.fleet.streaming.BLOCK_REQUESTS", 3000)
    streamed = simulate_fleet(scenario, queries=6000, records=tmp_path / "streamed.csv", progress=told.append).to_json()
    assert len(told) > 3
    assert sum(told) == 6000
    assert (tmp_path / "streamed.csv").read_bytes() == (tmp_path / "kept.csv").read_bytes()
    assert (kept["streamed"], streamed["streamed"]) == (False, True)
    assert streamed["streams_sha256"] == kept["streams_sha256"]
    pairs = [(streamed, kept), *((streamed["groups"][name], kept["groups"][name]) for name in kept["groups"])]
    for left, right in pairs:
        for key in ("latency_ms", "utilisation", "joules_per_query", "offered_load", "goodput", "offloaded_fraction"):
            assert flat(left[key]) == pytest.approx(flat(right[key]), rel=0.01)  # sketches


def flat(value: Any) -> list[float]:
    entries = value.values() if isinstance(value, dict) else [value]
    return [entry for entry in entries if isinstance(entry, float)]
