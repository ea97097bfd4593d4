"""Weight-stationary arrays against SCALE-Sim's published cycles."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from deeprec_env import InputError
from deeprec_env.recpipe.chip.systolic import analytic_cycles, layer_use, model_use


def test_a_layer_that_fits_is_filled_once() -> None:
    use = layer_use(64, 4, 4096, 128)
    assert use.cycles == 4096 + 2 * 64 + 4
    assert use.utilisation == pytest.approx(64 * 4 / 128**2)


def test_folds_of_few_inputs_share_the_array() -> None:
    """13 x 512 on 64 x 64: eight folds of outputs, four at a time (SCALE-Sim: 8450 cycles)."""
    use = layer_use(13, 512, 4096, 64)
    assert use.cycles == 8450
    assert use.utilisation == pytest.approx(4 * 13 / 64)


def test_all_published_layers_to_the_cycle(shared: Path) -> None:
    with (shared / "recpipe" / "scalesim_ws_layers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        use = layer_use(int(row["in"]), int(row["out"]), int(row["items"]), int(row["array"]))
        assert use.cycles == int(row["cycles"])
        assert 100 * use.utilisation == pytest.approx(float(row["util_pct"]), abs=2e-3)


def test_all_published_models_to_the_cycle(shared: Path) -> None:
    with (shared / "recpipe" / "systolic_array.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        use, side = model_use(row["model"], int(row["array"])), int(row["array"])
        assert use.cycles == int(row["scalesim_cycles"])
        assert 100 * use.utilisation == pytest.approx(float(row["scalesim_utilisation_pct"]), abs=0.01)
        assert 100 * use.work == pytest.approx(float(row["true_mac_utilisation_pct"]), abs=0.01)
        assert analytic_cycles(row["model"], side) == int(row["analytic_cycles"])


def test_bad_layers_are_refused() -> None:
    with pytest.raises(InputError, match="outputs: got 0"):
        layer_use(1, 0, 1, 16)
    with pytest.raises(InputError, match="model: got 'dim_5'"):
        model_use("dim_5", 16)
    with pytest.raises(InputError, match="model: got 'dim_5'"):
        analytic_cycles("dim_5", 16)
