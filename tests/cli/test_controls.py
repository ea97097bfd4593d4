"""`deeprec controls`: its cells are runs of `simulate`, paired by seed, and it goes on where it was interrupted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from deeprec_env import InputError, load_scenario, simulate
from deeprec_env.analysis.controls import CONTROLS, LIMITS, PLAIN, ControlsRun, Row, at_capacity, variants
from deeprec_env.cli.controls_table import lines, summaries
from tests.conftest import day_scenario, plans_day
from tests.test_cli import call, payload

QUERIES, SEEDS = 1200, 2
CAPACITY_QPS = 700.0


def small(**changes: Any) -> dict[str, Any]:
    """A node whose capacity, for tests, is 700 queries/s at batch size 64 and threshold 500."""
    data = day_scenario(**changes)
    data["capacity"] = {"qps": CAPACITY_QPS, "batch_size": 64, "threshold": 500, "found_by": "a test"}
    return data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ControlsRun:
    folder = tmp_path_factory.mktemp("controls")
    found = ControlsRun(folder, {"small": load_scenario(small())}, loads=(0.6, 1.8), queries=QUERIES, seeds=SEEDS)
    found.run()
    return found


OPTIONS: dict[tuple[str, float | None], dict[str, Any]] = {
    (PLAIN, None): {},
    ("even", None): {"split_rule": "even"},
    ("small-first", None): {"order": "small-first"},
    ("even, small-first", None): {"split_rule": "even", "order": "small-first"},
    ("least-slack", None): {"order": "least-slack"},
    ("predicted", None): {"offload": "predicted"},
    ("batching", None): {"batching": True},
    **{("admission", limit): {"admit": limit * 60} for limit in LIMITS},
    **{
        ("all", limit): {
            "split_rule": "even", "order": "small-first", "offload": "predicted", "batching": True, "admit": limit * 60,
        }
        for limit in LIMITS
    },
    **{
        ("all, least-slack", limit): {
            "split_rule": "even", "order": "least-slack", "offload": "predicted", "batching": True, "admit": limit * 60,
        }
        for limit in LIMITS
    },
    **{
        ("256, predicted, admission", limit): {"batch_size": 256, "offload": "predicted", "admit": limit * 60}
        for limit in LIMITS
    },
}  # fmt: skip


def test_the_cells_are_those_of_simulate_to_the_last_digit(run: ControlsRun) -> None:
    assert len(run.rows) == 2 * SEEDS * len(OPTIONS)
    for row in run.rows:
        options = {"batch_size": 64, "threshold": 500} | OPTIONS[row.control, row.limit]
        batching = {"node.accelerator.batching": {"max_items": 2000}} if options.pop("batching", False) else {}
        found = simulate(
            load_scenario(small(), batching), qps=row.load * CAPACITY_QPS, queries=QUERIES, seed=row.seed, split="test",
            **options,
        )  # fmt: skip
        assert (row.p95, row.p99) == (found.tail.p95_s / 0.06, found.tail.p99_s / 0.06)
        assert (row.shed_rate, row.goodput) == (found.goodput.shed_rate, found.goodput.goodput_qps / CAPACITY_QPS)
        assert bool(row.overloaded) == found.overloaded


def test_a_run_goes_on_where_another_ended_and_leaves_its_cells(run: ControlsRun, tmp_path: Path) -> None:
    scenario = {"small": load_scenario(small())}
    first = ControlsRun(tmp_path, scenario, loads=(0.6,), queries=QUERIES, seeds=SEEDS)
    first.run()
    told: list[int] = []
    again = ControlsRun(tmp_path, scenario, loads=(0.6, 1.8), queries=QUERIES, seeds=SEEDS)
    assert again.rows == first.rows
    again.run(lambda what, done: told.append(done))
    assert told == [1, 1]
    assert again.rows == run.rows
    # Cells stand there as they were done.
    assert sorted(again.csv.read_text().splitlines()) == sorted(run.csv.read_text().splitlines())
    with pytest.raises(InputError, match="other seeds"):
        ControlsRun(tmp_path, scenario, queries=QUERIES, seeds=SEEDS + 1)
    changed = ControlsRun(tmp_path, {"small": load_scenario(small(sla_ms=70))}, queries=QUERIES, seeds=SEEDS)
    assert changed.rows == []  # of another scenario of the same name


def rows(control: str, limit: float | None, *values: tuple[float, float], overloaded: str = "") -> list[Row]:
    """A control's rows at load 1 with p95 and goodput by seed."""
    return [
        Row("a", "f", 1.0, control, limit, seed, p95, 2 * p95, 0.0, goodput, overloaded)
        for seed, (p95, goodput) in enumerate(values)
    ]


def test_the_best_limit_counts_and_ratios_are_paired_by_seed() -> None:
    plain = rows(PLAIN, None, (0.5, 0.9), (1.0, 0.8))
    worse, better = rows("admission", 0.8, (1, 1), (1, 1)), rows("admission", 0.9, (0.25, 1.1), (0.5, 1.1))
    table = lines([*plain, *worse, *better, *rows("admission", 1.0, (2, 9), (2, 9), overloaded="cpu load 1.2")])
    assert [(line.control, line.limit) for line in table] == [(PLAIN, None), ("admission", 0.9)]
    line = table[1]
    assert line.p95 is not None
    assert line.p95.value == 0.375
    ratio, goodput = line.vs_plain["p95"], line.vs_plain["goodput"]
    assert ratio is not None
    assert ratio.ci is not None
    assert (ratio.value, *ratio.ci) == pytest.approx((0.5, 0.5, 0.5))  # the same in both seeds
    assert goodput is not None
    assert goodput.value == pytest.approx(math.sqrt(1.1 / 0.9 * 1.1 / 0.8))
    tied = lines([*plain, *rows("admission", 0.8, (1, 1), (1, 1)), *rows("admission", 1.0, (1, 1), (1, 1))])
    assert tied[1].limit == 1.0


def test_an_overloaded_cell_has_a_reason_and_no_figures() -> None:
    plain = rows(PLAIN, None, (0.5, 0.9), (1.0, 0.8))
    plain[1] = Row(**{**vars(plain[1]), "overloaded": "the backlog grows"})
    assert lines(plain)[0].overloaded == ""  # not in most of the runs: by chance
    plain = rows(PLAIN, None, (0.5, 0.9), (1.0, 0.8), overloaded="cpu load 1.2")
    line, even = lines([*plain, *rows("even", None, (0.5, 0.9), (1.0, 0.8))])
    assert (line.overloaded, line.p95, line.goodput) == ("cpu load 1.2", None, None)
    assert even.p95 is not None
    assert set(even.vs_plain.values()) == {None}
    summary = {each.control: each for each in summaries([line, even])}
    assert (summary[PLAIN].goodput, summary[PLAIN].counts["stable"]) == (None, 0)
    assert summary["even"].least_goodput == pytest.approx(0.85)


def test_controls_that_a_node_cannot_have_are_left_out() -> None:
    assert {name for name, _, _ in variants(load_scenario("wnd"))} == set(CONTROLS)
    found = {name for name, _, _ in variants(load_scenario("wnd-cpu"))}
    assert found == {PLAIN, "even", "small-first", "even, small-first", "least-slack", "admission"}


def test_the_setting_is_that_of_the_capacity_without_further_controls() -> None:
    data = small(control={"batch_size": 16, "order": "small-first", "admit_ms": 50})
    data["node"]["accelerator"]["batching"] = {"max_items": 1500, "max_wait_ms": 1}
    plain = at_capacity(load_scenario(data))
    assert (plain.setting.batch_size, plain.setting.threshold, plain.setting.order) == (64, 500, "fcfs")
    assert plain.setting.admit_ms is None
    assert plain.stages[0].batching is None
    own = {name: changed.stages[0].batching for name, _, changed in variants(load_scenario(data))}["batching"]
    assert own is not None
    assert (own.max_items, own.max_wait_ms) == (1500, 1.0)


def test_a_capacity_that_the_file_lacks_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = at_capacity(load_scenario(day_scenario(control={"batch_size": 32, "threshold": 400}))).capacity
    assert found is not None
    assert (found.batch_size, found.threshold) == (32, 400)
    assert 300 < found.qps < 2000


def test_the_command_prints_its_json_and_can_be_asked_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(small()), encoding="utf-8")
    options = ("--loads", "0.6,1.8", "--queries", QUERIES, "--seeds", SEEDS, "--output", tmp_path / "out")
    found = payload(capsys, "controls", file, *options)
    assert json.loads((tmp_path / "out" / "controls.json").read_text(encoding="utf-8")) == found
    cells = {(cell["load"], cell["control"]): cell for cell in found["cells"]}
    assert len(cells) == 2 * len(CONTROLS)
    assert cells[1.8, PLAIN]["p95"] is None
    assert "load" in cells[1.8, PLAIN]["overloaded"]
    assert cells[0.6, PLAIN]["overloaded"] is None
    assert cells[1.8, "admission"]["admit"] in LIMITS
    result = tmp_path / "result.json"
    result.write_text(json.dumps(found), encoding="utf-8")
    assert call(capsys, "rerun", result)[:2] == (0, "same\n")
    monkeypatch.setenv("COLUMNS", "240")
    status, out, _ = call(capsys, "controls", file, *options)
    assert status == 0
    assert "small at 0.6 of capacity (700 queries/s, batch size 64, threshold 500, target 60 ms)" in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("plain")][1] == ["plain", "-"]


def test_pipelines_are_refused() -> None:
    with pytest.raises(InputError, match="must be a node"):
        at_capacity(load_scenario(plans_day()))
