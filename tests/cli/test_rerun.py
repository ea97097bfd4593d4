"""Results that suffice alone: asked again they are the same, and what differs is named."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.results import PROFILE, SIMULATE, changed, written
from tests.recpipe.spaces import space, stage
from tests.recpipe.test_replay import ACCELERATOR
from tests.recpipe.test_replay import table as runs
from tests.test_cli import call

CAPACITY = ("--queries", 3000, "--seed", 3, "--percentile", 90, "--threshold", 500, "--set", "node.cpu.servers=5")
EVALUATE = ("--seeds", 2, "--seed", 4, "--queries", 1500, "--set", "control.batch_sizes=[25, 64]")
WINDOWS = ("--windows", 30)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("simulate", SIMULATE),
        ("simulate", (*SIMULATE, "--engine", "asyncio", "--qps", 300)),
        ("capacity", CAPACITY),
        ("capacity", ("--queries", 3000)),
        ("tune", ("--queries", 1500, "--param", "start=32", "--param", "growth=4", "--seed", 2)),
        ("tune", ("--queries", 1500, "--method", "grid", "--set", "control.batch_sizes=[25, 64]")),
        ("evaluate", (*EVALUATE, "--policies", "static,random,load-table", "--traffic", "flash")),
        ("evaluate", (*EVALUATE, "--policies", "random,deeprecsched-repository", "--env", "capacity", *WINDOWS)),
    ],
)
def test_a_result_suffices_alone(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path, command: str, options: tuple[object, ...]
) -> None:
    result = written(capsys, tmp_path, command, scenario_file, *options)
    scenario_file.unlink()  # but not the profile, whose content is not in the result
    again = tmp_path / "again.json"
    assert call(capsys, "rerun", result, "--output", again) == (0, "same\n", "")
    assert again.read_bytes() == result.read_bytes()


def test_a_sweep_suffices_alone(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    ladders = ("--set", "control.batch_sizes=[25, 64]", "--set", "control.thresholds=[300, null]")
    output = tmp_path / "map"
    result = written(
        capsys, tmp_path, "capacity", scenario_file, "--sweep", *ladders, "--queries", 2000, "--output", output
    )
    for path in output.iterdir():
        path.unlink()
    assert call(capsys, "rerun", result) == (0, "same\n", "")
    assert not list(output.iterdir())


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("sweep", ("--floor", 0.8)),
        ("schedule", ("--quality", 0.7, "--qps", 100, "--sla-ms", 150, "--top", 1)),
        ("sweep", ("--sampler", "optuna", "--trials", 4, "--objective", "qps")),
    ],
)
def test_searches_of_pipelines_suffice_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, options: tuple[object, ...]
) -> None:
    if "optuna" in options:
        pytest.importorskip("optuna")
    config = tmp_path / "space.yaml"
    stages = [stage(["dim_4", "dim_16"], 4096, "gpu"), stage("dim_32", [128, 512], "cpu", engines=24)]
    config.write_text(yaml.safe_dump(space(stages)), encoding="utf-8")
    output = ("--output", tmp_path / "out") if command == "sweep" else ()
    result = written(capsys, tmp_path, "pipeline", command, config, *options, *output, "--seed", 5)
    config.unlink()
    assert call(capsys, "rerun", result) == (0, "same\n", "")
    status, _, err = call(capsys, "rerun", changed(result, "question", "files", "recpipe-criteo", value="00"))
    assert (status, err.startswith("error: files: got 'recpipe-criteo'")) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("pipeline", "rpaccel", "--items", 1024, "--fidelity", "corrected"),
        ("pipeline", "cache", "--samples", 2000, "--policy", "lru", "--seed", 3),
        ("pipeline", "replay", "runs.csv", "--service", "fit", "--seed", 2),
        ("pipeline", "headlines", "--quick"),
        ("pipeline", "figure", "3", "--output", "figures"),
        ("profile", "compare", "amd-epyc-milan", "toy.csv", "--output", "compared"),
    ],
    ids=lambda words: words[1],
)
def test_tables_suffice_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    if "figure" in words:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    runs(tmp_path, ACCELERATOR, ACCELERATOR | {"sweep_pos": "3"})
    Path("toy.csv").write_text(PROFILE.replace("toy,", "wnd,"), encoding="utf-8")
    result = written(capsys, tmp_path, *words)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = tmp_path / "again.json"
    assert call(capsys, "rerun", result, "--output", again) == (0, "same\n", "")
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (result, again))
    assert after["question"] == before["question"]
    figure = next(key for key, value in before.items() if isinstance(value, list | dict) and key not in SAID)
    status, out, _ = call(capsys, "rerun", changed(result, figure, value="other"))
    assert (status, f"{figure}: " in out) == (1, True)


SAID = ("question", "versions", "files", "pictures", "agreement")


def test_files_of_tables_must_hold_what_they_held(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = runs(tmp_path, ACCELERATOR)
    result = written(capsys, tmp_path, "pipeline", "replay", path)
    runs(tmp_path, ACCELERATOR | {"sweep_pos": "3"})
    status, _, err = call(capsys, "rerun", result)
    assert (status, err.startswith(f"error: files: got '{path}'; must hold what")) == (2, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("profile", "ncf", "--batches", 1, "--passes", 1, "--rows-scale", 0.001), "times differ from run to run"),
        (("profile", "ncf", "--operators", "--batches", 1, "--rows-scale", 0.001), "times differ from run to run"),
    ],
)
def test_what_was_measured_is_not_repeated(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[object, ...], why: str
) -> None:
    pytest.importorskip("torch")
    result = written(capsys, tmp_path, *words, "--output", tmp_path / "measured")
    question = json.loads(result.read_text(encoding="utf-8"))["question"]
    assert (question["arguments"]["models"], question["line"][:16]) == (["ncf"], "deeprec profile ")
    status, out, err = call(capsys, "rerun", result)
    assert (status, out, err.count("\n"), why in err) == (2, "", 1, True)


HYPERPARAMS = """
DeepRec/Serving-v1:
  n_envs: 2
  n_timesteps: 48
  normalize: "{'norm_obs': True, 'norm_reward': True}"
  policy: MlpPolicy
  n_steps: 24
  batch_size: 24
  learning_rate: lin_0.001
  ent_coef: 1.0e-05
"""


def test_a_training_suffices_alone(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    hyperparams = tmp_path / "mine.yml"
    hyperparams.write_text(HYPERPARAMS, encoding="utf-8")
    run = tmp_path / "run"
    train = ("train", scenario_file, "--hyperparams", hyperparams, "--seed", 3, "--output", run)
    result = written(capsys, tmp_path, *train)
    hyperparams.unlink()
    shutil.rmtree(run)
    assert call(capsys, "rerun", result) == (0, "same\n", "")
    status, out, _ = call(capsys, "rerun", changed(result, "question", "seed", value=4))
    assert (status, "best.objective_s: " in out) == (1, True)


@pytest.mark.parametrize("options", [("--seeds", 2), ("--search", "--trials", 2)])
def test_trainings_of_seeds_and_searches_suffice_alone(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    pytest.importorskip("stable_baselines3")
    if "--search" in options:
        pytest.importorskip("optuna")
    hyperparams = tmp_path / "mine.yml"
    hyperparams.write_text(HYPERPARAMS, encoding="utf-8")
    run = tmp_path / "run"
    train = ("train", scenario_file, *options, "--hyperparams", hyperparams, "--seed", 3, "--output", run)
    result = written(capsys, tmp_path, *train)
    hyperparams.unlink()
    shutil.rmtree(run)
    assert call(capsys, "rerun", result) == (0, "same\n", "")


def test_a_resumed_training_is_not_repeated(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("stable_baselines3")
    hyperparams = tmp_path / "mine.yml"
    hyperparams.write_text(HYPERPARAMS, encoding="utf-8")
    train = ("train", scenario_file, "--hyperparams", hyperparams, "--output", tmp_path / "run")
    written(capsys, tmp_path, *train)
    status, _, err = call(capsys, "rerun", written(capsys, tmp_path, *train, "--resume", "--timesteps", 96))
    assert (status, "the training was interrupted" in err) == (2, True)


POLICY = """
from deeprec_env.policies.base import FixedPolicy, TunedPolicy

class Alternating(FixedPolicy):
    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        step = state or 0
        return self.action * (step % 2), step + 1

def make(scenario, options, progress):
    return TunedPolicy(Alternating(1, 2), scenario, 99)
"""


def test_a_policy_that_is_not_here_does_again_what_was_recorded(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = tmp_path / "alternating_policy.py"
    module.write_text(POLICY, encoding="utf-8")
    name = "alternating_policy:make"
    result = written(capsys, tmp_path, "evaluate", scenario_file, *EVALUATE, "--policies", f"static,{name}")
    answer = json.loads(result.read_text(encoding="utf-8"))
    assert answer["actions"][name]["episodes"]["4"][:3] == [[[0, 0], 1], [[1, 2], 1], [[0, 0], 1]]
    assert len(answer["episodes"][name]["p95_hourly_s"]) == 2
    assert call(capsys, "rerun", result) == (0, "same\n", "")
    module.unlink()
    monkeypatch.delitem(sys.modules, "alternating_policy")
    importlib.invalidate_caches()
    status, out, err = call(capsys, "rerun", result)
    assert (status, out) == (0, "same\n")
    assert err.startswith(f"{name} is not here: ")
    other = changed(result, "actions", name, "episodes", "4", 0, value=[[1, 12], 1])
    status, out, _ = call(capsys, "rerun", other)
    assert (status, f"episodes.{name}.p95_hourly_s" in out) == (1, True)
    status, _, err = call(capsys, "rerun", changed(result, "actions", name, value={}))
    assert (status, f"error: actions.{name}: " in err) == (2, True)
