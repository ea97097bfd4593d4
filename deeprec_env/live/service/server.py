"""A service from its start to its end: the socket, the node, uvicorn, signals."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.live.run import Controller
from deeprec_env.live.servers import LiveOptions
from deeprec_env.live.service.access import Gate, Gated, check_access
from deeprec_env.live.service.admission import Admission
from deeprec_env.live.service.app import Service, lifespan_of
from deeprec_env.live.service.connections import Connection, drop_idle
from deeprec_env.live.service.monitor import Monitor
from deeprec_env.live.service.node import ServiceNode
from deeprec_env.live.service.ranking import Ranker
from deeprec_env.live.worker_pool import WorkersFailed
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.header import SCHEMA_VERSION

_BACKLOG = 1024

_DRAIN_S = 60
"""Seconds that answers may take to be read once the service ends."""


@dataclass(frozen=True)
class ServiceOptions:
    """Where a service listens, and whom it lets in.

    `most_in_flight`: queries that wait or are served at a time. `token` None needs a local host, or `insecure`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    most_in_flight: int = 1000
    token: str | None = None
    insecure: bool = False


@dataclass(frozen=True)
class Served:
    """What a service did in its life."""

    accepted: int
    answered: int
    failed: int
    refused: dict[str, int]
    worker_deaths: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {"schema_version": SCHEMA_VERSION, **vars(self)}


def listen(options: ServiceOptions) -> socket.socket:
    """The socket, which clients may connect to from now on. `InputError` where it can't be had."""
    whole("queue", options.most_in_flight, 1)
    whole("port", options.port, 0, 65535)
    check_access(options.host, options.token, options.insecure)
    family = socket.getaddrinfo(options.host, None, type=socket.SOCK_STREAM)[0][0]
    try:
        listening = socket.create_server((options.host, options.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        allowed = f"must be a port that can be listened to at {options.host}: {reason}"
        raise InputError("port", options.port, allowed) from None
    # Inherited by connections: else the second part of an answer waits for a client's delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def address_of(listening: socket.socket) -> str:
    """The address to call."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    scenario: Scenario,
    listening: socket.socket,
    options: ServiceOptions,
    *,
    controller: Controller | None = None,
    live: LiveOptions | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Served:
    """Serve until SIGTERM or SIGINT, then answer what was let in, and say what was done.

    `ready` is called when workers are; before that clients wait. Raises `InputError` as `ServiceNode` does, and
    `WorkersFailed` where workers don't start any more.
    """
    with listening:
        node = ServiceNode(scenario, LiveOptions() if live is None else live)
        try:
            admission, monitor = Admission(node, options.most_in_flight), Monitor(node, controller)
            server = _Server(node, admission, monitor, options, ready)
            gc.collect()
            gc.freeze()
            try:
                server.run([listening])
            finally:
                gc.unfreeze()
            if server.broken is not None:
                raise server.broken
            return Served(
                accepted=node.arrived - node.shed,
                answered=node.answered,
                failed=node.failed,
                refused=dict(admission.refused),
                worker_deaths=node.crew.deaths,
                seconds=node.real_s(),
            )
        finally:
            node.close()


class _Server(uvicorn.Server):
    """uvicorn, which ends as a program does that was told to end, and not by the signal."""

    def __init__(
        self,
        node: ServiceNode,
        admission: Admission,
        monitor: Monitor,
        options: ServiceOptions,
        ready: Callable[[], None],
    ) -> None:
        self._node, self._admission, self._ready = node, admission, ready
        self.broken: BaseException | None = None
        gate = None if options.token is None else Gate(options.token)
        lifespan = lifespan_of(self._attach, monitor.watch, monitor.control, lambda: drop_idle(self))
        app = Service(admission, monitor).application(lifespan)
        config = uvicorn.Config(
            app if gate is None else Gated(app, gate),
            interface="asgi3",
            http=partial(Connection, Ranker(admission, gate)),  # type: ignore[arg-type]  # called as a class is
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_DRAIN_S,
            backlog=_BACKLOG,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._admission.draining = True
        await super().shutdown(sockets)
        with suppress(TimeoutError):  # queries whose clients have gone
            async with asyncio.timeout(_DRAIN_S):
                while self._node.in_flight and self.broken is None:
                    await asyncio.sleep(0.01)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn; a signal that was heeded is not raised again."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _attach(self, loop: Any) -> None:
        loop.set_exception_handler(self._caught)
        self._node.attach(loop)

    def _caught(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, WorkersFailed):
            self.broken, self.should_exit = error, True
            self._node.close()
        else:
            loop.default_exception_handler(context)
