from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import load_scenario, simulate
from deeprec_env.extras import is_installed
from tests.conftest import OwnLatency, day_scenario, pipeline_day, queue

simulation = sys.modules["deeprec_env.simulation.simulate"]  # the package's `simulate` is the function


def stationary(data: dict[str, Any], qps: float) -> Any:
    return load_scenario(data).with_arrivals({"kind": "poisson", "qps": qps})


def batching(control: dict[str, Any]) -> dict[str, Any]:
    data = day_scenario(control=control)
    data["node"]["accelerator"]["batching"] = {"max_items": 2000, "max_wait_ms": 3}
    return data


def slow(control: dict[str, Any]) -> dict[str, Any]:
    data = batching(control)
    for pool in data["node"].values():
        pool["slowness"] = {"factor": 2.0, "mean_slow_s": 0.4, "mean_normal_s": 2.0}
    if "order" not in control:  # the recursion serves it without batches
        del data["node"]["accelerator"]["batching"]
    return data


SCENARIOS = {
    "offload": stationary(day_scenario(control={"batch_size": 64, "threshold": 256}), 500.0),
    "pipeline": stationary(pipeline_day(), 400.0),
    "sub-batches": stationary(pipeline_day() | {"sub_batches": 4}, 400.0),
    "overloaded": stationary(day_scenario(control={"batch_size": 8}), 3000.0),
    "shed": stationary(
        day_scenario(control={"batch_size": 64, "offload": "predicted", "order": "small-first", "admit_ms": 60.0}),
        3000.0,
    ),
    "even batches": stationary(batching({"batch_size": 64, "threshold": 256, "split": "even"}), 500.0),
    "slow phases": stationary(slow({"batch_size": 64, "threshold": 256}), 300.0),
    "slow phases, small first": stationary(slow({"batch_size": 64, "threshold": 256, "order": "small-first"}), 300.0),
    "a latency of one's own": queue(3, OwnLatency(), 4.0, items=2),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_streamed_run_is_the_whole_run_to_the_sketches_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate(SCENARIOS[name], queries=40_000, seed=2)
    assert whole.records is not None
    latency_s = whole.records.latency_s[whole.warmup :]
    kept, latency_ms = whole.to_json(), latency_s[~np.isnan(latency_s)] * 1e3
    monkeypatch.setattr(simulation, "MOST_KEPT", 1)
    monkeypatch.setattr("deeprec_env.simulation.streaming._BLOCK_REQUESTS", 9_000)  # many blocks, and a last small one
    done: list[int] = []
    result = simulate(SCENARIOS[name], queries=40_000, seed=2, progress=done.append)
    streamed = result.to_json()
    assert result.records is None
    assert sum(done) == 40_000
    assert len(done) > 3
    assert streamed.pop("streamed")
    assert not kept.pop("streamed")
    assert sorted(streamed) == sorted(kept)
    for key, value in kept.items():
        if isinstance(value, float):
            assert streamed[key] == pytest.approx(value, rel=1e-9), key
        elif key in ("utilisation", "offered_load"):
            assert {kind: share or 0.0 for kind, share in streamed[key].items()} == pytest.approx(
                {kind: share or 0.0 for kind, share in value.items()}, rel=1e-9
            )
        elif key != "latency_ms":
            assert streamed[key] == value, key
    for key, level in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
        low, high = np.quantile(latency_ms, (level - 1e-3, level + 1e-3))
        assert low <= streamed["latency_ms"][key] <= high
        for mine, exact in zip(
            streamed["latency_ms"].get(f"{key}_ci", []), kept["latency_ms"].get(f"{key}_ci", []), strict=True
        ):
            assert (mine is None) == (exact is None)
            assert mine is None or mine == pytest.approx(exact, rel=0.02)
    assert streamed["latency_ms"]["mean"] == pytest.approx(kept["latency_ms"]["mean"], rel=1e-9)
    assert streamed["latency_ms"]["mean_ci"] == pytest.approx(kept["latency_ms"]["mean_ci"], rel=1e-9)
    again = simulate(SCENARIOS[name], queries=40_000, seed=2).to_json()
    assert again["latency_ms"] == streamed["latency_ms"]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_records_of_a_streamed_run_are_those_of_the_whole_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("csv", "parquet") if is_installed("pyarrow") else ("csv",)
    monkeypatch.setattr("deeprec_env.simulation.records.ROW_GROUP", 1500)  # which ends in the midst of blocks
    for kind in kinds:
        assert simulate(SCENARIOS[name], queries=10_000, seed=2, records=tmp_path / f"whole.{kind}").records is not None
    monkeypatch.setattr(simulation, "MOST_KEPT", 1)
    monkeypatch.setattr("deeprec_env.simulation.streaming._BLOCK_REQUESTS", 9_000)
    for kind in kinds:
        assert simulate(SCENARIOS[name], queries=10_000, seed=2, records=tmp_path / f"streamed.{kind}").records is None
        assert (tmp_path / f"streamed.{kind}").read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()


def test_row_groups_are_those_of_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("deeprec_env.simulation.records.ROW_GROUP", 1500)
    run = simulate(SCENARIOS["offload"], queries=5000, records=tmp_path / "records.parquet")
    assert run.records is not None
    table = parquet.read_table(tmp_path / "records.parquet")
    assert table["latency_s"].to_pylist() == run.records.latency_s.tolist()
    parquet.write_table(table.combine_chunks(), tmp_path / "at_once.parquet", row_group_size=1500)
    assert (tmp_path / "at_once.parquet").read_bytes() == (tmp_path / "records.parquet").read_bytes()


def test_an_interrupted_run_leaves_no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MOST_KEPT", 1)

    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    for kind in ("csv", "parquet") if is_installed("pyarrow") else ("csv",):
        with pytest.raises(KeyboardInterrupt):
            simulate(SCENARIOS["offload"], queries=2000, records=tmp_path / f"r.{kind}", progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_records_are_kept_where_an_engine_does_not_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "MOST_KEPT", 1)
    run = simulate(SCENARIOS["offload"], queries=2000, engine="asyncio", records=tmp_path / "r.csv")
    assert run.records is not None
