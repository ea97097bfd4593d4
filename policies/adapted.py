"""A policy with spaces of its own, such as a model of Stable-Baselines3, made to fit an environment's."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.task import Task
from deeprec_env.envs.wrappers import ActionMap, Fractions, Numbers
from deeprec_env.errors import InputError
from deeprec_env.policies.base import action_and_state

_WHOLE = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


class Model(Protocol):
    """What of a model an agent needs in order to act; Stable-Baselines3's have it."""

    @property
    def observation_space(self) -> Any:
        """Of what `predict` is given."""

    @property
    def action_space(self) -> Any:
        """Of what `predict` answers."""

    @property
    def predict(self) -> Any:
        """A method of (observation, state, episode_start, deterministic) that returns action and state."""


class NormalisesObservations(Protocol):
    """What of a `VecNormalize` an agent needs in order to act."""

    def normalize_obs(self, obs: Any) -> Any:
        """Observations as the model wants them."""
        ...


class TrainedAgent:
    """A model with its normalisation of observations, the mapping of its actions, and the frames that it sees at once.

    Frames are stacked as Stable-Baselines3's `VecFrameStack` does: the newest last, zeros before an episode's start.
    With several of them the state is the pair of frames and the model's own state. `normalise_stacked`: what is
    normalised is the stack, and not each observation on its way into it.
    """

    def __init__(
        self,
        model: Model,
        normalise: NormalisesObservations | None,
        mapping: ActionMap | None,
        frames: int = 1,
        normalise_stacked: bool = False,
    ) -> None:
        self._model, self._normalise, self._mapping = model, normalise, mapping
        self._frames, self._normalise_stacked = frames, normalise_stacked

    def predict(
        self,
        observation: NDArray[np.float32],
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[np.int64], Any]:
        """The model's action for a raw observation; `state` is what a recurrent one remembers."""
        seen: Any = observation
        if not self._normalise_stacked:
            seen = self._normalised(seen)
        if self._frames > 1:
            stack, state = (None, None) if state is None else state
            stack = seen = self._stacked(seen, stack, episode_start)
        if self._normalise_stacked:
            seen = self._normalised(seen)
        answer = self._model.predict(seen, state, episode_start, deterministic=deterministic)
        action, state = action_and_state(self._model, answer)
        after = (stack, state) if self._frames > 1 else state
        if self._mapping is not None:
            return self._mapping.indices(action), after
        whole = isinstance(self._model.action_space, _WHOLE)
        return (np.asarray(action).astype(np.int64) if whole else action), after

    def _normalised(self, seen: Any) -> Any:
        return self._normalise.normalize_obs(seen) if self._normalise else seen

    def _stacked(self, seen: NDArray[Any], stack: NDArray[Any] | None, episode_start: Any) -> NDArray[Any]:
        width = seen.shape[-1]
        if stack is None:
            stack = np.zeros((*seen.shape[:-1], self._frames * width), seen.dtype)
        elif episode_start is not None:
            stack = np.where(np.reshape(episode_start, (*seen.shape[:-1], 1)), np.zeros_like(stack), stack)
        return np.concatenate([stack[..., width:], seen], axis=-1)


def adapted(field: str, name: str, model: Model, task: Task, normalise: Any = None) -> TrainedAgent:
    """A model as a policy of a task: its actions mapped, and observations stacked and normalised, as its spaces ask.

    `normalise` is its `VecNormalize`, if it was trained under one. Raises `InputError` for `field`, which has the value
    `name`, where the spaces can't be made to fit.
    """
    if normalise is not None and not getattr(normalise, "norm_obs", True):
        normalise = None
    mapping = _mapping(field, name, model.action_space, task)
    frames = _frames(field, name, model.observation_space, task)
    if normalise is None:
        _check_seen(field, name, model, task, frames)
        return TrainedAgent(model, None, mapping, frames)
    wanted, stacked = task.observation_space.shape, model.observation_space.shape
    statistics: Any = getattr(normalise, "obs_rms", None)
    shape = getattr(getattr(statistics, "mean", None), "shape", None)
    if shape not in (wanted, stacked):
        raise InputError(field, name, f"its normalisation must be of observations {wanted}, not {shape}")
    return TrainedAgent(model, normalise, mapping, frames, normalise_stacked=shape != wanted)


def _mapping(field: str, name: str, space: Any, task: Task) -> ActionMap | None:
    """What turns actions of a space into the task's; None where they are the same."""
    wanted = task.action_space
    if space == wanted:
        return None
    kinds: tuple[type[ActionMap], ...] = (Numbers, Fractions) if isinstance(wanted, gym.spaces.MultiDiscrete) else ()
    mappings = [kind(wanted) for kind in kinds]
    for mapping in mappings:
        if mapping.space == space:
            return mapping
    allowed = " or ".join(str(each) for each in (wanted, *(mapping.space for mapping in mappings)))
    raise InputError(field, name, f"must choose from {allowed}, not from {space}")


def _frames(field: str, name: str, space: Any, task: Task) -> int:
    """How many observations a model sees at once."""
    wanted = task.observation_space
    if space == wanted:
        return 1
    if isinstance(space, gym.spaces.Box) and isinstance(wanted, gym.spaces.Box) and space.dtype == wanted.dtype:
        if space.shape == wanted.shape:
            return 1
        if len(space.shape) == len(wanted.shape) == 1 and space.shape[0] and space.shape[0] % wanted.shape[0] == 0:
            return space.shape[0] // wanted.shape[0]
    raise InputError(field, name, f"must observe {wanted}, or several of it as VecFrameStack has them, not {space}")


def _check_seen(field: str, name: str, model: Model, task: Task, frames: int) -> None:
    """Raise `InputError` for a model that has seen what the environment can't show: it lacks its normalisation."""
    last, wanted = getattr(model, "_last_obs", None), task.observation_space
    if not isinstance(wanted, gym.spaces.Box):
        return
    low, high = (np.tile(bound, frames) for bound in (wanted.low, wanted.high))
    space = model.observation_space
    other = not (np.array_equal(space.low, low) and np.array_equal(space.high, high))
    unseen = isinstance(last, np.ndarray) and last.shape[1:] == low.shape and bool(((last < low) | (last > high)).any())
    if other or unseen:
        allowed = "was trained on observations beyond the environment's"
        raise InputError(field, name, f"{allowed}: it needs its VecNormalize (vecnormalize.pkl beside the model)")
