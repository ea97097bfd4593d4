"""The service as an ASGI application: all but ranking, which is metrics, health and the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeprec_env.live.service.admission import Admission
from deeprec_env.live.service.media import JSON
from deeprec_env.live.service.metrics import CONTENT_TYPE, Metrics
from deeprec_env.live.service.monitor import Monitor
from deeprec_env.live.service.page import PAGE, PAGE_HEADERS

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Service:
    """Answers all but requests to rank (see `Connection`), of a node as `admission` and `monitor` see it."""

    def __init__(self, admission: Admission, monitor: Monitor) -> None:
        self._admission, self._monitor = admission, monitor
        self._node = admission.node
        self._metrics = Metrics(admission, monitor)

    def application(self, lifespan: Lifespan | None = None) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/rank", self.rank, methods=["POST"]),
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

    async def rank(self, request: Request) -> Response:
        """For those who ask by another method: `Connection` answers POST before it comes here."""
        raise AssertionError(request.url)

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
