"""Capacity (latency-bounded QPS) of fixed settings, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deeprec_env.arguments import real, whole
from deeprec_env.errors import InputError
from deeprec_env.progress import Progress, part, silent
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.shown import Shown
from deeprec_env.simulation.checks import MOST_QUERIES, check_run_memory
from deeprec_env.simulation.engines import engine_kind
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions
from deeprec_env.simulation.intervals import CONFIDENCE
from deeprec_env.simulation.kernel_choice import follows_state
from deeprec_env.simulation.offered_load import ServiceDemand, service_demands
from deeprec_env.simulation.simulate import FromScenario, with_options

QUERIES = 1_000_000
"""Most queries of a probed rate."""

TUNING_QUERIES = 20_000
"""Most queries of a probed rate where many settings are compared at first sight."""

SWEEP_QUERIES = 100_000
"""Most queries of a probed rate in a map of all settings."""

PRECISION = 0.01
"""Half-width of the interval, in the value, at which the search is content."""

UNSTABLE = "unstable"
"""What limits a rate at which the backlog grows."""

PERCENTILE = 95.0
_LOWEST_PERCENTILE, _HIGHEST_PERCENTILE = 50.0, 99.9

_LOWEST_QUERIES = 1100
_LATE = 8.0  # queries above a target, of those counted at a rate, that an estimate needs at least
_COUNTED = 0.8  # share of the queries of a rate that count


@dataclass(frozen=True)
class CapacityEstimate(Shown):
    """The highest rate that meets the rule, and how well it is known.

    `limited_by`: the label of a pool whose offered load reaches 1, "unstable" (the backlog grows, where the node's
    state decides who goes where), "sla" (the percentile), "p99", or "infeasible" with qps 0. `qps_ci` is the interval
    at `confidence`; a pool's bound is exact, so that it is the upper end where a pool limits; where the backlog does,
    the interval reaches from the highest rate at which none grows to one at which most do. `p95_only_qps` is the
    highest rate by the percentile alone, blind to overload and to p99. `verdict` (pass, fail, undecided) is that of
    fresh traffic at `qps`: a capacity is where the rule is just met, so that undecided is what to expect unless a pool
    is the limit. `queries` are those of a rate, in all `replications`. `variance_inflation` is the variance of the
    share above the target across replications in that of as many independent queries. `streams_sha256` is that of the
    replications' traffic at one query a second, `arrivals` the kind of its process. `question` is what `find_capacity`
    was asked. `further` are the settings of the further controls that the scenario uses, `shed_rate` is the share of
    queries that is shed at `qps`. `offered_load` is from means or, where the state decides, the mean work sent to the
    pools in the replications.
    """

    qps: float
    qps_ci: tuple[float, float] | None
    limited_by: str
    p95_only_qps: float | None
    verdict: str
    percentile: float
    confidence: float
    replications: int
    queries: int
    variance_inflation: float | None
    queries_used: int
    streams_sha256: str
    devices: dict[str, list[str]]
    arrivals: str
    batch_size: int | None = None
    threshold: Threshold = None
    plan: str | None = None
    quality: float | None = None
    offered_load: dict[str, float] = field(default_factory=dict)
    further: dict[str, Any] = field(default_factory=dict)
    shed_rate: float | None = None
    question: Question | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The contract's keys, and what the interval rests on."""
        return {
            "schema_version": SCHEMA_VERSION,
            "batch_size": self.batch_size,
            "threshold": self.threshold,
            **({} if self.plan is None else {"plan": self.plan, "quality": self.quality}),
            **self.further,
            "arrivals": self.arrivals,
            "percentile": self.percentile,
            "qps": self.qps,
            "qps_ci": None if self.qps_ci is None else list(self.qps_ci),
            "confidence": self.confidence,
            "verdict": self.verdict,
            "limited_by": self.limited_by,
            "p95_only_qps": self.p95_only_qps,
            **({"shed_rate": self.shed_rate} if "admit_ms" in self.further else {}),
            "offered_load": self.offered_load,
            "variance_inflation": self.variance_inflation,
            "replications": self.replications,
            "queries": self.queries,
            "queries_used": self.queries_used,
            "devices": self.devices,
            "streams_sha256": self.streams_sha256,
            **asked(self.question),
            "versions": versions(),
        }


def find_capacity(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    *,
    arrivals: str = "poisson",
    batch_size: int | None = None,
    threshold: Threshold | FromScenario = "scenario",
    plan: int | str | None = None,
    split_rule: str | None = None,
    order: str | None = None,
    offload: str | None = None,
    admit: float | FromScenario | None = "scenario",
    percentile: float = PERCENTILE,
    queries: int = QUERIES,
    precision: float = PRECISION,
    seed: int = 0,
    split: str = "validation",
    engine: str = "compiled",
    at_least: float = 0.0,
    p95_only: bool = True,
    confirm: bool = True,
    progress: Progress = silent,
) -> CapacityEstimate:
    """The highest stationary rate that fixed settings (`plan`: a name or index) carry, and its 95 % interval.

    The rate is that of Poisson arrivals or, with `arrivals` "scenario", of the scenario's own process at other rates.

    The rule: every pool's offered load below 1, the percentile (p50 to p99.9) within the target, p99 within
    `p99_factor` times the target; with `p99_factor` null the percentile alone (the paper's rule). A query that is shed
    counts as late. Under predicted offload or batching no mean tells the loads: instead the backlog must not grow in
    any replication, and where it does all are late, for the percentile alone too. Independent
    replications of the split's traffic, in steady state from the start, are run at every probed rate (common random
    numbers), as many as it takes until the interval's ends are within `precision` of the value, but no more than
    `queries` queries a rate (arrivals other than Poisson take a warm-up besides); the value is confirmed on fresh
    episodes.

    With `at_least` the search ends at once, with qps 0, if that rate is out of reach; without `p95_only` or `confirm`
    it spares itself the search by the percentile alone (None then) or the confirmation ("undecided" then). `progress`
    is told of every probed rate, and about how far the search is. Raises `InputError` for bad input.
    """
    loaded = with_options(
        load_scenario(scenario),
        batch_size=batch_size, threshold=threshold, plan=plan,
        split_rule=split_rule, order=order, offload=offload, admit=admit,
    )  # fmt: skip
    question = ask(
        "capacity",
        loaded,
        seed=seed,
        split=split,
        engine=engine,
        arrivals=arrivals,
        percentile=percentile,
        queries=queries,
        precision=precision,
        at_least=at_least,
        p95_only=p95_only,
        confirm=confirm,
    )
    chosen = with_options(_alone(loaded), qps=1.0, arrivals=arrivals)
    workload = chosen.workload
    chosen = chosen.replace(workload=workload.model_copy(update={"sizes": workload.sizes.stationary()}))
    _check(chosen, percentile, queries, precision, engine)
    setting = chosen.setting
    follows = follows_state(chosen)
    demands = [] if follows else service_demands(chosen, setting)

    from deeprec_env.analysis.estimate import RateEstimator, tail_rules  # compiled code: loaded when it is needed

    rules = tail_rules(chosen, percentile)
    paper = chosen.p99_factor is None
    estimator = RateEstimator(
        chosen, demands, rules, rate_limit(chosen, percentile),
        seed=seed, split=split, queries=queries, precision=precision, engine=engine,
        progress=part(progress, 0.0, 0.85 if p95_only and not paper else 1.0),
    )  # fmt: skip
    found = estimator.find(at_least)
    verdict = "fail" if found.qps == 0.0 else "undecided"
    if confirm and found.qps > 0.0:
        verdict = estimator.confirm(found)
    used, p95_only_qps = estimator.queries_used, None
    if found.limited_by in ("sla", UNSTABLE) or (paper and found.qps > 0.0):
        p95_only_qps = found.qps
    elif p95_only:
        as_many = max(estimator.first_queries, found.queries)
        blind = RateEstimator(
            chosen, demands, rules[:1], rate_limit(chosen, percentile, blind=True),
            seed=seed, split=split, queries=as_many, precision=precision, engine=engine,
            progress=part(progress, 0.85, 1.0, "p95 alone: "),
        )  # fmt: skip
        p95_only_qps = max(blind.find().qps, found.qps)
        used += blind.queries_used
    return CapacityEstimate(
        qps=found.qps,
        qps_ci=found.interval,
        limited_by=found.limited_by,
        p95_only_qps=p95_only_qps,
        verdict=verdict,
        percentile=percentile,
        confidence=CONFIDENCE,
        replications=found.replications,
        queries=found.queries,
        variance_inflation=found.variance_inflation,
        queries_used=used,
        streams_sha256=found.streams_sha256,
        devices=devices(chosen),
        arrivals=chosen.workload.arrivals.kind,
        batch_size=setting.batch_size,
        threshold=setting.threshold,
        plan=chosen.plans[setting.plan].name if chosen.plans else None,
        quality=chosen.plans[setting.plan].quality if chosen.plans else None,
        offered_load=found.sent if follows else {demand.label: demand.load(found.qps) for demand in demands},
        further={name: getattr(setting, name) for name in loaded.controls if name in FURTHER},
        shed_rate=found.shed_rate,
        question=question,
    )


def rate_limit(scenario: Scenario, percentile: float = PERCENTILE, *, blind: bool = False) -> tuple[float, str]:
    """The highest rate that can be the capacity of the scenario's setting, and what limits it there.

    A pool whose offered load reaches 1 or, where the node's state decides who goes where, "unstable". `blind`: the
    percentile alone is asked for.
    """
    if follows_state(scenario):
        from deeprec_env.analysis.fluid import most_qps  # compiled code: loaded when it is needed

        share = 1.0 - percentile / 100.0
        allowed = share if blind or scenario.p99_factor is None else min(share, 0.01)
        return most_qps(scenario, 0.0 if scenario.setting.admit_ms is None else allowed), UNSTABLE
    demands = service_demands(scenario, scenario.setting)
    late = 1.0 - percentile / 100.0
    pool = _first_overloaded(demands, late) if blind else limiting_pool(scenario, demands, percentile)
    return pool.saturation_qps, pool.label


def limiting_pool(
    scenario: Scenario, demands: Sequence[ServiceDemand], percentile: float = PERCENTILE
) -> ServiceDemand:
    """The pool whose largest rate bounds the capacity: the first to be overloaded.

    With `p99_factor` null, the first one that enough queries for the percentile visit: in an overloaded pool all are
    late in the long run.
    """
    return _first_overloaded(demands, 0.0 if scenario.p99_factor is not None else 1.0 - percentile / 100.0)


def _alone(scenario: Scenario) -> Scenario:
    """The scenario without the ladders of further controls: its settings stay, and other kernels may serve it so."""
    if not any(scenario.control.uses(name) for name in FURTHER):
        return scenario
    ladders = dict.fromkeys(("splits", "orders", "offloads", "admits_ms"))
    return scenario.replace(control=scenario.control.model_copy(update=ladders))


def _first_overloaded(demands: Sequence[ServiceDemand], visits: float) -> ServiceDemand:
    return min((demand for demand in demands if demand.visits >= visits), key=lambda demand: demand.saturation_qps)


def _check(scenario: Scenario, percentile: float, queries: int, precision: float, engine: str) -> None:
    real("percentile", percentile)
    real("precision", precision)
    whole("queries", queries, 0, MOST_QUERIES)
    if not _LOWEST_PERCENTILE <= percentile <= _HIGHEST_PERCENTILE:
        raise InputError(
            "percentile", percentile, f"must be between {_LOWEST_PERCENTILE:g} and {_HIGHEST_PERCENTILE:g}"
        )
    if not 0.0 < precision < 1.0:
        raise InputError("precision", precision, "must be between 0 and 1")
    engine_kind(engine)
    highest = percentile if scenario.p99_factor is None else max(percentile, 99.0)
    needed = max(_LOWEST_QUERIES, math.ceil(round(_LATE / _COUNTED / (1.0 - highest / 100.0), 6)))
    if queries < needed:
        raise InputError("queries", queries, f"must be at least {needed} to estimate p{highest:g}")
    check_run_memory(scenario, queries)
