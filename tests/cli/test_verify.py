"""`deeprec verify`: results that were made elsewhere pass, and what was edited in them is named, row by row."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env.cli import rerun
from deeprec_env.cli.main import main
from tests.cli.results import changed, written
from tests.conftest import day_scenario
from tests.test_cli import call

EVALUATE = ("--seeds", 2, "--seed", 4, "--queries", 1500, "--set", "control.batch_sizes=[25, 64]")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An evaluation's JSON, made from a scenario file that is gone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    scenario = folder / "node.yaml"
    scenario.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    arguments = ["evaluate", "node.yaml", *map(str, EVALUATE), "--policies", "static,random,rate-oracle", "--json"]
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
            main(arguments)
    scenario.unlink()
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.fixture
def result(made: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


def test_no_policy_and_no_tuning_runs(
    result: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deeprec_env.policies.evaluation import comparison

    def never(*given: object) -> None:
        raise AssertionError("a policy was prepared")

    monkeypatch.setattr(comparison, "_prepared", never)
    status, out, err = call(capsys, "verify", result)
    assert (status, err) == (0, "")
    assert out.startswith("same: static, random, rate-oracle\n")


@pytest.mark.parametrize(
    ("keys", "value", "row", "path"),
    [
        (("policies", "random", "p95_hourly_ms"), 1.0, "random", "policies.p95_hourly_ms"),
        (("policies", "static", "vs", "random", "ratio"), 0.5, "static", "policies.vs.random.ratio"),
        (("episodes", "rate-oracle", "p99_day_s", 1), 0.5, "rate-oracle", "episodes.p99_day_s"),
        (("seeds",), [4, 6], "evaluation", "seeds"),
        (("versions", "deeprec_env"), "0.0.1", "versions", "deeprec_env"),
    ],
)
def test_an_edited_figure_is_refused_by_its_row(
    result: Path, capsys: pytest.CaptureFixture[str], keys: tuple[Any, ...], value: Any, row: str, path: str
) -> None:
    status, out, _ = call(capsys, "verify", changed(result, *keys, value=value), "--json")
    answer = json.loads(out)
    assert (status, answer["same"], list(answer["differences"])) == (1, False, [row])
    assert list(answer["differences"][row]) == [path]


def test_only_intervals_may_differ_by_rounding(
    result: Path, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    interval, figure = made["policies"]["random"]["p95_hourly_ci_ms"], made["policies"]["random"]["p95_hourly_ms"]

    def status(value: Any, *keys: str) -> int:
        return int(call(capsys, "verify", changed(result, "policies", "random", *keys, value=value), "--json")[0])

    assert status([end * (1.0 + 1e-12) for end in interval], "p95_hourly_ci_ms") == 0
    assert status([end * (1.0 + 1e-6) for end in interval], "p95_hourly_ci_ms") == 1
    assert status(interval[:1], "p95_hourly_ci_ms") == 1
    assert status(None, "p95_hourly_ci_ms") == 1
    assert status(figure * (1.0 + 1e-12), "p95_hourly_ms") == 1


def test_an_edited_action_is_refused_by_its_row(
    result: Path, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    seed = str(made["seeds"][0])
    runs = made["actions"]["random"]["episodes"][seed]
    keys = ("actions", "random", "episodes", seed, 3, 0)
    assert runs[3][0] != [1, 12]
    status, out, _ = call(capsys, "verify", changed(result, *keys, value=[1, 12]))
    assert status == 1
    assert [line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")] == ["random"]
    status, out, _ = call(capsys, "verify", changed(result, *keys, value=[99, 0]))  # not even on the ladder
    assert status == 1
    assert out.startswith("random: not the same")
    status, out, _ = call(capsys, "verify", changed(result, *keys, value=[1, 12]), "--rows", "static")
    assert (status, out.splitlines()[0]) == (0, "same: static")


def test_too_few_or_too_many_actions_are_refused(
    result: Path, made: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    seed = str(made["seeds"][-1])
    runs = made["actions"]["static"]["episodes"][seed]
    keys = ("actions", "static", "episodes", seed)
    for wrong in (runs[:-1], [*runs, runs[-1]]):
        status, out, _ = call(capsys, "verify", changed(result, *keys, value=wrong))
        assert status == 1
        assert out.startswith("static: not the same")


def test_what_is_no_evaluation_is_one_line(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.json"
    cut.write_text(result.read_text()[:-100], encoding="utf-8")
    run = written(capsys, tmp_path, "simulate", "ncf-cpu", "--queries", 1100)
    for path, said in (
        (cut, "must be the JSON of a result"),
        (run, "question.command: got 'simulate'; must be evaluate"),
        (tmp_path / "nowhere.json", "must be the JSON of a result"),
    ):
        status, out, err = call(capsys, "verify", path)
        assert (status, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1


def test_rows_and_actions_that_are_not_there_are_said(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "rows: got 'best'" in call(capsys, "verify", result, "--rows", "best")[2]
    status, _, err = call(capsys, "verify", changed(result, "actions", value={"static": {}}))
    assert (status, err.startswith("error: actions.random: got None")) == (2, True)
    assert "schema_version" in call(capsys, "verify", changed(result, "schema_version", value=2))[2]


def test_an_evaluation_is_repeated_as_before(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rerun.RUNNERS["evaluate"]
    assert call(capsys, "rerun", result)[:2] == (0, "same\n")
