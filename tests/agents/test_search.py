from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("stable_baselines3")
pytest.importorskip("optuna")

import optuna

from deeprec_env import InputError
from deeprec_env.agents import search
from deeprec_env.agents.algorithms import ALGORITHMS
from deeprec_env.agents.hyperparams import load_hyperparams
from deeprec_env.agents.search import Search
from deeprec_env.agents.search_space import suggest
from deeprec_env.agents.training import TrainSettings, train
from tests.agents.test_training_files import settings


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        next(file)
        return list(csv.DictReader(file))


def test_a_search_leaves_its_trials_and_the_best_file(tmp_path: Path) -> None:
    folder, steps = tmp_path / "found", []
    given = settings(tmp_path, seed=2)
    found = Search(given, folder, 3).run(lambda what, done: steps.append(done))
    answer = found.to_json()
    assert {path.name for path in folder.iterdir()} == set(answer["files"]) == {"trials.csv", "ppo.yml"}
    tried = rows(folder)
    assert [row["trial"] for row in tried] == ["0", "1", "2"]
    assert len({row["changes"] for row in tried}) == 3
    assert answer["best"]["objective_s"] == min(float(row["objective"]) for row in tried)

    # The file is taken by a training, which then does what the trial did.
    again = train(replace(given, hyperparams=found.file, timesteps=96), tmp_path / "again")
    assert again.best["objective_s"] == answer["best"]["objective_s"]
    mapping = yaml.safe_load(found.file.read_text(encoding="utf-8"))["DeepRec/Serving-v1"]
    assert mapping["normalize"] == "{'norm_obs': True, 'norm_reward': True}"
    assert mapping.items() >= answer["best"]["hyperparams"].items()


def test_an_interrupted_search_ends_as_one_without_a_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Search(settings(tmp_path), tmp_path / "whole", 3).run()
    trainings = 0

    def interrupted(*arguments: Any, **more: Any) -> Any:
        nonlocal trainings
        trainings += 1
        if trainings == 3:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(search, "train", interrupted)
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        Search(settings(tmp_path), folder, 3).run()
    assert len(rows(folder)) == 2
    assert [path.name for path in folder.iterdir()] == ["trials.csv"]
    again = Search(settings(tmp_path), folder, 3).run()
    assert trainings == 4
    assert again.trials == whole.trials
    assert again.file.read_bytes() == whole.file.read_bytes()
    Search(settings(tmp_path), folder, 2).run()
    assert trainings == 4


def test_searches_that_share_a_storage_do_the_trials_together(tmp_path: Path) -> None:
    storage, told = f"sqlite:///{tmp_path}/trials.db", list[int]()
    first = Search(settings(tmp_path), tmp_path / "a", 2, storage=storage).run()
    more = Search(settings(tmp_path), tmp_path / "b", 3, storage=storage).run(lambda what, done: told.append(done))
    assert more.trials[:2] == first.trials
    assert [trial.trial for trial in more.trials] == [0, 1, 2]
    assert len({trial.changes for trial in more.trials}) == 3
    assert sum(told) == 3 * 96
    assert len(rows(tmp_path / "a")) == 2
    assert len(rows(tmp_path / "b")) == 3
    other = Search(settings(tmp_path, seed=1), tmp_path / "c", 1, storage=storage).run()
    assert other.trials[0] not in more.trials
    with pytest.raises(InputError, match="storage: got 'nowhere'; must be the URL of an Optuna storage"):
        Search(settings(tmp_path), tmp_path / "d", 1, storage="nowhere").run()


def test_a_folder_of_another_search_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    Search(settings(tmp_path), folder, 1).run()
    for changes in ({"seed": 1}, {"timesteps": 48}, {"reward": "goodput"}):
        with pytest.raises(InputError, match="holds a search with other settings"):
            Search(settings(tmp_path, **changes), folder, 1)
    text = (folder / "trials.csv").read_text(encoding="utf-8")
    (folder / "trials.csv").write_text(text.replace("\n0,", "\nfirst,"), encoding="utf-8")
    with pytest.raises(InputError, match="is damaged"):
        Search(settings(tmp_path), folder, 1)


def test_trials_that_fail_are_told_and_do_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def steep(*arguments: Any) -> dict[str, Any]:
        changes = suggest(*arguments)
        return changes | ({"learning_rate": 1e30} if arguments[0].number == 0 else {})

    monkeypatch.setattr(search, "suggest", steep)
    found = Search(settings(tmp_path), tmp_path / "found", 2).run()
    assert [trial.objective is None for trial in found.trials] == [True, False]
    assert (found.to_json()["failed"], found.best.trial) == (1, 1)
    with pytest.raises(InputError, match="must be more: every one has failed"):
        Search(settings(tmp_path), tmp_path / "found", 1).run()


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_whatever_is_tried_is_a_file_of_the_algorithm(algo: str, tmp_path: Path) -> None:
    base = load_hyperparams(algo)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for number in range(20):
        changes = suggest(study.ask(), algo, base)
        path = tmp_path / f"{number}.yml"
        path.write_text(yaml.safe_dump({"DeepRec/Serving-v1": base.raw | changes}), encoding="utf-8")
        read = load_hyperparams(algo, path)
        assert read.raw == json.loads(json.dumps(base.raw | changes))
        if "n_epochs" in changes:
            assert changes["n_steps"] * base.n_envs % changes["batch_size"] == 0
    TrainSettings(scenario="wnd", algo=algo, hyperparams=path)
