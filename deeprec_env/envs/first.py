"""`DeepRec/Serving-v0`: the present environments with the presets of their first version."""

from __future__ import annotations

from typing import Any

from deeprec_env.envs.serving import ServingEnv
from deeprec_env.scenario.load import is_preset

DEFAULT = "dlrm-rmc1"


def serving_env(scenario: Any = DEFAULT, **arguments: Any) -> ServingEnv:
    """A `ServingEnv`; the name of a preset means the preset of v0."""
    return ServingEnv(_of_v0(scenario), **arguments)


def serving_vector_env(num_envs: int = 1, scenario: Any = DEFAULT, **arguments: Any) -> Any:
    """A `ServingVectorEnv`; the name of a preset means the preset of v0."""
    from deeprec_env.envs.vector import ServingVectorEnv  # compiled code: loaded when it is needed

    return ServingVectorEnv(num_envs, _of_v0(scenario), **arguments)


def _of_v0(scenario: Any) -> Any:
    if isinstance(scenario, list | tuple):
        return [_of_v0(each) for each in scenario]
    return f"v0/{scenario}" if isinstance(scenario, str) and is_preset(f"v0/{scenario}") else scenario
