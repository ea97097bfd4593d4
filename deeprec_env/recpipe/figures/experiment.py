"""The artifact's experiments, simulated: pipelines at its mean gaps, on the very arrivals that its generator drew.

Its gaps are Poisson-distributed whole milliseconds, far more even than a Poisson process at low rates, and its
generator takes time of its own (see `deeprec_env.recpipe.replay.harness`). Service times are the published fits and the
accelerator's formula, not those of any run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deeprec_env.recpipe.design_space.pareto import front
from deeprec_env.recpipe.design_space.space import Candidate, load_space, space_of
from deeprec_env.recpipe.figures.lines import ACCELERATOR_QUERIES, CPU_QUERIES, Points, Row
from deeprec_env.recpipe.figures.published import ENOUGH
from deeprec_env.recpipe.replay.harness import ACCELERATOR_GAPS_MS, CPU_GPU_GAPS_MS, Sweeps, send
from deeprec_env.recpipe.replay.predict import replay
from deeprec_env.recpipe.replay.runs import LoggedStage, Run
from deeprec_env.recpipe.replay.services import sorts_s, times


@dataclass(frozen=True)
class Trial:
    """A pipeline at a mean gap: the rate at which its queries were sent, and the p95 of all of them."""

    candidate: Candidate
    gap_ms: float
    sent_qps: float
    p95_ms: float

    @property
    def quality(self) -> float:
        """NDCG@64; 0 where it is not known."""
        return self.candidate.quality or 0.0


def experiment(grids: Sequence[Row], *, seed: int = 0, candidates: int = 4096, rated: bool = True) -> list[Trial]:
    """Every pipeline of some grids at every gap of the artifact's. `rated`: only those whose quality is known."""
    data = {"sla_ms": 100, "qps": [1], "grids": list(grids), "candidates": candidates}
    space = space_of(load_space(data if rated else data | {"quality": None}))
    named = [(candidate, run) for candidate in space.candidates for run in _sweep(candidate)]
    runs = [replace(run, line=line) for line, (_, run) in enumerate(named)]
    sweeps = Sweeps(runs)
    found = []
    for (candidate, _), run, predicted in zip(named, runs, replay(runs, "fit", seed=seed), strict=True):
        stamped_s = send(run, sweeps.gaps_ms(run)).stamped_s
        sent_qps = (len(stamped_s) - 1) / float(stamped_s[-1])
        found.append(Trial(candidate, run.gap_ms, sent_qps, predicted.p95_s * 1e3))
    return found


def _sweep(candidate: Candidate) -> list[Run]:
    """The runs of a pipeline. What a log would hold of their outcome is not known and not used."""
    stages = tuple(
        LoggedStage(stage.model, stage.items, stage.device, candidate.config.engines(stage), 1.0, stage.unit)
        for stage in candidate.config.stages
    )
    accelerator = stages[0].device == "accelerator"
    gaps, queries = (ACCELERATOR_GAPS_MS, ACCELERATOR_QUERIES) if accelerator else (CPU_GPU_GAPS_MS, CPU_QUERIES)
    sweep = []
    for position, gap_ms in enumerate(gaps):
        run = Run(0, stages, position, gap_ms, queries, 1e3 / gap_ms, 1.0, 1.0, 1.0, 1.0, 0.0)
        fitted = times(run, "fit")
        known = zip(stages, fitted, strict=True)
        served = tuple(replace(stage, service_s=time.engine_s + time.sort_s) for stage, time in known)
        sweep.append(replace(run, stages=served, sort_mean_s=0.0 if accelerator else sum(sorts_s(run))))
    return sweep


def lowest(trials: Sequence[Trial], quality: float | None = ENOUGH) -> Points:
    """At each gap the rate and the lowest p95 in ms of the pipelines above a quality, by rate."""
    good = [trial for trial in trials if quality is None or trial.quality > quality]
    gaps = {trial.gap_ms for trial in good}
    best = [min((trial for trial in good if trial.gap_ms == gap), key=lambda trial: trial.p95_ms) for gap in gaps]
    return sorted((trial.sent_qps, trial.p95_ms) for trial in best)


def fronts(trials: Sequence[Trial], gap_ms: float) -> Points:
    """The front of p95 in ms, low, and quality, high, at a gap."""
    here = [trial for trial in trials if trial.gap_ms == gap_ms]
    points = [(trial.p95_ms, -trial.quality) for trial in here]
    return [(points[index][0], -points[index][1]) for index in front(points)]
