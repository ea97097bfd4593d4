from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, Scenario, load_scenario
from deeprec_env.cli.main import main
from deeprec_env.envs import PipelineEnv
from deeprec_env.envs.environments import PIPELINE
from deeprec_env.envs.observation import FIELDS
from deeprec_env.envs.pipeline_day import with_pipeline_day
from deeprec_env.envs.pipeline_task import PIPELINE_CONTROLS
from deeprec_env.policies.adaptive.degrade import DegradePolicy, DegradeRule
from deeprec_env.policies.adaptive.plan_table import STEP, PlanTablePolicy, best_by_load
from deeprec_env.policies.base import FixedPolicy, Progress, TunedPolicy
from deeprec_env.policies.evaluation.comparison import compare, print_comparison
from deeprec_env.policies.evaluation.day_metrics import DayRuns
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.pipeline_policies import POLICIES, PipelineTuning
from deeprec_env.policies.evaluation.plan_metrics import front, mean_goodput, pipeline_day
from deeprec_env.policies.fixed.best_plan import best_plan, plans_of_quality
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.scenario.setting import Setting
from tests.conftest import plans_day

FEW = TuneOptions(queries=1100, days=2)
ACTIONS = [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return with_pipeline_day(load_scenario(plans_day()))


def observation(**values: float) -> np.ndarray:
    seen = np.zeros(len(FIELDS), dtype=np.float32)
    for name, value in values.items():
        seen[FIELDS.index(name)] = value
    return seen


def test_the_front_leaves_out_plans_that_are_worse_and_carry_no_more() -> None:
    recpipe = load_scenario("recpipe-cpu")
    names = [recpipe.plan_names[index] for index in front(recpipe)]
    narrower = [f"dim_4@{items}-dim_32@128" for items in (3200, 2048, 1600, 1024)]
    assert names == ["dim_4@4096-dim_32@512", *narrower]


def test_a_days_metrics_are_those_of_its_records(scenario: Scenario) -> None:
    env = PipelineEnv(scenario)
    policy = DegradePolicy(ACTIONS, DegradeRule(0.8, 0.4, 1))
    records = run_policy(env, policy, 1, "test")
    day = pipeline_day(records, scenario)
    assert records.plan is not None
    assert len(set(records.plan.tolist())) > 1
    quality = [(0.9, 0.85, 0.7, 0.6)[plan] for plan in records.plan]
    within = [latency_s <= 0.03 for latency_s in records.latency_s]
    good = sum(each for each, in_time in zip(quality, within, strict=True) if in_time)
    assert day.goodput == pytest.approx(good / (0.9 * len(quality)))
    assert day.quality == pytest.approx(np.mean(quality))
    assert day.violation_rate == pytest.approx(1 - np.mean(within))
    assert day.p95_s == np.percentile(records.latency_s, 95)


def test_the_best_plan_is_the_best_of_all_settings_and_keeps_to_its_floor(scenario: Scenario) -> None:
    days = DayRuns(scenario, pipeline_day, seeds=[0, 1], split="validation", engine="compiled")
    every = [setting.replace(plan=plan) for plan in range(4) for setting in scenario.settings()]
    found = best_plan(scenario, range(4), days, lambda what: None)
    assert mean_goodput(days.fixed(found)) == max(mean_goodput(days.fixed(setting)) for setting in every)
    assert days.queries_used == len(every) * sum(day.queries for day in days.fixed(found))
    assert found.plan == 2  # the others drown
    assert plans_of_quality(scenario, 0.9) == [0, 1]
    assert best_plan(scenario, [0, 1], days, lambda what: None).plan in (0, 1)
    for floor in (-0.1, 1.1):
        with pytest.raises(InputError, match="quality_floor"):
            plans_of_quality(scenario, floor)


def test_degrading_steps_down_above_its_threshold_and_back_well_below() -> None:
    policy, state, plans = DegradePolicy(ACTIONS, DegradeRule(0.8, 0.4, 1)), None, []
    for p95 in (0.5, 0.9, 0.5, 0.9, 0.9, 0.3, 0.3, 0.3):
        action, state = policy.predict(observation(p95=p95), state)
        plans.append(int(action[0]))
    assert plans == [0, 1, 1, 2, 2, 1, 0, 0]
    several, state = policy.predict(np.stack([observation(p95=1.5)] * 2), np.array([1, 1]), np.array([False, True]))
    assert several.tolist() == [[2, 0, 0], [0, 0, 0]]
    quick = DegradePolicy(ACTIONS, DegradeRule(0.8, 0.4, 2))
    assert quick.predict(observation(p95=0.81))[0].tolist() == [2, 0, 0]


def test_the_load_table_holds_the_best_setting_of_every_level(scenario: Scenario) -> None:
    settings = [Setting(32, 20, 0), Setting(32, None, 1), Setting(32, None, 2)]
    by_load, used = best_by_load(scenario, settings, highest=1.0, queries=1100, seed=0, engine="compiled")
    assert len(by_load) == 20
    assert used == 20 * 3 * 2100
    plans = [setting.plan for setting in by_load]
    assert plans == sorted(plans)  # the more load, the cheaper
    assert set(plans) == {0, 1, 2} or set(plans) == {0, 2}
    policy = PlanTablePolicy(scenario, by_load, 1.0)
    for level, setting in enumerate(by_load, start=1):
        action, _ = policy.predict(observation(offered=(level - 0.5) * STEP))
        assert tuple(action) == scenario.action(setting, PIPELINE_CONTROLS)
    assert policy.at(np.array([0.0, 9.0])).tolist() == [
        list(scenario.action(by_load[each], PIPELINE_CONTROLS)) for each in (0, -1)
    ]
    ahead = PlanTablePolicy(scenario, by_load, 1.5)
    change = plans.index(2) * STEP
    assert policy.predict(observation(offered=change * 0.8))[0][0] != 2
    assert ahead.predict(observation(offered=change * 0.8))[0][0] == 2


def test_every_policy_is_compared_on_the_same_days_and_seeing_ahead_pays(scenario: Scenario) -> None:
    told: list[str] = []
    comparison = compare(PIPELINE, scenario, list(POLICIES), seeds=3, options=FEW, progress=told.append)
    assert any("rate-oracle: test episode 2" in each for each in told)
    goodput = {name: float(np.mean(result.values("goodput"))) for name, result in comparison.policies.items()}
    assert goodput["rate-oracle"] > max(goodput["best-fixed"], goodput["random"])
    assert goodput["best-fixed"] > goodput["best-fixed-iso"]
    payload = json.loads(json.dumps(comparison.to_json()))
    assert (payload["environment"], payload["split"], payload["seeds"]) == ("pipeline", "test", [0, 1, 2])
    assert payload["best_quality"] == 0.9
    entry = payload["policies"]["rate-oracle"]
    assert set(entry["vs"]) == set(POLICIES) - {"rate-oracle"}
    versus = entry["vs"]["best-fixed"]
    mine, theirs = (comparison.policies[name].values("goodput") for name in ("rate-oracle", "best-fixed"))
    assert versus["difference"] == pytest.approx(np.mean(np.subtract(mine, theirs)))
    assert versus["difference_ci"][0] < versus["difference"] < versus["difference_ci"][1]
    assert versus["ratio"] > 1.0
    assert payload["policies"]["best-fixed-iso"]["tuning_queries"] < payload["policies"]["best-fixed"]["tuning_queries"]
    assert payload["policies"]["random"]["tuning_queries"] == 0
    again = compare(PIPELINE, scenario, ["rate-oracle", "random"], seeds=2, options=FEW)
    assert again.policies["rate-oracle"].episodes == comparison.policies["rate-oracle"].episodes[:2]
    assert again.policies["random"].episodes == comparison.policies["random"].episodes[:2]


def third_plan(scenario: Scenario, options: TuneOptions, progress: Progress) -> TunedPolicy:
    return TunedPolicy(FixedPolicy(2, 0, 0), scenario, 7)


def test_a_policy_of_the_users_own_is_compared_by_its_name(scenario: Scenario) -> None:
    name = f"{__name__}:third_plan"
    comparison = compare(PIPELINE, scenario, [name, "best-fixed"], seeds=1, options=FEW)
    assert comparison.to_json()["policies"][name]["tuning_queries"] == 7
    assert comparison.policies[name].values("quality") == pytest.approx([0.7])


def test_the_oracle_needs_an_engine_that_can_be_copied(scenario: Scenario) -> None:
    slow = TuneOptions(queries=1100, days=1, engine="asyncio")
    with pytest.raises(InputError, match="rate-oracle"):
        POLICIES["rate-oracle"](PipelineTuning(PIPELINE, scenario, slow))
    both = [
        compare(PIPELINE, scenario, ["degrade"], seeds=1, options=each)
        for each in (slow, TuneOptions(queries=1100, days=1))
    ]
    assert both[0].policies["degrade"].episodes == both[1].policies["degrade"].episodes


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"seeds": 0}, "seeds"),
        ({"seed": -1}, "seed"),
        ({"policies": []}, "policies"),
        ({"policies": ["random", "random"]}, "policies"),
        ({"policies": ["grid-day"]}, "policy"),
        ({"choices": {"quality_floor": 2.0}}, "quality_floor"),
    ],
)
def test_bad_arguments_are_refused(scenario: Scenario, arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        compare(PIPELINE, **{"scenario": scenario, "policies": ["random"], "options": FEW} | arguments)


def test_the_command_prints_the_table_or_json(
    scenario: Scenario, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plans.yaml"
    path.write_text(json.dumps(plans_day()), encoding="utf-8")
    command = ["evaluate", str(path), "--env", "pipeline", "--policies", "best-fixed-iso,random", "--seeds", "2"]

    def call(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([*command, *more])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    status, out, err = call("--json", "--quality-floor", "0.5")
    assert (status, err) == (0, "")
    assert json.loads(out)["policies"]["best-fixed-iso"]["setting"].startswith("rough, B ")
    assert json.loads(out)["quality_floor"] == 0.5
    status, out, _ = call()
    assert status == 0
    assert "both, B" in out or "fewer, B" in out
    for wrong, field in (
        (("--traffic", "flash"), "traffic"),
        (("--windows", "10"), "windows"),
        (("--env", "capacity", "--quality-floor", "0.5"), "quality_floor"),
        (("--env", "moon"), "env"),
    ):
        status, out, err = call(*wrong)
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {field}: got ")
        assert err.count("\n") == 1


def test_the_table_names_what_was_chosen(scenario: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(
        compare(PIPELINE, scenario, ["best-fixed", "degrade", "load-table"], seeds=2, options=FEW), "small"
    )
    out = capsys.readouterr().out
    assert "rough, B " in out
    assert "p95 > " in out
    assert " x rate" in out
