"""Environments and simulation for serving neural recommendation models."""

import deeprec_env.fleet.routers
import deeprec_env.latency
import deeprec_env.workload  # noqa: F401  (all three register the kinds that scenarios are made of)
from deeprec_env.analysis import find_capacity
from deeprec_env.envs import register_environments
from deeprec_env.errors import InputError
from deeprec_env.fleet.simulate import simulate_fleet
from deeprec_env.policies.evaluation.evaluate import evaluate
from deeprec_env.scenario import Scenario, load_scenario
from deeprec_env.simulation import simulate
from deeprec_env.version import __version__

__all__ = [
    "InputError",
    "Scenario",
    "__version__",
    "evaluate",
    "find_capacity",
    "load_scenario",
    "simulate",
    "simulate_fleet",
]

register_environments()
