"""`deeprec fleet paper`: its fleet, its load tables on every machine, its samples of machines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.fleet.load import expected_loads
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.policies.adaptive.load_table import LEVELS, LoadTable
from deeprec_env.policies.fleet.claims import SUBSETS, FleetPaper, closeness
from deeprec_env.policies.fleet.machines import KINDS, PEAK, TROUGH, by_machine, day_of, fleet
from deeprec_env.policies.fleet.settings import load_table_latencies
from deeprec_env.scenario.schema import Capacity
from deeprec_env.scenario.setting import Setting


def test_all_kinds_have_the_same_load_before_anything_is_tuned() -> None:
    loads = [load and load["cpu"] for load in expected_loads(fleet(12))]
    assert loads == pytest.approx([0.5 * (TROUGH + PEAK)] * len(KINDS))


def test_machines_get_what_the_fleets_router_sends_them() -> None:
    scenario = fleet(4)
    traffic = day_of(scenario, 0, "test").part(0, 2000)
    records, parts = run_fleet(scenario, traffic), by_machine(scenario, traffic)
    assert [group for group, _ in parts] == [0, 1, 2, 3]
    for machine, (_, own) in enumerate(parts):
        assert own.query.tolist() == np.flatnonzero(records.node == machine).tolist()


def test_a_load_table_of_one_setting_is_that_setting() -> None:
    setting = Setting(96, None)
    scenario = fleet(4, dict.fromkeys(KINDS, setting))
    traffic = day_of(scenario, 1, "validation").part(0, 3000)
    tables = {}
    for kind, node in zip(KINDS, scenario.group_scenarios, strict=True):
        known = node.replace(capacity=Capacity(qps=1000, batch_size=96, found_by="nobody"))
        tables[kind] = LoadTable(known, ((setting,),) * len(LEVELS), 0)
    each = load_table_latencies(scenario, traffic, tables)
    fixed = [group.latency_s for group in run_fleet(scenario, traffic).groups]
    assert np.concatenate(each).tobytes() == np.concatenate(fixed).tobytes()


def test_samples_of_like_machines_are_close_and_of_unlike_ones_not() -> None:
    rng = np.random.default_rng(0)
    alike = [rng.exponential(1.0, 20_000) for _ in range(60)]
    assert closeness(alike, 0) == [1.0] * len(SUBSETS)
    halves = [latency_s * (1 + machine % 2) for machine, latency_s in enumerate(alike)]
    close = closeness(halves, 0)
    assert close[0] == 0.0
    assert close[-1] > 0.95


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="machines: got 10; must be a multiple of 4"):
        FleetPaper(tmp_path, 10, 0, 1)
    with pytest.raises(InputError, match="seeds: got 0"):
        FleetPaper(tmp_path, 8, 0, 0)
    (tmp_path / "fleet.csv").write_text("# something else\n")
    with pytest.raises(InputError, match="holds days of other machines"):
        FleetPaper(tmp_path, 8, 0, 1)
