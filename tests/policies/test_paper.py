from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.executors.executor import Threads
from deeprec_env.executors.processes import Processes
from deeprec_env.policies.paper import gains as paper
from deeprec_env.policies.paper.gains import (
    METHODS,
    MODELS,
    PUBLISHED,
    RULES,
    TARGETS,
    Cell,
    PaperRun,
    Row,
    cells,
    measure,
)
from deeprec_env.policies.paper.plot import write_plot
from deeprec_env.policies.paper.table import gains


def row(cell: Cell, qps: float, per_watt: float | None = None) -> Row:
    return Row(
        **vars(cell), sla_ms=1.0, batch_size=25, threshold=None, qps=qps, qps_low=None, qps_high=None,
        limited_by="sla" if qps else "infeasible", cpu_load=0.5, accelerator_load=None,
        qps_per_watt=(per_watt or qps) if qps else None, tuning_queries=0,
    )  # fmt: skip


def table(models: tuple[str, ...], qps: dict[tuple[str, str], float]) -> list[Row]:
    """Rows of some models with rates by (model, method), those of static 100 by default, of others 200."""
    default = {"static": 100.0}
    return [row(cell, qps.get((cell.model, cell.method), default.get(cell.method, 200.0))) for cell in cells(models)]


def test_the_table_has_every_cell_once_and_static_without_accelerator_alone() -> None:
    every = cells(MODELS)
    assert len(every) == len(set(every)) == len(MODELS) * len(TARGETS) * len(RULES) * (2 * len(METHODS) + 1)
    assert {cell.node for cell in every if cell.method == "static"} == {"cpu"}
    scenario = Cell("ncf", "cpu", "low", "p95-only", "static").scenario()
    assert (scenario.sla_ms, scenario.p99_factor, scenario.has_accelerator) == (2.5, None, False)
    assert Cell("ncf", "accelerator", "high", "full", "static").scenario().p99_factor == 2.0


def test_gains_are_geometric_means_over_the_models_with_a_t_interval() -> None:
    rates = {("wnd", "deeprecsched"): 100.0, ("din", "deeprecsched"): 400.0, ("ncf", "deeprecsched"): 200.0}
    found = gains(table(("wnd", "din", "ncf"), rates))
    assert len(found) == 2 * 2 * len(TARGETS) * len(RULES) * len(METHODS)
    gain = next(gain for gain in found if gain.method == "deeprecsched" and gain.node == "accelerator")
    assert gain.estimate is not None
    assert gain.estimate.ci is not None
    assert gain.estimate.value == pytest.approx(2.0)
    half = 4.302653 * np.log(2.0) / np.sqrt(3.0)  # t quantile of 2 degrees, standard deviation ln 2
    assert np.log(gain.estimate.ci) == pytest.approx(np.log(2.0) + np.array([-half, half]), rel=1e-5)
    assert gain.published == PUBLISHED["qps", "accelerator"][0] == 4.3


def test_a_model_where_static_or_a_method_carries_nothing_is_left_out_and_named() -> None:
    found = gains(table(("wnd", "din"), {("din", "static"): 0.0}))
    assert {gain.models for gain in found} == {("wnd",)}
    assert {gain.left_out for gain in found} == {("din (static)",)}
    assert all(gain.estimate and abs(gain.estimate.value - 2.0) < 1e-9 and gain.estimate.ci is None for gain in found)
    none_left = gains(table(("din",), {("din", "grid-capacity"): 0.0}))
    assert {gain.estimate for gain in none_left} == {None}


def test_a_cell_is_what_the_method_finds(capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(Cell("dlrm-rmc1", "cpu", "high", "full", "static"), seed=0)
    assert (found.batch_size, found.threshold, found.sla_ms) == (25, None, 150.0)
    assert found.qps_low is not None
    assert found.qps_high is not None
    assert found.qps_low <= found.qps <= found.qps_high
    assert found.qps_per_watt is not None
    assert 0.98 * found.qps / 125 <= found.qps_per_watt <= 1.02 * found.qps / 60  # between idle and busy watts
    with pytest.raises(SystemExit):
        main(["capacity", "dlrm-rmc1-cpu", "--set", "sla_ms=150", "--queries", "320000", "--json"])
    assert json.loads(capsys.readouterr().out)["qps"] == found.qps


@pytest.fixture
def two_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the cheapest cells."""
    monkeypatch.setattr(paper, "METHODS", ())
    monkeypatch.setattr(paper, "TARGETS", {"high": 1.5})


def test_a_run_goes_on_where_it_ended(two_cells: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def told(what: str, cells: int) -> None:
        done.extend([what] * cells)

    run = PaperRun(tmp_path, ["dlrm-rmc1"], 0)
    run.run(told, executor=Threads(1))
    whole = run.csv.read_bytes()
    assert len(done) == len(run.rows) == 2
    run.csv.write_text("".join(whole.decode().splitlines(keepends=True)[:-1]), encoding="utf-8")
    again = PaperRun(tmp_path, ["dlrm-rmc1"], 0)
    assert again.rows == run.rows[:1]
    again.run(told, executor=Threads(1))
    assert again.csv.read_bytes() == whole
    monkeypatch.setattr(paper, "measure", None)  # nothing is left to be measured
    PaperRun(tmp_path, ["dlrm-rmc1"], 0).run(told, executor=Threads(1))
    for content, message in (
        (whole.replace(b"seed 0", b"seed 1"), "another seed"),
        (re.sub(rb", sources \w+", b", sources 0", whole), "another version of the code"),
        (whole.replace(b"dlrm-rmc1,cpu,high,full,static,150", b"dlrm-rmc1,cpu,high,full,static,much"), "damaged"),
    ):
        run.csv.write_bytes(content)
        with pytest.raises(InputError, match=message):
            PaperRun(tmp_path, ["dlrm-rmc1"], 0)


def test_processes_make_no_difference(tmp_path: Path) -> None:
    wanted = [cell for cell in cells(("dlrm-rmc1",)) if cell.method == "static"][:2]
    one, two = (sorted(Processes(workers).results(paper._work, 0, wanted)) for workers in (1, 2))
    assert one == two


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="models: got 'gpt'; must be some of dlrm-rmc1"):
        PaperRun(tmp_path, ["wnd", "gpt"], 0)
    with pytest.raises(InputError, match="seed: got -1"):
        PaperRun(tmp_path, ["wnd"], -1)


def test_the_command_prints_writes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {entry.cell: entry for entry in table(("ncf",), {})}
    known = lambda self, work, seed, wanted: ((number, rows[cell]) for number, cell in enumerate(wanted))  # noqa: E731
    monkeypatch.setattr(Processes, "results", known)

    def call(*arguments: Any) -> str:
        with pytest.raises(SystemExit) as stopped:
            main(["paper", "--models", "ncf", "--output", str(tmp_path), *arguments])
        assert not stopped.value.code
        return capsys.readouterr().out

    assert "published" in call()
    payload = json.loads(call("--json"))
    assert payload == json.loads((tmp_path / "paper.json").read_text(encoding="utf-8"))
    assert payload["schema_version"] == 1
    assert [gain["gain"] for gain in payload["gains"]] == pytest.approx([2.0] * len(payload["gains"]))
    with pytest.raises(SystemExit) as stopped:
        main(["rerun", str(tmp_path / "paper.json")])
    assert (stopped.value.code, capsys.readouterr().out) == (0, "same\n")
    picture = (tmp_path / "paper.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    write_plot(tmp_path / "other.png", gains(table(("ncf",), {("ncf", "static"): 20.0})))
    assert (tmp_path / "other.png").read_bytes() != picture
