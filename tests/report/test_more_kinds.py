"""Reports of fleets, live runs, sweeps, published tables and several results: they show what these hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import console
from deeprec_env.live.run import run_live
from deeprec_env.policies.fleet.claims import ALONE, METHODS, FleetPaper, Row
from deeprec_env.policies.fleet.machines import KINDS, STATIC
from deeprec_env.policies.fleet.settings import Settings
from deeprec_env.policies.paper.gains import PaperRun
from deeprec_env.policies.paper.table import gains, to_json
from tests.live.scenarios import EMPTY, small
from tests.policies.test_paper import table
from tests.report.test_report import made, scenario, seen
from tests.test_cli import call

__all__ = ["scenario"]  # the fixture

FLEET = {
    "sla_ms": 25,
    "workload": {"arrivals": {"kind": "poisson", "qps": 9000}, "sizes": {"kind": "production"}},
    "fleet": {
        "router": {"kind": "random"},
        "network_ms": 0.2,
        "groups": [
            {"name": "fast", "count": 2, "preset": "wnd", "control": {"batch_size": 384, "threshold": 640}},
            {"name": "slow", "count": 2, "preset": "wnd-cpu", "control": {"batch_size": 384}},
        ],
    },
}


def written(path: Path, payload: dict[str, Any]) -> Path:
    path.write_text(console.json_text(payload), encoding="utf-8")
    return path


def test_fleets_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "fleet.yaml"
    config.write_text(yaml.safe_dump(FLEET), encoding="utf-8")
    run = ("simulate", config, "--queries", 2000)
    first = made(capsys, tmp_path / "first.json", *run, "--records", tmp_path / "first.csv")
    second = made(capsys, tmp_path / "second.json", *run, "--set", "fleet.router={kind: least-requests}")
    found = seen([first, tmp_path / "first.csv", second], tmp_path / "report.html")
    for path in (first, second):
        for name, group in json.loads(path.read_text())["groups"].items():
            assert f"{path.stem}, {name}: {group['latency_ms']['p95']!r}" in found.told
    assert "Machines: 2 of fast (as wnd), 2 of slow (as wnd-cpu)." in found.text
    assert "first, second met the same traffic." in found.text
    assert "scenario.fleet.router.kind" in found.text  # what differs in the question
    assert any(told.startswith("first, ms ") for told in found.told)  # the tail, from the records
    alone = made(capsys, tmp_path / "node.json", "simulate", "ncf", "--queries", 1100)
    status, _, err = call(capsys, "report", first, alone, "--output", tmp_path / "none.html")
    assert status == 2
    assert "'simulate of a fleet, simulate'; must be results of one kind" in err


def test_live_runs_and_their_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = tmp_path / "recorded.csv"
    live = run_live(small(qps=700.0), duration_s=2.0, options=EMPTY, record_to=recorded).to_json()
    result = written(tmp_path / "live.json", live)
    found = seen([result, recorded], tmp_path / "both.html")
    low, high = (json.dumps(end) for end in live["latency_ms"]["p95_ci"])
    assert f"live, p95: {live['latency_ms']['p95']!r} [{low}, {high}]" in found.told
    late = live["live"]["from_entry_ms"]["p99"]
    assert f"live, from being taken up, p99: {late!r}" in found.told
    assert any(told.startswith("live, items 50: ") for told in found.told)  # service by size, from the recording
    alone = seen([recorded], tmp_path / "alone.html")  # the recording says the same of the latencies
    assert f"recorded, p95: {live['latency_ms']['p95']!r} [{low}, {high}]" in alone.told
    rate = next(row for row in alone.text.split("qps achieved")[1:])
    assert rate.startswith(f"{live['qps_achieved']:,.4g}")
    other = written(tmp_path / "other.json", live | {"queries": 5})
    cut = tmp_path / "cut.csv"
    cut.write_text("".join(recorded.read_text().splitlines(keepends=True)[:-1]), encoding="utf-8")
    for what, said in (([other, recorded], "must be the recording of the run before it"), ([cut], "is not whole")):
        status, out, err = call(capsys, "report", *what, "--output", tmp_path / "none.html")
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err
        assert not (tmp_path / "none.html").exists()


def test_sweeps_of_scenarios(tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--qps", 300, "--queries", 1200, "--sweep", "control.batch_size=25,64", "--replications", 3)
    path = made(capsys, tmp_path / "swept.json", "simulate", scenario, *options)
    found = seen([path], tmp_path / "report.html")
    first, second = json.loads(path.read_text())["runs"].items()
    low, high = (json.dumps(end) for end in second[1]["p95_ms_ci"])
    assert f"{second[0]}: {second[1]['p95_ms']!r} [{low}, {high}]" in found.told
    versus = second[1]["vs"][first[0]]["p95_ms"]
    assert any(told.startswith(f"p95 ms, {second[0]}: {versus['ratio']!r}") for told in found.told)


def test_tables_beside_published_figures(tmp_path: Path) -> None:
    rows = table(("wnd", "din", "ncf"), {("wnd", "deeprecsched"): 100.0, ("din", "deeprecsched"): 400.0})
    answer = to_json(rows, gains(rows), {}, PaperRun(tmp_path / "paper", ["wnd", "din", "ncf"], 0).question)
    found = seen([written(tmp_path / "paper.json", answer)], tmp_path / "paper.html")
    for gain in answer["gains"]:
        low, high = (json.dumps(end) for end in gain["ci"])
        assert f"{gain['method']}, {gain['target']}: {gain['gain']!r} [{low}, {high}]" in found.told
        assert f"published, {gain['target']}: {gain['published']!r}" in found.told


def test_a_fleets_paper(tmp_path: Path) -> None:
    run = FleetPaper(tmp_path / "fleet", 4, 0, 2)
    figures = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    run.rows = [
        Row(method, seed, 2e-3, (20 - at) * 1e-3, (30 - at + seed) * 1e-3, 1e-5, *figures)
        for at, method in enumerate((*METHODS, *ALONE))
        for seed in (0, 1)
    ]
    static = dict.fromkeys(KINDS, STATIC)
    run.settings = Settings(static, static, static, static, {}, 1000)
    answer = run.to_json()
    found = seen([written(tmp_path / "fleet.json", answer)], tmp_path / "fleet.html")
    for method, of in answer["methods"].items():
        assert any(told.startswith(f"{method}, p99: {of['gain']['p99']['ratio']!r}") for told in found.told)
        assert f"{method}, machines 4: {of['within_10_percent']['2']!r}" not in found.told
        assert f"{method}, machines 2: {of['within_10_percent']['2']!r}" in found.told
    assert "published, p95: 1.39" in found.told


def test_two_evaluations_are_paired_by_day(tmp_path: Path, scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--policies", "static", "--seeds", 2, "--queries", 1500)
    first = made(capsys, tmp_path / "first.json", "evaluate", scenario, *options)
    second = made(capsys, tmp_path / "second.json", "evaluate", scenario, *options, "--set", "node.cpu.servers=6")
    status, out, _ = call(capsys, "compare", first, second, "--json")
    assert status == 1
    pair = json.loads(out)["paired"]["static"]["p95_hourly_s"]
    found = seen([first, second], tmp_path / "report.html")
    low, high = (json.dumps(end) for end in pair["ratio_ci"])
    assert f"second, 2 common days, static: {pair['ratio']!r} [{low}, {high}]" in found.told
    assert "scenario.node.cpu.servers" in found.text  # what was asked otherwise
    assert "policies.static.p95_hourly_ms" in found.text  # and came out otherwise
    assert "static acted otherwise in second than in first." in found.text  # its batch is a core's share
