"""Films of the environments: the pictures of a test episode, as an animation of some hundred kilobytes."""

from __future__ import annotations

import itertools
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deeprec_env.envs.environments import CAPACITY, FLEET, PIPELINE, SERVING, SERVING_V2
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.policies.adaptive.control_generalist import ControlGeneralistPolicy
from deeprec_env.policies.adaptive.degrade import DegradePolicy, DegradeRule
from deeprec_env.policies.adaptive.generalist import GeneralistPolicy
from deeprec_env.policies.adaptive.live_search import LiveSearch
from deeprec_env.policies.adaptive.random_policy import RandomPolicy
from deeprec_env.policies.base import Policy, act
from deeprec_env.policies.fleet.autoscaler import Autoscaler

PICTURES = 48
"""Of a film, at most; the last one stands."""

WIDTH, HEIGHT = 640, 480
PICTURE_MS, LAST_MS = 120, 3000


class Cast(NamedTuple):
    """Who acts, in which scenario: the policy of an environment, and what the caption says of it."""

    scenario: str
    policy: Callable[[Any], Policy]
    said: str


def _degrade(env: Any) -> Policy:
    plans = [(plan, 0, 0) for plan in range(3)]
    return DegradePolicy(plans, DegradeRule(high=0.9, low=0.35, down=1))


CASTS = {
    SERVING.id: Cast("wnd", lambda env: GeneralistPolicy(env.scenario), "the generalist"),
    SERVING_V2.id: Cast("wnd", lambda env: ControlGeneralistPolicy(env.scenario), "the generalist"),
    CAPACITY.id: Cast("wnd", lambda env: LiveSearch(env.scenario, "deeprecsched"), "DeepRecSched, as it searches"),
    FLEET.id: Cast("fleet-wnd", lambda env: Autoscaler(env._task, 0.5), "an autoscaler that keeps servers half busy"),
    PIPELINE.id: Cast("recpipe-cpu", _degrade, "a rule that steps down the three best plans while p95 is high"),
}


def film(spec: EnvSpec, path: Path) -> str:
    """Film an environment's test episode of seed 0 into `path` (WebP), and return the Markdown that shows it.

    A second file, PATH-end.webp, holds the last picture, for readers who prefer nothing to move. Empty where the
    environment has no pictures. One that has no cast is acted in at random.
    """
    cast = CASTS.get(spec.id)
    scenario = spec.scenario if cast is None else cast.scenario
    if "rgb_array" not in pkgutil.resolve_name(spec.env).metadata["render_modes"]:
        return ""
    env: Any = spec.make(scenario, render_mode="rgb_array")
    policy = RandomPolicy(env.action_space, 0) if cast is None else cast.policy(env)
    pictures = _pictures(env, policy)
    env.close()
    _write(pictures, path)
    said = "random actions" if cast is None else cast.said
    words = f"{spec.id}, a test episode of {scenario} (seed 0) under {said}"
    return (
        f'<figure><picture><source media="(prefers-reduced-motion: reduce)" srcset="{path.stem}-end.webp">'
        f'<img src="{path.name}" width="{WIDTH}" height="{HEIGHT}" alt="{words}: load, p95 against the target, queries '
        f'in flight, busy servers and settings, window by window"></picture><figcaption>{words}.</figcaption></figure>'
    )


def _pictures(env: Any, policy: Policy) -> list[Any]:
    """Pictures of the episode, evenly spaced, the last one of its end."""
    every = -(-env.windows // PICTURES)
    observation, _ = env.reset(seed=0, options={"split": "test"})
    found, state = [], None
    for window in itertools.count():
        action, state = act(policy, observation, state, start=window == 0)
        observation, _, _, over, _ = env.step(np.asarray(action))
        if over or (window + 1) % every == 0:
            found.append(env.render())
        if over:
            return found
    raise AssertionError("an episode ends")


def _write(pictures: list[Any], path: Path) -> None:
    from PIL import Image

    images = [Image.fromarray(picture).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS) for picture in pictures]
    last = path.with_name(f"{path.stem}-end.webp")
    durations = [PICTURE_MS] * (len(images) - 1) + [LAST_MS]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, quality=60, method=4)
    images[-1].save(last, quality=75)
