"""The best fixed setting for capacity."""

from __future__ import annotations

from deeprec_env.scenario.schema import Scenario
from policies.base import Progress, Setting
from policies.search import CapacityMeter, scan_ladders
from policies.static import static_setting


def grid_capacity(scenario: Scenario, meter: CapacityMeter, progress: Progress) -> Setting:
    """The ladders' setting of highest capacity, by scanning along each ladder in turn."""

    def better(setting: Setting, best: float | None) -> float | None:
        progress(f"batch size {setting[0]}, threshold {setting[1]}")
        qps = meter.above(setting, (best or 0.0) * 1.002)
        return qps if qps > 0.0 else None

    return scan_ladders(scenario, static_setting(scenario), better)
