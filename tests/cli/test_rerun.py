"""Results that suffice alone: asked again they are the same, and what differs is named."""

from __future__ import annotations

import importlib
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import InputError, find_capacity, load_scenario, simulate
from deeprec_env.provenance import Question
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from tests.conftest import MODEL_PROFILE, day_scenario
from tests.recpipe.spaces import space, stage
from tests.recpipe.test_replay import ACCELERATOR
from tests.recpipe.test_replay import table as runs
from tests.test_cli import call

PROFILE = MODEL_PROFILE.replace("cpu,100,", "cpu,1000,")  # as large as queries are


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    """A scenario in a folder of its own, with a profile beside it."""
    folder = tmp_path / "described"
    folder.mkdir()
    (folder / "toy.csv").write_text(PROFILE, encoding="utf-8")
    data = day_scenario()
    data["node"]["cpu"]["latency"] = {"kind": "profile", "profile": "toy.csv", "model": "toy"}
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def written(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: object) -> Path:
    """What a command prints with --json, in a file."""
    status, out, err = call(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    path = folder / "result.json"
    path.write_text(out, encoding="utf-8")
    return path


def changed(path: Path, *keys: str | int, value: Any) -> Path:
    """The result with another value at a key path."""
    data = json.loads(path.read_text(encoding="utf-8"))
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    other = path.with_name("changed.json")
    other.write_text(json.dumps(data), encoding="utf-8")
    return other


SIMULATE = ("--queries", 1500, "--seed", 3, "--split", "test", "--batch-size", 64, "--set", "sla_ms=33")
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


def test_a_figure_that_differs_is_named(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path
) -> None:
    result = written(capsys, tmp_path, "simulate", scenario_file, *SIMULATE)
    p95 = json.loads(result.read_text(encoding="utf-8"))["latency_ms"]["p95"]
    other = changed(result, "latency_ms", "p95", value=1.5)
    status, out, _ = call(capsys, "rerun", other)
    assert (status, out) == (1, f"not the same: 1 of its figures differ\nlatency_ms.p95: 1.5 before, {p95} now\n")
    status, out, _ = call(capsys, "rerun", other, "--json")
    assert (status, json.loads(out)["same"]) == (1, False)
    assert json.loads(out)["differences"] == {"latency_ms.p95": {"before": 1.5, "now": p95}}
    other = changed(result, "of_another_version", value=None)
    assert 'of_another_version: null before, "absent" now' in call(capsys, "rerun", other)[1]


def test_versions_are_not_compared_and_other_sources_are_said(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path
) -> None:
    result = written(capsys, tmp_path, "simulate", scenario_file, *SIMULATE)
    assert call(capsys, "rerun", changed(result, "versions", value={}))[:2] == (0, "same\n")
    status, out, err = call(capsys, "rerun", changed(result, "question", "sources", value="0123"))
    assert (status, out) == (0, "same\n")
    assert err.startswith("other sources: 0123 before, ")


def test_files_must_hold_what_they_held(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path
) -> None:
    result = written(capsys, tmp_path, "simulate", scenario_file, *SIMULATE)
    profile = scenario_file.with_name("toy.csv")
    profile.write_text(PROFILE.replace("20.8", "20.9"), encoding="utf-8")
    status, _, err = call(capsys, "rerun", result)
    assert status == 2
    assert err.startswith(f"error: files: got '{profile}'; must hold what the result was computed from")
    profile.unlink()
    status, _, err = call(capsys, "rerun", result)
    assert status == 2
    assert err.startswith(f"error: files: got '{profile}'; is missing")


def test_every_file_of_a_scenario_is_in_its_question(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("0\n1\n2\n", encoding="utf-8")
    (tmp_path / "sizes.txt").write_text("10\n20\n", encoding="utf-8")
    data = day_scenario()
    sizes = {"kind": "file", "path": str(tmp_path / "sizes.txt")}
    data["workload"] = {
        "arrivals": {"kind": "trace", "path": str(tmp_path / "times.csv")},
        "sizes": {"kind": "drifting", "before": sizes, "after": {"kind": "production"}},
    }
    data["node"]["cpu"]["latency"] = {"kind": "profile", "profile": "amd-epyc-milan", "model": "wnd"}
    with pytest.warns(UserWarning, match="begin again"):
        question = simulate(data, queries=1500).question
    assert question is not None
    assert set(question.files) == {str(tmp_path / "times.csv"), str(tmp_path / "sizes.txt"), "amd-epyc-milan"}


def test_a_run_that_python_code_steered_is_not_repeated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async def nothing(engine: AsyncioEngine) -> None:
        return None

    path = tmp_path / "result.json"
    path.write_text(json.dumps(simulate(day_scenario(), queries=1500, coroutines=[nothing]).to_json()))
    status, _, err = call(capsys, "rerun", path)
    assert (status, "coroutines changed the settings" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nonsense", "result"),
        ("[" * 5000, "result"),
        ("[1]", "result"),
        ('{"schema_version": 1}', "result"),
        ('{"schema_version": 9, "question": {}}', "schema_version"),
        ('{"schema_version": 1, "question": {}}', "question.command"),
    ],
)
def test_what_is_no_result_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, named: str
) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    status, out, err = call(capsys, "rerun", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {named}: got ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("command",), "rm", "question.command"),
        (("seed",), "one", "question.seed"),
        (("seed",), -1, "seed"),
        (("scenario",), {"sla_ms": 1}, "workload"),
        (("scenario",), None, "files"),  # which are unknown without it
        (("scenario", "sla_ms"), -1, "sla_ms"),
        (("files",), [], "question.files"),
        (("engine",), "other", "engine"),
        (("split",), "other", "split"),
        (("arguments", "nosuch"), 1, "question.arguments.nosuch"),
    ],
)
def test_a_damaged_question_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, keys: tuple[str, ...], value: Any,
    named: str,
) -> None:  # fmt: skip
    result = written(capsys, tmp_path, "simulate", "wnd", *SIMULATE)
    status, _, err = call(capsys, "rerun", changed(result, "question", *keys, value=value))
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {named}: got ")


def test_text_says_settings_seed_and_command(capsys: pytest.CaptureFixture[str], scenario_file: Path) -> None:
    status, out, _ = call(capsys, "simulate", scenario_file, "--queries", 1500, "--batch-size", 64)
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert status == 0
    assert facts["batch_size"].strip() == "64"
    assert facts["question.seed"].strip() == "0"
    assert facts["question.line"].strip() == f"deeprec simulate {scenario_file} --queries 1500 --batch-size 64"


def test_results_from_python_say_it_too() -> None:
    asked = find_capacity(day_scenario(), batch_size=64, queries=2000, seed=5).question
    assert asked is not None
    again = Question.of_json(json.loads(json.dumps(asked.to_json())))
    assert again.scenario == load_scenario(day_scenario(control={"interval_s": 0.1, "batch_size": 64}))
    assert (again.seed, again.arguments["queries"]) == (5, 2000)
    assert again.to_json() == pickle.loads(pickle.dumps(asked)).to_json() == asked.to_json()
    with pytest.raises(InputError):
        Question.of_json({**asked.to_json(), "files": {"/nowhere/at/all.csv": "00"}})


def test_a_question_names_the_further_settings_that_are_used() -> None:
    plain = simulate(day_scenario(), queries=1200).to_json()["question"]["setting"]
    used = simulate(day_scenario(), queries=1200, order="small-first", admit=50.0).to_json()["question"]["setting"]
    assert used == plain | {"order": "small-first", "admit_ms": 50.0}
