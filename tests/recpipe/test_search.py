from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from deeprec_env import InputError
from deeprec_env.cli.main import main
from deeprec_env.recpipe.design_space.cells import Cell
from deeprec_env.recpipe.design_space.pareto import hypervolume
from deeprec_env.recpipe.design_space.search import best_of, search
from deeprec_env.recpipe.design_space.space import load_space, space_of
from deeprec_env.recpipe.design_space.sweep import sweep
from tests.recpipe.spaces import small_space, space, stage

pytest.importorskip("optuna")


def volume(best: list[Cell], objective: str) -> float:
    """What a front dominates: NDCG@64 above 0.72, and the logarithm of a p95 below 100 ms, or any rate."""
    if objective == "p95":
        return hypervolume([(-(cell.quality or 0.0), np.log(cell.p95_ms)) for cell in best], (-0.72, np.log(100.0)))
    return hypervolume([(-(cell.quality or 0.0), -cell.qps) for cell in best], (-0.72, 0.0))


def test_trials_find_the_front_of_the_whole_grid(tmp_path: Path) -> None:
    """150 trials of a space of 270 pipelines, fewer than 85 different ones: at least 98 % of the grid's hypervolume."""
    config = load_space(small_space(qps=[50, 100, 200, 300, 400]))
    cells = sweep(space_of(config), tmp_path / "grid")
    for objective, qps in (("p95", 100.0), ("qps", None)):
        found = search(config, tmp_path / objective, trials=150, objective=objective, qps=qps)
        assert len({cell.key for cell in found.cells}) < 0.3 * 270
        assert set(found.cells) <= set(cells)
        share = volume(found.best, objective) / volume(best_of(cells, qps), objective)
        assert 0.98 <= share <= 1.0 + 1e-12


def test_a_seed_gives_the_same_trials_and_cells_there_are_not_run_again(tmp_path: Path) -> None:
    config = load_space(small_space())
    first = search(config, tmp_path / "a", trials=30, seed=3)
    written = (tmp_path / "a" / "cells.csv").read_bytes()
    again = search(config, tmp_path / "a", trials=30, seed=3)
    fresh = search(config, tmp_path / "b", trials=30, seed=3)
    assert first == again == fresh
    assert (tmp_path / "a" / "cells.csv").read_bytes() == written == (tmp_path / "b" / "cells.csv").read_bytes()
    assert first.cells != search(config, tmp_path / "c", trials=30, seed=4).cells
    assert first.qps == 150
    assert first.trials == 30 >= first.invalid + first.repeated


def test_bad_options_are_refused(tmp_path: Path) -> None:
    config = load_space(space([stage("dim_4", 4096, "cpu")]))
    for options, message in (
        ({"trials": 0}, "trials: got 0"),
        ({"trials": 3, "objective": "p50"}, "objective: got 'p50'"),
        ({"trials": 3, "qps": 60.0}, "qps: got 60.0; must be one of 50, 150"),
        ({"trials": 3, "objective": "qps", "qps": 50.0}, "qps: got 50.0; must be left out"),
        ({"trials": 3, "seed": -1}, "seed: got -1"),
    ):
        with pytest.raises(InputError) as caught:
            search(config, tmp_path, **options)  # type: ignore[arg-type]
        assert message in str(caught.value)
    unrated = load_space(space([stage("dim_4", 4096, "cpu")], quality=None))
    with pytest.raises(InputError, match="one of the objectives"):
        search(unrated, tmp_path, trials=3)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(small_space()), encoding="utf-8")
    options = ["--sampler", "optuna", "--trials", "12", "--objective", "qps", "--output", str(tmp_path), "--json"]
    with pytest.raises(SystemExit) as stopped:
        main(["pipeline", "sweep", str(path), *options])
    assert stopped.value.code == 0
    payload = json.loads(capsys.readouterr().out)
    assert (payload["trials"], payload["objective"]) == (12, "qps")
    assert payload["front"]
    assert (tmp_path / "cells.csv").is_file()
