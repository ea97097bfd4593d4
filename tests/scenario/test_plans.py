from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import InputError, load_scenario
from deeprec_env.scenario.quality import COLUMNS, read_quality
from deeprec_env.scenario.setting import Setting
from tests.simulation.test_pipelines import TWO_STAGES, changed, per_item

HEADER = ",".join(COLUMNS)
TABLE = f"""# measured by a test
{HEADER}
a@60-b@10,2,a-b,60-10,0.9,0.8,0.7,0.6,0.5
b@30,1,b,30,0.9,0.9,0.9,0.9,0.625
"""
FILTER = {"name": "filter", "cpu": per_item(1)}
WITH_GPU = {"name": "p", "items": [3, 1], "latency": {"filter": {"accelerator": {"kind": "constant", "ms": 1}}}}
NAMED = [{"name": "a@60-b@10", "items": [60, 10]}, {"name": "b@30", "items": [0, 30], "quality": 0.75}]


def test_scenarios_with_plans_survive_their_own_yaml() -> None:
    scenario = load_scenario(TWO_STAGES)
    assert load_scenario(yaml.safe_load(yaml.safe_dump(scenario.model_dump(mode="json")))) == scenario
    assert load_scenario(scenario, ["plans.1.items=[0,25]"]).planned_items[1] == (0, 25)
    assert set(load_scenario("wnd").model_dump()) & {"plans", "quality_table"} == set()
    assert "plan" not in load_scenario("wnd").model_dump()["control"]


def test_quality_is_looked_up_beside_the_scenario_file_by_the_plans_name(tmp_path: Path) -> None:
    (tmp_path / "quality.csv").write_text(TABLE, encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(changed(plans=NAMED, quality_table="quality.csv")), encoding="utf-8")
    scenario = load_scenario(path)
    assert [plan.quality for plan in scenario.plans or ()] == [0.5, 0.75]  # a plan's own word counts
    (tmp_path / "quality.csv").unlink()
    assert scenario.with_setting(Setting(7, None, 1)).plans == scenario.plans  # read once


def test_the_published_table_is_known_by_its_name() -> None:
    rows = read_quality("recpipe-criteo")
    assert len(rows) == 59
    assert rows["dim_4@4096-dim_32@512"].metrics["ndcg@64"] == pytest.approx(0.92465, abs=1e-5)
    plans = [{"name": "dim_4@4096-dim_32@512", "items": [4096, 512]}]
    scenario = load_scenario(changed(plans=plans, quality_table="recpipe-criteo"))
    assert scenario.plans is not None
    assert scenario.plans[0].quality == rows["dim_4@4096-dim_32@512"].metrics["ndcg@64"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a@60-b@10,2,a-b,60-10,0.9,0.8,0.7,0.6,0.5\n" * 2, "line 3, pipeline"),
        ("a@60,1,a,60,0.9,0.8,0.7,0.6", "line 2: got 'a@60,1,a,60,0.9,0.8,0.7,0.6'; lacks ndcg@64"),
        ("a@60,2,a,60,0.9,0.8,0.7,0.6,0.5", "line 2, stages: got '2'"),
        ("a@6,1,a,60,0.9,0.8,0.7,0.6,0.5", "line 2, pipeline: got 'a@6'; must be a@60"),
        ("a@x,1,a,x,0.9,0.8,0.7,0.6,0.5", "line 2, items: got 'x'"),
        ("a@60,1,a,60,0.9,1.8,0.7,0.6,0.5", "line 2, ndcg@8: got '1.8'; must be a number from 0 to 1"),
        ("a@60,1,a,60,0.9,nan,0.7,0.6,0.5", "line 2, ndcg@8: got 'nan'"),
        ("", "must hold at least one row"),
    ],
)
def test_a_bad_table_names_the_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "quality.csv"
    path.write_text(f"{HEADER}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_quality(path)
    assert message in str(caught.value)


def test_a_table_without_the_column_the_plan_or_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    with pytest.raises(InputError, match="must be a readable CSV or one of recpipe-criteo"):
        read_quality(path)
    path.write_text("pipeline,models\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks the column stages"):
        read_quality(path)
    path.write_text(TABLE, encoding="utf-8")
    with pytest.raises(InputError, match="lacks rough; it holds a@60-b@10, b@30"):
        load_scenario(changed(quality_table=str(path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plans": [{"name": "p", "items": [3]}]}, "plans.p.items: got [3]; must hold 2"),
        ({"plans": [{"name": "p", "items": [3, 4]}]}, "must not grow from stage to stage: 4"),
        ({"plans": [{"name": "p", "items": [0, 0]}]}, "above 0"),
        ({"plans": [{"name": "p", "items": [3, -1]}]}, "plans.0.items.1: got -1"),
        ({"plans": [{"name": "p", "items": [3, 1]}] * 2}, "each with its own name"),
        ({"plans": []}, "at least one plan"),
        ({"plans": [{"name": "p", "items": [3, 1], "latency": {"sort": {}}}]}, "must be one of filter, rank"),
        ({"plans": [WITH_GPU]}, "plans.p.latency.filter: got 'accelerator'; must be one of cpu"),
        ({"control": {"plan": "none"}}, "control.plan: got 'none'; must be an index from 0 to 2, or one of both"),
        ({"control": {"plan": 1}, "plans": None}, "control.plan: got 1; must be 0: the scenario has no plans"),
        ({"plans": None, "quality_table": "recpipe-criteo"}, "needs plans"),
        ({"pipeline": [{**FILTER, "keep": 5}, {"name": "rank", "cpu": per_item(1)}]}, "pipeline.filter.keep: got 5"),
        (
            {"plans": None, "pipeline": [{**FILTER, "keep": 5}, {"name": "rank", "cpu": per_item(1), "keep": 6}]},
            "pipeline.1.keep: got 6; must be at most the 5 it gets",
        ),
        ({"pipeline": [{"name": "filter"}, {"name": "rank", "cpu": per_item(1)}]}, "needs cpu, accelerator or both"),
        ({"pipeline": None, "node": {"cpu": per_item(1)}}, "need a pipeline"),
    ],
)  # fmt: skip
def test_bad_plans_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_scenario(changed(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
