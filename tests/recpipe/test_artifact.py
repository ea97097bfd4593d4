"""RecPipe's logs as tables: two sweeps of each kind in its logs' form, and what the readers make of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprec_env import InputError
from deeprec_env.latency.rpaccel import rpaccel_latency_s
from deeprec_env.recpipe.chip.cache_sweep import read_points
from deeprec_env.recpipe.replay.artifact import ACCELERATOR_LOGS, CACHE_RESULTS, CPU_GPU_LOGS, LOGS, write_tables
from deeprec_env.recpipe.replay.runs import read_runs

RULE = "=" * 51


def launched(*engines: int) -> str:
    return "".join(f"Launched inference engine {s}/{e}\n" for s in range(len(engines)) for e in range(engines[s]))


def cpu_gpu(gap: str, seconds: float, models: str, items: str, flags: str, stages: tuple[float, ...]) -> str:
    average = "\n".join(f"****Stage {stage} average time {time}" for stage, time in enumerate(stages))
    return f"""{RULE}
****Epoch  0
****Total experiment time (s):  {seconds}
('****Average Arrival Rate: ', {gap})
('****Total queries: ', 2000)
('****Inference time: ', 0.03, 0.047)
('****Total time: ', 0.05, 0.067)
('****Sort time: ', 0.0015, 0.0022)
{average}
('****model config: ', u'{models}')
('****batch_size: ', {items})
****DCGs @ 32: 0.93
****DCGs @ 64: 0.91
****Error : 0.18
****GPU Flags {flags}
{RULE}
"""


def accelerator(gap: str, seconds: float) -> str:
    infer = rpaccel_latency_s("dim_4", 4096, 4) + rpaccel_latency_s("dim_32", 512, 16)
    return f"""{RULE}
('****Epoch ', 0)
('****Total experiment time (s): ', {seconds})
('****Infer mean time (s): ', {infer})
('****Infer tail time (s): ', {infer})
('****Total mean time (s): ', 0.004)
('****Total tail time (s): ', 0.009)
('****Arrival rate: ', {gap})
('****model config: ', u'configs/model_configs/dim_4_0.json,configs/model_configs/dim_32_0.json')
('****batch_size: ', [4096, 512])
('****accel config: ', ['configs/accel_configs/hardconf_4.json', 'configs/accel_configs/hardconf_16.json'])
('****accel counts: ', [2, 8])
{RULE}
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "RecPipe"
    (folder / LOGS).mkdir(parents=True)
    one, two = "c/dim_4_0.json", "c/dim_4_0.json,c/dim_32_0.json"
    first = "Using CPU...\n" + launched(3) + cpu_gpu("0.5", 4.0, one, "[4096]", "[False]", (0.04,))
    first += cpu_gpu("1", 5.0, one, "[4096]", "[False]", (0.03,))
    second = launched(2, 1) + cpu_gpu("0.5", 8.0, two, "[512, 128]", "[False, True]", (0.006, 0.0035))
    second += cpu_gpu("0.5", 8.0, "c/dim_16.json,c/dim_32_0.json", "[512, 128]", "[False, True]", (0.006, 0.0035))
    own = f"{RULE}\n****Epoch  0\nCreated dataset\n****Total experiment time (s):  26.0\n{RULE}\n"
    logs = dict(zip(CPU_GPU_LOGS, (first, second), strict=True))
    logs |= dict(zip(ACCELERATOR_LOGS, (own + accelerator("0.5", 20.0), accelerator("0.75", 25.0)), strict=True))
    for name, text in logs.items():
        (folder / LOGS / name).write_text(text, encoding="utf-8")
    (folder / CACHE_RESULTS).mkdir(parents=True)
    found = {
        "cache_entries_1": 81, "cache_entries_2": 8110, "accesses_total": 272, "accesses_2": 16, "hitrate_1": 1.5,
        "hitrate_2": 25.0, "hitrate_total": 3.0, "bytes_sram_total": 10, "bytes_total": 100,
    }  # fmt: skip
    for fraction in ("0.01", "0.5"):
        (folder / CACHE_RESULTS / f"0.0625_1_{fraction}.json").write_text(json.dumps(found), encoding="utf-8")
    return folder


def test_logs_become_what_replay_reads(clone: Path, tmp_path: Path) -> None:
    said: list[str] = []
    write_tables(clone, tmp_path / "data", said.append)
    assert [line.rpartition(": ")[2] for line in said] == ["3 rows", "2 rows", "2 rows"]
    runs = read_runs(tmp_path / "data" / "cpu_gpu_runs.csv")
    assert [(run.sweep_pos, run.gap_ms, run.queries, run.achieved_qps) for run in runs] == [
        (0, 0.5, 2000, 500.0), (1, 1.0, 2000, 400.0), (0, 0.5, 2000, 250.0)
    ]  # fmt: skip
    assert (runs[0].infer_p95_s, runs[0].total_mean_s, runs[0].sort_mean_s) == (0.047, 0.05, 0.0015)
    assert runs[0].pipeline == (("dim_4", 4096, "cpu", 3, None),)
    assert runs[2].pipeline == (("dim_4", 512, "cpu", 2, None), ("dim_32", 128, "gpu", 1, None))
    assert [stage.service_s for stage in runs[2].stages] == [0.006, 0.0035]
    runs = read_runs(tmp_path / "data" / "accelerator_runs.csv")
    assert [(run.sweep_pos, run.achieved_qps) for run in runs] == [(0, 500.0), (1, 400.0)]
    assert runs[1].pipeline == (("dim_4", 4096, "accelerator", 2, 4), ("dim_32", 512, "accelerator", 8, 16))
    points = read_points(tmp_path / "data" / "embedding_cache.csv")
    assert [point.share for point in points] == [0.01, 0.5]
    assert points[0].cache.hit_rates == (0.015, 0.25)
    assert points[0].cache.cycles == pytest.approx(90.1)


def test_a_clone_without_its_logs_is_refused_and_writes_nothing(clone: Path, tmp_path: Path) -> None:
    for name in ACCELERATOR_LOGS:
        (clone / LOGS / name).write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="clone: got 'no runs'; must be a clone"):
        write_tables(clone, tmp_path / "data")
    with pytest.raises(InputError, match="must be a readable log"):
        write_tables(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
