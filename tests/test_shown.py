"""Results in pandas and notebooks hold what the JSON and the files hold."""

from __future__ import annotations

import csv
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from deeprec_env import evaluate, find_capacity, simulate
from deeprec_env.shown import Shown, flat, markdown_table
from deeprec_env.simulation import write_records
from deeprec_env.timeline.explain import explain
from tests.conftest import day_scenario, plans_day
from tests.test_extras import run_without


class Cells(HTMLParser):
    """Rows of a table, cell by cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.rows[-1][-1] += data


def markdown_cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]


def test_a_run_is_a_row_and_its_records_one_each(tmp_path: Path) -> None:
    result = simulate(plans_day(), queries=1200)
    frame = result.to_frame()
    assert frame.shape[0] == 1
    answer = result.to_json()
    assert frame["latency_ms.p95"][0] == answer["latency_ms"]["p95"]
    assert [frame["latency_ms.p95_low"][0], frame["latency_ms.p95_high"][0]] == answer["latency_ms"]["p95_ci"]
    assert "question.command" not in frame.columns
    assert result.records is not None
    write_records(result.records, result.warmup, tmp_path / "records.csv")
    with (tmp_path / "records.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    each = result.records.to_frame(result.warmup)
    assert list(each.columns) == list(written[0])
    assert each["latency_s"].tolist() == [float(row["latency_s"]) for row in written]
    assert each["warmup"].tolist() == [row["warmup"] == "True" for row in written]


def test_notebooks_show_the_figures() -> None:
    capacity = find_capacity(day_scenario(), queries=2000)
    figures = flat(capacity.to_json())
    shown = {row[0]: row[1] for row in Cells(capacity._repr_html_()).rows[1:]}
    assert set(shown) == set(figures)
    assert shown["qps"] == f"{capacity.qps:.6g}"
    assert {row[0]: row[1] for row in markdown_cells(capacity._repr_markdown_())[2:]} == shown


def test_a_comparison_is_a_row_for_each_policy() -> None:
    compared = evaluate(day_scenario(), ["static", "random"], seeds=2, queries=1100)
    frame = compared.to_frame().set_index("policy")
    policies = compared.to_json()["policies"]
    assert list(frame.index) == list(policies)
    assert frame.loc["static", "p95_hourly_ms"] == policies["static"]["p95_hourly_ms"]
    assert frame.loc["random", "p95_hourly_ms_high"] == policies["random"]["p95_hourly_ci_ms"][1]
    assert [row[0] for row in Cells(compared._repr_html_()).rows] == ["policy", "static", "random"]


def test_an_explanation_is_a_row_for_each_query() -> None:
    explained = explain(simulate(day_scenario(), queries=1100), 3)
    frame = explained.to_frame()
    parts = [
        name for name in frame.columns if name.endswith("_s") and name not in ("arrival_s", "latency_s", "alone_s")
    ]
    for _, row in frame.iterrows():
        assert math.fsum(row[parts]) == pytest.approx(row["latency_s"], rel=1e-12)
    assert Cells(explained._repr_html_()).rows[0] == list(frame.columns)


def test_signs_of_html_and_markdown_are_kept() -> None:
    class Odd(Shown):
        def to_json(self) -> dict[str, Any]:
            return {"a<b": "x|y", "c_ci": None, "question": 1}

    assert Cells(Odd()._repr_html_()).rows[1:] == [["a<b", "x|y"], ["c_low", "-"], ["c_high", "-"]]
    assert markdown_table(["a"], [["x|y"]]) == ["| a |", "| :--- |", "| x\\|y |"]


def test_without_pandas_one_line_names_the_extra(tmp_path: Path) -> None:
    program = tmp_path / "frames.py"
    program.write_text(
        "from deeprec_env import simulate\n"
        "from deeprec_env.errors import NotInstalled\n"
        "result = simulate('ncf-cpu', queries=1100)\n"
        "for shown in (result, result.records):\n"
        "    try:\n"
        "        shown.to_frame()\n"
        "    except NotInstalled as error:\n"
        "        print(error)\n"
    )
    [(status, out, _)] = run_without(["pandas"], [["frames"]], tmp_path)
    assert status == 0
    assert out.splitlines() == ["pandas is not installed: pip install 'deeprec-env[pandas]'"] * 2
