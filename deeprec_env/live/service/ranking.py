"""Ranking: from the head and the body of a request to its answer, by a callback and not by a task for each."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import httptools
from pydantic_core import to_json
from starlette.datastructures import QueryParams

from deeprec_env.errors import InputError
from deeprec_env.live.service.access import UNAUTHORIZED, UNAUTHORIZED_HEADERS, Gate
from deeprec_env.live.service.admission import Admission, Refused
from deeprec_env.live.service.bodies import BodyReader, most_bytes, written
from deeprec_env.live.service.media import BINARY, CONTENT_TYPES, DEADLINE, JSON
from deeprec_env.live.service.servers import RankQuery

_JSON, _BINARY = (f"content-type: {kind}\r\n".encode() for kind in (JSON, BINARY))


class Asked(NamedTuple):
    """What the target of a request to rank asks."""

    best: str | None


@functools.lru_cache(maxsize=128)
def asked(target: bytes) -> Asked | None:
    """What a request's target asks of ranking; None where it asks for something else."""
    parts = httptools.parse_url(target)
    if unquote(parts.path.decode("ascii")) != "/rank":
        return None
    return Asked(QueryParams(parts.query).get("best") if parts.query else None)


class Reply(NamedTuple):
    """An answer over HTTP: its status, further lines of its head, its body, and whether the connection ends with it."""

    status: int
    head: bytes
    body: bytes
    last: bool = False


class Ranker:
    """Scores items, or gives the best, for those whom `gate` lets in (None: everybody)."""

    def __init__(self, admission: Admission, gate: Gate | None) -> None:
        self._admission, self._gate = admission, gate
        self._node = admission.node
        self._reader = BodyReader(self._node.model_plan)
        self._most_bytes = most_bytes(self._node.model_plan)

    def refusal(self, headers: Mapping[bytes, bytes]) -> Reply | None:
        """Why a request is refused whatever its body says; None if it is not."""
        if self._gate is not None and not self._gate.opens(headers.get(b"authorization", b"")):
            head = b"".join(b"%b: %b\r\n" % line for line in UNAUTHORIZED_HEADERS)
            return Reply(401, head, UNAUTHORIZED, last=True)
        declared = headers.get(b"content-length", b"0")
        return self.too_long(int(declared)) if declared.isdigit() else None

    def too_long(self, length: int) -> Reply | None:
        """Why a body of at least so many bytes is refused; None if it is not."""
        if length <= self._most_bytes:
            return None
        return self._refused(Refused(413, "invalid", f"the body is longer than {self._most_bytes} bytes"))

    def rank(
        self, headers: Mapping[bytes, bytes], asks: Asked, body: bytes, begun_s: float, reply: Callable[[Reply], None]
    ) -> None:
        """Call `reply` once: now, if the query is not let in, or when its scores are there.

        `begun_s` is when the request began to arrive (`time.perf_counter`).
        """
        try:
            self._accept(headers, asks, body, begun_s, reply)
        except InputError as error:
            reply(self._refused(Refused(400, "invalid", str(error))))
        except Refused as refused:
            reply(self._refused(refused))

    def _accept(
        self, headers: Mapping[bytes, bytes], asks: Asked, body: bytes, begun_s: float, reply: Callable[[Reply], None]
    ) -> None:
        content_type = _content_type(headers)
        deadline_s = _deadline_s(headers)
        self._admission.check_room()
        ranking = self._reader.read(content_type, body, asks.best)
        if deadline_s is not None:
            self._admission.check_deadline(ranking.items, begun_s + deadline_s - time.perf_counter())
        given, head = (JSON, _JSON) if content_type == JSON else (BINARY, _BINARY)

        def scored(query: RankQuery) -> None:
            if query.failed or query.scores is None:
                reply(FAILED)
            else:
                reply(Reply(200, head, written(ranking, query.scores, given)))

        if not self._node.take(ranking.inputs, ranking.items, scored):
            raise Refused(503, "shed", "it is predicted to take longer than admit_ms", 1)

    def _refused(self, refused: Refused) -> Reply:
        self._admission.refused[refused.reason] += 1
        head = b"" if refused.retry_after_s is None else b"retry-after: %d\r\n" % refused.retry_after_s
        last = refused.status == 413  # the rest of the body is not waited for
        return _error(refused.status, refused.reason, refused.words, head, last)


def _error(status: int, reason: str, words: str, head: bytes = b"", last: bool = False) -> Reply:
    return Reply(status, _JSON + head, to_json({"error": reason, "message": words}), last)


FAILED = _error(500, "failed", "the model refused a request, workers died of it, or the service failed or has ended")


def _content_type(headers: Mapping[bytes, bytes]) -> str:
    told = headers.get(b"content-type", b"").decode("latin-1")
    found = told if told in CONTENT_TYPES else told.partition(";")[0].strip().lower()
    if found not in CONTENT_TYPES:
        raise Refused(415, "invalid", f"content-type must be one of {', '.join(CONTENT_TYPES)}")
    return found


def _deadline_s(headers: Mapping[bytes, bytes]) -> float | None:
    told = headers.get(DEADLINE.encode())
    if told is None:
        return None
    try:
        milliseconds = float(told)
    except ValueError:
        milliseconds = 0.0
    if not 0.0 < milliseconds < float("inf"):
        raise InputError(DEADLINE, told.decode("latin-1"), "must be milliseconds above 0")
    return milliseconds * 1e-3
