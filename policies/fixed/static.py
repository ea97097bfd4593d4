"""DeepRecSys's static baseline: the largest query spread over all cores, nothing offloaded."""

from __future__ import annotations

import math

from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting


def static_setting(scenario: Scenario) -> Setting:
    """B = largest query / cores (1000 / 40 = 25) of the first stage that has any, T = never (DeepRecSys, section 5)."""
    items, _ = scenario.workload.sizes.probabilities()
    cores = next((stage.cpu.servers for stage in scenario.stages if stage.cpu is not None), 1)
    return scenario.setting.replace(batch_size=math.ceil(int(items[-1]) / cores), threshold=None)
