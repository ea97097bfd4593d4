"""`simulate`: one run of a scenario, its records and its summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deeprec_env.arguments import choice, path, real
from deeprec_env.errors import InputError
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.scenario.bounds import HIGHEST_QPS, LOWEST_QPS, Threshold
from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.parts import Ints
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import ADMIT_MS, PLAN, SPLITS, Setting
from deeprec_env.shown import Shown
from deeprec_env.simulation.checks import check_possible, check_queries, check_run_memory
from deeprec_env.simulation.engines import Coroutines, engine_kind, make_engine
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions
from deeprec_env.simulation.kernel_choice import follows_state
from deeprec_env.simulation.offered_load import ServiceDemand, offered_load, service_demands
from deeprec_env.simulation.records import Records, check_records_path, open_records, write_records
from deeprec_env.simulation.summary import (
    MOST_SHED,
    Goodput,
    Tail,
    Usage,
    backlog_grows,
    summarise_goodput,
    summarise_tail,
    summarise_usage,
    warmup_queries,
    work_sent,
)
from deeprec_env.workload.arrivals import Poisson
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

QUERIES = 20_000

MOST_KEPT = 1_000_000
"""Queries of a run whose every query is kept; of longer ones the compiled engine keeps sketches of the latencies."""

FromScenario = Literal["scenario"]

ARRIVALS = ("poisson", "scenario")
"""Whose traffic a rate is: true Poisson, or the scenario's own process at that rate."""


@dataclass(frozen=True)
class Result(Shown):
    """A run: its summary, and the records of every query (None of a streamed one, longer than `MOST_KEPT`).

    Percentiles of a streamed run are those of sketches, right to about 1e-4 of their value.
    `overloaded`: some pool gets more work than it can do, so that latencies grow for as long as the run lasts. With
    fixed settings the offered load says so; where a coroutine changed them there is no such load (None), and the trend
    of the latencies does. `plan` names the plan in force (None without plans, or where a coroutine changed it),
    `quality` is the mean over the counted queries of their plans' (None where a plan has none). `goodput` says how many
    queries were shed or in time. Where the node's state decides where queries go, or who is served together, the
    offered load is the work sent to the pool in the run, and the trend of the latencies says whether it is overloaded;
    so it does where queries are shed. `question` is what `simulate` was asked.
    """

    scenario: Scenario
    records: Records | None
    queries: int
    warmup: int
    offloaded_fraction: float
    tail: Tail
    usage: Usage
    qps_offered: float
    offered_load: dict[str, float | None]
    overloaded: bool
    streams_sha256: str
    goodput: Goodput
    plan: str | None = None
    quality: float | None = None
    question: Question | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> str:
        """Whether the target is met: pass, fail or undecided (at 95 % confidence).

        An overloaded run fails, and so does one that sheds more than `MOST_SHED` of its queries.
        """
        fails = self.overloaded or self.goodput.shed_rate > MOST_SHED
        return "fail" if fails else self.tail.verdict(self.scenario)

    def overloaded_pools(self) -> list[ServiceDemand]:
        """The pools whose offered load under the scenario's settings is at least 1; none where it is measured."""
        if follows_state(self.scenario):
            return []
        demands = service_demands(self.scenario, self.scenario.setting)
        return [demand for demand in demands if demand.load(self.qps_offered) >= 1.0]

    def to_json(self) -> dict[str, Any]:
        """The summary with the contract's keys, in milliseconds."""
        usage = self.usage
        planned = {"plan": self.plan, "quality": self.quality} if self.scenario.plans else {}
        further = {name: getattr(self.scenario.setting, name) for name in FURTHER if name in self.scenario.controls}
        return {
            "schema_version": SCHEMA_VERSION,
            "latency_ms": self.tail.to_json(),
            "sla_ms": self.scenario.sla_ms,
            "batch_size": self.scenario.control.batch_size,
            "threshold": self.scenario.control.threshold,
            **further,
            "shed_rate": self.goodput.shed_rate,
            "goodput": self.goodput.goodput,
            "goodput_qps": self.goodput.goodput_qps,
            "verdict": self.verdict,
            "overloaded": self.overloaded,
            "qps_offered": self.qps_offered,
            "qps_achieved": usage.qps_achieved,
            "queries": self.queries,
            "streamed": self.records is None,
            "warmup": self.warmup,
            "offloaded_fraction": self.offloaded_fraction,
            "utilisation": usage.utilisation,
            "offered_load": self.offered_load,
            **planned,
            "joules_per_query": None if math.isnan(usage.joules_per_query) else usage.joules_per_query,
            "qps_per_watt": usage.qps_per_watt,
            "devices": devices(self.scenario),
            "streams_sha256": self.streams_sha256,
            **asked(self.question),
            "versions": versions(),
        }


def simulate(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    *,
    qps: float | None = None,
    arrivals: str = "poisson",
    batch_size: int | None = None,
    threshold: Threshold | FromScenario = "scenario",
    plan: int | str | None = None,
    split_rule: str | None = None,
    order: str | None = None,
    offload: str | None = None,
    admit: float | FromScenario | None = "scenario",
    queries: int = QUERIES,
    seed: int = 0,
    split: str = "train",
    engine: str | None = None,
    coroutines: Coroutines = (),
    records: str | Path | None = None,
    progress: Callable[[int], None] = lambda queries: None,
) -> Result:
    """Run a scenario for `queries` arrivals and until all have completed.

    `qps` replaces the scenario's arrivals by stationary Poisson or, with `arrivals` "scenario", by their own stationary
    process at that rate; `batch_size`, `threshold` and `plan` (a name or index) replace its settings, and so do
    `split_rule` ("full" or "even"), `order` ("fcfs", "small-first" or "least-slack"), `offload` ("threshold" or
    "predicted") and `admit` (milliseconds, None: every query is admitted).
    `records` names a CSV or Parquet file that every query is written to. `engine` is "compiled" or "asyncio", which
    give the same bytes (default: compiled). `coroutines` run beside the node in virtual time, each called with the
    engine (see `AsyncioEngine`); they need, and by default get, asyncio. Of more than `MOST_KEPT` queries the compiled
    engine keeps no records: it streams them in bounded memory, into the file where there is one, and tells `progress`
    how many more are done. Raises `InputError` for bad input.
    """
    chosen = with_options(
        load_scenario(scenario),
        qps=qps,
        arrivals=arrivals,
        batch_size=batch_size,
        threshold=threshold,
        plan=plan,
        split_rule=split_rule,
        order=order,
        offload=offload,
        admit=admit,
    )
    queries = check_queries(queries)
    if records is not None:
        check_records_path(path("records", records))
    seeds = episode_seed(seed, split)
    if not isinstance(coroutines, Sequence) or not all(map(callable, coroutines)):
        raise InputError("coroutines", coroutines, "must be a list of functions of the engine")
    if not callable(progress):
        raise InputError("progress", progress, "must be a function of the queries done since")
    engine = ("asyncio" if coroutines else "compiled") if engine is None else engine
    engine_kind(engine)
    question = ask(
        "simulate",
        chosen,
        seed=seed,
        split=split,
        engine=engine,
        unrepeatable="coroutines changed the settings" if coroutines else "",
        queries=queries,
        records=records is not None,
    )
    if queries > MOST_KEPT and engine == "compiled" and not coroutines:
        return replace(_streamed(chosen, seeds, queries, progress, records), question=question)
    check_run_memory(chosen, queries)
    traffic = QueryStream(chosen.workload, seeds).draw(queries)
    kept = run(chosen, traffic, engine=engine, coroutines=coroutines)
    result = replace(summarise(chosen, traffic, kept), question=question)
    if records is not None:
        write_records(kept, result.warmup, Path(records))
    return result


def with_options(
    scenario: Scenario,
    *,
    qps: float | None = None,
    arrivals: str = "poisson",
    batch_size: int | None = None,
    threshold: Threshold | FromScenario = "scenario",
    plan: int | str | None = None,
    split_rule: str | None = None,
    order: str | None = None,
    offload: str | None = None,
    admit: float | FromScenario | None = "scenario",
) -> Scenario:
    """A scenario with stationary arrivals of `qps` (Poisson or its own) and another setting, where they are given."""
    choice("arrivals", arrivals, ARRIVALS)
    if qps is None and arrivals != ARRIVALS[0]:
        raise InputError("arrivals", arrivals, "has no effect without qps: the traffic is the scenario's own then")
    if plan is not None and scenario.plans is None:
        raise InputError("plan", plan, "must be left out: the scenario has no plans")
    if qps is not None:
        process = Poisson(kind="poisson", qps=1.0) if arrivals == "poisson" else scenario.workload.arrivals
        rate = real("qps", qps, f"must be between {LOWEST_QPS:g} and {HIGHEST_QPS:g}")
        scenario = scenario.with_arrivals(process.at_rate(rate))
    before = scenario.setting
    setting = Setting(
        before.batch_size if batch_size is None else batch_size,
        before.threshold if isinstance(threshold, str) and threshold == "scenario" else threshold,
        before.plan if plan is None else scenario.plan_index(plan),
        before.split if split_rule is None else choice("split_rule", split_rule, SPLITS),
        before.order if order is None else order,
        before.offload if offload is None else offload,
        before.admit_ms if isinstance(admit, str) and admit == "scenario" else admit,
    )
    if setting == before:
        return scenario
    check_possible(scenario, setting)
    return scenario.with_setting(setting)


def run(scenario: Scenario, traffic: Traffic, *, engine: str = "compiled", coroutines: Coroutines = ()) -> Records:
    """Records of the traffic under the scenario's settings, every query completed."""
    node = make_engine(scenario, traffic, engine, coroutines)
    try:
        node.drain()
        return node.records()
    finally:
        node.close()


def summarise(scenario: Scenario, traffic: Traffic, records: Records) -> Result:
    """The summary of a drained run."""
    warmup = warmup_queries(len(records))
    loads: dict[str, float | None] = {"cpu": None, "accelerator": None}
    plans = records.setting[:, PLAN].astype(np.int64)
    if follows_state(scenario):
        loads, overloaded = work_sent(records, scenario, warmup), backlog_grows(records, warmup)
    elif (records.setting == records.setting[0]).all():
        loads = _offered_load(scenario)
        sheds = records.setting[0, ADMIT_MS] < math.inf
        overloaded = backlog_grows(records, warmup) if sheds else _is_over(loads)
    else:
        overloaded = backlog_grows(records, warmup)
    return Result(
        scenario=scenario,
        records=records,
        queries=len(records),
        warmup=warmup,
        offloaded_fraction=float(records.offloaded[warmup:].mean()),
        tail=summarise_tail(records, warmup),
        usage=summarise_usage(records, scenario, warmup),
        qps_offered=scenario.workload.arrivals.mean_qps,
        offered_load=loads,
        overloaded=overloaded,
        streams_sha256=traffic.sha256(),
        plan=_plan_name(scenario, plans),
        quality=_quality(scenario, plans[warmup:]),
        goodput=summarise_goodput(records, scenario, warmup),
    )


def _streamed(
    scenario: Scenario,
    seeds: np.random.SeedSequence,
    queries: int,
    progress: Callable[[int], None],
    records: str | Path | None,
) -> Result:
    from deeprec_env.simulation.streaming import stream

    streamed = partial(stream, scenario, lambda: QueryStream(scenario.workload, seeds), queries, progress)
    if records is None:
        run = streamed()
    else:
        with open_records(Path(records), warmup_queries(queries)) as file:
            run = streamed(keep=file.add)
    follows = follows_state(scenario)
    loads = run.work_sent if follows else _offered_load(scenario)
    grows = follows or scenario.setting.admit_ms is not None
    return Result(
        scenario=scenario,
        records=None,
        queries=queries,
        warmup=warmup_queries(queries),
        offloaded_fraction=run.offloaded_fraction,
        tail=run.tail,
        usage=run.usage,
        qps_offered=scenario.workload.arrivals.mean_qps,
        offered_load=loads,
        overloaded=run.grows if grows else _is_over(loads),
        streams_sha256=run.streams_sha256,
        plan=_plan_name(scenario, np.array([scenario.setting.plan])),
        quality=_quality(scenario, np.array([scenario.setting.plan])),
        goodput=run.goodput,
    )


def _plan_name(scenario: Scenario, plans: Ints) -> str | None:
    """The name of the plan in force, if there was one all the time."""
    return scenario.plan_names[plans[0]] if scenario.plans and (plans == plans[0]).all() else None


def _quality(scenario: Scenario, plans: Ints) -> float | None:
    """Mean quality of queries under these plans; None where it is not known."""
    if not scenario.plans:
        return None
    used, counts = np.unique(plans, return_counts=True)
    qualities = [scenario.plans[plan].quality for plan in used]
    known = [quality for quality in qualities if quality is not None]
    return float(np.average(known, weights=counts)) if len(known) == len(used) else None


def _offered_load(scenario: Scenario) -> dict[str, float | None]:
    return offered_load(scenario, scenario.workload.arrivals.mean_qps, scenario.setting)


def _is_over(loads: dict[str, float | None]) -> bool:
    return any(load is not None and load >= 1.0 for load in loads.values())
