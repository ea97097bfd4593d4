"""The summary of a fleet's run, from its latencies and what its nodes did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeprec_env.fleet.load import expected_loads
from deeprec_env.fleet.meter import FleetMeter, over_nodes
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.fleet.result import FleetResult, GroupResult
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.summary import Goodput, Tail, backlog_grows, summarise_goodput, summarise_tail

LEVELS = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class GroupLatencies:
    """Of a group's counted queries, in seconds: mean and quantiles at `LEVELS` of the admitted; counts of the rest."""

    mean_s: float
    quantiles_s: tuple[float, ...]
    shed: int
    within: int

    @classmethod
    def of(cls, latency_s: Floats, sla_s: float) -> GroupLatencies:
        """From latencies, NaN of queries that were shed."""
        admitted_s = latency_s[~np.isnan(latency_s)]
        shed, within = len(latency_s) - len(admitted_s), int((latency_s <= sla_s).sum())
        if not admitted_s.size:
            return cls(np.nan, (np.nan,) * len(LEVELS), shed, within)
        quantiles_s = np.percentile(admitted_s, [100 * level for level in LEVELS])
        return cls(float(admitted_s.mean()), tuple(quantiles_s.tolist()), shed, within)


@dataclass(frozen=True)
class Latencies:
    """What is known of the latencies of a run: of all counted queries, and by group."""

    tail: Tail
    goodput: Goodput
    grow: bool
    groups: tuple[GroupLatencies, ...]

    @classmethod
    def of_records(cls, scenario: Scenario, records: FleetRecords, warmup: int) -> Latencies:
        """From the records of all queries."""
        whole, groups = records.whole, []
        for number, group in enumerate(records.groups):
            counted = records.within(number)[0] >= warmup
            groups.append(GroupLatencies.of(group.latency_s[counted], scenario.sla_s))
        return cls(
            summarise_tail(whole, warmup),
            summarise_goodput(whole, scenario, warmup),
            backlog_grows(whole, warmup),
            tuple(groups),
        )


def summarise(
    scenario: Scenario,
    queries: int,
    warmup: int,
    length_s: float,
    latencies: Latencies,
    meter: FleetMeter,
    streams_sha256: str,
) -> FleetResult:
    """The summary of a run of so many queries; `length_s` from the first counted to the last arrival."""
    assert scenario.fleet is not None
    members, used, expected = scenario.fleet.members, meter.groups(), expected_loads(scenario)
    groups, counted = {}, queries - warmup
    for name, group, nodes, use, found, load in zip(
        members.names, scenario.group_scenarios, members.counts, used, latencies.groups, expected, strict=True
    ):
        own = max(use.queries, 1)
        groups[name] = GroupResult(
            scenario=group,
            nodes=nodes,
            queries=use.queries,
            share=use.queries / counted,
            mean_s=found.mean_s,
            p50_s=found.quantiles_s[0],
            p95_s=found.quantiles_s[1],
            p99_s=found.quantiles_s[2],
            shed_rate=found.shed / own,
            goodput=found.within / own,
            offloaded_fraction=use.offloaded / own,
            usage=use.usage,
            offered_load=use.work_sent if load is None else load,
        )
    loads = [group.offered_load for group in groups.values()]
    sheds = any(group.setting.admit_ms is not None for group in scenario.group_scenarios)
    follows = sheds or any(load is None for load in expected)
    too_much = any(load is not None and load >= 1.0 for each in loads for load in each.values())
    return FleetResult(
        scenario=scenario,
        records=None,
        queries=queries,
        warmup=warmup,
        offloaded_fraction=sum(use.offloaded for use in used) / counted,
        tail=latencies.tail,
        usage=meter.fleet(used),
        qps_offered=scenario.workload.arrivals.mean_qps,
        offered_load=over_nodes(loads, members.counts),
        overloaded=latencies.grow if follows else too_much,
        streams_sha256=streams_sha256,
        goodput=latencies.goodput,
        groups=groups,
    )
