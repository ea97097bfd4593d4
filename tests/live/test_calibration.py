"""Calibration gives back what recordings were simulated with, and brings predictions nearer to a run it did not see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.latency import checked
from deeprec_env.latency.profile import Profile, load_profile
from deeprec_env.live.calibration import Calibration, calibrate, one_stage
from deeprec_env.live.calibration_fit import ServiceLog
from deeprec_env.live.calibration_phases import Residuals, fit_phases
from deeprec_env.live.predictors import predictors
from deeprec_env.live.recording import Recording, write_recording
from deeprec_env.live.replay import replay_blind
from deeprec_env.scenario.setting import SettingNumbers
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import QueryStream, episode_seed
from tests.test_cli import call, payload

SLOWNESS = {"factor": 1.6, "mean_slow_s": 0.15, "mean_normal_s": 0.6}
REQUEST_S, QUERY_S = 4e-5, 6e-5


def node(workers: int, qps: float, *, batch_size: int = 64) -> Scenario:
    """What the node is believed to be: the shipped profile of WnD and nothing else."""
    latency = {"kind": "profile", "profile": "amd-epyc-milan", "model": "wnd"}
    return load_scenario(
        {
            "sla_ms": 25,
            "workload": {"arrivals": {"kind": "poisson", "qps": qps}, "sizes": {"kind": "production"}},
            "node": {"cpu": {"servers": workers, "latency": latency}},
            "control": {"batch_size": batch_size},
        }
    )


def truth(believed: Scenario, profile: Path, slowness: dict[str, Any] | None, c: list[float]) -> Scenario:
    """The node as it is: its own profile, contention, slow phases, dispatch."""
    data = believed.model_dump(mode="json")
    cpu = data.pop("node")["cpu"] | {"contention": {"c": c}, "slowness": slowness}
    cpu["latency"] |= {"profile": str(profile)}
    return load_scenario(
        data | {"pipeline": [{"name": "node", "cpu": cpu, "overhead_s": REQUEST_S, "transfer_s": QUERY_S}]}
    )


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped profile of WnD, all slower in operation, more so for large batches."""
    from deeprec_env.latency.table import write_profile

    path = tmp_path_factory.mktemp("profiles") / "slower.csv"
    rows = []
    for row in load_profile("amd-epyc-milan").rows:
        if row.model == "wnd":
            by = correction(row.batch)
            quantiles = tuple(value * by for value in row.quantiles_ms)
            rows.append(replace(row, mean_ms=row.mean_ms * by, quantiles_ms=quantiles))
    write_profile(path, {"cpu": "another"}, rows)
    return path


def correction(batch: int) -> float:
    return 1.2 if batch <= 32 else 1.3


def recorded(believed: Scenario, node: Scenario, queries: int, episode: int) -> Recording:
    """What a live run of the node would have recorded; a request is handed over when dispatch is through with it."""
    traffic = QueryStream(node.workload, episode_seed(6, "train", episode)).draw(queries)
    records = run(node, traffic)
    log = records.stages[0]
    count = np.diff(log.first)
    query = np.repeat(records.query, count)
    part = np.arange(len(query)) - log.first[:-1][query]
    batch_size = node.control.batch_size
    columns = {
        "query": query,
        "items": records.items[query],
        "part": part,
        "stage": np.zeros(len(query), dtype=np.int64),
        "accelerator": np.zeros(len(query), dtype=np.int64),
        "request_items": np.minimum(records.items[query] - part * batch_size, batch_size),
        "carries": np.ones(len(query), dtype=np.int64),
        "arrival_s": records.arrival_s[query],
        "entry_s": records.arrival_s[query],
        "completion_s": records.completion_s[query],
        "start_s": log.start_s + node.stages[0].overhead_s,
        "end_s": log.end_s,
        "worker": np.full(len(query), -1),
        "worker_begin_s": log.start_s + node.stages[0].overhead_s,
        "worker_end_s": log.end_s,
        **{name: records.setting[query, place] for place, name in enumerate(SettingNumbers._fields)},
    }
    header = {"noise_key": traffic.noise_key, "slow_key": traffic.slow_key, "models": {}}
    return Recording(header, believed, columns)


def runs(workers: int, profile: Path, slowness: dict[str, Any] | None, c: list[float]) -> list[Recording]:
    """Three to be fitted, of several loads and batch sizes, and one more."""
    found = []
    for episode, (qps, batch_size) in enumerate(((25.0, 64), (40.0, 128), (35.0, 128), (30.0, 64))):
        believed = node(workers, qps * workers, batch_size=batch_size)
        found.append(recorded(believed, truth(believed, profile, slowness, c), 2000, episode))
    return found


def holds(interval: tuple[float, float], value: float, more: float = 0.0) -> bool:
    """Whether an interval, wider by a share of the value, holds it."""
    return interval[0] - more * value <= value <= interval[1] + more * value


@pytest.mark.parametrize("workers", [1, 2])
def test_calibration_finds_what_the_runs_were_made_with(workers: int, slower: Path) -> None:
    c = [1.0, 0.0, 0.0] if workers == 1 else [0.8, 0.4, 0.0]  # 1 for one busy server
    *fitted, unseen = runs(workers, slower, SLOWNESS, c)
    found = calibrate(fitted)
    fit = found.pools["cpu"]
    assert holds(found.request_s.interval, REQUEST_S, 0.01)
    assert holds(found.query_s.interval, QUERY_S, 0.01)
    assert fit.phases is not None
    assert holds(fit.phases.factor_ci, SLOWNESS["factor"], 0.01)
    assert holds(fit.phases.mean_slow_ci_s, SLOWNESS["mean_slow_s"], 0.05)  # one such interval in twenty misses
    assert holds(fit.phases.mean_normal_ci_s, SLOWNESS["mean_normal_s"], 0.05)
    assert fit.phases.factor == pytest.approx(SLOWNESS["factor"], rel=0.03)
    for batch, each in zip(fit.batches, fit.corrections, strict=True):
        if batch in (16, 32, 64, 128):  # what most requests have
            assert each.value == pytest.approx(correction(batch), rel=0.03)
            assert holds(each.interval, correction(batch), 0.02)
    assert fit.contention == pytest.approx(c, abs=0.04)
    assert holds(fit.slope.interval, c[1], 0.05)
    before = replay_blind(unseen)
    after = replay_blind(unseen, found.scenario(unseen.scenario, write(found, slower.parent / "mine.csv")))
    for name in ("mean", "p50", "p95", "p99"):
        assert abs(after.error[name]) < 0.5 * abs(before.error[name]), name
    assert abs(before.error["p95"]) > 0.4
    assert abs(after.error["mean"]) < 0.1
    low_s, high_s = after.range_s["p95"]
    assert low_s < after.measured_s["p95"] < high_s


def write(found: Calibration, path: Path) -> str:
    from deeprec_env.latency.table import write_profile

    write_profile(path, {"cpu": "calibrated"}, found.rows())
    return str(path)


def test_a_node_that_is_as_it_is_believed_to_be_stays_so() -> None:
    """No phases are found where there are none, although the noise has a long tail."""
    believed = node(1, 50.0)
    found = calibrate([recorded(believed, believed, 3000, episode) for episode in range(2)])
    fit = found.pools["cpu"]
    assert fit.phases is None
    assert fit.contention == (1.0, 0.0, 0.0)
    for batch, each in zip(fit.batches, fit.corrections, strict=True):
        if batch in (16, 32, 64):
            assert each.value == pytest.approx(1.0, abs=0.02)


def test_a_start_on_an_idle_server_is_a_delay_of_the_query_and_no_longer_service() -> None:
    """It is told apart, so that it is not predicted for those that wait."""
    believed, delay_s = node(1, 40.0), 2e-3
    *fitted, unseen = (cold(recorded(believed, believed, 3000, episode), delay_s) for episode in range(3))
    found = calibrate(fitted)
    assert found.delay_s(believed) == pytest.approx(delay_s, rel=0.15)
    for each in found.pools["cpu"].idleness.longer_s:
        assert holds(each.interval, delay_s, 0.3)
    for batch, each in zip(found.pools["cpu"].batches, found.pools["cpu"].corrections, strict=True):
        if batch in (16, 32, 64):
            assert each.value == pytest.approx(1.0, abs=0.02)
    blind = {each.name: each for each in predictors("amd-epyc-milan")}
    errors = {name: each.predict(unseen, fitted).error["mean"] for name, each in blind.items()}
    assert errors["blind"] == errors["shipped"] < -0.05
    assert abs(errors["calibrated"]) < 0.3 * abs(errors["blind"])


def test_batch_sizes_of_runs_are_not_taken_for_phases(slower: Path) -> None:
    """Short phases in runs of small requests say nothing of a run of large ones: its means stay what was measured."""
    phases = {"factor": 1.3, "mean_slow_s": 0.02, "mean_normal_s": 0.03}
    small, large = (node(1, qps, batch_size=batch_size) for qps, batch_size in ((30.0, 16), (40.0, 256)))
    fitted = [recorded(small, truth(small, slower, phases, [1.0, 0.0, 0.0]), 3000, episode) for episode in range(2)]
    other = [recorded(large, truth(large, slower, None, [1.2, 0.0, 0.0]), 3000, episode) for episode in range(2, 4)]
    found = calibrate([*fitted, *other])
    calibrated = found.scenario(large, write(found, slower.parent / "both.csv"))
    (pool,) = calibrated.stages[0].pools().values()
    assert pool.slowness is not None
    cycle_s = pool.slowness.mean_slow_s + pool.slowness.mean_normal_s
    in_all = 1.0 + (pool.slowness.factor - 1.0) * pool.slowness.mean_slow_s / cycle_s
    columns = other[0].columns
    assert isinstance(pool.latency, Profile)
    expected_s = checked.mean_s(pool.latency, columns["request_items"]) * sum(pool.contention.c) * in_all
    measured_s = columns["end_s"] - columns["start_s"]
    assert expected_s.mean() == pytest.approx(measured_s.mean(), rel=0.03)


def test_a_calibrated_profile_does_not_end_falling(slower: Path, tmp_path: Path) -> None:
    """Rare long services of the last batch but one would make latencies fall beyond the last."""
    believed = load_scenario(
        node(1, 30.0, batch_size=1024), {"workload.sizes": {"kind": "lognormal", "mu": 6.7, "sigma": 0.3}}
    )
    run_ = recorded(believed, truth(believed, slower, None, [1.0, 0.0, 0.0]), 4000, 0)
    items, service_s = run_.columns["request_items"], run_.columns["end_s"] - run_.columns["start_s"]
    longer = (items < 880) & (np.random.default_rng(0).random(len(items)) < 0.01)
    stretched = replace(
        run_, columns=run_.columns | {"end_s": run_.columns["start_s"] + np.where(longer, 30.0, 1.0) * service_s}
    )
    found = calibrate([stretched])
    assert found.scenario(believed, write(found, tmp_path / "falling.csv")).stages[0].pools()


def cold(recording: Recording, delay_s: float) -> Recording:
    """A run of one server that takes so much longer for a request that finds it idle."""
    columns = recording.columns
    service_s, end_s = columns["end_s"] - columns["start_s"], 0.0
    starts, ends = [], []
    for entry_s, takes_s in zip(columns["entry_s"].tolist(), service_s.tolist(), strict=True):
        begin_s = max(entry_s, end_s)
        end_s = begin_s + takes_s + (delay_s if begin_s > end_s else 0.0)
        starts.append(begin_s)
        ends.append(end_s)
    start_s, all_end_s = np.array(starts), np.array(ends)
    last = np.flatnonzero(np.diff(columns["query"], append=-1))
    of_query = np.searchsorted(columns["query"][last], columns["query"])
    times = {"start_s": start_s, "end_s": all_end_s, "worker_begin_s": start_s, "worker_end_s": all_end_s}
    return replace(recording, columns=columns | times | {"completion_s": all_end_s[last][of_query]})


def test_phases_are_told_from_noise_of_any_shape() -> None:
    """Skewed and heavy tailed noise, drawn anew for each request, is none; its phases are found all the same."""
    rng = np.random.default_rng(8)
    start_s = np.cumsum(rng.exponential(0.01, 8000))
    noise = np.exp(0.1 * rng.standard_t(3, 8000)) * (1.0 + rng.exponential(0.15, 8000))
    phases, slow = fit_phases([Residuals(start_s, noise)])
    assert phases is None
    assert not slow[0].any()
    changes_s = np.cumsum(rng.exponential([[1.0, 0.5]], (100, 2)).ravel())
    is_slow = np.searchsorted(changes_s, start_s) % 2 == 1
    phases, slow = fit_phases([Residuals(start_s, noise * np.where(is_slow, 1.5, 1.0))])
    assert phases is not None
    assert phases.factor == pytest.approx(1.5, rel=0.03)
    assert phases.mean_slow_ci_s[0] < 0.5 < phases.mean_slow_ci_s[1]
    assert phases.mean_normal_ci_s[0] < 1.0 < phases.mean_normal_ci_s[1]
    assert np.mean((slow[0] > 0.5) == is_slow) > 0.97


def test_what_is_busy_and_free_at_a_start() -> None:
    """Two servers: the third request waits for the first, the fourth finds both idle."""
    log = ServiceLog.of(
        start_s=np.array([0.0, 1.0, 4.5, 9.0]),
        end_s=np.array([4.0, 6.0, 7.0, 10.0]),
        entry_s=np.array([0.0, 1.0, 2.0, 9.0]),
        items=np.array([1, 2, 3, 4]),
        servers=2,
    )
    assert log.busy.tolist() == [1, 2, 2, 1]
    assert log.free_s.tolist()[2:] == [4.0, 7.0]
    assert log.since_idle.tolist() == [0, 0, 1, 0]
    assert log.idle_s[3] == 2.0


def test_command_writes_a_profile_and_a_scenario_that_loads(
    slower: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for place, recording in enumerate(runs(1, slower, SLOWNESS, [1.0, 0.0, 0.0])[1:]):
        paths.append(tmp_path / f"run{place}.csv")
        write_recording(recording, paths[-1])
    output = tmp_path / "mine.csv"
    told = payload(capsys, "calibrate", *paths, "--output", output)
    assert told["check"]["recording"] == str(paths[-1])
    for name in ("mean", "p95"):
        assert abs(told["check"]["after"][name]["error"]) < abs(told["check"]["before"][name]["error"])
    scenario = load_scenario(tmp_path / "mine.yaml")
    slowness = scenario.stages[0].pools()["cpu"].slowness
    assert slowness is not None
    assert slowness.factor == told["pools"]["cpu"]["slowness"]["factor"]
    assert scenario.stages[0].overhead_s == pytest.approx(told["dispatch_us"]["request"]["value"] * 1e-6)
    again = payload(capsys, "calibrate", *paths, "--output", output, "--seed", "1")
    assert again["pools"] == told["pools"]
    assert again["check"]["measured_ms"] == told["check"]["measured_ms"]
    for name in ("before", "after"):  # by the mean over other draws of the noise
        p95 = [each["check"][name]["p95"]["ms"] for each in (told, again)]
        assert p95[0] != p95[1] == pytest.approx(p95[0], rel=0.3)


def test_what_can_not_be_calibrated_is_refused(slower: Path) -> None:
    believed = node(1, 50.0)
    recording = recorded(believed, believed, 1500, 0)
    with pytest.raises(InputError, match="same node"):
        calibrate([recording, replace(recording, scenario=node(2, 50.0))])
    few = {name: column[:900] for name, column in recording.columns.items()}
    with pytest.raises(InputError, match="at least 1000"):
        calibrate([replace(recording, columns=few)])
    constant = load_scenario(believed, {"node.cpu.latency": {"kind": "constant", "ms": 1.0}})
    with pytest.raises(InputError, match="must be profile"):
        one_stage(constant)
    backwards = recording.columns | {"end_s": recording.columns["start_s"] - 1.0}
    with pytest.raises(InputError, match="end after its start"):
        calibrate([replace(recording, columns=backwards)])


def test_bad_input_is_one_line(slower: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    believed = node(1, 50.0)
    run_, few = tmp_path / "run.csv", tmp_path / "few.csv"
    write_recording(recorded(believed, believed, 1500, 0), run_)
    few.write_text(run_.read_text(encoding="utf-8")[:5000], encoding="utf-8")
    mine = tmp_path / "mine.csv"
    for words in (
        (run_, "--output", mine),
        (run_, run_, "--output", mine),
        (run_, few, "--output", mine),
        (run_, "--check", tmp_path / "nowhere.csv", "--output", mine),
        (run_, "--check", run_, "--output", mine),
        (run_, "--check", run_, "--output", tmp_path / "mine.txt"),
    ):
        status, out, err = call(capsys, "calibrate", *words)
        assert (status, out, err.count("\n")) == (2, "", 1)
    assert not mine.exists()
