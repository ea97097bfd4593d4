"""Several runs under the same traffic: what is paired is what single runs say."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from deeprec_env import simulate
from tests.cli.results import written
from tests.conftest import day_scenario
from tests.test_cli import call

RUN = ("--queries", 1100, "--qps", 300, "--seed", 3)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    return path


def test_swept_values_are_single_runs_paired_by_seed(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ("--sweep", "control.batch_size=25,256", "--replications", 3)
    path = written(capsys, tmp_path, "simulate", scenario, *RUN, *sweep)
    answer = json.loads(path.read_text())
    assert list(answer["runs"]) == ["control.batch_size=25", "control.batch_size=256"]
    p95_s = {
        size: [simulate(scenario, queries=1100, qps=300, seed=s, batch_size=size).tail.p95_s for s in (3, 4, 5)]
        for size in (25, 256)
    }
    second = answer["runs"]["control.batch_size=256"]
    assert second["p95_ms"] == pytest.approx(1e3 * np.mean(p95_s[256]), rel=1e-12)
    found = second["vs"]["control.batch_size=25"]["p95_ms"]
    assert found["ratio"] == pytest.approx(math.exp(np.mean(np.log(p95_s[256]) - np.log(p95_s[25]))), rel=1e-12)
    assert found["ci"][0] < found["ratio"] < found["ci"][1]
    assert answer["same_traffic"] is True
    assert call(capsys, "rerun", path)[:2] == (0, "same\n")


def test_several_scenarios_and_sweeps_are_all_combinations(
    scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = call(capsys, "simulate", "ncf-cpu", "wnd-cpu", "--replications", 2, "--queries", 1100)
    assert status == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[-2:]] == ["ncf-cpu", "wnd-cpu"]
    more = ("--sweep", "sla_ms=40,60", "--sweep", "control.threshold=300,null", "--replications", 2)
    path = written(capsys, tmp_path, "simulate", scenario, *RUN, *more)
    assert len(json.loads(path.read_text())["runs"]) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--sweep", "sla_ms"), "sweep: got 'sla_ms'; must look like key.path=value,value"),
        (("--sweep", "sla_ms=5,5"), "must have a name of its own"),
        (("--sweep", "sla_ms=5,6", "--records", "r.csv"), "records: got 'r.csv'; must be left out"),
        (("--sweep", "sla_ms=5,6", "--timeline", "r.json"), "timeline: got 'r.json'; must be left out"),
        (("--sweep", "sla_ms=5,6", "--replications", 0), "replications: got 0"),
        (("--sweep", "sla_ms=5,6", "--replications", 900), "replications: got 900; must leave at most 1000 runs"),
        (("--replications", 3), "replications: got 3; needs several scenarios, or sweep"),
    ],
)
def test_bad_options_are_one_line(
    options: tuple[object, ...], said: str, scenario: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(capsys, "simulate", scenario, *options)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
