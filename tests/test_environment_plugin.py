"""An environment of somebody else's package: the one that docs/extending.md shows, and what is wrong with others."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml

from deeprec_env import InputError
from deeprec_env.envs import environments
from deeprec_env.envs.environments import PLUGINS, find_spec
from deeprec_env.envs.spec import EnvSpec
from tests.conftest import day_scenario
from tests.docs import blocks
from tests.envs import test_contract as contract
from tests.test_cli import call, payload
from tests.test_plugins import PAGE, deeprec, install

ID = "Mine/Settings-v0"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages that holds the documentation's."""
    project = tomllib.loads(blocks(PAGE, "toml")[1])["project"]
    install(tmp_path / "site", project["name"], blocks(PAGE, "python")[1], project["entry-points"])
    (tmp_path / "day.yaml").write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    return tmp_path / "site"


@pytest.fixture
def spec(site: Path, monkeypatch: pytest.MonkeyPatch) -> EnvSpec:
    monkeypatch.syspath_prepend(site)
    return find_spec("settings")


def test_training_and_evaluation_take_it_by_name(site: Path) -> None:
    pytest.importorskip("stable_baselines3")
    within: dict[str, Path] = {"cwd": site.parent, "path": site}
    train = ("train", "day.yaml", "--env", "settings", "--timesteps", 16, "--output", "run", "--json")
    best = json.loads(deeprec(*train, **within))["best"]
    assert set(best) == {"lost_reward", "reward", "violation_rate", "timesteps"}
    config = json.loads((site.parent / "run" / "config.json").read_text(encoding="utf-8"))
    assert (config["environment"], config["reward"]) == (ID, "tail")
    evaluate = ("evaluate", "day.yaml", "--env", ID, "--policies", "offload-under-load,random,run", "--seeds", 2)
    found = json.loads(deeprec(*evaluate, "--json", **within))
    assert found["environment"] == "settings"
    assert set(found["policies"]) == {"offload-under-load", "random", "run"}
    ours, random = (found["policies"][name] for name in ("offload-under-load", "random"))
    assert ours["reward"] > random["reward"]
    assert ours["vs"]["random"]["difference"] == pytest.approx(ours["reward"] - random["reward"])
    assert found["policies"]["run"]["tuning_queries"] > 1000
    assert "settings" in deeprec("train", "--help", **within)


@pytest.mark.usefixtures("spec")
def test_an_agent_trained_in_it_is_refused_elsewhere(
    site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("stable_baselines3")
    from deeprec_env import console
    from deeprec_env.agents.training import TrainSettings, train
    from deeprec_env.cli.trained import app

    tiny = "{n_envs: 2, n_timesteps: 16, policy: MlpPolicy, n_steps: 8, batch_size: 16}"
    (tmp_path / "tiny.yml").write_text(f"DeepRec/Serving-v1: {tiny}\n", encoding="utf-8")
    settings = TrainSettings(scenario=day_scenario(), env="settings", hyperparams=tmp_path / "tiny.yml")
    train(settings, tmp_path / "run")
    status, _, err = call(capsys, "evaluate", tmp_path / "day.yaml", "--policies", tmp_path / "run", "--seeds", 1)
    assert status == 2
    assert f"was trained in {ID}, not in DeepRec/Serving-v1" in err
    with pytest.raises(SystemExit) as stopped:
        console.run(app, "evaluate", [str(tmp_path / "run"), "--seeds", "1"])
    assert stopped.value.code == 0
    rows = capsys.readouterr().out.splitlines()[-3:]
    assert [row.split()[0] for row in rows] == ["random", "offload-under-load", "ppo"]


def test_an_action_may_keep_what_is_in_force(spec: EnvSpec) -> None:
    env = spec.make(day_scenario())
    env.reset(seed=0)
    given = [(4, 0), (2, 1), (0, 0), (4, 1)]
    infos = [env.step(np.array(action))[4] for action in given]
    in_force = [(info["batch_size"], info["threshold"]) for info in infos]
    assert in_force == [(64, 64), (64, 64), (16, np.inf), (16, np.inf)]
    with pytest.raises(InputError, match="action"):
        env.step(np.array([5, 0]))
    alone = day_scenario()
    del alone["node"]["accelerator"]
    several = spec.make_vector(2, alone)
    several.reset(seed=0)
    several.step(np.array([[0, 0], [4, 1]]))
    with pytest.raises(InputError, match="threshold: got 64; must be null: the scenario has no accelerator"):
        several.step(np.array([[0, 0], [4, 0]]))


def test_it_keeps_the_contract_of_every_environment(spec: EnvSpec) -> None:
    contract.test_gymnasium_makes_it_under_its_name(spec)
    contract.test_the_same_seed_gives_the_same_bytes_on_both_engines(spec)
    contract.test_the_vector_environment_is_so_many_single_ones(spec, threads=1)
    contract.test_the_vector_environment_pickles_and_copies_in_mid_episode(spec)
    contract.test_a_latency_of_the_users_own_works_in_single_environments_alone(spec)
    for engine in contract.ENGINES:
        contract.test_gymnasiums_checker_passes_with_warnings_as_errors(spec, engine)
        contract.test_pickles_and_copies_in_mid_episode_continue_alike(spec, engine)


def test_its_picture_has_room_for_settings_off_the_ladders(spec: EnvSpec) -> None:
    pytest.importorskip("matplotlib")
    data = day_scenario(control={"interval_s": 0.1, "batch_sizes": [8, 32], "thresholds": [100, None]})
    env = spec.make(data, render_mode="rgb_array")
    env.reset(seed=0)
    for which in range(5):
        env.step(np.array([which, 0]))
    assert env.render().shape == (600, 800, 3)


def test_a_file_in_the_working_directory_will_do(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate = ("evaluate", "../day.yaml", "--env", "my_env:SETTINGS", "--policies", "offload-under-load", "--seeds", 1)
    assert "offload-under-load" in deeprec(*evaluate, cwd=site)


BROKEN = {
    "Mine/Missing-v0": "no_such_module:SPEC",
    "Mine/Number-v0": "broken_env:NUMBER",
    "Mine/Other-v0": "broken_env:SPEC",
    "DeepRec/Serving-v1": "broken_env:SPEC",
    "CartPole-v1": "broken_env:CARTPOLE",
    "no such name": "broken_env:NAMELESS",
    "One/Twin-v0": "broken_env:SPEC",
    "Another/Twin-v0": "broken_env:SPEC",
    "Mine/Unjudged-v0": "broken_env:UNJUDGED",
}
MODULE = """
from deeprec_env.envs import EnvSpec
from deeprec_env.envs.serving_task import ServingTask
NUMBER = 3
SPEC, CARTPOLE = (EnvSpec(name, ServingTask) for name in ("DeepRec/Serving-v1", "CartPole-v1"))
NAMELESS = EnvSpec("no such name", ServingTask)
UNJUDGED = EnvSpec("Mine/Unjudged-v0", ServingTask, evaluation="broken_env:NUMBER")
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "site", "broken-env", MODULE, {PLUGINS: BROKEN})
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "got 'Mine/Missing-v0'; entry point 'no_such_module:SPEC' of deeprec_env.environments in package"),
        ("Mine/Number-v0", "entry point 'broken_env:NUMBER' of deeprec_env.environments in package broken-env must be"),
        ("other", "got 'Mine/Other-v0'; must be the id of its EnvSpec, which is DeepRec/Serving-v1"),
        ("DeepRec/Serving-v1", "is taken, and declared as an entry point of deeprec_env.environments too: remove that"),
        ("cartpole", "env: got 'CartPole-v1'; is no NAMESPACE/NAME-vVERSION, or is taken by another environment"),
        ("no such name", "is no NAMESPACE/NAME-vVERSION, or is taken by another environment"),
        ("twin", "is the name of several; give one of Another/Twin-v0, One/Twin-v0"),
        ("broken_env:SPEC", "env: got 'DeepRec/Serving-v1'; is no NAMESPACE/NAME-vVERSION, or is taken"),
        ("no_such_module:X", "env: got 'no_such_module:X'; can't be imported"),
        (
            "nowhere",
            "pipeline, serving-v2, fleet, Another/Twin-v0, cartpole, DeepRec/Serving-v1, missing, number, other, "
            "unjudged, One/Twin-v0",
        ),
        ("unjudged", "Mine/Unjudged-v0: evaluation: got 'broken_env:NUMBER'; must be an Evaluation, or module:name"),
    ],
)
def test_a_broken_environment_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    for command in (["evaluate", "wnd", "--env", name, "--policies", "random"], ["train", "wnd", "--env", name]):
        if command[0] == "train" and name == "unjudged":
            continue  # said after the hyperparameters, which it has not
        status, out, err = call(capsys, *command)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err, err


@pytest.mark.usefixtures("broken")
def test_broken_ones_harm_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(gym.registry)
    try:
        environments.register_environments()
        assert gym.registry["CartPole-v1"] is before["CartPole-v1"]
        assert find_spec("serving") is environments.SERVING
        assert isinstance(gym.make("DeepRec/Serving-v1").unwrapped, gym.Env)
        with pytest.raises(InputError, match=r"no_such_module.*can't be imported"):
            gym.make("Mine/Missing-v0")
    finally:
        gym.registry.clear()
        gym.registry.update(before)


def test_two_packages_of_one_environment_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: dict[str, dict[str, Any]] = {PLUGINS: {"Mine/Both-v0": "one:SPEC"}}
    for name in ("one", "another"):
        install(tmp_path / "site", name, "", groups)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(InputError, match=r"several packages \((one, another|another, one)\)"):
        find_spec("Mine/Both-v0")


def test_a_short_name_of_ours_stays_ours(spec: EnvSpec, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_spec(ID) is spec
    assert find_spec("serving").id == "DeepRec/Serving-v1"
    result = payload(capsys, "evaluate", "ncf-cpu", "--policies", "static", "--seeds", 1, "--queries", 1100)
    assert "environment" not in result
