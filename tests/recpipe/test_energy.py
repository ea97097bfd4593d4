"""Area, power and energy against the figures of RecPipe's synthesis."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from deeprec_env import InputError
from deeprec_env.recpipe.chip.energy import chip, components, energy_j, pool_power_w


def test_the_reconfigurable_chip_costs_what_is_published() -> None:
    """RecPipe, section on RPAccel: 7.7 % more area and 27.2 % more power."""
    monolithic, reconfigurable = chip("monolithic"), chip("reconfigurable")
    assert reconfigurable.area_mm2 / monolithic.area_mm2 == pytest.approx(1.077, abs=5e-4)
    assert reconfigurable.busy_w / monolithic.busy_w == pytest.approx(1.272, abs=5e-4)


def test_every_component_of_the_published_figure(shared: Path) -> None:
    with (shared / "recpipe" / "figure11.csv").open(encoding="utf-8") as file:
        *rows, total = csv.DictReader(file)
    for design, column in (("monolithic", "baseline"), ("reconfigurable", "rpaccel")):
        for row, cost in zip(rows, components(design).values(), strict=True):
            assert cost.area_mm2 == pytest.approx(float(row[f"{column}_mm2"]))
            assert cost.busy_w * 1e3 == pytest.approx(float(row[f"{column}_mw"]))
        assert chip(design).area_mm2 == pytest.approx(float(total[f"{column}_mm2"]))


def test_units_draw_their_part_and_energy_is_power_times_busy_time() -> None:
    whole = chip("reconfigurable")
    idle_w, busy_w = pool_power_w(16, 8)
    assert (idle_w, busy_w) == pytest.approx((whole.idle_w / 2, whole.busy_w / 2))
    assert 0 < idle_w < busy_w
    assert energy_j([(1e-3, 4), (2e-3, 16)]) == pytest.approx(whole.busy_w * (1e-3 / 4 + 2e-3 / 16))


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="design"):
        chip("folded")
    with pytest.raises(InputError, match="unit: got 8"):
        energy_j([(1.0, 8)])
    with pytest.raises(InputError, match="count: got 5; must be from 1 to 4"):
        pool_power_w(4, 5)
