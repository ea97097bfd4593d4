"""What the references of a comparison are shown of a running episode: its engine, its true rate, futures at it."""

from __future__ import annotations

import numpy as np

from deeprec_env.envs.traffic_env import TrafficEnv
from deeprec_env.scenario.parts import Floats, SizeDistribution
from deeprec_env.simulation.engine import Engine, ForkableEngine
from deeprec_env.simulation.engines import FORK, engine_kind
from deeprec_env.workload.stream import Traffic

STEPS = 8
"""Steps of constant rate in a window, as in a day's rate."""


def forkable_engine(env: TrafficEnv) -> ForkableEngine:
    """The engine of `env`; `InputError` unless it can be copied in mid-run."""
    engine_kind(env.engine_name, FORK, asker="looking ahead")
    assert isinstance(env.engine, ForkableEngine)
    return env.engine


def true_rates_qps(env: TrafficEnv) -> Floats:
    """The rate of the episode's arrivals in the middle of every step, (windows, `STEPS`)."""
    middles_s = np.asarray(np.arange(0.5, env.windows * STEPS) * (env.interval_s / STEPS), dtype=np.float64)
    return env.rate_qps(middles_s).reshape(-1, STEPS)


def drawn_future(
    rng: np.random.Generator, rates: Floats, sizes: SizeDistribution, window: int, interval_s: float, engine: Engine
) -> Traffic:
    """Traffic as it might come to an engine from a window on: Poisson at the rates (windows, `STEPS`), none before now.

    Its queries are numbered on from those that have arrived.
    """
    step_s = interval_s / STEPS
    counts = rng.poisson(rates.ravel() * step_s)
    step = np.repeat(window * STEPS + np.arange(rates.size), counts)
    arrival_s = np.sort((step + rng.random(len(step))) * step_s)
    ahead = Traffic(np.maximum(arrival_s, engine.now_s), sizes.draw(rng, len(step)), int(rng.integers(2**63)))
    return ahead.numbered_from(engine.arrived)
