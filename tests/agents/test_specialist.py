"""The recipe of a specialist, made small: reproducible, refused where there is nothing to learn, run by NumPy as by
torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml

from deeprec_env import load_scenario
from deeprec_env.agents.specialist import training
from deeprec_env.agents.specialist.imitation import imitate
from deeprec_env.agents.specialist.network import TrainedNetwork
from deeprec_env.agents.specialist.ppo import advantages
from deeprec_env.agents.specialist.recipe import Recipe
from deeprec_env.agents.specialist.rollouts import Rollout, Rollouts
from deeprec_env.agents.specialist.selection import Judge
from deeprec_env.agents.specialist.ship import best_of, ship
from deeprec_env.agents.specialist.teacher import FIRST_CARRIES, carries_most, saturation_loads
from deeprec_env.agents.specialist.traffic import drawn_traffic, vector_env
from deeprec_env.agents.specialist.training import SUMMARY, train_specialist
from deeprec_env.analysis.capacity import find_capacity
from deeprec_env.cli.main import main
from deeprec_env.envs.environments import SERVING, SERVING_V2
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.policy_network import PolicyNetwork, read_policy
from deeprec_env.policies.adaptive.specialist import SpecialistPolicy
from deeprec_env.policies.adaptive.specialist_file import AGENT, load_specialist
from deeprec_env.policies.adaptive.stationary import StationaryRuns
from deeprec_env.policies.evaluation.episodes import run_policy
from deeprec_env.scenario.setting import Setting
from tests.conftest import day_scenario


def small_recipe(seed: int = 0) -> Recipe:
    data = day_scenario()
    data["control"] |= {"batch_sizes": [16, 64, 256], "thresholds": [200, 400, None]}
    data["capacity"] = {"qps": 800.0, "batch_size": 64, "threshold": 400, "found_by": "a guess"}
    return Recipe(data, "small", seed=seed, iterations=2, environments=6, copies=2, days=1, queries=1500)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "0"
    heard: list[str] = []
    train_specialist(small_recipe(), folder, heard.append)
    assert any("PPO" in words for words in heard)
    return folder


def test_a_training_comes_again_from_its_seed(trained: Path, tmp_path: Path) -> None:
    again = train_specialist(small_recipe(), tmp_path / "again")
    assert (tmp_path / "again" / AGENT).read_bytes() == (trained / AGENT).read_bytes()
    assert again.facts["command"] == "deeprec train small --recipe specialist --seed 0"
    other = train_specialist(small_recipe(seed=1), tmp_path / "other")
    assert (tmp_path / "other" / AGENT).read_bytes() != (trained / AGENT).read_bytes()
    assert {each["iteration"] for each in json.loads((trained / SUMMARY).read_text())["validations"]} == {0, 2}
    best = best_of([trained, tmp_path / "other", tmp_path])
    scores = {folder: json.loads((folder / SUMMARY).read_text())["chosen"]["score"] for folder in (trained, best)}
    assert scores[best] <= scores[trained]
    shipped = ship(tmp_path / "other", tmp_path)
    assert shipped.name == "specialist-small-v1.safetensors"
    assert read_policy(shipped).facts["seed"] == other.facts["seed"] == 1
    assert read_policy(shipped).facts["tuning_queries"] == other.facts["tuning_queries"]


def test_what_it_leaves_is_an_agent(trained: Path) -> None:
    scenario = load_scenario(small_recipe().scenario)
    prepared = load_specialist(trained, scenario, SERVING.id)
    assert (prepared.tuning_queries or 0) > 10_000
    facts = read_policy(trained / AGENT).facts
    assert {"batch_size": 64, "threshold": 400} in facts["repertoire"]  # what the capacity was found with
    assert facts["carries"] in range(len(facts["repertoire"]))
    runs = StationaryRuns(scenario, seed=0, engine="compiled")
    begins_with = Setting(**facts["repertoire"][facts["first"]])
    assert saturation_loads(runs, [begins_with])[0] >= FIRST_CARRIES
    with pytest.raises(InputError, match="holds a training already"):
        train_specialist(small_recipe(), trained)


def test_the_setting_that_carries_most_is_found() -> None:
    scenario = load_scenario(small_recipe().scenario)
    runs = StationaryRuns(scenario, seed=0, engine="compiled")
    settings = [Setting(256, None), Setting(64, 400), Setting(64, 200), Setting(16, None)]
    found = settings[carries_most(runs, settings, saturation_loads(runs, settings), 10_000)]
    short: Any = {"queries": 10_000, "p95_only": False, "confirm": False}
    capacities = {
        each: find_capacity(scenario, batch_size=each.batch_size, threshold=each.threshold, **short).qps
        for each in settings
    }
    assert found == max(settings, key=lambda each: capacities[each])


def test_numpys_forward_pass_is_torchs() -> None:
    torch.manual_seed(0)
    rows = np.random.default_rng(0).normal(scale=3.0, size=(200, 19)) + 1.0
    network = TrainedNetwork(rows, 7)
    with torch.no_grad():
        wanted = network(torch.from_numpy(rows).float()).numpy()
    assert PolicyNetwork(network.tensors(), {}).preferences(rows) == pytest.approx(wanted, abs=1e-5)


def test_an_advantage_is_over_the_others_in_the_same_traffic() -> None:
    rewards = np.array([[1.0, 1.0, 5.0, 9.0], [0.0, 2.0, 4.0, 4.0]])
    found = advantages(rewards, copies=2, gamma=0.5)
    returns = np.array([[1.0, 2.0, 7.0, 11.0], [0.0, 2.0, 4.0, 4.0]])
    over = returns - returns[:, [1, 0, 3, 2]]
    expected = over / np.repeat(np.sqrt((over**2).reshape(2, 2, 2).mean(axis=(0, 2))) + 0.002, 2)
    assert found == pytest.approx(expected)


def test_environments_of_one_seed_see_the_same_traffic() -> None:
    scenario = load_scenario("wnd")
    env = vector_env(SERVING, scenario, 4)
    env.reset(seed=[3, 3, 4, 4])
    observations = env.step(np.zeros((4, 2), dtype=np.int64))[0]
    assert observations[0].tolist() == observations[1].tolist()
    assert observations[2].tolist() != observations[0].tolist()
    draw, rng = drawn_traffic(scenario), np.random.default_rng(0)
    kinds = [draw(rng).workload.arrivals.kind for _ in range(200)]
    assert 0.2 < kinds.count("poisson") / 200 < 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wnd", "--recipe", "best"], "recipe: got 'best'; must be one of specialist"),
        (["wnd", "--recipe", "specialist", "--algo", "dqn"], "algo: got 'dqn'; has no effect with --recipe"),
        (["wnd", "--recipe", "specialist", "--env", "capacity"], "DeepRec/Capacity-v0 has none"),
        (["recpipe-cpu", "--recipe", "specialist"], "must be one node"),
        (["fixed.yaml", "--recipe", "specialist"], "leaves nothing to learn: each ladder has one level"),
    ],
)
def test_where_there_is_nothing_to_learn_one_line_says_so(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data: dict[str, Any] = day_scenario()
    data["control"] |= {"batch_sizes": [64], "thresholds": [400]}
    (tmp_path / "fixed.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["train", *arguments])
    written = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in written
    assert written.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fixed.yaml"]


def test_imitation_learns_in_states_of_the_tables_and_then_in_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, by_network, features = Rollouts.run, list[bool](), list[int]()

    def watched(self: Rollouts, choose: Any, first_seed: int, generator: torch.Generator) -> Rollout:
        by_network.append(isinstance(choose, TrainedNetwork))
        return run(self, choose, first_seed, generator)

    def fitted(network: Any, rollouts: list[Rollout], *rest: Any) -> float:
        features.append(len(rollouts))
        return imitate(network, rollouts, *rest)

    monkeypatch.setattr(Rollouts, "run", watched)
    monkeypatch.setattr(training, "imitate", fitted)
    train_specialist(replace(small_recipe(), iterations=0), tmp_path / "imitated")
    assert by_network == [False, True, True]
    assert features == [1, 2, 3]


def test_with_further_controls_it_learns_from_the_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late_in_crowds, late = Judge.late_in_crowds, dict[int, float]()

    def watched(self: Judge, policy: Any) -> float:
        found = late_in_crowds(self, policy)
        if isinstance(policy, SpecialistPolicy):
            late.setdefault(cast("Any", policy)._crowd, found)
        return found

    monkeypatch.setattr(Judge, "late_in_crowds", watched)
    data = dict(small_recipe().scenario)
    data["control"] = {"interval_s": 0.1, "batch_sizes": [64], "thresholds": [400], "admits_ms": [36, None]}
    arrivals = data["workload"]["arrivals"]
    data["workload"] = data["workload"] | {"arrivals": arrivals | {"qps": 2.5 * arrivals["qps"]}}
    recipe = replace(small_recipe(), scenario=data, env="serving-v2", iterations=1)
    found = train_specialist(recipe, tmp_path / "v2")
    assert found.facts["environment"] == SERVING_V2.id
    assert found.facts["validation"].keys() == {"agent", "champion", "champion of flash"}
    assert {each["admit_ms"] for each in found.facts["repertoire"]} == {36.0}
    assert {found.facts[name] for name in ("carries", "crowd")} <= set(range(len(found.facts["repertoire"])))
    assert late[found.facts["crowd"]] == min(late.values()) < max(late.values())
    prepared = load_specialist(tmp_path / "v2", load_scenario(data), SERVING_V2.id)
    records = run_policy(SERVING_V2.make(load_scenario(data)), prepared.policy, 0, "test")
    assert len(records) > 300
