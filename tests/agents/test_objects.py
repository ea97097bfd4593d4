"""Policies as objects, from Python and from functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from stable_baselines3 import DQN

from deeprec_env import InputError, evaluate, load_scenario
from deeprec_env.envs.wrappers import DiscreteActions
from deeprec_env.policies.base import FixedPolicy, fixed
from deeprec_env.scenario.setting import Setting
from tests.agents.models import FEW, FUNCTIONS, SCENARIO, environments, trained
from tests.conftest import day_scenario
from tests.docs import blocks
from tests.test_cli import call

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agents.md"


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module: dict[str, Any] = {}
    exec(next(block for block in blocks(PAGE, "python") if "evaluate(" in block), module)
    results = module["found"].policies
    assert list(results) == ["static", "mine", "dqn", "saved"]
    assert results["dqn"].actions == results["saved"].actions
    setting = load_scenario("wnd").setting.replace(batch_size=48, threshold=384)
    prepared = fixed(load_scenario("wnd"), setting)
    fixed_one = evaluate("wnd", [prepared], seeds=2, queries=2000)
    assert fixed_one.policies["FixedPolicy"].by_episode() == results["mine"].by_episode()  # as its comment says


class Constant:
    """A policy that is nobody's class."""

    def __init__(self, *action: int) -> None:
        self.action = np.array(action)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[Any, Any]:
        return self.action, state


class Alone(Constant):
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> Any:
        return self.action


class Narrow:
    def predict(self, observation: Any) -> Any:
        return np.array([0, 0])


def test_objects_are_compared_with_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained(DQN, environments(DiscreteActions))
    tuned = fixed(load_scenario(day_scenario()), Setting(77, 200), tuning_queries=12)
    given = [model, Constant(2, 12), FixedPolicy(2, 12), tuned, Constant(0, 0), "static", "random"]
    found = evaluate(SCENARIO, given, seeds=2, queries=1100, seed=4)
    assert list(found.policies) == ["DQN", "Constant", "FixedPolicy", "FixedPolicy-2", "Constant-2", "static", "random"]
    constant, same, its_own = (found.policies[name] for name in ("Constant", "FixedPolicy", "FixedPolicy-2"))
    assert constant.by_episode() == same.by_episode()
    assert (constant.prepared.tuning_queries, its_own.prepared.tuning_queries) == (None, 12)
    assert found.to_json()["actions"]["FixedPolicy-2"]["setting"] == [77, 200, 0]
    assert constant.capacities_qps is not None
    assert len(constant.capacities_qps) == 2
    assert found.seeds == (4, 5)
    named = evaluate(SCENARIO, {"mine": Constant(2, 12)}, seeds=2, queries=1100, seed=4)
    assert named.policies["mine"].by_episode() == constant.by_episode()

    path = tmp_path / "result.json"
    path.write_text(json.dumps(found.to_json()), encoding="utf-8")
    status, out, err = call(capsys, "rerun", path)
    assert (status, out) == (0, "same\n")
    assert err.splitlines()[0] == "DQN is not here: what it did is done again, and its capacity is not measured"


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ("static,random", "policies: got 'static,random'; must be a list of names, paths and objects"),
        ([3], "policies: got 'int'; must be a policy's name, a path, or an object with predict"),
        ([Constant], "policies: got 'type'; must be a policy's name"),
        ([Narrow()], "its predict must take (observation, state, episode_start, deterministic)"),
        ([Alone(2, 12)], "predict must return (action, state), not array"),
        ([Constant(2, 99)], "action: got"),
        ([], "policies: got ''; must name at least one"),
        ({1: "static"}, "policies: got 1; must be a name"),
        (["static", "static"], "must name each policy once"),
        (7, "policies: got 7; must be a list"),
    ],
)
def test_objects_that_are_no_policies_are_refused(policies: Any, message: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate(SCENARIO, policies, seeds=1, queries=1100)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("learner", "or an object with predict, not type"),
        ("narrow", "its predict must take (observation, state, episode_start, deterministic)"),
    ],
)
def test_functions_that_make_no_policy_are_refused(
    name: str,
    message: str,
    node: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_other_policies.py").write_text(FUNCTIONS, encoding="utf-8")
    status, out, err = call(capsys, "evaluate", node, "--policies", f"my_other_policies:{name}", *FEW)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
