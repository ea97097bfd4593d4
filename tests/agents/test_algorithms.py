"""Every algorithm: trains, saves, goes on, loads and acts, on its shipped hyperparameters made small."""

from __future__ import annotations

import json
import pickle
import shutil
import typing
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from deeprec_env import InputError, load_scenario
from deeprec_env.agents.agent import load_agent
from deeprec_env.agents.algorithms import ALGORITHMS, kinds_of
from deeprec_env.agents.hyperparams import load_hyperparams
from deeprec_env.agents.storage import load_model
from deeprec_env.agents.training import TrainSettings, train
from deeprec_env.envs import SERVING
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.policies.evaluation.policy_capacity import RateMeter
from tests.conftest import day_scenario

SMALL: dict[str, Any] = {"n_envs": 2, "batch_size": 16, "n_steps": 8, "n_epochs": 1, "learning_starts": 20}
SMALL |= {"buffer_size": 400, "gradient_steps": 1}


def small(algo: str, folder: Path, **changes: Any) -> TrainSettings:
    """Settings for a training of 96 steps, with the shipped hyperparameters but for sizes."""
    shipped = load_hyperparams(algo)
    off_policy = issubclass(ALGORITHMS[algo], OffPolicyAlgorithm)
    mapping = {name: SMALL.get(name, value) for name, value in shipped.raw.items()}
    if off_policy:
        mapping.pop("n_steps", None)
    path = folder / f"{algo}.yml"
    path.write_text(yaml.safe_dump({SERVING: mapping | changes}), encoding="utf-8")
    return TrainSettings(scenario=day_scenario(), algo=algo, timesteps=96, hyperparams=path, validate_every=48, seed=3)


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_an_algorithm_trains_goes_on_loads_and_acts(algo: str, tmp_path: Path) -> None:
    folder, settings = tmp_path / "run", small(algo, tmp_path)
    first = train(settings, folder)
    files = {path.name for path in folder.iterdir()}
    assert ("last_replay_buffer.pkl" in files) == issubclass(ALGORITHMS[algo], OffPolicyAlgorithm)
    assert not [name for name in files if name.startswith(".") or name == "best_replay_buffer.pkl"]

    longer = TrainSettings(**vars(settings) | {"timesteps": 192})
    second = train(longer, folder, resume=True)
    assert first.timesteps == 96
    assert second.timesteps == 192
    assert second.queries > first.queries
    model = load_model(folder, "last", algo)
    assert model.num_timesteps == 192
    if isinstance(model, OffPolicyAlgorithm):
        model.load_replay_buffer(folder / "last_replay_buffer.pkl")
        assert model.replay_buffer is not None
        assert model.replay_buffer.size() * 2 == 192  # what was seen before the break is still there

    scenario = load_scenario(day_scenario())
    prepared = load_agent(str(folder), scenario)
    one, _ = prepared.policy.predict(np.zeros(14, dtype=np.float32), None, np.array([True]))
    many, _ = prepared.policy.predict(np.zeros((3, 14), dtype=np.float32), None, np.ones(3, dtype=bool))
    assert one.shape == (2,)
    assert many.tolist() == [one.tolist()] * 3
    assert RateMeter(prepared, seed=0, queries=1100).probe(300.0).p95_s > 0.0


def test_a_recurrent_agent_is_given_what_it_remembers(tmp_path: Path) -> None:
    from deeprec_env.envs import ServingEnv

    train(small("ppo_lstm", tmp_path), tmp_path / "run")
    scenario = load_scenario(day_scenario())
    policy, seen = load_agent(str(tmp_path / "run"), scenario).policy, []

    class Watched:
        def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> Any:
            action, after = policy.predict(observation, state, episode_start, deterministic)
            seen.append((state, after, bool(episode_start[0])))
            return action, after

    run_policy(ServingEnv(scenario), Watched(), 0, "test")  # type: ignore[arg-type]
    assert seen[0][0] is None
    assert [start for _, _, start in seen] == [True] + [False] * 11
    for (_, before, _), (state, after, _) in pairwise(seen):
        assert state is before
        assert not np.array_equal(after[0], state[0])


def test_resumed_environments_have_traffic_not_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deeprec_env.envs.vector import ServingVectorEnv

    seeds, reset = [], ServingVectorEnv.reset

    def record(self: ServingVectorEnv, *, seed: Any = None, options: Any = None) -> Any:
        seeds.append(seed)
        return reset(self, seed=seed, options=options)

    monkeypatch.setattr(ServingVectorEnv, "reset", record)
    settings = small("ppo", tmp_path)
    train(settings, tmp_path / "run")
    train(TrainSettings(**vars(settings) | {"timesteps": 192}), tmp_path / "run", resume=True)
    assert seeds == [[3_000_000, 3_000_001], [3_000_096, 3_000_097]]


def test_a_model_in_the_wrong_place_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario(day_scenario())
    for algo in ("ppo", "a2c", "dqn"):
        train(small(algo, tmp_path), tmp_path / algo)

    def put(file: str) -> None:
        shutil.copy(tmp_path / file, tmp_path / "ppo" / "best_model.zip")

    for other in ("dqn", "a2c"):
        put(f"{other}/best_model.zip")
        with pytest.raises(InputError, match=rf"best_model.zip.*holds a model of .*{other}.*, not ppo as config.json"):
            load_agent(str(tmp_path / "ppo"), scenario)
    shutil.make_archive(str(tmp_path / "else"), "zip", tmp_path, "ppo.yml")
    put("else.zip")
    with pytest.raises(InputError, match="must be a model saved by Stable-Baselines3"):
        load_agent(str(tmp_path / "ppo"), scenario)

    config = json.loads((tmp_path / "dqn" / "config.json").read_text(encoding="utf-8"))
    for change, message in (
        ({"algo": "alchemy"}, "config.json: algo: got 'alchemy'; must be one of ppo"),
        ({"hyperparams": {"env_wrapper": "nowhere.Wrapper"}}, "env_wrapper.*has imported its module already"),
        ({"hyperparams": {"env_wrapper": ["wrappers"]}}, "env_wrapper.*must be deeprec_env.envs.wrappers"),
        ({"hyperparams": {}}, "chooses from Discrete"),
    ):
        (tmp_path / "dqn" / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            load_agent(str(tmp_path / "dqn"), scenario)
    (tmp_path / "dqn" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "dqn" / "last_replay_buffer.pkl").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"last_replay_buffer.pkl.*must be the replay buffer"):
        train(small("dqn", tmp_path), tmp_path / "dqn", resume=True)
    for damaged in (b"", b"damaged", pickle.dumps({"obs_mean": 0.0})):
        (tmp_path / "dqn" / "best_vecnormalize.npz").write_bytes(damaged)
        with pytest.raises(InputError, match="must be the normalisation saved beside its model"):
            load_agent(str(tmp_path / "dqn"), scenario)
    (tmp_path / "dqn" / "best_vecnormalize.npz").unlink()
    with pytest.raises(InputError, match=r"lacks best_vecnormalize\.npz"):
        load_agent(str(tmp_path / "dqn"), scenario)


@pytest.mark.parametrize(
    ("algo", "changes", "message"),
    [
        ("dqn", {"gamma": "high"}, "line 7: gamma: got 'high'; must be a number"),
        ("dqn", {"buffer_size": 1e3}, "buffer_size: got 1000.0; must be a whole number"),
        ("dqn", {"batch_size": 0}, "batch_size: got 0; must be at least 1"),
        ("sac", {"gamma": 1.5}, "gamma: got 1.5; must be from 0 to 1"),
        ("sac", {"optimize_memory_usage": 1}, "optimize_memory_usage: got 1; must be true or false"),
        ("ppo", {"learning_rate": "1e-3"}, "learning_rate: got '1e-3'; must be a number"),
        ("ppo", {"policy": "MlpLstmPolicy"}, "policy: got 'MlpLstmPolicy'; must be one of MlpPolicy"),
        ("ppo", {"normalize": {"norms": True}}, "normalize: got {'norms': True}; must be true, false, or a mapping"),
        ("td3", {"noise_type": "pink"}, "noise_type: got 'pink'; must be one of normal"),
        ("td3", {"noise_std": -1}, "noise_std: got -1; must be a number of at least 0"),
        ("dqn", {"env_wrapper": "DiscreteActions"}, "env_wrapper: got 'DiscreteActions'; must name a class"),
        ("dqn", {"env_wrapper": "nowhere.at.all.Wrapper"}, "No module named 'nowhere'"),
        ("dqn", {"env_wrapper": "gymnasium.wrappers.TimeLimit"}, "must be deeprec_env.envs.wrappers.DiscreteActions"),
        ("dqn", {"frame_stack": 4}, "frame_stack: got 4; is not known; allowed: n_envs"),
    ],
)
def test_hyperparameters_of_the_wrong_kind_are_refused(
    algo: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        small(algo, tmp_path, **changes)
    assert message in str(caught.value)
    assert f"{algo}.yml, line " in str(caught.value)


def test_an_algorithm_without_its_wrapper_is_refused(tmp_path: Path) -> None:
    settings = small("dqn", tmp_path, env_wrapper=None)
    with pytest.raises(InputError, match=r"dqn refuses them: .*Discrete"):
        train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_annotations_of_all_ways_of_writing_say_the_same() -> None:
    """Stable-Baselines3 2.4 writes unions with `Union` and `Optional`, later ones with bars."""

    def with_bars(
        rate: float | Callable[[float], float], seed: int | None, kwargs: dict[str, Any] | None, net: str | type
    ) -> None: ...

    rate, kwargs = typing.Union[float, typing.Callable[[float], float]], typing.Optional[typing.Dict[str, Any]]  # noqa: UP006, UP007, UP045
    seed, net = typing.Optional[int], typing.Union[str, typing.Type[int]]  # noqa: UP006, UP007, UP045

    def with_unions(rate: Any, seed: Any, kwargs: Any, net: Any) -> None: ...

    with_unions.__annotations__ = {"rate": rate, "seed": seed, "kwargs": kwargs, "net": net}
    assert set(map(type, with_bars.__annotations__.values())) == {str}  # this module postpones them
    expected = {"rate": {float, Callable}, "seed": {int, NoneType}, "kwargs": {dict, NoneType}, "net": {str}}
    assert kinds_of(with_bars) == kinds_of(with_unions) == expected
