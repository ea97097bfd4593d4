from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("stable_baselines3")

from deeprec_env import InputError, load_scenario
from deeprec_env.agents.agent import load_agent
from deeprec_env.agents.hyperparams import load_hyperparams
from deeprec_env.agents.training import TrainSettings, train
from deeprec_env.agents.watch import Watch
from deeprec_env.cli.main import main
from deeprec_env.envs.environments import SERVING
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.fixed.tune import TuneOptions
from tests.conftest import day_scenario

HYPERPARAMS = """
DeepRec/Serving-v1:
  normalize: "{'norm_obs': True, 'norm_reward': True}"
  n_envs: 2
  n_timesteps: 96
  policy: MlpPolicy
  n_steps: 24
  batch_size: 24
  n_epochs: 2
  learning_rate: lin_0.001
  policy_kwargs: "{'net_arch': [8]}"
"""


@pytest.fixture
def settings(tmp_path: Path) -> TrainSettings:
    path = tmp_path / "tiny.yml"
    path.write_text(HYPERPARAMS, encoding="utf-8")
    return TrainSettings(scenario=day_scenario(), hyperparams=path, validate_every=48)


def test_a_training_leaves_models_normalisation_config_and_logs(settings: TrainSettings, tmp_path: Path) -> None:
    folder, steps = tmp_path / "run", []
    trained = train(settings, folder, progress=lambda what, count: steps.append(count))
    assert sum(steps) == trained.timesteps == 96
    names = {path.name for path in folder.iterdir()}
    for stem in ("best", "last"):
        assert {f"{stem}_model.zip", f"{stem}_vecnormalize.npz", f"{stem}_state.json"} <= names
    assert {"config.json", "tb_1"} <= names
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["seed"] == 0
    assert config["hyperparams"]["n_steps"] == 24
    assert trained.queries > 96 * 10
    assert trained.best["timesteps"] in (48, 96)

    scenario = load_scenario(day_scenario())
    prepared = load_agent(str(folder), scenario)
    assert prepared.tuning_queries == trained.queries
    action, _ = prepared.policy.predict(np.zeros(14, dtype=np.float32), None, np.array([True]))
    assert scenario.control.batch_sizes[action[0]] > 0
    result = compare(
        SERVING, scenario, ["static", str(folder)], labels=["static", "ppo"], seeds=2, options=TuneOptions(queries=1100)
    )
    assert set(result.to_json()["policies"]) == {"static", "ppo"}
    again = load_agent(str(folder / "last_model.zip"), scenario)
    assert again.policy.predict(np.zeros(14, dtype=np.float32))[0].shape == (2,)
    with pytest.raises(InputError, match="was trained on the ladders"):
        load_agent(str(folder), load_scenario("ncf-cpu"))
    with pytest.raises(InputError, match="holds a training already"):
        train(settings, folder)


def test_a_training_goes_on_with_what_it_began_with_or_not_at_all(settings: TrainSettings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(settings, folder)
    longer = vars(settings) | {"timesteps": 192}
    for scenario, differs in (
        (day_scenario(sla_ms=61), r"differs in sla_ms$"),
        ("wnd", r"differs in sla_ms, .* and \d+ more$"),
        ("wnd-cpu", r"differs in sla_ms, "),  # other ladders, too
    ):
        with pytest.raises(InputError, match=r"^scenario: got 'another'; the training in .* " + differs) as raised:
            train(TrainSettings(**longer | {"scenario": scenario}), folder, resume=True)
        assert len(str(raised.value)) < 400
    before = {path: path.read_bytes() for path in folder.glob("*.zip")}
    (folder / "last_vecnormalize.npz").unlink()
    with pytest.raises(InputError, match=r"lacks last_vecnormalize.npz, without which the training can't go on"):
        train(TrainSettings(**longer), folder, resume=True)
    assert {path: path.read_bytes() for path in folder.glob("*.zip")} == before


def test_a_damaged_agent_is_said_before_other_policies_run(settings: TrainSettings, tmp_path: Path) -> None:
    folder, told = tmp_path / "run", []
    train(settings, folder)
    model = folder / "best_model.zip"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InputError, match="must be a model saved by Stable-Baselines3"):
        compare(SERVING, load_scenario(day_scenario()), ["random", "static", str(folder)], progress=told.append)
    assert told == []


def test_the_same_seed_trains_the_same_agent(settings: TrainSettings, tmp_path: Path) -> None:
    from stable_baselines3 import PPO

    weights = []
    for name in ("a", "b"):
        train(settings, tmp_path / name)
        model = PPO.load(tmp_path / name / "last_model.zip", device="cpu")
        weights.append(b"".join(tensor.numpy().tobytes() for tensor in model.policy.state_dict().values()))
    assert weights[0] == weights[1]


def test_an_interrupted_training_goes_on(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, on_step = tmp_path / "run", Watch._on_step

    def interrupt(self: Watch) -> bool:
        if self.num_timesteps >= 60:
            raise KeyboardInterrupt
        return on_step(self)

    monkeypatch.setattr(Watch, "_on_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(settings, folder)
    monkeypatch.undo()
    state = json.loads((folder / "last_state.json").read_text(encoding="utf-8"))
    assert state["timesteps"] == 58
    resumed = train(settings, folder, resume=True)
    assert resumed.timesteps >= 96
    assert resumed.queries > state["queries"]
    assert resumed.best["timesteps"] >= 48
    with pytest.raises(InputError, match="seed"):
        train(TrainSettings(**vars(settings) | {"seed": 9}), folder, resume=True)


def test_sigterm_leaves_a_checkpoint_as_ctrl_c_does(
    settings: TrainSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario, folder = tmp_path / "node.yaml", tmp_path / "run"
    scenario.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    state, seen = folder / "last_state.json", []

    def terminate() -> None:
        while not state.exists():  # the first checkpoint, at a validation
            time.sleep(0.05)
        seen.append(json.loads(state.read_text(encoding="utf-8"))["timesteps"])
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate, daemon=True).start()
    options = ["--hyperparams", str(settings.hyperparams), "--timesteps", "10000000", "--output", str(folder)]
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(scenario), *options])
    assert stopped.value.code == 143
    err = capsys.readouterr().err
    assert err == f"interrupted: a checkpoint is in {folder}; the same command with --resume goes on\n"
    assert json.loads(state.read_text(encoding="utf-8"))["timesteps"] > seen[0]
    assert not list(folder.glob(".*"))


def test_shipped_hyperparameters_are_in_rl_zoo_format() -> None:
    parameters = load_hyperparams("ppo")
    assert parameters.n_envs >= 1
    assert parameters.algorithm["policy"] == "MlpPolicy"
    assert parameters.algorithm["learning_rate"](0.5) == pytest.approx(
        float(parameters.raw["learning_rate"].removeprefix("lin_")) / 2
    )


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("n_steps: 24", "n_stepz: 24", "n_stepz: got 24; is not known; allowed: n_envs"),
        ("n_envs: 2", "n_envs: 0", "n_envs: got 0; must be a whole number of at least 1"),
        ("lin_0.001", "exp_0.001", "line 10: learning_rate: got 'exp_0.001'; must be a number"),
        ("\"{'net_arch': [8]}\"", "\"__import__('os')\"", "policy_kwargs"),
        ("n_timesteps: 96", "n_timesteps: many", "n_timesteps: got 'many'"),
        ("DeepRec/Serving-v1", "CartPole-v1", "must hold a mapping under DeepRec/Serving-v1; its keys are CartPole-v1"),
        ("n_envs: 2", "n_envs: [2", "bad.yml, line 5'; must be YAML (expected ',' or ']'"),
    ],
)
def test_bad_hyperparameters_are_refused(tmp_path: Path, before: str, after: str, message: str) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(HYPERPARAMS.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_hyperparams("ppo", path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algo": "alchemy"}, "algo"),
        ({"timesteps": 0}, "timesteps"),
        ({"reward": "joy"}, "reward"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=field):
        TrainSettings(**{"scenario": "wnd"} | change)


def test_hyperparameters_that_the_algorithm_refuses_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(HYPERPARAMS.replace("[8]", "'wide'"), encoding="utf-8")
    with pytest.raises(InputError, match="ppo refuses them"):
        train(TrainSettings(scenario=day_scenario(), hyperparams=path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_agent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best_model.zip").write_text("damaged", encoding="utf-8")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="lacks algo"):
        load_agent(str(tmp_path), load_scenario(day_scenario()))
    scenario = load_scenario(day_scenario())
    ladders = [list(scenario.control.batch_sizes), list(scenario.thresholds)]
    (tmp_path / "config.json").write_text(json.dumps({"algo": "ppo", "ladders": ladders}), encoding="utf-8")
    with pytest.raises(InputError, match="must be a model saved by Stable-Baselines3"):
        load_agent(str(tmp_path), scenario)


def test_a_missing_agent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="policy"):
        load_agent(str(tmp_path), load_scenario("wnd"))
    with pytest.raises(InputError, match="agent"):
        train(TrainSettings(scenario=day_scenario()), tmp_path, resume=True)
