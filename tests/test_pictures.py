"""Pictures in files: by their suffix, the same bytes each time, whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeprec_env import InputError, load_scenario
from deeprec_env.analysis.heatmap import Spot, write_heatmap
from deeprec_env.envs.environments import SERVING
from deeprec_env.pictures import KINDS, picture, picture_kinds, picture_paths, plain_numbers, target_line
from deeprec_env.policies.evaluation.comparison import compare
from deeprec_env.policies.evaluation.plots import write_plots
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.recpipe.design_space.cells import Cell
from deeprec_env.recpipe.design_space.pictures import Asked, write_pictures
from tests.conftest import day_scenario

Figure = pytest.importorskip("matplotlib.figure").Figure
Axes = pytest.importorskip("matplotlib.axes").Axes
Text = pytest.importorskip("matplotlib.text").Text

BEGINS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def draw(folder: Path) -> list[Path]:
    """A picture with all that others have: lines, bitmaps, clipped and dotted parts, text."""
    paths = picture_paths(folder, "drawn", KINDS)
    with picture(paths, columns=2, caption="seed 0", sharey=True) as axes:
        left, right = axes[0]
        left.plot([1, 10, 100], [3, 2, 5], marker="o")
        left.set(xscale="log", ylim=(0, 4))
        plain_numbers(left.xaxis)
        right.scatter(range(50), range(50), rasterized=True)
        right.pcolormesh([[1.0, 2.0]], edgecolors="white")
        target_line(right, 3.0, horizontal=True)
        right.legend()
    return paths


def test_the_suffix_says_the_kind(tmp_path: Path) -> None:
    for path in draw(tmp_path):
        assert path.read_bytes().startswith(BEGINS[path.suffix[1:]])
    assert len(list(tmp_path.iterdir())) == len(KINDS)
    with pytest.raises(InputError, match=r"picture: got '.*x.gif'; must be a file named"), picture(tmp_path / "x.gif"):
        pass


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    """In this process and in another, which began at another time and hashes otherwise."""
    (tmp_path / "other").mkdir()
    paths = draw(tmp_path)
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in draw(tmp_path)] == first
    code = "import sys; from pathlib import Path; from tests.test_pictures import draw; draw(Path(sys.argv[1]))"
    root = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": root, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], env=environment, check=True)
    assert [(tmp_path / "other" / path.name).read_bytes() for path in paths] == first


def test_what_fails_leaves_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "x.png"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_kinds_are_read() -> None:
    assert picture_kinds(None) == ("png",)
    assert picture_kinds("svg, PDF,svg") == ("svg", "pdf")
    for text in ("", "jpg", "png,,svg"):
        with pytest.raises(InputError, match="pictures: got"):
            picture_kinds(text)


def test_a_capacity_map_shows_intervals(tmp_path: Path) -> None:
    found = {(8, None): Spot(12345.0, (12000.0, 12500.0), "p99"), (16, None): Spot(0.0, None, "infeasible")}
    assert [spot.text() for spot in found.values()] == ["12.3k*\n12k-12.5k", "none"]
    assert Spot(950.0, None, "cpu").text() == "950+"
    write_heatmap(tmp_path / "map.pdf", found, [8, 16], [None], title="", footnote="")
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")


def cell(mapping: str, quality: float, qps: float, load: float, p95_ms: float) -> Cell:
    return Cell(("m", "1", mapping, "1", "1"), quality, qps, load, p95_ms, p95_ms, p95_ms, p95_ms, p95_ms <= 10.0)


def test_a_sweeps_pictures_mark_the_floor_the_target_and_what_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [
        cell("cpu/8", 0.9, 100, 0.5, 5.0),
        cell("cpu/8", 0.9, 200, 1.5, 500.0),  # can't keep up
        cell("cpu/8|gpu/1", 0.95, 100, 0.5, 6.0),
        cell("cpu/8|gpu/1", 0.95, 200, 0.9, 95.0),  # keeps up, far beyond the target
    ]
    figures: list[Any] = []
    save = Figure.savefig

    def remember(figure: Any, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", remember)
    write_pictures(cells, tmp_path, Asked("toy", 10.0, 2.0, 0.92, "ndcg@64", 2000), ("svg",))
    over_rate, quality, capacity = ({text.get_text() for text in figure.findobj(Text)} for figure in figures)
    for texts in (over_rate, quality, capacity):
        assert "toy: target p95 within 10 ms, p99 within 20 ms; 2,000 queries a pipeline and rate" in texts
    floor, target = "floor: NDCG@64 of at least 0.92", "target: p95 within 10 ms"
    assert {floor, target} <= quality
    assert floor in capacity
    assert target in over_rate
    assert "Lowest p95 by mapping with NDCG@64 of at least 0.92" in over_rate
    assert "200 queries/s: 0 of 2 pipelines\ncut off: 1 that can't keep up, 1 beyond 8 x target" in quality


def test_a_comparisons_plots_have_bands_over_its_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bands: list[Any] = []
    fill = Axes.fill_between

    def remember(axes: Any, x: Any, low: Any, high: Any, **options: Any) -> Any:
        bands.append((low, high))
        return fill(axes, x, low, high, **options)

    monkeypatch.setattr(Axes, "fill_between", remember)
    scenario = load_scenario(day_scenario())
    compared = compare(SERVING, scenario, ["static"], seeds=3, options=TuneOptions(queries=1500))
    names = write_plots(compared, tmp_path, queries=1500, name="toy", kinds=("svg", "png"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert len(names) == 6
    hourly = 1e3 * np.array([day.hourly_p95_s for day in compared.policies["static"].episodes])
    (low, high), *_ = bands
    assert ((low < hourly.mean(axis=0)) & (hourly.mean(axis=0) < high)).all()
