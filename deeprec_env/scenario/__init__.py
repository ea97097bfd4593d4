"""What an experiment is."""

from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.control import Control
from deeprec_env.scenario.load import load_scenario, preset_names, preset_text
from deeprec_env.scenario.plans import Plan
from deeprec_env.scenario.pools import Node, PoolSpec, Stage
from deeprec_env.scenario.schema import Capacity, Scenario, Workload

__all__ = [
    "Capacity",
    "Control",
    "Node",
    "Plan",
    "PoolSpec",
    "Scenario",
    "Stage",
    "Threshold",
    "Workload",
    "load_scenario",
    "preset_names",
    "preset_text",
]
