"""What differs from a result, and what is none: named by `deeprec rerun`; and what a question says of its run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from deeprec_env import InputError, find_capacity, load_scenario, simulate
from deeprec_env.provenance import Question
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from tests.cli.results import PROFILE, SIMULATE, changed, written
from tests.conftest import day_scenario
from tests.test_cli import call


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
