"""The matrix of live runs, from recordings as the simulator itself would have made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprec_env.errors import InputError
from deeprec_env.live.fidelity import QUICK, Cell, Matrix, Row, check_profile, rows_of, summary
from deeprec_env.live.predictors import Predictor, predictors
from deeprec_env.live.recording import Recording
from deeprec_env.live.replay import Comparison, replay_blind
from tests.live.test_replay import noisy, simulated


def blind(run: Recording, others: list[Recording]) -> Comparison:
    return replay_blind(run, seeds=1)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    cells = {Cell("m", 1, 0.3, 50): 1, Cell("m", 1, 0.8, 50): 1, Cell("m", 2, 0.8, 50): 2}
    runs = {cell: [simulated(noisy(workers), 1e-5)] * 2 for cell, workers in cells.items()}
    return list(rows_of(runs, [Predictor("blind", blind)]))  # type: ignore[arg-type]


def test_rows_have_the_keys_of_the_contract_and_runs_that_repeat_have_no_noise(rows: list[Row]) -> None:
    for row in rows:
        said = row.to_json()
        wanted = {
            "model",
            "workers",
            "load",
            "batch_size",
            "measured_p95_ms",
            "blind_error",
            "replay_error",
            "noise_floor",
        }
        assert wanted <= said.keys()
        assert json.loads(json.dumps(said)) == said
        assert said["noise_floor"] == said["blind_error"] == 0.0
        assert said["replay_error"] == pytest.approx(0.0, abs=1e-9)
        low, high = said["measured_p95_ci_ms"]
        assert low <= said["measured_p95_ms"] <= high
    found = summary(rows)
    assert set(found) == {"replay_1_workers", "replay_2_workers", "blind_to_0.7", "noise_floor_to_0.7"}
    assert found["blind_to_0.7"]["worst"] == 0.0


def test_the_ways_to_predict_are_those_of_the_contract() -> None:
    assert [each.name for each in predictors("amd-epyc-turin")] == ["blind", "shipped", "calibrated"]


def test_the_matrix_is_all_cells() -> None:
    assert len(Matrix().cells()) == 3 * 2 * 4 * 2
    assert len({cell.name for cell in Matrix().cells()}) == 48
    assert len(QUICK.cells()) * QUICK.repeats == 16
    with pytest.raises(InputError, match="model"):
        Matrix(models=("no-model",))


def test_the_picture_is_drawn(rows: list[Row], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from deeprec_env.live.fidelity_picture import draw_fidelity

    draw_fidelity(tmp_path / "fidelity.png", rows, footnote="a test")
    assert (tmp_path / "fidelity.png").read_bytes().startswith(b"\x89PNG")


def test_a_profile_that_can_predict_no_such_model_is_refused_before_anything_runs() -> None:
    check_profile("amd-epyc-milan", Matrix().models)
    with pytest.raises(InputError, match=r"profile: got 'amd-epyc-turin'; latency of ncf falls"):
        check_profile("amd-epyc-turin", ("wnd", "ncf"))
