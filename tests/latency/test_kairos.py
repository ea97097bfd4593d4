"""Affine fits of the latencies that Kairos published."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from deeprec_env.latency import Affine
from deeprec_env.latency.kairos import FITS, MODELS, fit
from deeprec_env.policies.presets import presets


def test_the_coefficients_are_the_fits_of_the_published_quantiles(shared: Path) -> None:
    again = fit(shared / "kairos_latency_ms.csv")
    assert again.keys() == FITS.keys()
    for key, fitted in again.items():
        assert astuple(FITS[key]) == pytest.approx(astuple(fitted), rel=1e-3, abs=1e-6), key


@pytest.mark.parametrize("key", FITS)
def test_the_median_latency_is_the_fitted_one(key: tuple[str, str]) -> None:
    fitted = FITS[key]
    model = Affine.model_validate(fitted.latency())
    items = np.array([1, 100, 1000])
    bases = fitted.compute_base_ms + fitted.load_base_ms
    expected = bases + (fitted.compute_per_item_ms + fitted.load_per_item_ms) * items
    assert model.base_s(items, np.full(3, 0.5)) * 1e3 == pytest.approx(expected, rel=1e-4)


def test_the_shipped_presets_are_those_that_the_command_writes() -> None:
    from deeprec_env import load_scenario

    for preset in presets():
        shipped, base = load_scenario(preset.name), load_scenario(preset.scenario())
        assert (shipped.node, shipped.sla_ms) == (base.node, base.sla_ms), preset.name
    assert sum(preset.name.startswith("kairos-") for preset in presets()) == 3 * len(MODELS)
