"""The traffic that a result met, drawn again from what it was asked."""

from __future__ import annotations

from deeprec_env.errors import InputError
from deeprec_env.simulation.records import Records
from deeprec_env.simulation.simulate import MOST_KEPT, Result
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed


def traffic_of(result: Result) -> Traffic:
    """The queries that `simulate` drew for a result; `InputError` where it does not say from which seed."""
    if result.question is None:
        raise InputError("result", "without its question", "must be what simulate returned")
    seeds = episode_seed(result.question.seed, result.question.split)
    traffic = QueryStream(result.scenario.workload, seeds).draw(result.queries)
    if traffic.sha256() != result.streams_sha256:
        raise InputError("result", result.streams_sha256, "must have met the traffic that its question says")
    return traffic


def records_of(result: Result) -> Records:
    """The records that a result kept; `InputError` of a streamed one."""
    if result.records is None:
        raise InputError("queries", result.queries, f"must be at most {MOST_KEPT}: longer runs keep no records")
    return result.records
