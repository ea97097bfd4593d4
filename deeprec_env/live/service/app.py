"""The service as an ASGI application: ranking, metrics, health and the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deeprec_env.errors import InputError
from deeprec_env.live.service.access import Gate
from deeprec_env.live.service.admission import Admission, Refused
from deeprec_env.live.service.bodies import most_bytes, read_ranking, written
from deeprec_env.live.service.media import BINARY, CONTENT_TYPES, DEADLINE, JSON
from deeprec_env.live.service.metrics import CONTENT_TYPE, Metrics
from deeprec_env.live.service.monitor import Monitor
from deeprec_env.live.service.node import RequestFailed
from deeprec_env.live.service.page import PAGE, PAGE_HEADERS

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Service:
    """Answers requests for a node, as `admission` and `monitor` see it. `token` None: everybody may come."""

    def __init__(self, admission: Admission, monitor: Monitor, token: str | None) -> None:
        self._admission, self._monitor = admission, monitor
        self._node = admission.node
        self._metrics = Metrics(admission, monitor)
        self._most_bytes = most_bytes(self._node.model_plan)
        self._token = token

    def application(self, lifespan: Lifespan | None = None) -> Any:
        """The ASGI application."""
        app = Starlette(
            routes=[
                Route("/rank", _Ranking(self.rank), methods=["POST"]),  # for those who ask otherwise
                Route("/model", self.model),
                Route("/metrics", self.metrics),
                Route("/history", self.history),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/", self.page),
            ],
            exception_handlers={HTTPException: _told},
            lifespan=lifespan,
        )
        whole = _RankingFirst(self.rank, app)
        return whole if self._token is None else Gate(whole, self._token)

    async def rank(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application of its own, without routes and response objects: score items, or give the best."""
        begun_s = time.perf_counter()
        try:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            content_type = _content_type(headers)
            deadline_s = _deadline_s(headers)
            body = await self._body(headers, receive)
            self._admission.check_room()
            best = QueryParams(scope["query_string"]).get("best") if scope["query_string"] else None
            ranking = read_ranking(self._node.model_plan, content_type, body, best)
            if deadline_s is not None:
                self._admission.check_deadline(ranking.items, begun_s + deadline_s - time.perf_counter())
            answer = self._node.accept(ranking.inputs, ranking.items)
            if answer is None:
                raise Refused(503, "shed", "it is predicted to take longer than admit_ms", 1)
        except InputError as error:
            return await self._refusal(Refused(400, "invalid", str(error)))(scope, receive, send)
        except Refused as refused:
            return await self._refusal(refused)(scope, receive, send)
        try:
            scores = await answer
        except RequestFailed as error:
            return await _error(500, "failed", str(error))(scope, receive, send)
        given = JSON if content_type == JSON else BINARY
        told = written(ranking, scores, given)
        head = [(b"content-length", b"%d" % len(told)), (b"content-type", given.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": told})

    async def model(self, request: Request) -> Response:
        """What the model takes and returns."""
        plan = self._node.model_plan
        fields = {
            name: {"shape": ["items", *field.shape], "type": field.dtype, "rows": field.rows}
            for name, field in plan.fields.items()
        }
        told = {"model": plan.model, "most_items": plan.most_items, "outputs": plan.outputs, "inputs": fields}
        return _json(told)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text."""
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def history(self, request: Request) -> Response:
        """The last minutes, second by second."""
        return _json({"seconds": [second.to_json() for second in self._monitor.history]})

    async def healthz(self, request: Request) -> Response:
        """That the process answers."""
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Whether queries are let in."""
        ready = self._node.crew.alive > 0 and not self._admission.draining
        return _json({"ready": ready, "workers_alive": self._node.crew.alive}, 200 if ready else 503)

    async def page(self, request: Request) -> Response:
        """What it does now, to look at."""
        return Response(PAGE, headers=PAGE_HEADERS)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most_bytes:
            raise self._too_large()
        parts, length, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "invalid", "the body has not come whole")
            parts.append(message.get("body", b""))
            length += len(parts[-1])
            if length > self._most_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _too_large(self) -> Refused:
        return Refused(413, "invalid", f"the body is longer than {self._most_bytes} bytes")

    def _refusal(self, refused: Refused) -> Response:
        self._admission.refused[refused.reason] += 1
        headers = {} if refused.retry_after_s is None else {"retry-after": str(refused.retry_after_s)}
        if refused.status == 413:
            headers["connection"] = "close"  # the rest of the body is not waited for
        return _error(refused.status, refused.reason, refused.words, headers)


class _Ranking:
    """What makes Starlette take a function for an ASGI application, not for one of requests."""

    def __init__(self, rank: ASGIApp) -> None:
        self._rank = rank

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._rank(scope, receive, send)


class _RankingFirst:
    """Ranking, which is nearly all that is asked for, and behind it the application for everything else."""

    def __init__(self, rank: ASGIApp, app: ASGIApp) -> None:
        self._rank, self._app = rank, app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """See ASGI."""
        ranks = scope["type"] == "http" and scope["path"] == "/rank" and scope["method"] == "POST"
        return (self._rank if ranks else self._app)(scope, receive, send)


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


def _json(told: Any, status: int = 200) -> Response:
    return Response(to_json(told, inf_nan_mode="null"), status, media_type=JSON)


def _error(status: int, reason: str, words: str, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json({"error": reason, "message": words}), status, headers, media_type=JSON)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, "invalid", error.detail, dict(error.headers or {}))


def lifespan_of(node_attach: Callable[[asyncio.AbstractEventLoop], None], *watching: Callable[[], Any]) -> Lifespan:
    """Attach the node to the server's loop, and keep coroutines running as long as it serves."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        node_attach(asyncio.get_running_loop())
        tasks = [asyncio.create_task(watch()) for watch in watching]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan
