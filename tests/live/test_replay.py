"""A replay of what the simulator itself did gives back its latencies; of a live run it serves every query."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeprec_env.cli.main import main
from deeprec_env.errors import InputError
from deeprec_env.live.gaps import dispatch_gaps
from deeprec_env.live.recording import Recording, read_recording
from deeprec_env.live.replay import live_latency_s, replay_blind, replay_services
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting, SettingNumbers
from deeprec_env.simulation.engines import make_engine
from deeprec_env.workload.stream import QueryStream, episode_seed
from tests.live.scenarios import small


def simulated(scenario: Scenario, gap_s: float) -> Recording:
    """What a live run would have recorded that went as the simulator says, under settings that change."""
    traffic = QueryStream(scenario.workload, episode_seed(0)).draw(3000)
    engine = make_engine(scenario, traffic, "asyncio")
    for query, batch_size in ((0, 50), (700, 30), (701, 100), (2000, 50)):
        engine.advance(float(traffic.arrival_s[query]))
        engine.control(Setting(batch_size))
    engine.drain()
    records = engine.records()
    log = records.stages[0]
    count = np.diff(log.first)
    query = np.repeat(records.query, count)
    arrival_s = records.arrival_s[query]
    whole = {"stage": 0, "accelerator": 0, "worker": 0, "carries": 1, "request_items": 50}
    columns = {
        "query": query,
        "items": records.items[query],
        "part": np.arange(len(query)) - log.first[:-1][query],
        "arrival_s": arrival_s,
        "entry_s": arrival_s,
        "completion_s": records.completion_s[query],
        "start_s": log.start_s + gap_s,
        "end_s": log.end_s,
        "worker_begin_s": log.start_s,
        "worker_end_s": log.end_s,
        **{name: records.setting[query, place] for place, name in enumerate(SettingNumbers._fields)},
        **{name: np.full(len(query), value) for name, value in whole.items()},
    }
    return Recording({"noise_key": traffic.noise_key, "slow_key": traffic.slow_key}, scenario, columns)


def noisy(workers: int = 2) -> Scenario:
    latency = {"kind": "exponential", "mean_ms": 1.0}
    return load_scenario(small(qps=350.0 * workers, workers=workers), {"node.cpu.latency": latency})


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_services_and_gaps_of_a_run_give_back_its_latencies(workers: int) -> None:
    recording = simulated(noisy(workers), gap_s=5e-5)
    gaps = dispatch_gaps(recording)
    assert gaps.median_s == pytest.approx(5e-5)
    assert gaps.mean_s == pytest.approx(5e-5)
    names = ("mean", "p50", "p95", "p99")
    assert replay_services(recording, gaps.mean_s).error == pytest.approx(dict.fromkeys(names, 0.0), abs=1e-9)
    assert replay_services(recording, None).error == pytest.approx(dict.fromkeys(names, 0.0), abs=1e-9)
    assert replay_services(recording, 0.0).error["mean"] < -0.01
    assert replay_blind(recording, seeds=1).error == dict.fromkeys(names, 0.0)
    blind = replay_blind(recording)
    assert blind.error["mean"] == pytest.approx(0.0, abs=0.3)
    low, high = blind.range_s["p95"]
    assert low < blind.predicted_s["p95"] < high


def test_latencies_are_from_the_intended_arrival() -> None:
    recording = simulated(noisy(), gap_s=0.0)
    columns = dict(recording.columns)
    columns["arrival_s"] = columns["arrival_s"] - 0.01
    late = replace(recording, columns=columns)
    assert live_latency_s(late) == pytest.approx(live_latency_s(recording) + 0.01)
    assert replay_services(late, 0.0).error["p95"] == pytest.approx(0.0, abs=1e-9)


def test_a_recording_of_another_scenario_is_refused() -> None:
    recording = simulated(noisy(2), gap_s=0.0)
    with pytest.raises(InputError, match="is of another scenario, whose servers are"):
        replay_blind(recording, noisy(3))
    faster = load_scenario(noisy(2), {"node.cpu.latency": {"kind": "constant", "ms": 0.1}})
    assert replay_blind(recording, faster).error["mean"] < -0.3


def test_what_follows_from_the_state_is_not_replayed() -> None:
    recording = simulated(noisy(), gap_s=0.0)
    admitting = load_scenario(recording.scenario, {"control.admits_ms": [40, None]})
    with pytest.raises(InputError, match="must not follow from the node's state"):
        replay_services(replace(recording, scenario=admitting), 0.0)


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_live_and_replay_as_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.parquet"
    words = ["live", "ncf-cpu", "--workers", "1", "--qps", "700", "--duration", "2", "--model", "empty"]
    assert command(*words, "--policy", "static", "--record", str(path), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    recording = read_recording(path)
    assert summary["queries"] == len(recording.first_rows())
    assert summary["live"]["models"] == {"node.cpu": "empty at rows_scale 1"}
    assert np.isfinite(recording.columns["end_s"]).all()
    assert command("replay", str(path), "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["queries"] == summary["queries"]
    assert row["own_gaps_error"] == pytest.approx(dict.fromkeys(("mean", "p50", "p95", "p99"), 0.0), abs=1e-6)
    assert row["measured_ms"]["p95"] == pytest.approx(summary["latency_ms"]["p95"])
    path.write_bytes(path.read_bytes()[:-100])
    for wrong, said in (
        (["replay", str(path)], "error: recording: got"),
        (["replay", str(path), "--gap-us", "-1"], "error: gap_us"),
        (["live", "ncf-cpu", "--workers", "100000"], "error: servers: got 100000"),
        (["live", "ncf-cpu", "--workers", "1", "--policy", "rate-oracle", "--qps", "1"], "error: "),
        (["live", "recpipe-cpu", "--workers", "1"], "error: workers"),
        (["live", "ncf-cpu", "--workers", "1", "--qps", "700", "--duration", "-1"], "error: duration"),
        (["live", "ncf-cpu", "--workers", "1", "--qps", "700", "--record", "x.txt"], "error: record"),
    ):
        assert command(*wrong) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(said), shown
        assert shown.count("\n") == 1
