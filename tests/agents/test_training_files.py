"""What a training leaves for the tools of Stable-Baselines3 and RL Zoo: monitor files, validations, logs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("pandas")  # of Stable-Baselines3's load_results

from stable_baselines3.common.results_plotter import load_results, ts2xy

from deeprec_env import InputError, load_scenario
from deeprec_env.agents.agent import load_agent
from deeprec_env.agents.evaluations import EVALUATIONS, read_evaluations
from deeprec_env.agents.training import TrainSettings, train
from deeprec_env.envs.environments import SERVING
from deeprec_env.extras import is_installed
from deeprec_env.policies.evaluation.episodes import run_episode
from tests.agents.test_agents import HYPERPARAMS
from tests.conftest import day_scenario


def settings(folder: Path, **changes: Any) -> TrainSettings:
    path = folder / "tiny.yml"
    path.write_text(HYPERPARAMS, encoding="utf-8")
    given: dict[str, Any] = {"scenario": day_scenario(), "hyperparams": path, "validate_every": 48}
    return TrainSettings(**given | changes)


@pytest.mark.parametrize("engine", ["compiled", "asyncio"])
def test_stable_baselines3_reads_the_monitor_files(tmp_path: Path, engine: str) -> None:
    run = tmp_path / "run"
    train(settings(tmp_path, engine=engine), run)
    episodes = load_results(str(run))
    assert list(episodes["l"]) == [12] * 8  # 96 steps of days of 12 windows
    assert np.isfinite(episodes["r"]).all()
    timesteps, returns = ts2xy(episodes, "timesteps")
    assert (timesteps[-1], len(returns)) == (96, 8)
    header = json.loads((run / "0.monitor.csv").read_text(encoding="utf-8").partition("\n")[0].removeprefix("#"))
    assert header["env_id"] == "DeepRec/Serving-v1"

    train(settings(tmp_path, engine=engine, timesteps=192), run, resume=True)
    more = load_results(str(run))
    assert {path.name for path in run.glob("*monitor.csv")} == {"0.monitor.csv", "1.monitor.csv"}
    assert more["l"].sum() == 192
    assert list(more["r"])[:8] == list(episodes["r"])


def test_validations_are_eval_callbacks(tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained = train(settings(tmp_path), run)
    with np.load(run / EVALUATIONS) as file:
        assert file["timesteps"].tolist() == [48, 96]
        assert file["results"].shape == file["ep_lengths"].shape == (2, 2)  # two validation days
        assert set(file["ep_lengths"].ravel()) == {12}
        assert min(file["objective_s"]) == trained.best["objective_s"]
        last = file["results"][-1]
    scenario = load_scenario(day_scenario())
    agent = load_agent(str(run / "last_model.zip"), scenario).policy
    runs = [run_episode(SERVING.make(scenario), agent, seed, "validation") for seed in (1000, 1001)]
    assert last.tolist() == [sum(run.rewards) for run in runs]

    train(settings(tmp_path, timesteps=192), run, resume=True)
    assert read_evaluations(run).timesteps == [48, 96, 144, 192]
    assert read_evaluations(run, until=100).timesteps == [48, 96]
    (run / EVALUATIONS).write_bytes(b"PK")
    with pytest.raises(InputError, match=r"must be the evaluations\.npz of a training"):
        train(settings(tmp_path, timesteps=240), run, resume=True)


def test_logs_are_those_asked_for_and_outlive_a_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(settings(tmp_path, log=("csv", "json")), run)
    assert not (run / "tb_1").exists()

    def steps(name: str) -> set[str]:
        with (run / name).open(encoding="utf-8", newline="") as file:
            return {row["validation/timesteps"] for row in csv.DictReader(file)} - {""}

    assert steps("progress.csv") == {"48", "96"}
    lines = [json.loads(line) for line in (run / "progress.json").read_text(encoding="utf-8").splitlines()]
    assert any("validation/objective_s" in line for line in lines)
    train(settings(tmp_path, log=("csv", "tensorboard"), timesteps=192), run, resume=True)
    assert steps("progress.csv") == {"48", "96"}
    assert steps("progress_1.csv") == {"144", "192"}
    assert list((run / "tb_1").glob("events*"))


def test_loggers_that_are_not_there_are_said_before_work_begins(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^log: got 'smoke'; must be one of tensorboard, csv"):
        settings(tmp_path, log=("csv", "smoke"))
    if not is_installed("wandb"):
        with pytest.raises(InputError, match=r"^log: got 'wandb'; needs Weights & Biases: pip install wandb"):
            settings(tmp_path, log=("wandb",))


def test_weights_and_biases_gets_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train(settings(tmp_path, log=("wandb",)), tmp_path / "run")
    (written,) = (tmp_path / "run").glob("wandb/offline-run-*/*.wandb")
    assert b"validation/objective_s" in written.read_bytes()
