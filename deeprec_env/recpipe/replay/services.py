"""How long the engines and sort processes of a logged run take: by its own log, or by fits to low load.

The fits, the contention and the spreads are those measured from the artifact's CPU and GPU logs (Cascade Lake cores,
one NVIDIA T4); the accelerator's times are analytic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from deeprec_env.latency.normal import normal_quantile
from deeprec_env.latency.rpaccel import rpaccel_latency_s
from deeprec_env.recpipe.replay.runs import LoggedStage, Run
from deeprec_env.recpipe.replay.service_times import SERVICE_S, SIGMA

Service = Literal["own", "fit"]
SERVICES: tuple[Service, ...] = ("own", "fit")


@dataclass(frozen=True)
class Times:
    """Seconds on an engine, their coefficient of variation, seconds in the sort process behind it; all means."""

    engine_s: float
    cv: float
    sort_s: float


def times(run: Run, service: Service) -> list[Times]:
    """The times of every stage of a run."""
    if run.on_accelerator:
        return [Times(_accelerator_s(stage, service), 0.0, 0.0) for stage in run.stages]
    return _own(run) if service == "own" else _fitted(run)


def engine_s(run: Run) -> list[float]:
    """Logged mean seconds on an engine, by stage, without the sort."""
    return [time.engine_s for time in times(run, "own")]


def _accelerator_s(stage: LoggedStage, service: Service) -> float:
    assert stage.unit is not None
    return stage.service_s if service == "own" else rpaccel_latency_s(stage.model, stage.items, stage.unit)


def sorts_s(run: Run) -> list[float]:
    """Seconds of every stage's sort: the last sorts all its items, one before it finds and sorts those it passes on."""
    sizes = [stage.items for stage in run.stages]
    inner = [0.11e-3 + 0.09e-6 * items + 0.24e-6 * kept for items, kept in pairwise(sizes)]
    return [*inner, 0.077e-3 + 0.290e-6 * sizes[-1]]


def _own(run: Run) -> list[Times]:
    """The log has a stage's time with its sort, the sum of the sorts, and the spread of the sum of the inferences.

    The sum's coefficient of variation is taken for that of the stages' sum, the stages being independent and alike.
    """
    formula = sorts_s(run)
    scale = run.sort_mean_s / sum(formula)
    sorts = [min(sort_s * scale, 0.9 * stage.service_s) for sort_s, stage in zip(formula, run.stages, strict=True)]
    engines = [stage.service_s - sort_s for stage, sort_s in zip(run.stages, sorts, strict=True)]
    cv = _cv(run.infer_p95_s / run.infer_mean_s) * sum(engines) / math.hypot(*engines)
    return [Times(engine, cv, sort) for engine, sort in zip(engines, sorts, strict=True)]


def _cv(ratio: float) -> float:
    """Coefficient of variation of a lognormal whose 95th percentile is `ratio` times its mean."""
    z = normal_quantile(0.95)
    root = z * z - 2.0 * math.log(max(ratio, 1.0))  # of sigma^2 / 2 - z sigma + ln(ratio) = 0, the smaller solution
    return math.sqrt(math.expm1((z - math.sqrt(max(root, 0.0))) ** 2))


def _fitted(run: Run) -> list[Times]:
    found = []
    for stage, sort_s in zip(run.stages, sorts_s(run), strict=True):
        base_s, per_item_s = SERVICE_S[stage.device][stage.model]
        cv = math.sqrt(math.expm1(SIGMA[stage.device] ** 2))
        found.append(Times(base_s + per_item_s * stage.items - sort_s, cv, sort_s))
    return found
