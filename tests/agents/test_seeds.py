from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("stable_baselines3")

from stable_baselines3 import PPO

from deeprec_env import InputError
from deeprec_env.agents.curves import RETURN, bootstrap, read_curves
from deeprec_env.agents.evaluations import Evaluations
from deeprec_env.agents.seeds import train_seeds
from deeprec_env.agents.training import train
from tests.agents.test_training_files import settings
from tests.executors.elsewhere import Elsewhere


def weights(folder: Path) -> bytes:
    model = PPO.load(folder / "last_model.zip", device="cpu")
    return b"".join(tensor.numpy().tobytes() for tensor in model.policy.state_dict().values())


def test_seeds_side_by_side_are_what_each_is_alone(tmp_path: Path) -> None:
    steps: list[int] = []
    trained = train_seeds(
        settings(tmp_path, seed=3),
        2,
        tmp_path / "ppo",
        progress=lambda what, done: steps.append(done),
        processes=2,
    )
    assert sum(steps) == 2 * 96
    for seed in (3, 4):
        alone = train(settings(tmp_path, seed=seed), tmp_path / f"alone{seed}")
        together = tmp_path / "ppo" / f"DeepRec-Serving-v1_{seed}"  # as RL Zoo's tools find them
        assert weights(together) == weights(tmp_path / f"alone{seed}")
        assert trained.runs[seed].best == alone.best
        assert (together / "evaluations.npz").exists()
        assert (together / "0.monitor.csv").exists()
    assert weights(tmp_path / "alone3") != weights(tmp_path / "alone4")

    found = json.loads((tmp_path / "ppo" / "learning_curve.json").read_text(encoding="utf-8"))
    assert (found["seeds"], found["timesteps"], found["objective"]) == ([3, 4], [48, 96], "objective_s")
    last = found["figures"]["objective_s"]
    low, high = last["iqm_ci"][-1]
    assert last["iqm"][-1] == pytest.approx(np.mean([each[-1] for each in last["values"]]))
    assert low <= last["iqm"][-1] <= high
    answer = trained.to_json()
    assert answer["final"]["objective_s"]["iqm"] == last["iqm"][-1]
    bests = [run.best["objective_s"] for run in trained.runs.values()]
    assert answer["best"]["objective_s"]["mean"] == pytest.approx(np.mean(bests))
    assert "objective_s: " in trained.in_words()
    with (tmp_path / "ppo" / "learning_curve.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["figure"] == RETURN]
    assert [row["timesteps"] for row in rows] == ["48", "96"]
    assert [float(row["seed_4"]) for row in rows] == found["figures"][RETURN]["values"][1]
    assert {path.name for path in (tmp_path / "ppo").iterdir()} == set(trained.to_json()["files"])


def test_trainings_go_on_with_more_seeds_and_steps_and_never_fewer(tmp_path: Path) -> None:
    folder = tmp_path / "ppo"
    with pytest.raises(InputError, match="must hold trainings of seeds 0 to 1"):
        train_seeds(settings(tmp_path), 2, folder, resume=True)
    train_seeds(settings(tmp_path), 1, folder)
    with pytest.raises(InputError, match="holds trainings already"):
        train_seeds(settings(tmp_path), 1, folder)
    more = train_seeds(settings(tmp_path, timesteps=144), 2, folder, resume=True, processes=1)
    assert [run.timesteps for run in more.runs.values()] == [144, 144]
    assert more.curves.timesteps == (48, 96, 144)
    with pytest.raises(InputError, match=r"^seeds: got 1; must include all that .* DeepRec-Serving-v1_1 too"):
        train_seeds(settings(tmp_path, timesteps=144), 1, folder, resume=True)
    with pytest.raises(InputError, match=r"^reward: got 'goodput'; the training in"):  # said by the process of a seed
        train_seeds(settings(tmp_path, timesteps=192, reward="goodput"), 2, folder, resume=True)


def test_an_interrupt_leaves_a_checkpoint_of_each(tmp_path: Path) -> None:
    folder = tmp_path / "ppo"
    states = [folder / f"DeepRec-Serving-v1_{seed}" / "last_state.json" for seed in range(2)]

    def interrupt() -> None:
        while not all(state.exists() for state in states):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    # Of a process that a shell began in its background SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train_seeds(settings(tmp_path, timesteps=10_000_000), 2, folder, processes=2)
    signal.signal(signal.SIGINT, before)
    reached = [json.loads(state.read_text(encoding="utf-8"))["timesteps"] for state in states]
    assert min(reached) > 0
    assert not list(folder.glob("*/.*"))
    steps = max(reached) + 48
    again = train_seeds(settings(tmp_path, timesteps=steps), 2, folder, resume=True, processes=2)
    assert all(run.timesteps >= steps for run in again.runs.values())


def test_bands_are_rliables() -> None:
    values = np.random.default_rng(3).normal(size=(5, 4))
    band = bootstrap(values, lambda given, axis: stats.trim_mean(given, 0.25, axis=axis))
    # rliable's aggregate_iqm: of five runs the middle three.
    assert band.value == pytest.approx(np.sort(values, axis=0)[1:4].mean(axis=0))
    drawn = np.random.default_rng(9).integers(5, size=(40_000, 5))
    again = np.sort(values[drawn], axis=1)[:, 1:4].mean(axis=1)
    assert band.low is not None
    assert band.high is not None
    for found, level in ((band.low, 2.5), (band.high, 97.5)):
        assert found == pytest.approx(np.percentile(again, level, axis=0), abs=0.06)
    assert bootstrap(values[:1], np.mean).ci(0) is None


def test_curves_are_of_the_validations_that_all_have(tmp_path: Path) -> None:
    for name, steps in (("a", (48, 96, 144)), ("b", (48, 100, 144))):
        (tmp_path / name).mkdir()
        kept = Evaluations()
        for at in steps:
            kept.add(at, [[1.0, 2.0], [3.0, float(at)]], {"cost": at / 2})
        kept.write(tmp_path / name)
    curves = read_curves({0: tmp_path / "a", 1: tmp_path / "b"}, "cost")
    assert curves.timesteps == (48, 144)
    assert curves.figures["cost"].tolist() == [[24, 72]] * 2
    assert curves.figures[RETURN].tolist() == [[27, 75]] * 2
    assert curves.mean["cost"].ci(1) == [72, 72]
    with pytest.raises(InputError, match="must hold validations"):
        read_curves({0: tmp_path / "a", 1: tmp_path / "nowhere"}, "cost")


def test_seeds_trained_elsewhere_are_what_each_is_alone(tmp_path: Path) -> None:
    folder, steps = tmp_path / "ppo", list[int]()
    train_seeds(settings(tmp_path, seed=3), 1, folder, executor=Elsewhere())
    alone = train(settings(tmp_path, seed=3), tmp_path / "alone")
    there = folder / "DeepRec-Serving-v1_3"
    assert weights(there) == weights(alone.folder)
    assert {path.name for path in there.iterdir()} == {path.name for path in alone.folder.iterdir()}
    more = train_seeds(
        settings(tmp_path, seed=3, timesteps=144),
        2,
        folder,
        resume=True,
        executor=Elsewhere(),
        progress=lambda what, done: steps.append(done),
    )
    assert [run.timesteps for run in more.runs.values()] == [144, 144]
    assert steps == [144, 144]
    train(settings(tmp_path, seed=3, timesteps=144), alone.folder, resume=True)
    assert weights(there) == weights(alone.folder)
