"""A policy in front of a node that is no environment: from a window's metrics to the setting of the next."""

from __future__ import annotations

from typing import Any

from deeprec_env.envs.environments import find_spec
from deeprec_env.envs.serving_task import GivenTraffic
from deeprec_env.errors import InputError
from deeprec_env.policies.base import PrivilegedPolicy, TunedPolicy, act
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import Traffic


class PolicyController:
    """Calls a policy once a window, with the observation that the environment would have given it.

    `InputError` for a policy that sees ahead, which no server can.
    """

    def __init__(self, tuned: TunedPolicy, environment: str = "serving") -> None:
        if isinstance(tuned.policy, PrivilegedPolicy):
            raise InputError("policy", type(tuned.policy).__name__, "must not see ahead: here is no future to look at")
        self.scenario = tuned.scenario
        self._policy = tuned.policy
        self._task = find_spec(environment).make_task(tuned.scenario)
        has_day = isinstance(tuned.scenario.workload.arrivals, Diurnal)
        self._episode = GivenTraffic(Traffic.nothing(), self._task.windows if has_day else None)
        self._setting = self._task.start
        self._state: Any = None
        self._step = 0

    def __call__(self, window: Window | None) -> Setting:
        """The setting of the window that begins; `window` is the one that has ended, None before the first."""
        measured = self._task.nothing if window is None else window
        seen = self._episode.context_features(self._step)
        observation = self._task.observe(measured, self._task.normalised(self._setting), seen)
        action, self._state = act(self._policy, observation, self._state, self._step == 0)
        self._setting = self._task.decode_action(action, self._setting)
        self._step += 1
        return self._setting
