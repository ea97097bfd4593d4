"""What an environment is, said once: registration, training, evaluation, commands and the documentation read it."""

from __future__ import annotations

import pkgutil
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from deeprec_env.arguments import choice
from deeprec_env.envs.task import AnyScenario, Task

if TYPE_CHECKING:
    from deeprec_env.envs.node_env import NodeEnv
    from deeprec_env.envs.vector import NodeVectorEnv

_ID = re.compile(r"(?:[\w:-]+/)?(?P<name>[\w:.-]+?)(?:-v\d+)?")


@dataclass(frozen=True)
class EnvSpec:
    """One environment.

    `id`: Gymnasium's name, "NAMESPACE/NAME-vVERSION". `alias`: the name on the command line, where another version has
    the id's short one. `task`: a class of (scenario, reward), which says what is
    observed, chosen and rewarded; the first of its rewards is the default. `scenario`: the default one's name.
    `evaluation`: a `deeprec_env.policies.evaluation.evaluation.Evaluation`, or "module:name" of one, which is imported
    when it is used (default: policies are judged by their rewards). `hyperparams`: the key in hyperparameter files,
    which may be another environment's (default: the id). `env`, `vector_env`: "module:class" of the environment and of
    many of them at once, made as `ServingEnv` and `ServingVectorEnv` are; without them, any node under the task.
    """

    id: str
    task: type[Task]
    scenario: str = "dlrm-rmc1"
    evaluation: Any = "deeprec_env.policies.evaluation.by_reward:BY_REWARD"
    hyperparams: str = ""
    env: str = ""
    vector_env: str = ""
    alias: str = ""

    @property
    def name(self) -> str:
        """The name on the command line: that of "DeepRec/Serving-v1" is "serving"."""
        return self.alias or name_of(self.id)

    @property
    def hyperparams_key(self) -> str:
        """The key of its hyperparameters in their files."""
        return self.hyperparams or self.id

    def reward(self, name: str | None = None) -> str:
        """The reward of that name, or the default; `InputError` for one that is not known."""
        return choice("reward", next(iter(self.task.rewards)) if name is None else name, self.task.rewards)

    def make_task(self, scenario: AnyScenario | None = None, reward: str | None = None) -> Task:
        """The task on a scenario, with the default reward unless said."""
        return self.task(self.scenario if scenario is None else scenario, self.reward(reward))

    def make(
        self,
        scenario: AnyScenario | None = None,
        engine: str = "compiled",
        reward: str | None = None,
        render_mode: str | None = None,
    ) -> NodeEnv:
        """One environment."""
        if self.env:
            named = {"scenario": self.scenario if scenario is None else scenario, "reward": self.reward(reward)}
            made: NodeEnv = pkgutil.resolve_name(self.env)(engine=engine, render_mode=render_mode, **named)
            return made
        from deeprec_env.envs.node_env import NodeEnv
        from deeprec_env.envs.serving_task import ServingTask
        from deeprec_env.envs.task_source import task_source
        from deeprec_env.envs.traffic_env import TrafficEnv

        source = task_source(self.scenario if scenario is None else scenario, partial(self.make_task, reward=reward))
        return (TrafficEnv if isinstance(source.first, ServingTask) else NodeEnv)(source, engine, render_mode)

    def make_vector(
        self,
        num_envs: int = 1,
        scenario: AnyScenario | None = None,
        engine: str = "compiled",
        reward: str | None = None,
        threads: int | None = None,
        render_mode: str | None = None,
        autoreset_mode: str | None = None,
    ) -> NodeVectorEnv:
        """Many of them in one object; `autoreset_mode` (None: its default) as `NodeVectorEnv` takes it."""
        chosen = {} if autoreset_mode is None else {"autoreset_mode": autoreset_mode}
        if self.vector_env:
            named = {"scenario": self.scenario if scenario is None else scenario, "reward": self.reward(reward)}
            several: NodeVectorEnv = pkgutil.resolve_name(self.vector_env)(
                num_envs, engine=engine, threads=threads, render_mode=render_mode, **named, **chosen
            )
            return several
        from deeprec_env.envs.task_source import task_sources
        from deeprec_env.envs.vector import NodeVectorEnv  # compiled code: loaded when it is needed

        given = self.scenario if scenario is None else scenario
        sources = task_sources(given, num_envs, partial(self.make_task, reward=reward))
        return NodeVectorEnv(num_envs, sources, engine, threads, render_mode, **chosen)


def name_of(identifier: str) -> str:
    """The short name of an environment's id: its name without namespace and version, in small letters."""
    found = _ID.fullmatch(identifier)
    return (found["name"] if found else identifier).lower()
