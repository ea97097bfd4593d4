"""DeepRecSched as the paper describes it: hill climbing on batch size, then on offload threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

from pydantic import Field

from deeprec_env.policies.base import Progress, Setting
from deeprec_env.scenario.bounds import Count, Threshold
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.schema import Scenario


class Carried(Protocol):
    """A setting and the queries a second that it carries."""

    @property
    def qps(self) -> float:
        """Queries a second."""

    @property
    def batch_size(self) -> int | None:
        """Batch size."""

    @property
    def threshold(self) -> Threshold:
        """Offload threshold."""


class Meter(Protocol):
    """Measures what settings carry."""

    def capacity(self, batch_size: int, threshold: Threshold) -> Carried:
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
    by_batch = _climb(lambda size: meter.capacity(size, None), options, largest, progress, "batch size")
    best = by_batch
    if scenario.has_accelerator:
        assert by_batch.batch_size is not None
        size = by_batch.batch_size
        by_threshold = _climb(lambda limit: meter.capacity(size, limit), options, largest, progress, "threshold")
        best = max(by_batch, by_threshold, key=lambda found: found.qps)
    assert best.batch_size is not None
    return best.batch_size, best.threshold


def _climb(
    capacity: Callable[[int], Carried], options: ClimbOptions, largest: int, progress: Progress, what: str
) -> Carried:
    best, value = capacity(options.start), options.start
    while value < largest:
        value = min(value * options.growth, largest)
        progress(f"{what} {value}")
        found = capacity(value)
        if found.qps < best.qps * (1.0 - options.tolerance):
            break
        best = max(best, found, key=lambda either: either.qps)
    return best
