"""Scheduling: the best pipeline of a space, and its mapping to devices, for a quality, a rate and a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.analysis.capacity import SWEEP_QUERIES, CapacityEstimate, find_capacity
from deeprec_env.errors import InputError
from deeprec_env.progress import Step
from deeprec_env.recpipe.design_space.cells import Cell, check_seed
from deeprec_env.recpipe.design_space.space import Candidate, Space, SpaceConfig, load_space, scenario_of, space_of
from deeprec_env.recpipe.design_space.sweep import Progress, run_all, silent
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.simulation.offered_load import service_demands
from deeprec_env.simulation.simulate import Result, simulate

OBJECTIVES = ("p95", "capacity")

SCREENED = 3
"""Times as many pipelines as are asked for are looked at more closely, after the first sight of all."""

FINAL_QUERIES = 50_000
_LOADS = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98)
"""Offered loads at which capacities are looked for at first sight."""

PRECISION = 0.02

_SEEN, _RATED = 0.4, 0.6  # shares of the work, about: all seen at the rate, and at some loads


@dataclass(frozen=True)
class Choice:
    """A pipeline that was looked at closely: its run at the rate and, if it was asked for, its capacity."""

    candidate: Candidate
    result: Result
    capacity: CapacityEstimate | None = None

    @property
    def meets(self) -> bool:
        """Whether p95 and p99 are within their bounds, no pool overloaded."""
        tail, scenario = self.result.tail, self.result.scenario
        late = scenario.p99_factor is not None and tail.p99_s > scenario.p99_factor * scenario.sla_s
        return not self.result.overloaded and tail.p95_s <= scenario.sla_s and not late

    def to_json(self) -> dict[str, Any]:
        """Its name, quality and figures."""
        tail = self.result.tail
        found: dict[str, Any] = {
            "pipeline": str(self.candidate),
            "quality": self.candidate.quality,
            "p95_ms": tail.p95_s * 1e3,
            "p95_ci_ms": [end * 1e3 for end in tail.p95_ci_s],
            "p99_ms": tail.p99_s * 1e3,
        }
        if self.capacity is not None:
            ends = self.capacity.qps_ci
            found |= {"capacity_qps": self.capacity.qps, "capacity_ci": None if ends is None else list(ends)}
        return found


@dataclass(frozen=True)
class Nearest:
    """The pipeline that comes nearest where none will do, and what it `lacks`: quality, qps or sla_ms.

    `highest_qps`: where its busiest pool is full; the times are those at the rate (None where it does not keep up).
    """

    pipeline: str
    lacks: str
    quality: float | None
    highest_qps: float
    p95_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True)
class Schedule:
    """What was found: the best pipelines, best first; none if no pipeline will do.

    `good_enough`: pipelines of the quality; `keep_up`: those of them no pool of which is overloaded at the rate;
    `meet`: those whose p95 and p99 are within the target's bounds at first sight. `nearest`: where there is no best.
    """

    best: tuple[Choice, ...]
    objective: str
    quality: float
    qps: float
    sla_ms: float
    pipelines: int
    good_enough: int
    keep_up: int
    meet: int
    nearest: Nearest | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it, best first."""
        names = ("objective", "quality", "qps", "sla_ms", "pipelines", "good_enough", "keep_up", "meet")
        facts = {"schema_version": SCHEMA_VERSION} | {name: getattr(self, name) for name in names}
        nearest = None if self.nearest is None else vars(self.nearest)
        return facts | {"nearest": nearest, "best": [choice.to_json() for choice in self.best], "versions": versions()}


def schedule(
    space: Space | SpaceConfig | dict[str, Any] | str | Path,
    *,
    quality: float,
    qps: float,
    sla_ms: float | None = None,
    objective: str = "p95",
    top: int = 5,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress = silent,
) -> Schedule:
    """The best pipelines of a space (or its configuration) with at least a quality, at a rate, within a target.

    `objective` "p95": the lowest p95 at the rate; "capacity": the highest capacity of those that meet the target at
    the rate. All pipelines are run once on the space's `queries`; the `SCREENED` x `top` best of them again on
    `FINAL_QUERIES` fresh ones of the validation split, or have their capacity found. Raises `InputError` for bad input.
    """
    if not isinstance(space, Space):
        space = space_of(load_space(space))
    if sla_ms is not None:
        space = space_of(load_space(space.config.model_dump() | {"sla_ms": sla_ms}))
    config = space.config
    _check(config, quality, qps, objective, top, seed)
    good = [each for each in space.candidates if each.quality is not None and each.quality >= quality]
    loads = [_load(config, candidate) for candidate in good]
    able = [candidate for candidate, load in zip(good, loads, strict=True) if load * qps < 1.0]
    cells: list[Cell] = []
    for found in run_all(config, [(candidate, [qps]) for candidate in able], seed=seed, workers=workers):
        cells += found
        progress(Step(f"{len(able)} pipelines at {qps:g} queries/s", _SEEN * len(cells) / len(able)), 1)
    meeting = [(cell, candidate) for cell, candidate in zip(cells, able, strict=True) if cell.meets]
    if objective == "p95":
        ranked = [candidate for _, candidate in sorted(meeting, key=lambda pair: (pair[0].p95_ms, pair[1].key))]
        chosen = _looked_at(config, ranked[: SCREENED * top], qps, seed, progress)
        chosen.sort(key=lambda choice: choice.result.tail.p95_s)
    else:
        ranked = _by_first_sight(config, [candidate for _, candidate in meeting], seed, workers, progress)
        chosen = _looked_at(config, ranked[: SCREENED * top], qps, seed, progress, capacity=True)
        chosen.sort(key=lambda choice: -(choice.capacity.qps if choice.capacity else 0.0))
    best = [choice for choice in chosen if choice.meets][:top]
    counts = len(space.candidates), len(good), len(able), len(meeting)
    nearest = None if best else _nearest(space, good, able, cells, chosen)
    return Schedule(tuple(best), objective, quality, qps, config.sla_ms, *counts, nearest)


def _nearest(
    space: Space,
    good: Sequence[Candidate],
    able: Sequence[Candidate],
    cells: Sequence[Cell],
    chosen: Sequence[Choice],
) -> Nearest | None:
    """Of the pipelines that came furthest the nearest: by p95 and p99 in their bounds, by load, or by quality."""
    config = space.config

    def found(candidate: Candidate, lacks: str, *tail_ms: float) -> Nearest:
        return Nearest(str(candidate), lacks, candidate.quality, 1.0 / _load(config, candidate), *tail_ms)

    def excess(tail_ms: tuple[float, float]) -> float:
        p95, p99 = tail_ms
        return max(p95, p99 / config.p99_factor if config.p99_factor else 0.0)

    tails = [(choice.candidate, choice.result.tail.p95_s * 1e3, choice.result.tail.p99_s * 1e3) for choice in chosen]
    if not tails:
        tails = [(candidate, cell.p95_ms, cell.p99_ms) for candidate, cell in zip(able, cells, strict=True)]
    if tails:
        candidate, *tail_ms = min(tails, key=lambda each: excess(each[1:]))
        return found(candidate, "sla_ms", *tail_ms)
    if good:
        return found(min(good, key=lambda each: _load(config, each)), "qps")
    rated = [each for each in space.candidates if each.quality is not None]
    return found(max(rated, key=lambda each: each.quality or 0.0), "quality") if rated else None


def _check(config: SpaceConfig, quality: float, qps: float, objective: str, top: int, seed: int) -> None:
    check_seed(seed)
    if config.quality is None:
        raise InputError("quality", quality, "can't be asked for: the space has none (quality: null)")
    if not 0.0 <= quality <= 1.0:
        raise InputError("quality", quality, "must be between 0 and 1")
    if not qps > 0.0:
        raise InputError("qps", qps, "must be above 0")
    if objective not in OBJECTIVES:
        raise InputError("objective", objective, f"must be one of {', '.join(OBJECTIVES)}")
    if top < 1:
        raise InputError("top", top, "must be at least 1")


def _load(config: SpaceConfig, candidate: Candidate) -> float:
    """Load of the busiest pool at one query a second."""
    scenario = scenario_of(config, candidate)
    return max(1.0 / demand.saturation_qps for demand in service_demands(scenario, scenario.setting))


def _looked_at(
    config: SpaceConfig,
    candidates: Sequence[Candidate],
    qps: float,
    seed: int,
    progress: Progress,
    *,
    capacity: bool = False,
) -> list[Choice]:
    chosen: list[Choice] = []
    for candidate in candidates:
        share = _RATED + (1.0 - _RATED) * len(chosen) / len(candidates)
        progress(Step(f"the best {len(candidates)} once more", share), 1)
        chosen.append(_choice(config, candidate, qps, seed, capacity=capacity))
    return chosen


def _choice(config: SpaceConfig, candidate: Candidate, qps: float, seed: int, *, capacity: bool = False) -> Choice:
    scenario = scenario_of(config, candidate)
    result = simulate(scenario, qps=qps, queries=FINAL_QUERIES, seed=seed, split="validation")
    return Choice(candidate, result, _capacity(scenario, seed) if capacity else None)


def _capacity(scenario: Scenario, seed: int) -> CapacityEstimate:
    return find_capacity(scenario, queries=SWEEP_QUERIES, precision=PRECISION, seed=seed, p95_only=False, confirm=False)


def _by_first_sight(
    config: SpaceConfig, candidates: Sequence[Candidate], seed: int, workers: int | None, progress: Progress
) -> list[Candidate]:
    """By the highest rate that meets the target among those of some offered loads."""
    rates = [(np.array(_LOADS) / _load(config, candidate)).tolist() for candidate in candidates]
    highest = []
    for cells in run_all(config, list(zip(candidates, rates, strict=True)), seed=seed, workers=workers):
        highest.append(max((cell.qps for cell in cells if cell.meets), default=0.0))
        share = _SEEN + (_RATED - _SEEN) * len(highest) / len(candidates)
        progress(Step(f"{len(candidates)} pipelines at {len(_LOADS)} loads", share), 1)
    order = sorted(range(len(candidates)), key=lambda index: (-highest[index], candidates[index].key))
    return [candidates[index] for index in order]
