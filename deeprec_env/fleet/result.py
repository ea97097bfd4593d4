"""The result of a fleet's run: its own figures and those of its groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from deeprec_env.fleet.load import Loads
from deeprec_env.fleet.records import FleetRecords
from deeprec_env.provenance import Question, asked
from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions
from deeprec_env.simulation.summary import MOST_SHED, Goodput, Tail, Usage, in_ms


@dataclass(frozen=True)
class GroupResult:
    """A group in a run: its counted queries, and what its nodes did. Latencies are seen from the router.

    `p50_s`, `p95_s`, `p99_s` and `mean_s` are NaN where no query of it was admitted, `shed_rate` where it got none.
    """

    scenario: Scenario
    nodes: int
    queries: int
    share: float
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    shed_rate: float
    goodput: float
    offloaded_fraction: float
    usage: Usage
    offered_load: Loads

    def to_json(self) -> dict[str, Any]:
        """Its figures, in milliseconds."""
        control, setting, usage = self.scenario.control, self.scenario.setting, self.usage
        further = {name: getattr(setting, name) for name in FURTHER if name in self.scenario.controls}
        return {
            "nodes": self.nodes,
            "queries": self.queries,
            "share": self.share,
            "latency_ms": {
                "mean": in_ms(self.mean_s),
                "p50": in_ms(self.p50_s),
                "p95": in_ms(self.p95_s),
                "p99": in_ms(self.p99_s),
            },
            "batch_size": control.batch_size,
            "threshold": control.threshold,
            **further,
            "shed_rate": self.shed_rate,
            "goodput": self.goodput,
            "qps_achieved": usage.qps_achieved,
            "offloaded_fraction": self.offloaded_fraction,
            "utilisation": usage.utilisation,
            "offered_load": self.offered_load,
            "joules_per_query": usage.joules_per_query,
            "qps_per_watt": usage.qps_per_watt,
            "devices": devices(self.scenario),
        }


@dataclass(frozen=True)
class FleetResult:
    """A fleet's run: its summary as that of a node (`simulation.Result`), by group, and the records of every query.

    `records` is None of a streamed run, whose percentiles are those of sketches. Utilisation and offered load are means
    over the nodes that have such a pool. Where a router follows state, or a node's state decides where queries go, the
    load is the work sent in the run, and the trend of the latencies says whether the fleet is overloaded.
    """

    scenario: Scenario
    records: FleetRecords | None
    queries: int
    warmup: int
    offloaded_fraction: float
    tail: Tail
    usage: Usage
    qps_offered: float
    offered_load: Loads
    overloaded: bool
    streams_sha256: str
    goodput: Goodput
    groups: dict[str, GroupResult]
    question: Question | None = field(default=None, compare=False, repr=False)

    @property
    def verdict(self) -> str:
        """Whether the target is met over the whole fleet: pass, fail or undecided (at 95 % confidence)."""
        fails = self.overloaded or self.goodput.shed_rate > MOST_SHED
        return "fail" if fails else self.tail.verdict(self.scenario)

    def to_json(self) -> dict[str, Any]:
        """The summary with the contract's keys, in milliseconds."""
        assert self.scenario.fleet is not None
        usage, fleet = self.usage, self.scenario.fleet
        return {
            "schema_version": SCHEMA_VERSION,
            "latency_ms": self.tail.to_json(),
            "sla_ms": self.scenario.sla_ms,
            "router": fleet.router.model_dump(mode="json"),
            "network_ms": fleet.network_ms,
            "probe_age_ms": fleet.probe_age_ms,
            "nodes": fleet.members.size,
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
            "joules_per_query": None if math.isnan(usage.joules_per_query) else usage.joules_per_query,
            "qps_per_watt": usage.qps_per_watt,
            "groups": {name: group.to_json() for name, group in self.groups.items()},
            "streams_sha256": self.streams_sha256,
            **asked(self.question),
            "versions": versions(),
        }
