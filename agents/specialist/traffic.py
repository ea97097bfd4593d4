"""The episodes that a specialist is trained on: the scenario's day, days of other peaks, and stationary rates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deeprec_env.analysis.day import with_flash
from deeprec_env.envs.environments import SERVING, SERVING_V2
from deeprec_env.envs.serving_task import ServingTask
from deeprec_env.envs.serving_v2_task import ServingV2Task
from deeprec_env.envs.spec import EnvSpec
from deeprec_env.envs.task_source import task_sources
from deeprec_env.envs.vector import NodeVectorEnv
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.simulate import with_options
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import QueryStream, episode_seed

STATIONARY = 0.35
"""Share of the episodes whose rate is stationary: days hardly ever hold the peak that a capacity is measured by."""

LOADS = (0.8, 1.02)
"""Their rates, in capacity."""

OTHER_DAYS = 0.15
"""Share of the episodes that are days of another peak than the scenario's."""

PEAKS = (0.4, 1.1)
"""Their peaks, in capacity."""

CROWDS = 0.35
"""Share of the episodes with flash crowds, where queries can be refused."""

_KINDS = 24  # of rates, and of peaks: a task is made once for each


class GivenDays(ServingTask):
    """The task on traffic as it is drawn: nothing scales the days of the training split."""

    def stream(self, seed: int, split: str, episode: int) -> QueryStream:
        """The stream of an episode's queries."""
        return QueryStream(self.scenario.workload, episode_seed(seed, split, episode))


class GivenDaysV2(GivenDays, ServingV2Task):
    """The same with further controls."""


_TASKS: dict[str, type[ServingTask]] = {SERVING.id: GivenDays, SERVING_V2.id: GivenDaysV2}


def vector_env(spec: EnvSpec, scenario: Scenario, count: int) -> NodeVectorEnv:
    """Environments whose episodes are drawn anew; those of one seed are the same."""
    kind, reward, windows = _TASKS[spec.id], spec.reward(), spec.make_task(scenario).windows

    def task(drawn: Scenario) -> ServingTask:
        made = kind(drawn, reward)
        made.windows = windows  # of stationary traffic too: all episodes end together
        return made

    sources = task_sources(drawn_traffic(scenario, CROWDS if spec is SERVING_V2 else 0.0), count, task)
    return NodeVectorEnv(count, sources, "compiled", 1, None, "NextStep")


def drawn_traffic(scenario: Scenario, crowds: float = 0.0) -> Callable[[np.random.Generator], Scenario]:
    """Draws an episode's scenario, which differs from the given one in its traffic alone.

    `crowds` is the share of those with flash crowds.
    """
    assert scenario.capacity is not None
    day, capacity_qps = scenario.workload.arrivals, scenario.capacity.qps
    assert isinstance(day, Diurnal)
    stationary = [with_options(scenario, qps=load * capacity_qps) for load in np.linspace(*LOADS, _KINDS).tolist()]
    others = [
        scenario.with_arrivals(day.scaled(peak * capacity_qps / day.peak_qps))
        for peak in np.linspace(*PEAKS, _KINDS).tolist()
    ]

    flash = with_flash(scenario)

    def draw(rng: np.random.Generator) -> Scenario:
        kind, which = rng.random(), int(rng.integers(_KINDS))
        if kind >= 1.0 - crowds:
            return flash
        if kind < STATIONARY:
            return stationary[which]
        return others[which] if kind < STATIONARY + OTHER_DAYS else scenario

    return draw
