"""Why queries were slow: where each one's latency went, behind whom it waited, and what would have helped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deeprec_env.arguments import whole
from deeprec_env.progress import Progress, silent
from deeprec_env.provenance import Question, asked
from deeprec_env.scenario.parts import Floats, Ints
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.shown import Shown, text
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.simulation.offered_load import pool_label
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import Result
from deeprec_env.timeline.behind import Behind, behind
from deeprec_env.timeline.parts import PARTS, WAITING, latency_parts
from deeprec_env.timeline.requests import RunRequests, run_requests
from deeprec_env.timeline.traffic import records_of, traffic_of
from deeprec_env.timeline.what_if import WhatIf, alone_s, p95_s, what_ifs

if TYPE_CHECKING:
    from deeprec_env.fleet.result import FleetResult

MOST = 1000
"""Queries that can be explained at once."""

HELPS = 0.95
"""Share of its latency that a query takes at most under a setting that is said to help."""


@dataclass(frozen=True)
class ExplainedStage:
    """A stage on a query's way: of the request that ended last there, its parts in seconds, (PARTS,)."""

    pool: str
    requests: int
    items: int
    busy: int
    parts_s: Floats
    behind: Behind

    def to_json(self) -> dict[str, Any]:
        """As `deeprec explain --json` has it."""
        return {
            "pool": self.pool,
            "requests": self.requests,
            "items": self.items,
            "busy_servers": self.busy,
            "parts_s": dict(zip(PARTS, self.parts_s.tolist(), strict=True)),
            "waited_behind": self.behind.to_json(),
        }


@dataclass(frozen=True)
class ExplainedQuery:
    """A query's latency in parts, with the largest of them (`cause`) and what would have helped, in words.

    `alone_s`: its latency on an idle node, None where that can't be found out.
    """

    query: int
    arrival_s: float
    items: int
    latency_s: float
    stages: tuple[ExplainedStage, ...]
    alone_s: float | None
    cause: str = ""
    helps: str = ""

    @property
    def parts_s(self) -> dict[str, float]:
        """Its parts over all stages."""
        return {name: math.fsum(stage.parts_s[part] for stage in self.stages) for part, name in enumerate(PARTS)}

    def to_json(self) -> dict[str, Any]:
        """As `deeprec explain --json` has it: the parts of all stages sum to the latency."""
        return {
            "query": self.query,
            "arrival_s": self.arrival_s,
            "items": self.items,
            "latency_s": self.latency_s,
            "alone_s": self.alone_s,
            "parts_s": self.parts_s,
            "stages": [stage.to_json() for stage in self.stages],
            "cause": self.cause,
            "helps": self.helps,
        }


@dataclass(frozen=True)
class Explained(Shown):
    """The slowest queries of a run, explained; `tried` is what was tried on its traffic."""

    result: Result | FleetResult
    queries: tuple[Any, ...]
    tried: tuple[WhatIf, ...]
    p95_s: float
    question: Question

    def to_json(self) -> dict[str, Any]:
        """As `deeprec explain --json` prints it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sla_ms": self.result.scenario.sla_ms,
            "p95_s": self.p95_s,
            "slowest": [query.to_json() for query in self.queries],
            "tried": [
                {"change": tried.change, "p95_s": tried.p95_s, "latency_s": tried.latency_s.tolist()}
                for tried in self.tried
            ],
            "streams_sha256": self.result.streams_sha256,
            **asked(self.question),
            "versions": versions(),
        }

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        rows = [[text(value) for value in row.values()] for row in self._rows()]
        return list(self._rows()[0]) if rows else ["query"], rows


class Explanation(Explained):
    """That of a node's run; other settings were tried."""

    queries: tuple[ExplainedQuery, ...]

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "query": query.query,
                "arrival_s": query.arrival_s,
                "items": query.items,
                "latency_s": query.latency_s,
                "alone_s": query.alone_s,
                **{f"{name}_s": seconds for name, seconds in query.parts_s.items()},
                "cause": query.cause,
                "helps": query.helps,
            }
            for query in self.queries
        ]


def check_slowest(slowest: int) -> int:
    """How many queries to explain; `InputError` for none, or too many."""
    return whole("slowest", slowest, 1, MOST)


def explain(result: Result, slowest: int = 5, progress: Progress = silent) -> Explanation:
    """Explain the slowest counted queries of a run, the slowest first.

    What would have helped is found by meeting the same traffic with the neighbouring settings; where coroutines changed
    the settings in mid-run that is left out. Raises `InputError` for a streamed run.
    """
    slowest = check_slowest(slowest)
    records, scenario, traffic = records_of(result), result.scenario, traffic_of(result)
    assert result.question is not None  # else there were no traffic
    stages = run_requests(records, scenario, traffic.noise_key)
    parts = latency_parts(records, scenario, stages)
    latency_s, p95 = records.latency_s, p95_s(records.latency_s, result.warmup)
    counted = np.where(np.isnan(latency_s), -math.inf, latency_s)[result.warmup :]
    chosen = (result.warmup + np.argsort(-counted, kind="stable")[:slowest]).tolist()
    chosen = [query for query in chosen if not math.isnan(latency_s[query])]
    tried: list[WhatIf] = []
    alone: list[float | None] = [None] * len(chosen)
    if chosen and not result.question.unrepeatable:
        engine = result.question.engine
        tried = what_ifs(scenario, traffic, chosen, result.warmup, engine, progress)
        alone = [*alone_s(scenario, traffic, chosen, float(latency_s[chosen].max()), engine).tolist()]
    found = []
    for place, query in enumerate(chosen):
        of_query = parts.of_query(query, float(latency_s[query]))
        explained = ExplainedQuery(
            query=int(records.query[query]),
            arrival_s=float(records.arrival_s[query]),
            items=int(records.items[query]),
            latency_s=float(latency_s[query]),
            stages=stages_on_the_way(records, scenario, stages, parts.request[:, query], query, of_query),
            alone_s=alone[place],
        )
        helps = "" if alone[place] is None else what_helps(explained, tried, place, p95)
        found.append(replace(explained, cause=cause_of(explained), helps=helps))
    question = replace(result.question, command="explain", arguments={**result.question.arguments, "slowest": slowest})
    return Explanation(result, tuple(found), tuple(tried), p95, question)


def stages_on_the_way(
    records: Records, scenario: Scenario, stages: list[RunRequests], request: Ints, query: int, parts_s: Floats
) -> tuple[ExplainedStage, ...]:
    """The stages of a query; `request` (stages,) is its request that ended last in each, `parts_s` (stages, PARTS)."""
    found, each = [], scenario.sub_batches
    for position, requests in enumerate(stages):
        at = int(request[position])
        if at >= 0:
            found.append(
                ExplainedStage(
                    pool=pool_label(scenario.stages[position].name, KINDS[int(requests.away[at])]),
                    requests=int(requests.first[(query + 1) * each] - requests.first[query * each]),
                    items=int(requests.items[at]),
                    busy=int(requests.busy[at]),
                    parts_s=parts_s[position],
                    behind=behind(records, scenario, position, requests, at),
                )
            )
    return tuple(found)


def cause_of(query: ExplainedQuery) -> str:
    """The largest part of a latency, in words."""
    stage = max(query.stages, key=lambda stage: float(stage.parts_s.max()))
    part = int(np.argmax(stage.parts_s))
    seconds = float(stage.parts_s[part])
    share = f"{_ms(seconds)} of its {_ms(query.latency_s)}"
    if part != WAITING:
        words = {
            "service": f"were the service of {stage.items} items on {stage.pool}",
            "contention": f"were the slow-down by {stage.busy - 1} busy neighbours on {stage.pool}",
            "slow_down": f"were a slow phase of {stage.pool}",
            "transfer": f"were the transfer to {stage.pool}",
            "overhead": f"were the overhead of {stage.pool}",
        }[PARTS[part]]
        return f"{share} {words}"
    waited = stage.behind
    most = max((waited.own_s, "own"), (waited.earlier_s, "earlier"), (waited.later_s, "later"), (waited.idle_s, "idle"))
    first = f" (the longest: {waited.queries[0][1]} items)" if waited.queries else ""
    behind_whom = {
        "own": f"behind its own {stage.requests} requests",
        "earlier": f"behind {waited.found} requests of earlier queries{first}",
        "later": f"behind later queries that went first{first}",
        "idle": "for its batch to fill",
    }[most[1]]
    return f"{share} were spent waiting for {stage.pool}, most of it {behind_whom}"


def what_helps(
    query: ExplainedQuery, tried: list[WhatIf], place: int, p95: float, others: str = "neighbouring settings"
) -> str:
    """One sentence: which of the `others` did most for the query among those that did no harm to the p95 of all."""
    helping = [each for each in tried if each.latency_s[place] <= HELPS * query.latency_s]
    harmless = [each for each in helping if each.p95_s <= p95]
    if helping:
        best = min(harmless or helping, key=lambda each: float(each.latency_s[place]))
        turn = "and" if harmless else "but"
        return (
            f"{best.change}: {_ms(float(best.latency_s[place]))} instead of {_ms(query.latency_s)}, "
            f"{turn} a p95 of all of {_ms(best.p95_s)} instead of {_ms(p95)}"
        )
    assert query.alone_s is not None
    if query.alone_s > HELPS * query.latency_s:
        return f"nothing but faster servers: alone on the node it takes {_ms(query.alone_s)}"
    return (
        f"none of the {len(tried)} {others}; fewer or smaller queries ahead, or more servers: "
        f"alone on the node it takes {_ms(query.alone_s)}"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"
