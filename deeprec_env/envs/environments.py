"""The environments that there are: this package's, and those that installed packages declare."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from deeprec_env.envs.capacity_task import CapacityTask
from deeprec_env.envs.fleet_task import FleetTask
from deeprec_env.envs.pipeline_task import PipelineTask
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.serving_v2_task import ServingV2Task
from deeprec_env.envs.spec import EnvSpec, name_of
from deeprec_env.errors import InputError
from deeprec_env.plugins import is_plugin, load_plugin, plugin_names

PLUGINS = "deeprec_env.environments"
"""Entry-point group of other packages' environments: the name is the id, the object its `EnvSpec`."""

SERVING = EnvSpec(
    id="DeepRec/Serving-v1",
    task=ServingTask,
    evaluation="deeprec_env.policies.evaluation.serving:SERVING",
    env="deeprec_env.envs.serving:ServingEnv",
    vector_env="deeprec_env.envs.vector:ServingVectorEnv",
)

CAPACITY = EnvSpec(
    id="DeepRec/Capacity-v0",
    task=CapacityTask,
    evaluation="deeprec_env.policies.evaluation.capacity:CAPACITY",
    env="deeprec_env.envs.capacity:CapacityEnv",
    vector_env="deeprec_env.envs.vector:CapacityVectorEnv",
)

PIPELINE = EnvSpec(
    id="DeepRec/Pipeline-v0",
    task=PipelineTask,
    scenario="recpipe-cpu",
    evaluation="deeprec_env.policies.evaluation.pipeline:PIPELINE",
    env="deeprec_env.envs.pipeline:PipelineEnv",
    vector_env="deeprec_env.envs.vector:PipelineVectorEnv",
)

SERVING_V2 = EnvSpec(
    id="DeepRec/Serving-v2",
    alias="serving-v2",
    task=ServingV2Task,
    evaluation="deeprec_env.policies.evaluation.serving_v2:SERVING_V2",
    hyperparams=SERVING.id,
    env="deeprec_env.envs.serving_v2:ServingV2Env",
    vector_env="deeprec_env.envs.vector:ServingV2VectorEnv",
)

FLEET = EnvSpec(
    id="DeepRec/Fleet-v0",
    task=FleetTask,
    scenario="fleet-wnd",
    evaluation="deeprec_env.policies.evaluation.fleet:FLEET",
    env="deeprec_env.envs.fleet:FleetEnv",
    vector_env="deeprec_env.envs.fleet_vector:FleetVectorEnv",
)

SPECS = (SERVING, CAPACITY, PIPELINE, SERVING_V2, FLEET)
"""This package's environments: the versions that the commands know."""

EARLIER = (
    EnvSpec(
        id="DeepRec/Serving-v0",
        task=ServingTask,
        env="deeprec_env.envs.first:serving_env",
        vector_env="deeprec_env.envs.first:serving_vector_env",
    ),
)
"""Earlier versions, which Gymnasium makes as they were."""

_MAKE, _MAKE_VECTOR = (f"deeprec_env.envs.environments:{name}" for name in ("make_env", "make_vector_env"))


def register_environments() -> None:
    """Make the environments known to Gymnasium, nobody's package imported; a second call does nothing.

    A name that can't be registered (it is taken, or is none) is left out: `find_spec` says so when it is asked for.
    """
    for spec in (*SPECS, *EARLIER):
        if spec.id not in gym.registry:
            gym.register(spec.id, entry_point=spec.env, vector_entry_point=spec.vector_env)
    for name in plugin_names(PLUGINS):
        _register(name, name)


def environment_names() -> list[str]:
    """The environments' names on the command line, other packages' last: their ids where the short name is taken."""
    declared = plugin_names(PLUGINS)
    short = [*(spec.name for spec in SPECS), *map(name_of, declared)]
    others = [name_of(name) if short.count(name_of(name)) == 1 else name for name in declared]
    return [spec.name for spec in SPECS] + others


def find_spec(name: str) -> EnvSpec:
    """The environment of a short name ("serving"), of an id, or at `module:name`.

    Raises `InputError` if there is none, if it can't be imported, or if its id is somebody else's.
    """
    declared = plugin_names(PLUGINS)
    for own in SPECS:
        if name == own.id and name in declared:
            raise InputError("env", name, f"is taken, and declared as an entry point of {PLUGINS} too: remove that")
        if name in (own.id, own.name):
            return own
    found = [name] if is_plugin(PLUGINS, name) else [each for each in declared if name_of(each) == name]
    if not found and name in gym.registry and gym.registry[name].entry_point == _MAKE:
        found = [gym.registry[name].kwargs["environment"]]  # at `module:name`, asked for before
    if not found:
        raise InputError("env", name, f"must be one of {', '.join(environment_names())}")
    if len(found) > 1:
        raise InputError("env", name, f"is the name of several; give one of {', '.join(found)}")
    spec: EnvSpec = load_plugin("env", PLUGINS, found[0], lambda given: isinstance(given, EnvSpec), "an EnvSpec")
    if ":" not in found[0] and spec.id != found[0]:
        raise InputError("env", found[0], f"must be the id of its EnvSpec, which is {spec.id}")
    if not _register(spec.id, found[0]):
        raise InputError("env", spec.id, "is no NAMESPACE/NAME-vVERSION, or is taken by another environment")
    return spec


def findable_name(spec: EnvSpec) -> str:
    """What `find_spec` finds an environment by, in another process too: its id, or the `module:name` it came from."""
    known = gym.registry.get(spec.id)
    return known.kwargs["environment"] if known is not None and known.entry_point == _MAKE else spec.id


def make_env(environment: str, **arguments: Any) -> Any:
    """Another package's environment, as Gymnasium makes it by its id."""
    return find_spec(environment).make(**arguments)


def make_vector_env(environment: str, **arguments: Any) -> Any:
    """The same, many at once."""
    return find_spec(environment).make_vector(**arguments)


def _register(identifier: str, name: str) -> bool:
    """Make another package's environment known to Gymnasium by its id; whether it is, and is no one else's."""
    if identifier not in gym.registry:
        try:
            gym.register(identifier, entry_point=_MAKE, vector_entry_point=_MAKE_VECTOR, kwargs={"environment": name})
        except gym.error.Error:
            return False
    return gym.registry[identifier].entry_point == _MAKE
