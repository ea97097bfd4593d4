"""Traces, recorded and drifting sizes, bursts and the old integer gaps."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.workload import QueryStream, episode_seed
from tests.workload.test_workload import arrivals, sizes, times


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def workload(**changes: Any) -> dict[str, Any]:
    parts = {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "fixed", "items": 1}} | changes
    return {
        "sla_ms": 10,
        "workload": parts,
        "node": {"cpu": {"servers": 1, "latency": {"kind": "constant", "ms": 1}}},
    }


def test_a_trace_replays_and_begins_again_a_mean_gap_later(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "10\n10.5\n\n13\n")
    trace = arrivals(kind="trace", path=path)
    assert times(trace, [3]).tolist() == [0.0, 0.5, 3.0]
    with pytest.warns(
        UserWarning, match=r"t\.txt: more queries are asked for than its 3 times, 4\.5 s: they begin again"
    ):
        assert times(trace, [2, 3]).tolist() == [0.0, 0.5, 3.0, 4.5, 5.0]
    times(trace, [9])  # a second warning would be an error
    assert trace.mean_qps == pytest.approx(2 / 3)
    assert times(arrivals(kind="trace", path=path, time_scale=2.0), [3]).tolist() == [0.0, 1.0, 6.0]


@pytest.mark.filterwarnings("ignore:trace .*they begin again")
def test_the_rate_of_a_trace_scales_without_its_course(tmp_path: Path) -> None:
    recorded = np.cumsum(np.random.default_rng(0).exponential(1.0, 2000))
    path = write(tmp_path / "t.txt", "\n".join(map(repr, recorded.tolist())))
    plain = times(arrivals(kind="trace", path=path), [2000])
    for scale in (0.5, 2.25):
        scaled = arrivals(kind="trace", path=path, rate_scale=scale)
        drawn = times(scaled, [10_000])
        assert (np.diff(drawn) >= 0).all()
        assert drawn.tobytes() == times(scaled, [1, 4999, 5000]).tobytes()
        assert 10_000 / drawn[-1] == pytest.approx(scaled.mean_qps, rel=4 / math.sqrt(10_000))
        first = drawn[drawn < plain[-1]]
        assert np.isin(first, plain).mean() == pytest.approx(min(1.0, 1.0 / scale), abs=0.05)
        half = plain[1000]
        assert (first < half).mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.filterwarnings("ignore:trace .*they begin again")
def test_dates_in_a_named_column_are_times_and_another_column_is_sizes(tmp_path: Path) -> None:
    text = "when,items\n2023-11-16 18:17:03.9799600,7\n2023-11-16 18:17:04.0319600,900\n2023-11-17T00:17:03.98,12\n"
    write(tmp_path / "t.csv", text)
    scenario = """
sla_ms: 10
workload:
  arrivals: {kind: trace, path: t.csv, column: when}
  sizes: {kind: file, path: t.csv, column: items, replay: true}
node: {cpu: {servers: 1, latency: {kind: constant, ms: 1}}}
"""
    loaded = load_scenario(Path(write(tmp_path / "s.yaml", scenario)))  # paths are relative to the scenario's file
    traffic = QueryStream(loaded.workload, episode_seed(0)).draw(4)
    assert traffic.arrival_s[:3] == pytest.approx([0.0, 0.052, 6 * 3600 + 4e-5], abs=1e-9)
    assert traffic.items.tolist() == [7, 900, 12, 7]
    assert loaded.workload.sizes.stationary().probabilities()[0].tolist() == [7, 12, 900]
    assert simulate(loaded, queries=1100).queries == 1100


@pytest.mark.filterwarnings("ignore:trace .*they begin again")
@pytest.mark.parametrize(("name", "queries", "cv"), [("conv", 19_366, 1.09), ("code", 8_819, 13.2)])
def test_the_azure_traces_replay_with_their_gaps_variation(shared: Path, name: str, queries: int, cv: float) -> None:
    path = shared / "traces" / f"AzureLLMInferenceTrace_{name}.csv"
    trace = arrivals(kind="trace", path=str(path), column="TIMESTAMP")
    drawn = times(trace, [queries])
    gaps = np.diff(drawn)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.01)
    assert 3000 < drawn[-1] < 3700  # an hour
    assert times(trace, [queries + 1])[-1] > drawn[-1]
    recorded = sizes(kind="file", path=str(path), column="ContextTokens", replay=True)
    assert recorded.open(np.random.default_rng(0))(3).min() >= 1


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("", {}, "must hold at least one value"),
        ("1\n", {}, "at least two times"),
        ("3\n3\n", {}, "not all the same"),
        ("1\n3\n2\n", {}, "line 3: 2'; must not be earlier"),
        ("1\nnan\n", {}, "line 2: nan'; must be a finite number"),
        ("1\nsoon\n", {}, "line 2: soon'; must be a finite number"),
        ("soon\n1\n", {}, "line 1: soon'; must be a number of seconds or a date"),
        ("a,b\n1,2\n", {"column": "c"}, "holds a, b"),
        ("when\n1\n2\n", {}, "line 1: when'; must be a number of seconds .*; of a CSV with a header give the column"),
        ("when,items\n1,2\n,2\n3,2\n", {"column": "when"}, "line 3'; has no value in column when"),
        ("when,items\n1,2\n2\n3,2\n", {"column": "items"}, "line 3'; has no value in column items"),
        ("1\n2\n", {"time_scale": 0}, "time_scale"),
        ("1\n2\n", {"rate_scale": -1}, "rate_scale"),
    ],
)
def test_bad_traces_are_refused_by_line(tmp_path: Path, text: str, parameters: dict[str, Any], message: str) -> None:
    data = workload(arrivals={"kind": "trace", "path": write(tmp_path / "t", text), **parameters})
    with pytest.raises(InputError, match=message):
        load_scenario(data)


def test_a_compressed_trace_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"when,items\n1,2\n2.5,3\n"))
    assert times(arrivals(kind="trace", path=str(path), column="when"), [2]).tolist() == [0.0, 1.5]
    assert sizes(kind="file", path=str(path), column="items").mean_items == 2.5
    for content in (b"when,items\n1,2\n", path.read_bytes()[:-12], path.read_bytes()[:20] + b"?" * 20):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"must be a readable text file, or one ending in \.gz \("):
            load_scenario(workload(arrivals={"kind": "trace", "path": str(path), "column": "when"}))


@pytest.mark.parametrize("text", ["0\n", "-3\n", "nan\n", "many\n", "2e6\n", ""])
def test_bad_sizes_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"workload.sizes.path: .*(line 1: .*must be a|at least one value)"):
        load_scenario(workload(sizes={"kind": "file", "path": write(tmp_path / "s", text)}))
    with pytest.raises(InputError, match="readable"):
        load_scenario(workload(sizes={"kind": "file", "path": str(tmp_path / "nowhere")}))


def test_mlperfs_sizes_have_its_mean() -> None:
    mlperf = sizes(kind="mlperf")
    assert mlperf.mean_items == 270
    drawn = mlperf.draw(np.random.default_rng(0), 40_000)
    assert drawn.mean() == pytest.approx(270, abs=4 * drawn.std() / 200)
    assert np.quantile(drawn, (0.05, 0.5, 0.99)).tolist() == [100, 200, 700]


def test_recorded_sizes_are_drawn_at_random_unless_replayed(tmp_path: Path) -> None:
    path = write(tmp_path / "s", "1\n2.4\n700\n")
    random = sizes(kind="file", path=path)
    drawn = random.open(np.random.default_rng(0))(3000)
    assert sorted(set(drawn.tolist())) == [1, 2, 700]
    assert np.unique(drawn, return_counts=True)[1] == pytest.approx([1000] * 3, rel=0.1)
    assert random.fingerprint != sizes(kind="file", path=write(tmp_path / "s", "1\n3\n700\n")).fingerprint


def test_sizes_drift_there_and_back() -> None:
    drifting = sizes(kind="drifting", before={"kind": "fixed", "items": 10}, after={"kind": "mlperf"}, queries=10_000)
    drawn = drifting.open(np.random.default_rng(1))(40_000)
    blocks = drifting.open(np.random.default_rng(1))
    assert np.concatenate([blocks(n) for n in (1, 999, 39_000)]).tobytes() == drawn.tobytes()
    share = (drawn > 10).reshape(40, 1000).mean(axis=1)
    expected = 1.0 - np.abs((np.arange(40) + 0.5) / 10 % 2 - 1.0)
    assert share == pytest.approx(expected, abs=0.07)
    items, probability = drifting.probabilities()
    assert float(items @ probability) == drifting.mean_items == 140
    still = drifting.stationary().open(np.random.default_rng(2))(40_000)
    assert (still > 10).reshape(40, 1000).mean(axis=1) == pytest.approx(np.full(40, 0.5), abs=0.07)


def test_integer_gaps_are_whole_milliseconds_and_too_regular() -> None:
    process = arrivals(kind="poisson-ms", qps=20.0)
    drawn = times(process, [50_000])
    gaps_ms = np.diff(drawn) * 1e3
    assert np.rint(gaps_ms) == pytest.approx(gaps_ms, abs=1e-6)
    assert gaps_ms.mean() == pytest.approx(50.0, rel=0.005)
    assert (gaps_ms.std() / gaps_ms.mean()) ** 2 == pytest.approx(1 / 50, rel=0.05)  # a Poisson process has 1


def test_bursts_have_their_rates_and_lengths() -> None:
    process = arrivals(kind="mmpp", qps=100.0, burst_factor=5.0, burst_s=2.0, calm_s=8.0)
    assert process.calm_qps * (0.8 + 0.2 * 5.0) == pytest.approx(100.0)
    grid = np.arange(0.0, 20_000.0, 0.1)
    rate = process.rate(np.random.default_rng(1))(grid)
    assert np.unique(rate) == pytest.approx([process.calm_qps, 5 * process.calm_qps])
    in_burst = rate > 2 * process.calm_qps
    assert in_burst.mean() == pytest.approx(0.2, abs=0.02)
    assert np.diff(in_burst.astype(int)).clip(0).sum() == pytest.approx(2000, rel=0.1)  # one in ten seconds
    drawn = times(process, [400_000])
    counted = np.histogram(drawn[drawn < 3000], bins=np.arange(0, 3001.0))[0]
    expected = process.rate(np.random.default_rng(1))(np.arange(0.0, 3000.0, 0.01)).reshape(3000, 100).mean(axis=1)
    error = (counted - expected) / np.sqrt(expected)
    assert error.mean() == pytest.approx(0.0, abs=0.1)
    assert error.std() == pytest.approx(1.0, abs=0.05)


def test_flash_crowds_overload_what_the_day_does_not() -> None:
    day, flash = (arrivals(kind=kind, qps=100.0, day_s=96.0, trough=0.2, peak=0.9) for kind in ("diurnal", "flash"))
    unit = 100.0 / 0.55  # queries a second of one unit of the shape
    highest = {
        process.kind: [process.day(np.random.default_rng(seed)).max() / unit for seed in range(50)]
        for process in (day, flash)
    }
    assert max(highest["diurnal"]) <= 0.95
    assert np.mean(np.array(highest["flash"]) > 1.0) > 0.7
    assert max(highest["flash"]) <= 1.5
    assert np.mean([flash.day(np.random.default_rng(seed)).mean() for seed in range(5)]) == pytest.approx(100.0)


def test_sizes_between_two_levels_are_that_part_of_a_distribution() -> None:
    smaller = sizes(kind="between", of={"kind": "mlperf"}, high=0.5)
    assert dict(zip(*(array.tolist() for array in smaller.probabilities()), strict=True)) == pytest.approx(
        {100: 0.2, 200: 0.8}
    )
    larger = sizes(kind="between", of={"kind": "mlperf"}, low=0.5)
    drawn = larger.draw(np.random.default_rng(0), 20_000)
    items, counts = np.unique(drawn, return_counts=True)
    assert items.tolist() == [200, 300, 400, 500, 600, 700]
    assert counts / len(drawn) == pytest.approx(larger.probabilities()[1], abs=0.02)
    whole = sizes(kind="mlperf").mean_items
    assert 0.5 * (smaller.mean_items + larger.mean_items) == pytest.approx(whole)
    assert smaller.fingerprint != larger.fingerprint
    with pytest.raises(InputError, match="below high"):
        load_scenario(workload(sizes={"kind": "between", "of": {"kind": "mlperf"}, "low": 0.5, "high": 0.5}))
