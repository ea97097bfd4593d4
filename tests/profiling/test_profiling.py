from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deeprec_env import InputError
from deeprec_env.latency.table import LEVELS, ProfileRow, ProfileTable, read_profile
from deeprec_env.profiling import ProfileSettings, profile_models
from deeprec_env.profiling.agreement import agreement
from deeprec_env.profiling.measure import Effort, _quietest
from deeprec_env.profiling.merge import merge

SMALL: dict[str, Any] = {
    "batches": (1, 4),
    "rows_scale": 1e-4,
    "effort": Effort(passes=2, kept=1, repeats=5, least=2, warm_up=1),
}


def test_a_profile_holds_its_models_batches_and_machine(tmp_path: Path) -> None:
    path, steps = tmp_path / "out.csv", []
    table = profile_models(ProfileSettings(("ncf", "wnd"), **SMALL), path, steps.append)
    assert steps == ["ncf"] * 4 + ["wnd"] * 4
    assert [(row.model, row.batch, row.part, row.repeats) for row in table.rows] == [
        (model, batch, "compute", 5) for model in ("ncf", "wnd") for batch in (1, 4)
    ]
    read = read_profile(path)
    assert read.header["rows_scale"] == "0.0001"
    assert read.header["threads"] == "1"
    assert [row.batch for row in read.rows] == [1, 4, 1, 4]
    assert {row.levels for row in read.rows} == {(*LEVELS, 0.999)}
    assert set(agreement(read, read)) == {"ncf", "wnd"}
    assert agreement(read, read)["ncf"] == [0.0, 0.0]


def test_an_interrupted_profile_keeps_what_it_had_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def interrupt(model: str) -> None:
        if model == "wnd":
            raise KeyboardInterrupt

    settings = ProfileSettings(("ncf", "wnd"), **SMALL)
    with pytest.raises(KeyboardInterrupt):
        profile_models(settings, path, interrupt)
    kept = read_profile(path)
    assert kept.models() == ["ncf"]
    measured: list[str] = []
    resumed = profile_models(settings, path, measured.append)
    assert set(measured) == {"wnd"}
    assert resumed.rows[:2] == kept.rows
    assert list(tmp_path.iterdir()) == [path]


def test_a_profile_of_other_conditions_is_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    profile_models(ProfileSettings(("ncf",), **SMALL), path, lambda model: None)
    before = path.read_bytes()
    with pytest.raises(InputError, match="rows_scale"):
        profile_models(ProfileSettings(("wnd",), **SMALL | {"rows_scale": 1e-3}), path, lambda model: None)
    assert path.read_bytes() == before


def test_batches_are_added_to_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    before = profile_models(ProfileSettings(("ncf",), **SMALL), path, lambda model: None)
    after = profile_models(ProfileSettings(("ncf",), **SMALL | {"batches": (2, 4)}), path, lambda model: None)
    assert [row.batch for row in after.rows] == [1, 2, 4]
    assert (after.rows[0], after.rows[2]) == (read_profile(path).rows[0], read_profile(path).rows[2])
    assert after.rows[0].mean_ms == pytest.approx(before.rows[0].mean_ms, rel=1e-5)


def test_a_profile_of_another_device_is_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    profile_models(ProfileSettings(("ncf",), **SMALL), path, lambda model: None)
    path.write_text(path.read_text(encoding="utf-8").replace("ncf,cpu", "ncf,cuda"), encoding="utf-8")
    with pytest.raises(InputError, match="holds a profile of cuda, not cpu"):
        profile_models(ProfileSettings(("ncf",), **SMALL), path, lambda model: None)


def test_slow_passes_are_left_out() -> None:
    passes = [np.full(3, value) for value in (5.0, 1.0, 9.0, 2.0)]
    assert _quietest(passes, 2).tolist() == [1.0] * 3 + [2.0] * 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"models": ("nfc",)}, "model"),
        ({"device": "tpu"}, "device"),
        ({"batches": ()}, "batches"),
        ({"batches": (0,)}, "batches"),
        ({"threads": (0,)}, "threads"),
        ({"rows_scale": 0.0}, "rows_scale"),
        ({"index_distribution": "normal"}, "index_distribution"),
        ({"seed": -1}, "seed"),
        ({"threads": (1, 1)}, "threads"),
        ({"models": ("ncf", "wnd"), "name": "mine"}, "name"),
        ({"name": "#mine"}, "name"),
        ({"name": ""}, "name"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=f"^{field}"):
        ProfileSettings(**{"models": ("ncf",)} | change)


def test_a_path_that_cannot_be_written_is_refused_before_measuring(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="output"):
        profile_models(
            ProfileSettings(("ncf",), **SMALL), tmp_path / "no" / "out.csv", lambda model: pytest.fail("measured")
        )


def test_merging_takes_the_quietest_row_of_the_same_conditions() -> None:
    def row(batch: int, median: float) -> ProfileRow:
        return ProfileRow("ncf", "cpu", batch, "compute", 5, median, (median,) * len(LEVELS))

    first = ProfileTable({"cpu": "x", "date": "1"}, (row(1, 2.0), row(2, 3.0)))
    second = ProfileTable({"cpu": "x", "date": "2"}, (row(1, 1.5), row(2, 4.0)))
    assert [merged.mean_ms for merged in merge([first, second]).rows] == [1.5, 3.0]
    assert merge([first, second]).header["measurements"] == "quietest row of 2"
    with pytest.raises(InputError, match="cpu"):
        merge([first, ProfileTable({"cpu": "y"}, second.rows)])


def test_merging_keeps_thread_counts_apart() -> None:
    def measured(threads: int, *medians: float) -> ProfileTable:
        rows = (
            ProfileRow("ncf", "cpu", batch, "compute", 5, median, (median,) * len(LEVELS), threads)
            for batch, median in enumerate(medians, start=1)
        )
        return ProfileTable({"cpu": "x", "threads": str(threads)}, tuple(rows))

    both = merge([measured(1, 2.0, 4.0), measured(2, 1.0, 2.0)])
    assert both.header == {"cpu": "x", "threads": "1,2"}
    assert [(row.threads, row.mean_ms) for row in both.rows] == [(1, 2.0), (1, 4.0), (2, 1.0), (2, 2.0)]
    again = merge([both, measured(1, 1.5)])
    assert again.header["measurements"] == "quietest row of 1 to 2"
    assert [row.mean_ms for row in again.rows] == [1.5, 4.0, 1.0, 2.0]


def test_several_thread_counts_go_into_one_file_and_are_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"

    def interrupt(model: str) -> None:
        if path.exists():
            raise KeyboardInterrupt

    brief = SMALL | {"effort": Effort(passes=1, kept=1, repeats=2, least=2, warm_up=0)}
    settings = ProfileSettings(("ncf",), **brief, threads=(1, 2))
    with pytest.raises(KeyboardInterrupt):
        profile_models(settings, path, interrupt)
    first = read_profile(path)
    assert {row.threads for row in first.rows} == {1}
    assert first.header["threads"] == "1,2"
    steps: list[str] = []
    table = profile_models(settings, path, steps.append)
    torch.set_num_threads(1)
    assert len(steps) == 2
    assert [(row.threads, row.batch) for row in table.rows] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert read_profile(path).rows[:2] == first.rows
    assert ",threads\n" in path.read_text(encoding="utf-8")


def test_other_indices_are_measured_and_said(tmp_path: Path) -> None:
    (tmp_path / "stack.csv").write_text("distance,probability\n1,0.5\ninf,0.5\n", encoding="utf-8")
    settings = ProfileSettings(("ncf",), **SMALL, index_distribution=f"stack:{tmp_path / 'stack.csv'}")
    header = profile_models(settings, tmp_path / "out.csv", lambda model: None).header
    assert header["index_distribution"].startswith("stack:stack.csv (sha256 ")
