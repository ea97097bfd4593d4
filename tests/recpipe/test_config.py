from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.recpipe.design_space.config import load_pipeline
from deeprec_env.recpipe.design_space.presets import CONFIGURATIONS, preset
from deeprec_env.recpipe.replay.service_times import CONTENTION, SERVICE_S, SORT_S
from deeprec_env.scenario.load import pipeline_names, preset_text
from deeprec_env.scenario.quality import read_quality
from deeprec_env.simulation.simulate import run
from deeprec_env.workload import Traffic

CPU = {"model": "dim_4", "items": 4096, "device": "cpu"}
GPU = {"model": "dim_32", "items": 512, "device": "gpu"}
UNITS = {"model": "dim_32", "items": 512, "device": "accelerator", "unit": 16, "engines": 8}


def config(*stages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"sla_ms": 100, "qps": 100, "stages": list(stages), **more}


def seconds(device: str, model: str, items: int) -> float:
    base_s, per_item_s = SERVICE_S[device][model]
    return base_s + per_item_s * items


def lone_latency_s(data: dict[str, Any]) -> np.ndarray:
    """Latencies of queries that never meet."""
    traffic = Traffic(np.arange(4000.0), np.full(4000, 4096), 5)
    return run(load_pipeline(data).scenario(), traffic).latency_s


def test_a_query_alone_takes_the_published_times() -> None:
    slow = sum(c / 32**power for power, c in enumerate(CONTENTION))
    sorts = [SORT_S[0] + SORT_S[1] * items for items in (4096, 512)]
    cpu, gpu = seconds("cpu", "dim_4", 4096), seconds("gpu", "dim_32", 512)
    latency_s = lone_latency_s(config(CPU, GPU))
    assert latency_s.mean() == pytest.approx((cpu - sorts[0]) * slow + sorts[0] + gpu, rel=0.01)
    calm_s = lone_latency_s(config(CPU, GPU, contention=False, sort=False))
    assert calm_s.mean() == pytest.approx(cpu + gpu, rel=0.01)
    lone = lone_latency_s(config(CPU, contention=False, sort=False))
    assert np.log(lone).std() == pytest.approx(0.124, rel=0.05)
    assert np.log(lone_latency_s(config(GPU, contention=False, sort=False))).std() == pytest.approx(0.014, rel=0.05)


def test_cores_are_split_evenly_and_sorts_are_one_server_each() -> None:
    for stages, cores in (((CPU,), 32), ((CPU, CPU), 16), ((CPU, CPU, CPU), 10), ((CPU, GPU), 32)):
        scenario = load_pipeline(config(*stages)).scenario()
        assert [stage.cpu.servers for stage in scenario.stages if stage.cpu and stage.cpu.contention.servers] == [
            cores for stage in stages if stage is CPU
        ]
        assert [stage.cpu.servers for stage in scenario.stages if stage.name.startswith("sort")] == [1] * len(stages)
        assert all(stage.whole for stage in scenario.stages if stage.cpu)


def test_an_accelerators_stage_is_a_pool_of_units_without_a_sort() -> None:
    (stage,) = load_pipeline(config(UNITS)).mapping()["pipeline"]
    latency = {"kind": "rpaccel", "model": "dim_32", "unit": 16, "fidelity": "artifact"}
    assert stage == {"name": "stage1", "accelerator": {"servers": 8, "latency": latency}}


def test_alternatives_are_plans_with_their_published_quality() -> None:
    more = {"models": ["dim_32", "dim_32"], "items": [4096, 0]}
    scenario = load_pipeline(config(CPU, GPU, alternatives=[more], sub_batches=2)).scenario()
    assert scenario.plans is not None
    assert scenario.sub_batches == 2
    assert scenario.plan_names == ["dim_4@4096-dim_32@512", "dim_32@4096"]
    assert scenario.planned_items == ((4096, 4096, 512, 512), (4096, 4096, 0, 0))
    rows = read_quality("recpipe-criteo")
    assert [plan.quality for plan in scenario.plans] == [rows[name].metrics["ndcg@64"] for name in scenario.plan_names]
    means = [stages[0].cpu.latency.mean_s(np.array([4096]))[0] for stages in scenario.planned_stages if stages[0].cpu]
    assert means == pytest.approx([seconds("cpu", m, 4096) - SORT_S[0] - SORT_S[1] * 4096 for m in ("dim_4", "dim_32")])


@pytest.mark.parametrize("name", pipeline_names())
def test_shipped_pipelines_are_their_configurations_and_run(name: str) -> None:
    assert set(pipeline_names()) == set(CONFIGURATIONS)
    assert yaml.safe_load(preset_text(name)) == yaml.safe_load(preset(name))
    scenario = load_scenario(name)
    assert scenario.plans is not None
    qualities = [plan.quality for plan in scenario.plans]
    assert None not in qualities
    first, last = (simulate(name, queries=2000, plan=plan) for plan in (0, 5))
    assert first.tail.p95_s < scenario.sla_s
    assert not first.overloaded
    assert last.tail.p95_s < 0.7 * first.tail.p95_s
    assert qualities[5] < qualities[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (config({**CPU, "engines": 0}), "stages.0.engines: got 0"),
        (config({**UNITS, "engines": None}), "stages.0.engines: got None; must say how many units"),
        (config(UNITS, {**UNITS, "engines": 9}), "1.0625 of the accelerator"),
        (config({**UNITS, "unit": 5}), "stages.0.unit: got 5; must be one of 1, 4, 16, 64"),
        (config({**CPU, "unit": 4}), "stages.0.unit: got 4"),
        (config({**CPU, "engines": 20}, {**CPU, "engines": 20}), "engines: got 40; CPU stages share 32"),
        (config({**CPU, "model": "dim_8"}), "stages.0.model: got 'dim_8'"),
        (config({**CPU, "device": "tpu"}), "stages.0.device: got 'tpu'"),
        (config({**CPU, "cores": 3}), "stages.0.cores: got 3; unknown key"),
        (config(), "stages: got []"),
        (config(CPU, alternatives=[{"models": ["dim_4"], "items": []}]), "1 models, 0 items"),
        ({"stages": [CPU], "qps": 3}, "sla_ms: got None; is needed"),
    ],
)
def test_bad_configurations_are_refused_by_name(data: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_pipeline(data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_is_a_yaml_file_too(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    with pytest.raises(InputError, match="must be a readable YAML file"):
        load_pipeline(path)
    path.write_text(yaml.safe_dump(config(CPU, GPU)), encoding="utf-8")
    assert load_pipeline(path) == load_pipeline(config(CPU, GPU))
    path.write_text("- 3", encoding="utf-8")
    with pytest.raises(InputError, match="must hold a mapping"):
        load_pipeline(path)
    with pytest.raises(InputError, match="must not grow from stage to stage"):
        load_pipeline(config({**CPU, "items": 100}, GPU)).scenario()


def test_the_published_figures_are_the_published_ones(shared: Path) -> None:
    """The quality table and the fits, against the data they were taken from."""
    lines = (shared / "recpipe" / "quality.csv").read_text(encoding="utf-8").splitlines()
    published = {tuple(line.split(",")[:2]): [float(cell) for cell in line.split(",")[3:8]] for line in lines[1:]}
    rows = read_quality("recpipe-criteo").values()
    ours = {("|".join(row.models), "|".join(map(str, row.items))): list(row.metrics.values()) for row in rows}
    assert ours == published
    fits = (shared / "recpipe" / "cpu_gpu_affine_fit.csv").read_text(encoding="utf-8").splitlines()
    for model, device, basis, _, _, base_s, per_item_s, *_ in (line.split(",") for line in fits[1:]):
        if basis == "single_plus_multi_gap15":
            found = SERVICE_S[device][model]
            assert found == pytest.approx((float(base_s), float(per_item_s)), rel=0.003)
