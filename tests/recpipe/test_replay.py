"""Logged runs: their arrivals drawn anew, the pipeline by an independent recursion, and the published tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.pipeline import rpaccel_latency_s
from deeprec_env.recpipe.replay.harness import ACCELERATOR_GAPS_MS, PERMUTED, SEED, Sweeps, send
from deeprec_env.recpipe.replay.predict import BUCKETS, OUTPUT_COLUMNS, buckets, replay
from deeprec_env.recpipe.replay.runs import read_runs
from deeprec_env.recpipe.replay.services import times

ACCELERATOR = {
    "stages": "2", "models": "dim_4|dim_32", "items": "4096|512", "hardconf": "4|16", "counts": "2|8", "sweep_pos": "4",
    "arrival_mean_gap_ms": "2.0", "num_queries": "500", "achieved_qps": "470", "infer_mean_s": "0.00289",
    "infer_p95_s": "0.00289", "total_mean_s": "0.0038", "total_p95_s": "0.0053",
}  # fmt: skip
CPU_GPU = {
    "stages": "2", "models": "dim_4|dim_32", "items": "1024|128", "gpu_flags": "cpu|gpu", "engines": "32|1",
    "sweep_pos": "6", "arrival_mean_gap_ms": "5.0", "num_queries": "400", "achieved_qps": "182",
    "infer_mean_s": "0.011", "infer_p95_s": "0.0135", "total_mean_s": "0.0156", "total_p95_s": "0.0194",
    "sort_mean_s": "0.00035", "stage1_avg_s": "0.0098", "stage2_avg_s": "0.0035",
}  # fmt: skip


def table(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "runs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def legacy(permuted: bool) -> np.random.RandomState:
    generator = np.random.RandomState(SEED)
    if permuted:
        generator.permutation(PERMUTED)
    return generator


def test_a_run_draws_its_gaps_behind_those_before_it_in_the_sweep(tmp_path: Path) -> None:
    """What the table does not hold comes from the published ladder; what it holds, from the table."""
    first = ACCELERATOR | {"sweep_pos": "0", "arrival_mean_gap_ms": "7.0", "num_queries": "30"}
    runs = read_runs(table(tmp_path, ACCELERATOR, first))
    drawn = legacy(permuted=False)
    for gap_ms, queries in [(7.0, 30), *((gap, 500) for gap in ACCELERATOR_GAPS_MS[1:4])]:
        drawn.poisson(lam=gap_ms, size=queries)
    assert Sweeps(runs).gaps_ms(runs[0]).tolist() == drawn.poisson(lam=2.0, size=500).tolist()

    alone = read_runs(table(tmp_path, CPU_GPU | {"sweep_pos": "0", "arrival_mean_gap_ms": "0.5"}))
    expected = legacy(permuted=True).poisson(lam=0.5, size=400)
    assert Sweeps(alone).gaps_ms(alone[0]).tolist() == expected.tolist()


def test_a_query_with_a_millisecond_behind_it_leaves_when_the_generator_stops_spinning(tmp_path: Path) -> None:
    (run,) = read_runs(table(tmp_path, ACCELERATOR))
    sent = send(run, np.array([3, 1, 1, 0, 2, 1]))
    base, wake = 0.031e-3, 0.110e-3
    spent = [3e-3 * 1.006 + wake + base, 1e-3 * 1.006 + base, 1e-3 * 1.006 + base, base, 2e-3 * 1.006 + wake + base]
    assert sent.stamped_s == pytest.approx([0.0, *np.cumsum(spent)])
    assert sent.left_s.tolist() == sent.stamped_s[[0, 3, 3, 3, 4, 5]].tolist()


def one_server(entry_s: list[float], service_s: float) -> list[float]:
    """When queries that enter in this order leave a pool of one server that takes `service_s` (Lindley)."""
    leave: list[float] = []
    for entry in entry_s:
        leave.append(max(entry, leave[-1] if leave else 0.0) + service_s)
    return leave


def test_a_prediction_is_the_fcfs_recursion_on_the_arrivals(tmp_path: Path) -> None:
    (run,) = read_runs(table(tmp_path, ACCELERATOR | {"counts": "1|1"}))
    sent = send(run, Sweeps([run]).gaps_ms(run))
    times_s = sent.left_s.tolist()
    scale = 0.00289 / (rpaccel_latency_s("dim_4", 4096, 4) + rpaccel_latency_s("dim_32", 512, 16))
    for model, items, unit in (("dim_4", 4096, 4), ("dim_32", 512, 16)):
        entry_s = [time + 0.186e-3 for time in times_s]
        times_s = one_server(entry_s, rpaccel_latency_s(model, items, unit) * scale + 0.08e-3)
    latency_s = np.array(times_s) - sent.stamped_s
    (found,) = replay([run])
    assert found.mean_s == pytest.approx(latency_s.mean(), rel=1e-9)
    assert found.p95_s == pytest.approx(np.percentile(latency_s, 95), rel=1e-9)
    assert found.mean_error == pytest.approx(found.mean_s / 0.0038 - 1)
    slowest = rpaccel_latency_s("dim_32", 512, 16) * scale + 0.08e-3
    assert found.utilisation == pytest.approx(470 * slowest)


def test_service_times_are_the_runs_own_or_the_fits(tmp_path: Path) -> None:
    (run,) = read_runs(table(tmp_path, CPU_GPU))
    own, fitted = times(run, "own"), times(run, "fit")
    assert sum(time.sort_s for time in own) == pytest.approx(0.00035)
    assert [time.engine_s + time.sort_s for time in own] == pytest.approx([0.0098, 0.0035])
    assert 0.1 < own[0].cv == own[1].cv < 0.2
    assert fitted[0].engine_s + fitted[0].sort_s == pytest.approx(2.24e-3 + 6.89e-6 * 1024)
    assert fitted[1].engine_s + fitted[1].sort_s == pytest.approx(3.32e-3 + 2.13e-6 * 128)
    one, other = (replay([run], service)[0] for service in ("own", "fit"))
    assert one.mean_s != other.mean_s
    assert one.utilisation == other.utilisation
    assert replay([run])[0] == one


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


def payload(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status, out, err = call(capsys, "pipeline", *arguments, "--json")
    assert (status, err) == (0, "")
    parsed: dict[str, Any] = json.loads(out)
    assert parsed["schema_version"] == 1
    return parsed


def test_replay_has_the_contracts_keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saturated = ACCELERATOR | {"achieved_qps": "9000"}
    path, output = table(tmp_path, ACCELERATOR, saturated), tmp_path / "out.csv"
    result = payload(capsys, "replay", path, "--output", output)
    assert [bucket["utilisation"] for bucket in result["buckets"]] == [
        "0-0.5",
        "0.5-0.8",
        "0.8-0.95",
        "0.95-1.05",
        ">1.05",
    ]
    assert [bucket["runs"] for bucket in result["buckets"]] == [1, 0, 0, 0, 1]
    assert set(result["buckets"][0]) == {"utilisation", "runs", "mean_error_median", "p95_error_median"}
    assert result["buckets"][1]["mean_error_median"] is None
    with output.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == OUTPUT_COLUMNS
    assert [row["line"] for row in rows] == ["2", "3"]
    assert abs(float(rows[0]["mean_error"])) == result["buckets"][0]["mean_error_median"]
    status, out, _ = call(capsys, "pipeline", "replay", path, "--service", "fit")
    assert status == 0
    assert "0.95-1.05" in out


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (ACCELERATOR, {"hardconf": "4|8"}, "line 2, hardconf: got '4|8'; must be of 1, 4, 16, 64"),
        (ACCELERATOR, {"counts": "2"}, "line 2, counts: got '2'; must hold 2 values"),
        (ACCELERATOR, {"stages": "0"}, "line 2, stages: got '0'; must be a whole number from 1"),
        (ACCELERATOR, {"stages": "4"}, "line 2, stages: got 4; must be at most 3"),
        (ACCELERATOR, {"models": "dim_4|dim_5"}, "line 2, models: got 'dim_4|dim_5'"),
        (ACCELERATOR, {"items": "4096|many"}, "line 2, items: got 'many'"),
        (ACCELERATOR, {"achieved_qps": "nan"}, "line 2, achieved_qps: got 'nan'; must be a number above 0"),
        (ACCELERATOR, {"total_p95_s": ""}, "line 2, total_p95_s: got ''"),
        (ACCELERATOR, {"sweep_pos": "40"}, "line 2, sweep_pos: got 40; must be at most 11"),
        (CPU_GPU, {"gpu_flags": "cpu|tpu"}, "line 2, gpu_flags: got 'cpu|tpu'; must be of cpu, gpu"),
        (CPU_GPU, {"stage2_avg_s": ""}, "line 2, stage2_avg_s: got ''"),
        (CPU_GPU, {"sort_mean_s": "1.0"}, "line 2, sort_mean_s: got 1.0; must be less"),
    ],
)
def test_malformed_rows_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, row: dict[str, str], change: dict[str, str], message: str
) -> None:
    status, out, err = call(capsys, "pipeline", "replay", table(tmp_path, row | change))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_bad_tables_and_options_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = table(tmp_path, ACCELERATOR)
    for arguments, message in (
        (["replay", path, "--service", "guess"], "service: got 'guess'; must be one of own, fit"),
        (["replay", path, "--seed", "-1"], "seed: got -1"),
        (["replay", path, "--output", tmp_path], "output: got"),
        (["replay", tmp_path / "nowhere.csv"], "must be a readable CSV file"),
        (["rpaccel", "--fidelity", "exact"], "fidelity: got 'exact'"),
        (["rpaccel", "--items", "0"], "items: got 0"),
        (["cache", "--policy", "random"], "policy: got 'random'"),
    ):
        status, out, err = call(capsys, "pipeline", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
    path.write_text("stages,models\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks the column items"):
        read_runs(path)
    path.write_text(",".join(ACCELERATOR) + "\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: got .* must have as many cells as the header"):
        read_runs(path)


def test_rpaccel_shows_components_and_mends(capsys: pytest.CaptureFixture[str]) -> None:
    result = payload(capsys, "rpaccel", "--items", 512)
    assert len(result["stages"]) == 12
    for stage in result["stages"]:
        assert sum(stage["components_us"].values()) == pytest.approx(stage["latency_us"])
        assert stage["energy_uj"] > 0
    assert call(capsys, "pipeline", "rpaccel")[0] == 0


def test_cache_compares_with_published_points(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    columns = "filter_ratio,cache_mib,fraction_stage1,entries_stage1,entries_stage2,hitrate_stage1,hitrate_stage2"
    lines = [f"0.25,{mib},0.5,1,1,0.{mib},0.{mib},0.{mib},0.{mib},50" for mib in (1, 2, 4)]
    path = tmp_path / "points.csv"
    path.write_text("\n".join([f"{columns},hitrate_accesses,hitrate_bytes,amat_cycles", *lines]), encoding="utf-8")
    result = payload(capsys, "cache", "--samples", 1000, "--compare", path)
    assert len(result["best_shares"]) == 35
    assert set(result["agreement"]) == {"stage 1", "stage 2", "accesses", "bytes"}


@pytest.mark.parametrize(
    ("name", "service", "most"),
    [
        ("accelerator_runs.csv", "own", (0.02, 0.05)),
        ("accelerator_runs.csv", "fit", (0.02, 0.05)),
        ("cpu_gpu_runs.csv", "own", (0.02, 0.02)),
        ("cpu_gpu_runs.csv", "fit", (0.05, 0.06)),
    ],
)
def test_published_runs_are_predicted(shared: Path, name: str, service: str, most: tuple[float, float]) -> None:
    found = buckets(replay(read_runs(shared / "recpipe" / name), service))
    assert [bucket["utilisation"] for bucket in found] == [label for label, _ in BUCKETS]
    for bucket in found[:2]:
        assert bucket["runs"] > 10
        assert bucket["mean_error_median"] <= most[0]
        assert bucket["p95_error_median"] <= most[1]
