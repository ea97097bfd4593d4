"""Recordings are whole or refused, and hold what happened."""

from __future__ import annotations

import gc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deeprec_env.errors import InputError
from deeprec_env.live.engine import LiveEngine
from deeprec_env.live.recording import Recording, read_recording, write_recording
from deeprec_env.live.replay import replay_services
from deeprec_env.live.run import LiveResult, live_scenario, run_live
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.windows import Window
from tests.live.scenarios import EMPTY, small


@pytest.fixture(scope="module")
def live() -> LiveResult:
    """A controlled run of two workers."""

    def alternate(window: Window | None) -> Setting:
        even = window is None or round(window.end_s / 0.5) % 2 == 0
        return Setting(50 if even else 100)

    return run_live(small(workers=2, qps=700.0), duration_s=2.0, controller=alternate, options=EMPTY)


@pytest.fixture(scope="module")
def recording(live: LiveResult) -> Recording:
    return live.recording


def test_the_summary_has_the_keys_of_a_simulation_and_says_how_late_queries_were_sent(live: LiveResult) -> None:
    summary = live.to_json()
    assert summary["queries"] == len(live.entry_s)
    assert summary["shed_rate"] == 0.0
    assert summary["live"]["workers"] == {"node.cpu": 2}
    assert summary["live"]["failed_requests"] == summary["live"]["worker_deaths"] == 0
    late_s = live.lateness_s[summary["warmup"] :]
    assert summary["live"]["late"] == int((late_s > 1e-4).sum())
    assert summary["live"]["lateness_ms"]["max"] == pytest.approx(late_s.max() * 1e3)
    assert summary["latency_ms"]["mean"] >= summary["live"]["from_entry_ms"]["mean"]


def test_a_run_that_is_over_holds_no_memory_of_models(live: LiveResult) -> None:
    """Its node is gone at once: a matrix of runs would else hold all their weights."""
    gc.disable()
    try:
        another = run_live(small(qps=700.0), duration_s=2.0, options=EMPTY)
        assert len(another.entry_s) > 0
        assert not [each for each in gc.get_objects() if type(each) is LiveEngine]
    finally:
        gc.enable()


def test_rows_are_the_requests_in_order(live: LiveResult, recording: Recording) -> None:
    columns, records = recording.columns, live.result.records
    assert records is not None
    assert np.array_equal(recording.traffic().arrival_s, records.arrival_s)
    assert np.array_equal(recording.traffic("entry_s").arrival_s, live.entry_s)
    assert np.array_equal(recording.settings(), records.setting)
    assert len(columns["query"]) == records.stages[0].first[-1]
    assert set(columns["request_items"].tolist()) == {50, 100}
    assert (np.bincount(columns["query"], columns["request_items"]) == 100).all()
    instants = ("arrival_s", "entry_s", "start_s", "worker_begin_s", "worker_end_s", "end_s", "completion_s")
    for earlier, later in pairwise(instants):
        assert (columns[earlier] <= columns[later]).all(), (earlier, later)
    assert set(columns["worker"].tolist()) == {0, 1}


def test_on_its_own_services_and_gaps_the_simulator_does_what_the_live_node_did(recording: Recording) -> None:
    error = replay_services(recording, None).error
    assert error == pytest.approx(dict.fromkeys(("mean", "p50", "p95", "p99"), 0.0), abs=1e-6)


@pytest.mark.parametrize("name", ["run.parquet", "run.csv"])
def test_a_file_gives_back_the_recording_to_the_bit(recording: Recording, tmp_path: Path, name: str) -> None:
    write_recording(recording, tmp_path / name)
    read = read_recording(tmp_path / name)
    assert read.scenario == recording.scenario
    assert all(np.array_equal(read.columns[key], recording.columns[key], equal_nan=True) for key in recording.columns)
    assert read.header["seed"] == 0


@pytest.mark.parametrize("name", ["run.parquet", "run.csv"])
def test_what_is_not_whole_is_refused_in_one_line(recording: Recording, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_recording(recording, path)
    whole = path.read_bytes()
    third = len(whole) // 3
    flipped = whole[:third] + bytes([whole[third] ^ 1]) + whole[third + 1 :]
    for spoilt in (whole[: len(whole) // 2], whole[:-40], b"", b"no recording\nat all\n", flipped):
        path.write_bytes(spoilt)
        with pytest.raises(InputError, match="recording") as refused:
            read_recording(path)
        assert "\n" not in str(refused.value)
    if name == "run.csv":
        before, _, after = whole.decode().rpartition(".")
        path.write_text(before + "." + ("1" if after[0] == "2" else "2") + after[1:])  # one digit of one number
        with pytest.raises(InputError, match="is not whole"):
            read_recording(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_recording(tmp_path / "none.csv")


def test_a_run_too_short_to_be_measured_is_refused_before_it_starts() -> None:
    with pytest.raises(InputError, match=r"duration: got 0\.5; must be longer"):
        run_live(small(), duration_s=0.5, options=EMPTY)
    with pytest.raises(InputError, match="record"):
        run_live(small(), duration_s=2.0, options=EMPTY, record_to=Path("run.txt"))


def test_a_preset_becomes_a_node_of_this_machine() -> None:
    preset = load_scenario("ncf")
    node = live_scenario(preset, workers=2)
    assert node.node is not None
    assert (node.node.cpu.servers, node.node.accelerator, node.capacity) == (2, None, None)
    assert node.thresholds == (None,)
    assert live_scenario(preset, cuda=True) is preset
    with pytest.raises(InputError, match="cuda: got True; needs a scenario with an accelerator"):
        live_scenario(small(), cuda=True)


def test_cuda_that_is_not_there_is_refused_before_any_worker_starts() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    scenario = live_scenario(load_scenario("ncf"), workers=1, cuda=True)
    with pytest.raises(InputError, match="no CUDA device is available"):
        run_live(scenario, qps=700.0, duration_s=2.0, options=EMPTY)
