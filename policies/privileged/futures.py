"""What the references of a comparison are shown of a running episode: its engine, its true rate, futures at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.errors import InputError
from deeprec_env.scenario.parts import Floats, SizeDistribution
from deeprec_env.workload.stream import Traffic

if TYPE_CHECKING:
    from deeprec_env.simulation.compiled_engine import CompiledEngine

STEPS = 8
"""Steps of constant rate in a window, as in a day's rate."""


def forkable_engine(env: TrafficEnv) -> CompiledEngine:
    """The engine of `env`; `InputError` unless it is the compiled one, which can be forked."""
    from deeprec_env.simulation.compiled_engine import CompiledEngine  # Numba is loaded when there is something to run

    if not isinstance(env.engine, CompiledEngine):
        raise InputError("engine", "asyncio", "can't be copied in mid-run, as looking ahead needs; use compiled")
    return env.engine


def true_rates_qps(env: TrafficEnv) -> Floats:
    """The rate of the episode's arrivals in the middle of every step, (windows, `STEPS`)."""
    middles_s = np.asarray(np.arange(0.5, env.windows * STEPS) * (env.interval_s / STEPS), dtype=np.float64)
    return env.rate_qps(middles_s).reshape(-1, STEPS)


def drawn_future(
    rng: np.random.Generator, rates: Floats, sizes: SizeDistribution, window: int, interval_s: float, now_s: float
) -> Traffic:
    """Traffic as it might come from a window on: Poisson at the rates (windows, `STEPS`), none of it before now."""
    step_s = interval_s / STEPS
    counts = rng.poisson(rates.ravel() * step_s)
    step = np.repeat(window * STEPS + np.arange(rates.size), counts)
    arrival_s = np.sort((step + rng.random(len(step))) * step_s)
    return Traffic(np.maximum(arrival_s, now_s), sizes.draw(rng, len(step)), int(rng.integers(2**63)))
