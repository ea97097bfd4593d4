"""What two results differ in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.conftest import day_scenario
from tests.test_cli import call, payload


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(day_scenario()), encoding="utf-8")
    return path


def saved(path: Path, result: dict[str, Any]) -> Path:
    path.write_text(json.dumps(result), encoding="utf-8")
    return path


def both(
    capsys: pytest.CaptureFixture[str], folder: Path, first: dict[str, Any], second: dict[str, Any]
) -> tuple[int, dict[str, Any], str]:
    """Exit status, JSON and text of comparing two results."""
    files = [saved(folder / f"{name}.json", result) for name, result in (("a", first), ("b", second))]
    status, out, err = call(capsys, "compare", *files, "--json")
    assert err == ""
    again, text, _ = call(capsys, "compare", *files)
    assert again == status
    return status, json.loads(out), text


def test_runs_that_differ_in_one_thing(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    run = ("simulate", scenario_file, "--queries", 1500)
    first, second = payload(capsys, *run), payload(capsys, *run, "--set", "node.cpu.servers=7")
    status, found, text = both(capsys, tmp_path, first, second)
    assert (status, found["same"], found["same_traffic"]) == (1, False, True)
    assert found["question"] == {"scenario.node.cpu.servers": {"a": 8, "b": 7}}
    means = first["latency_ms"]["mean"], second["latency_ms"]["mean"]
    assert found["answer"]["latency_ms.mean"] == {"a": means[0], "b": means[1], "ratio": means[1] / means[0]}
    assert "sla_ms" not in found["answer"]
    assert "both met the same traffic" in text
    assert ["scenario.node.cpu.servers", "8", "7", "0.875"] in [line.split() for line in text.splitlines()]


def test_the_same_twice(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    first = payload(capsys, "simulate", scenario_file, "--queries", 1500)
    status, found, text = both(capsys, tmp_path, first, first)
    assert (status, found["same"], text) == (0, True, "question: the same\nanswer: the same\n")


def test_evaluations_are_paired_on_the_days_that_both_have(
    capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path
) -> None:
    run = ("evaluate", scenario_file, "--queries", 1500)
    first = payload(capsys, *run, "--policies", "static,random", "--seeds", 4)
    fewer = ("--set", "node.cpu.servers=5", "--policies", "static", "--seeds", 3, "--seed", 2)
    second = payload(capsys, *run, *fewer)
    _, found, text = both(capsys, tmp_path, first, second)
    assert found["paired_seeds"] == [2, 3]
    assert set(found["paired"]) == {"static"}
    days = [np.array(result["episodes"]["static"]["p95_hourly_s"]) for result in (first, second)]
    difference = days[1][:2] - days[0][2:]
    assert found["paired"]["static"]["p95_hourly_s"]["difference"] == pytest.approx(difference.mean())
    low, high = found["paired"]["static"]["p95_hourly_s"]["difference_ci"]
    half = 12.706 * abs(difference[0] - difference[1]) / 2  # Student's t with one degree of freedom
    assert high - low == pytest.approx(2 * half, rel=1e-3)
    assert found["answer"]["policies.random"]["b"] == "absent"
    assert "paired, on the same days (seeds 2, 3)" in text
    assert "other actions: static" in text  # the setting follows from the servers


def test_other_traffic_is_not_paired(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    run = ("evaluate", scenario_file, "--queries", 1500, "--policies", "static", "--seeds", 2)
    first, second = payload(capsys, *run), payload(capsys, *run, "--set", "workload.arrivals.qps=300")
    assert both(capsys, tmp_path, first, second)[1]["paired"] == {}


def test_what_is_no_result_is_refused(capsys: pytest.CaptureFixture[str], scenario_file: Path, tmp_path: Path) -> None:
    first = saved(tmp_path / "a.json", payload(capsys, "simulate", scenario_file, "--queries", 1500))
    for text, named in (("{}", "result"), ("1", "result"), ('{"question": {}}', "schema_version")):
        other = tmp_path / "b.json"
        other.write_text(text, encoding="utf-8")
        status, out, err = call(capsys, "compare", first, other)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"error: {named}: ")
    assert call(capsys, "compare", first, tmp_path / "nosuch.json")[0] == 2
