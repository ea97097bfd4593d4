from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import InputError
from deeprec_env.recpipe.design_space.space import load_space, scenario_of, space_of
from deeprec_env.recpipe.replay.harness import PROCESSES
from tests.recpipe.spaces import ITEMS, small_space, space, stage

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples" / "pipelines").glob("*.yaml"))


def test_all_combinations_are_there_or_counted() -> None:
    found = space_of(load_space(small_space()))
    assert len(found.candidates) == 270
    combinations = 3 * 5 * 2 + (2 * 5 * 2 * 3) * (2 * 2 * 3)
    assert len(found.candidates) + sum(found.left_out.values()) == combinations
    assert set(found.left_out) == {"engines", "gpus"}
    assert len({candidate.key for candidate in found.candidates}) == 270
    assert all(candidate.quality is not None for candidate in found.candidates)


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        ([stage("dim_4", 1024, "cpu"), stage("dim_32", 2048, "cpu")], "items"),
        ([stage("dim_4", 5000, "cpu")], "items"),
        ([stage("dim_4", 4096, "accelerator", unit=4)], "engines"),
        ([stage("dim_4", 4096, "accelerator", unit=4, engines=5)], "engines"),
        ([stage("dim_4", 4096, "cpu", engines=20), stage("dim_32", 512, "cpu", engines=20)], "engines"),
        ([stage("dim_4", 4096, "gpu"), stage("dim_32", 512, "gpu")], "gpus"),
        ([stage("dim_4", 4096, "accelerator", engines=1)], "unit"),
        ([stage("dim_4", 4096, "cpu", unit=4)], "unit"),
        ([stage("dim_4", 4000, "cpu")], "quality"),
        ({"stages": [stage("dim_4", 4096, "cpu")], "sub_batches": 65}, "sub_batches"),
    ],
)
def test_what_can_not_be_built_is_left_out_by_its_reason(grid: Any, reason: str) -> None:
    good = [stage("dim_32", 4096, "cpu")]
    found = space_of(load_space(space(good, grid)))
    assert [candidate.key[0] for candidate in found.candidates] == ["dim_32"]
    assert found.left_out == {reason: 1}


def test_a_pipeline_counts_once_and_is_named_by_its_stages() -> None:
    split = [stage("dim_4", 4096, "cpu"), stage("dim_32", 512, "accelerator", unit=16, engines=8, fidelity="corrected")]
    found = space_of(load_space(space({"stages": split, "sub_batches": [1, 2, 1]})))
    assert found.left_out == {"twice": 1}
    whole, parts = found.candidates
    assert whole.key == ("dim_4|dim_32", "4096|512", "cpu|accelerator/16 corrected", "32|8", "1")
    assert str(parts) == "dim_4@4096 on 32 cpu -> dim_32@512 on 8 accelerator/16 corrected, 2 sub-batches"
    assert scenario_of(found.config, parts).sub_batches == 2


def test_without_a_quality_every_number_of_items_will_do() -> None:
    found = space_of(load_space(space([stage("dim_4", 4000, "cpu")], quality=None)))
    assert [candidate.quality for candidate in found.candidates] == [None]


def test_another_metric_of_the_table() -> None:
    one = [stage("dim_32", 4096, "cpu")]
    qualities = [
        space_of(load_space(space(one, quality={"metric": metric}))).candidates[0].quality
        for metric in ("ndcg@4", "ndcg@64")
    ]
    assert qualities == [0.996824, 0.924643]


def test_processes_are_around_every_engine() -> None:
    config = load_space(space([stage("dim_4", 4096, "gpu"), stage("dim_32", 512, "cpu")], processes=True))
    stages = {each.name: each for each in scenario_of(config, space_of(config).candidates[0]).stages}
    assert stages["stage1"].overhead_s == PROCESSES["gpu"].occupancy_s
    assert stages["stage2"].transfer_s == PROCESSES["cpu"].transfer_s + 512 * PROCESSES["cpu"].per_item_s
    assert stages["sort1"].overhead_s == stages["sort1"].transfer_s == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qps": [3, 2]}, "qps: got [3, 2]; must ascend"),
        ({"qps": []}, "qps: got []"),
        ({"queries": 1000}, "queries: got 1000; must be at least 1100"),
        ({"grids": []}, "grids: got []"),
        ({"quality": {"metric": "auc"}}, "quality.metric: got 'auc'; must be one of ndcg@4"),
        ({"rates": 3}, "rates: got 3; unknown key"),
        ({"grids": [{"stages": [stage("dim_8", 4096, "cpu")]}]}, "grids.0.stages.0.model.0: got 'dim_8'"),
        ({"grids": [{"stages": [stage("dim_4", 0, "cpu")]}]}, "grids.0.stages.0.items.0: got 0"),
        ({"grids": [{"stages": [stage("dim_4", [], "cpu")]}]}, "grids.0.stages.0.items: got []"),
        (
            {"grids": [{"stages": [stage("dim_4", 4096, "accelerator", unit=[4, 7], engines=1)]}]},
            "grids.0.stages.0.unit: got [4, 7]; must be of null, 1, 4, 16, 64",
        ),
        (
            {"grids": [{"stages": [stage("dim_4", 4096, "cpu", fidelity="exact")]}]},
            "grids.0.stages.0.fidelity: got 'exact'; must be of artifact, corrected",
        ),
    ],
)
def test_bad_configurations_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_space(space([stage("dim_4", ITEMS, "cpu")]) | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_space_of_which_nothing_can_be_built_is_refused() -> None:
    config = load_space(space([stage("dim_4", 1024, "cpu"), stage("dim_32", [2048, 4096], "cpu")]))
    with pytest.raises(InputError, match="grids: got 'items 2'; must hold a pipeline that can be built"):
        space_of(config)


def test_a_file_and_a_table_beside_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a readable YAML file"):
        load_space(tmp_path / "none.yaml")
    path = tmp_path / "space.yaml"
    path.write_text("sla_ms: 3\nsla_ms: 4\n", encoding="utf-8")
    with pytest.raises(InputError, match="must be given once"):
        load_space(path)
    path.write_text("- 3", encoding="utf-8")
    with pytest.raises(InputError, match="must hold a mapping"):
        load_space(path)
    header = "pipeline,stages,models,items,ndcg@4,ndcg@8,ndcg@16,ndcg@32,ndcg@64\n"
    (tmp_path / "own.csv").write_text(header + "dim_4@1000,1,dim_4,1000,.9,.8,.7,.6,.5\n", encoding="utf-8")
    data = space([stage("dim_4", [1000, 4096], "cpu")], quality={"table": "own.csv"})
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    found = space_of(load_space(path))
    assert [(candidate.key[1], candidate.quality) for candidate in found.candidates] == [("1000", 0.5)]


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_examples_are_spaces(path: Path) -> None:
    found = space_of(load_space(path))
    counts = {"logged-cpu-gpu": (75, 12), "logged-rpaccel": (10, 11), "recpipe-5000": (5861, 12)}
    assert (len(found.candidates), len(found.config.qps)) == counts[path.stem]
