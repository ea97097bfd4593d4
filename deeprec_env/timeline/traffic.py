"""The traffic that a result met, drawn again from what it was asked."""

from __future__ import annotations

from deeprec_env.errors import InputError
from deeprec_env.provenance import Question
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import MOST_KEPT, Result
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed


def traffic_of(result: Result) -> Traffic:
    """The queries that `simulate` drew for a result; `InputError` where it does not say from which seed."""
    return drawn_again(result.question, result.scenario, result.queries, result.streams_sha256)


def drawn_again(question: Question | None, scenario: Scenario, queries: int, streams_sha256: str) -> Traffic:
    """The traffic of a result of a node or a fleet; `InputError` as of `traffic_of`."""
    if question is None:
        raise InputError("result", "without its question", "must be what simulate returned")
    traffic = QueryStream(scenario.workload, episode_seed(question.seed, question.split)).draw(queries)
    if traffic.sha256() != streams_sha256:
        raise InputError("result", streams_sha256, "must have met the traffic that its question says")
    return traffic


def records_of(result: Result) -> Records:
    """The records that a result kept; `InputError` of a streamed one."""
    if result.records is None:
        raise InputError("queries", result.queries, f"must be at most {MOST_KEPT}: longer runs keep no records")
    return result.records
