"""DeepRecSched as the paper describes it: hill climbing on batch size, then on offload threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Protocol

from pydantic import Field

from deeprec_env.policies.base import Progress
from deeprec_env.progress import Step, part
from deeprec_env.scenario.bounds import Count
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting


class Carried(Protocol):
    """What a setting carries."""

    @property
    def qps(self) -> float:
        """Queries a second."""


class Meter(Protocol):
    """Measures what settings carry."""

    def capacity(self, setting: Setting) -> Carried:
        """What a setting carries."""


class ClimbOptions(Strict):
    """Parameters of the climb: where it starts, the factor of a step, and the loss that counts as a fall."""

    start: Count = 1
    growth: Annotated[int, Field(ge=2)] = 2
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.02


def deeprecsched(scenario: Scenario, meter: Meter, progress: Progress, options: ClimbOptions) -> Setting:
    """Climb from B = `start`, by `growth`, while the capacity does not fall; then climb T likewise, from `start`.

    A fall is a loss of more than `tolerance`: below it the measurement can't tell (at the smallest thresholds hardly
    any query changes side, so that a climb that stopped on a plateau would never leave it). Thresholds are kept only if
    the best of them carries more than no offloading. Source: DeepRecSys (ISCA 2020), section 4.
    """
    largest = int(scenario.workload.sizes.probabilities()[0][-1])

    steps = max(math.ceil(math.log(largest / options.start, options.growth)), 1) if largest > options.start else 1

    def climb(setting_of: Callable[[int], Setting], what: str, progress: Progress) -> tuple[Setting, float]:
        value, step = options.start, 0
        best = setting_of(value), meter.capacity(setting_of(value)).qps
        while value < largest:
            value = min(value * options.growth, largest)
            progress(Step(f"{what} {value}", step / steps))
            step += 1
            found = setting_of(value), meter.capacity(setting_of(value)).qps
            if found[1] < best[1] * (1.0 - options.tolerance):
                break
            best = max(best, found, key=lambda either: either[1])
        return best

    never = scenario.setting.replace(threshold=None)
    climbs = 2 if scenario.has_accelerator else 1
    best = climb(lambda size: never.replace(batch_size=size), "batch size", part(progress, 0.0, 1.0 / climbs))
    if scenario.has_accelerator:
        unmoved = best[0]
        second = climb(lambda limit: unmoved.replace(threshold=limit), "threshold", part(progress, 0.5, 1.0))
        best = max(best, second, key=lambda found: found[1])
    return best[0]
