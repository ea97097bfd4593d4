"""Agents from anywhere: zips of Stable-Baselines3 and sb3-contrib, RL Zoo's folders, and objects with `predict`."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecMonitor, VecNormalize

from deeprec_env import InputError, evaluate
from deeprec_env.agents.algorithms import LOADABLE, saved_algorithms
from deeprec_env.agents.foreign import find_normalisation, find_zip, load_foreign
from deeprec_env.agents.storage import saved_data
from deeprec_env.agents.training import train
from deeprec_env.envs import CapacityEnv, PipelineEnv, ServingEnv
from deeprec_env.envs.wrappers import BoxActions, DiscreteActions
from deeprec_env.policies.evaluation.episodes import run_episode
from tests.agents.models import FEW, FUNCTIONS, NET, SCENARIO, environments, trained
from tests.agents.test_algorithms import small
from tests.agents.test_evaluate import call as call_agents
from tests.conftest import day_scenario, plans_day
from tests.test_cli import call, payload


@pytest.fixture(scope="module")
def rl_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What RL Zoo leaves behind, with models of other lengths, by Stable-Baselines3's own means."""
    folder = tmp_path_factory.mktemp("logs") / "ppo" / "DeepRec-Serving-v1_1"
    inside = folder / "DeepRec-Serving-v1"
    inside.mkdir(parents=True)
    several = environments(normalise=True)
    watched = VecNormalize(VecMonitor(environments()))
    watcher = EvalCallback(watched, best_model_save_path=str(folder), eval_freq=8, n_eval_episodes=1, verbose=0)
    model = PPO("MlpPolicy", several, n_steps=8, batch_size=8, policy_kwargs=dict(NET), seed=1, device="cpu")
    model.learn(16, callback=watcher)
    model.save(folder / "DeepRec-Serving-v1.zip")
    assert isinstance(several, VecNormalize)
    several.save(str(inside / "vecnormalize.pkl"))
    (inside / "config.yml").write_text("- - normalize\n  - true\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("kind", "wrapper", "policy"),
    [
        (PPO, None, "MlpPolicy"),
        (A2C, None, "MlpPolicy"),
        (TRPO, None, "MlpPolicy"),
        (MaskablePPO, None, "MlpPolicy"),
        (RecurrentPPO, None, "MlpLstmPolicy"),
        (DQN, DiscreteActions, "MlpPolicy"),
        (QRDQN, DiscreteActions, "MlpPolicy"),
        (SAC, BoxActions, "MlpPolicy"),
        (TD3, BoxActions, "MlpPolicy"),
        (DDPG, BoxActions, "MlpPolicy"),
        (TQC, BoxActions, "MlpPolicy"),
        (CrossQ, BoxActions, "MlpPolicy"),
        (ARS, BoxActions, "MlpPolicy"),
    ],
)
def test_a_saved_model_acts_as_it_did(kind: type[BaseAlgorithm], wrapper: Any, policy: str, tmp_path: Path) -> None:
    several = environments(wrapper or (lambda env: env))
    if kind in (MaskablePPO, ARS, CrossQ):  # as they begin: the first wants masks to learn, the others time
        model = kind(policy, several, policy_kwargs=dict(NET), seed=0, device="cpu")
    else:
        model = trained(kind, several, policy)
    model.save(tmp_path / "mine.zip")
    found = saved_algorithms(saved_data(tmp_path / "mine.zip"))
    assert kind in [LOADABLE[name] for name in found]
    assert len(found) == (2 if kind in (TD3, DDPG) else 1)

    prepared = load_foreign(str(tmp_path / "mine.zip"), SCENARIO, trust=True)
    assert prepared.tuning_queries is None
    env: Any = ServingEnv(day_scenario())
    theirs = env if wrapper is None else wrapper(env)
    actions = run_episode(env, prepared.policy, 3, "test").actions
    seen, _ = theirs.reset(seed=3, options={"split": "test"})
    state = None
    for window, action in enumerate(actions):
        expected, state = model.predict(seen, state, np.array([window == 0]), deterministic=True)
        assert np.array_equal(action, expected if wrapper is None else theirs.action(expected))
        seen, *_ = theirs.step(expected)


@pytest.mark.parametrize("outside", [True, False], ids=["stack of normalised", "normalised stack"])
def test_frames_and_normalisation_are_those_of_the_training(outside: bool, tmp_path: Path) -> None:
    if outside:
        several: VecEnv = environments(stack=3, normalise=True)
        normalise: Any = several.venv  # type: ignore[attr-defined]
    else:
        several = normalise = VecNormalize(environments(stack=3), clip_obs=2.0)
    model = trained(A2C, several)
    model.save(tmp_path / "best_model.zip")
    normalise.save(str(tmp_path / "vecnormalize.pkl"))
    policy = load_foreign(str(tmp_path), SCENARIO, trust=True).policy

    normalise.training = False
    one = DummyVecEnv([lambda: ServingEnv(day_scenario())])
    again = VecNormalize.load(str(tmp_path / "vecnormalize.pkl"), one if outside else VecFrameStack(one, 3))
    again.training = False
    watched: VecEnv = VecFrameStack(again, 3) if outside else again
    watched.seed(5)
    seen, state = watched.reset(), None
    single = ServingEnv(day_scenario())
    raw, _ = single.reset(seed=5)
    over = False
    for window in range(12):
        expected, _ = model.predict(seen, deterministic=True)
        action, state = policy.predict(raw, state, np.array([window == 0]))
        assert np.array_equal(action, expected[0])
        seen, *_ = watched.step(expected)
        raw, _, _, over, _ = single.step(action)
    assert over
    several_seen = np.stack([raw, raw])
    many, states = policy.predict(several_seen, None, np.array([True, True]))
    many, _ = policy.predict(several_seen, states, np.array([True, False]))
    first, then = policy.predict(raw, None, np.array([True]))
    assert np.array_equal(many[0], first)
    assert np.array_equal(many[1], policy.predict(raw, then, np.array([False]))[0])
    # In memory too: what it was trained under is known.
    handed = evaluate(SCENARIO, {"a": model, "b": str(tmp_path)}, seeds=1, queries=1100, trust=True)
    assert handed.policies["a"].actions == handed.policies["b"].actions


def test_one_evaluation_of_zips_folders_and_functions(
    ppo: Path,
    rl_zoo: Path,
    node: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_policies_here.py").write_text(FUNCTIONS.replace("PATH", str(ppo)), encoding="utf-8")
    own = tmp_path / "own"
    train(small("ppo", tmp_path), own)
    functions = [f"my_policies_here:{name}" for name in ("make", "model")]
    last = rl_zoo / "DeepRec-Serving-v1.zip"
    names = [*map(str, (ppo, rl_zoo, last, own)), f"ppo:{ppo}", *functions, "static"]
    result = payload(capsys, "evaluate", node, "--policies", ",".join(names), *FEW, "--trust")
    assert list(result["policies"]) == names
    of = {name: result["actions"][name]["episodes"] for name in names}
    assert of[str(ppo)] == of[f"ppo:{ppo}"] == of[functions[1]]
    assert of[functions[0]] == of["static"] | {"0": [[[2, 12], 12]]}
    costs = {name: entry["tuning_queries"] for name, entry in result["policies"].items()}
    assert [name for name, cost in costs.items() if cost is not None] == [str(own), "static"]
    assert all(entry["capacity_qps"] is not None for entry in result["policies"].values())

    from_python = evaluate(str(node), names, seeds=1, queries=1100, trust=True).to_json()
    assert from_python | {"question": 0} == json.loads(json.dumps(result)) | {"question": 0}
    assert from_python["question"]["arguments"] == result["question"]["arguments"]

    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    status, _, err = call(capsys, "rerun", "result.json")
    assert (status, err.count("\n")) == (2, 1)
    assert "if you trust where it comes from: --trust" in err
    assert call(capsys, "rerun", "result.json", "--trust") == (0, "same\n", "")
    result["question"]["arguments"]["trust"] = True
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    assert "question.arguments.trust: got True; must be left out" in call(capsys, "rerun", "result.json")[2]

    table = call(capsys, "evaluate", node, "--policies", f"{own},{rl_zoo}", *FEW, "--trust")[1]
    assert table.count(str(rl_zoo)) > 0


def test_rl_zoo_folders_have_their_best_model_and_its_normalisation(rl_zoo: Path, tmp_path: Path) -> None:
    inside = rl_zoo / "DeepRec-Serving-v1" / "vecnormalize.pkl"
    assert find_zip("it", rl_zoo) == rl_zoo / "best_model.zip"
    for name in ("best_model.zip", "DeepRec-Serving-v1.zip"):
        assert find_normalisation("it", rl_zoo / name) == inside
    loaded = [load_foreign(str(rl_zoo / name), SCENARIO, trust=True).policy for name in ("best_model.zip", ".")]
    last = PPO.load(rl_zoo / "DeepRec-Serving-v1.zip", device="cpu")
    normalise = pickle.loads(inside.read_bytes())
    raw = np.linspace(-1, 10, 14, dtype=np.float32)
    best, of_folder = (policy.predict(raw)[0].tolist() for policy in loaded)
    assert best == of_folder
    of_last = load_foreign(str(rl_zoo / "DeepRec-Serving-v1.zip"), SCENARIO, trust=True).policy
    for row in np.random.default_rng(0).uniform(-1, 10, (50, 14)).astype(np.float32):
        assert (
            of_last.predict(row)[0].tolist()
            == last.predict(normalise.normalize_obs(row), deterministic=True)[0].tolist()
        )

    copied = tmp_path / "copied"
    shutil.copytree(rl_zoo, copied)
    (copied / "best_model.zip").unlink()
    (copied / "rl_model_16_steps.zip").write_bytes(b"")
    assert find_zip("it", copied).name == "DeepRec-Serving-v1.zip"
    (copied / "rl_model_vecnormalize_16_steps.pkl").write_bytes(b"")
    found = find_normalisation("it", copied / "rl_model_16_steps.zip")
    assert found is not None
    assert found.name == "rl_model_vecnormalize_16_steps.pkl"
    (copied / "other").mkdir()
    shutil.copy(inside, copied / "other")
    with pytest.raises(InputError, match="has several normalisations"):
        find_normalisation("it", copied / "best_model.zip")
    shutil.rmtree(copied / "DeepRec-Serving-v1")
    with pytest.raises(InputError, match=r"holds several models; name one of DeepRec-Serving-v1.zip, rl_model"):
        find_zip("it", copied)


def test_a_foreign_agent_is_compared_with_the_baselines_on_a_scenario_that_is_given(
    ppo: Path, node: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--baselines", "random", *FEW, "--json", "--trust")
    status, out, err = call_agents(capsys, ppo, "--scenario", node, *few)
    assert (status, err) == (0, "")
    assert list(json.loads(out)["policies"]) == ["random", str(ppo)]
    status, out, err = call_agents(capsys, ppo, *few)
    assert (status, out) == (2, "")
    assert err == "error: scenario: got None; must be given: the agent has no config.json that holds one\n"


def test_rerun_takes_trust_where_agents_are_read(
    node: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "result.json").write_text(call(capsys, "simulate", node, "--queries", 1100, "--json")[1], "utf-8")
    status, _, err = call(capsys, "rerun", tmp_path / "result.json", "--trust")
    assert (status, err) == (2, "error: trust: got True; must be left out: simulate reads no agents\n")


@pytest.mark.parametrize(
    ("env", "make", "scenario", "more"),
    [
        ("capacity", CapacityEnv, day_scenario(), {"windows": 20}),
        ("pipeline", PipelineEnv, plans_day(), {}),
    ],
)
def test_other_environments_take_them_too(
    env: str, make: Any, scenario: Any, more: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = trained(PPO, DummyVecEnv([lambda: make(scenario)]))
    path = tmp_path / "saved.zip"
    model.save(path)
    found = evaluate(
        scenario, {"saved": path, "model": model, "random": "random"}, env=env, seeds=2, trust=True, **more
    )
    assert found.policies["saved"].by_episode() == found.policies["model"].by_episode()
    assert found.policies["saved"].by_episode() != found.policies["random"].by_episode()
    assert found.spec.name == env
    assert found.rows()
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    windows = [f"--{name}={value}" for name, value in more.items()]
    printed = payload(capsys, "evaluate", file, "--env", env, "--policies", path, "--seeds", 2, "--trust", *windows)
    assert printed["episodes"][str(path)] == found.to_json()["episodes"]["saved"]
    wrong = ("evaluate", file, "--env", "serving", "--policies", path, "--seeds", 1, "--trust")
    status, _, err = call(capsys, *wrong)
    assert (status, err.count("\n")) == (2, 1)
