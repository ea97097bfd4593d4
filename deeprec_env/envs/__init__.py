"""Gymnasium environments."""

from deeprec_env.envs import environments
from deeprec_env.envs.capacity import CapacityEnv
from deeprec_env.envs.environments import register_environments
from deeprec_env.envs.fleet import FleetEnv
from deeprec_env.envs.pipeline import PipelineEnv
from deeprec_env.envs.serving import ServingEnv
from deeprec_env.envs.serving_v2 import ServingV2Env
from deeprec_env.envs.spec import EnvSpec

SERVING, CAPACITY, PIPELINE, SERVING_V2, FLEET = (spec.id for spec in environments.SPECS)

__all__ = [
    "CAPACITY",
    "FLEET",
    "PIPELINE",
    "SERVING",
    "SERVING_V2",
    "CapacityEnv",
    "EnvSpec",
    "FleetEnv",
    "PipelineEnv",
    "ServingEnv",
    "ServingV2Env",
    "register_environments",
]
