"""An open-loop client of a service: requests are sent at their drawn times, whatever the service does."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from pydantic_core import to_json
from safetensors.numpy import save

from deeprec_env.arguments import real, whole
from deeprec_env.errors import InputError
from deeprec_env.live.service.media import BINARY, DEADLINE, JSON
from deeprec_env.live.service.precise_loop import precise_loop
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import SCHEMA_VERSION

_BODIES = 64
"""Different requests, sent in turn."""

_PATIENCE_S = 30.0
"""Seconds that an answer is waited for when nothing more is sent."""


@dataclass(frozen=True)
class LoadOptions:
    """How a service is loaded.

    `qps`: a Poisson process; None: a closed loop, in which each of the `connections` sends its next request when it has
    its answer. `connections`: most at a time. `items`: candidates a request; None: as many as the service takes.
    """

    qps: float | None
    duration_s: float
    connections: int = 64
    items: int | None = None
    best: int | None = None
    deadline_ms: float | None = None
    binary: bool = False
    token: str | None = None
    seed: int = 0
    patience_s: float = _PATIENCE_S  # for the last answers


@dataclass
class LoadResult:
    """What became of the requests. Times in seconds, of each request in the order in which its answer came.

    `statuses` counts answers by status. `lost`: connections that ended while a request was out, or no answer in time;
    `unasked`: answers without a request. `latency_s` is of answers with scores, from the drawn time, and `answered_s`
    when they came (`time.perf_counter`); `late_s` says how much later than drawn each request was sent.
    """

    sent: int = 0
    lost: int = 0
    unasked: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    duration_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A summary; latencies in milliseconds."""
        return {
            "schema_version": SCHEMA_VERSION,
            "duration_s": self.duration_s,
            "sent": self.sent,
            "answered": sum(self.statuses.values()),
            "lost": self.lost,
            "unasked": self.unasked,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "qps_achieved": len(self.latency_s) / self.duration_s if self.duration_s else 0.0,
            "latency_ms": _spread_ms(self.latency_s),
            "late_ms": _spread_ms(self.late_s),
        }


def load(url: str, options: LoadOptions) -> LoadResult:
    """Load the service at an address. `InputError` where there is none."""
    if real("duration", options.duration_s) <= 0.0:
        raise InputError("duration", options.duration_s, "must be above 0 seconds")
    if options.qps is not None and real("qps", options.qps) <= 0.0:
        raise InputError("qps", options.qps, "must be above 0")
    whole("connections", options.connections, 1, 10_000)
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        return runner.run(_Load(*_place(url), whole_requests(url, options), options).run())


def whole_requests(url: str, options: LoadOptions) -> list[bytes]:
    """HTTP requests with drawn inputs for the service at an address, which is asked what its model takes."""
    host, port = _place(url)
    return _requests(_model(host, port, options.token), f"{host}:{port}", options)


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise InputError("url", url, "must be an http:// address")
    return parts.hostname, parts.port or 80


class _Load:
    def __init__(self, host: str, port: int, requests: list[bytes], options: LoadOptions) -> None:
        self._host, self._port, self._options = host, port, options
        self._requests, self._turn = requests, 0
        self._idle: list[_Connection] = []
        self._open = 0
        self._opening: set[asyncio.Task[None]] = set()
        self._due: deque[float] = deque()  # drawn times of requests that wait for a connection
        self.result = LoadResult()
        self.out = 0
        self._ends_s = 0.0

    async def run(self) -> LoadResult:
        options, begin_s = self._options, time.perf_counter()
        self._ends_s = begin_s + options.duration_s
        if options.qps is None:
            for _ in range(options.connections):
                self.ask(time.perf_counter())
            await asyncio.sleep(options.duration_s)
        else:
            for at_s in _arrivals_s(options.qps, options.duration_s, options.seed):
                while (left_s := begin_s + at_s - time.perf_counter()) > 0.0:
                    await asyncio.sleep(left_s)
                self.ask(begin_s + at_s)
        self.result.duration_s = time.perf_counter() - begin_s
        with suppress(TimeoutError):
            async with asyncio.timeout(options.patience_s):
                while self.out or self._due:
                    await asyncio.sleep(0.01)
        self.result.lost += self.out + len(self._due)
        for connection in self._idle:
            connection.transport.close()
        return self.result

    def ask(self, due_s: float) -> None:
        """Send a request that is due, or as soon as there is a connection for it."""
        self.result.sent += 1
        if self._idle:
            self._send(self._idle.pop(), due_s)
            return
        self._due.append(due_s)
        if self._open < self._options.connections:
            self._open_another()

    def answered(self, connection: _Connection, status: int, due_s: float, kept: bool) -> None:
        """An answer has come whole."""
        now = time.perf_counter()
        self.out -= 1
        self.result.statuses[status] += 1
        if status == http.client.OK:
            self.result.latency_s.append(now - due_s)
            self.result.answered_s.append(now)
        if not kept:
            connection.transport.close()
            return
        if self._due:
            self._send(connection, self._due.popleft())
        else:
            self._idle.append(connection)
        if self._options.qps is None and now < self._ends_s:
            self.ask(now)

    def gone(self, connection: _Connection, was_out: bool) -> None:
        """A connection has ended; others take its place."""
        self._open -= 1
        if was_out:
            self.out -= 1
            self.result.lost += 1
        if connection in self._idle:
            self._idle.remove(connection)
        if self._options.qps is None and time.perf_counter() < self._ends_s:
            self.ask(time.perf_counter())
        elif self._due:
            self._open_another()

    def _open_another(self) -> None:
        self._open += 1
        task = asyncio.ensure_future(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self._open -= 1
            if self._due:
                self._due.popleft()
                self.result.lost += 1
            return
        if self._due:
            self._send(connection, self._due.popleft())
        else:
            self._idle.append(connection)

    def _send(self, connection: _Connection, due_s: float) -> None:
        self.out += 1
        self._turn = (self._turn + 1) % len(self._requests)
        self.result.late_s.append(time.perf_counter() - due_s)
        connection.due_s = due_s
        connection.transport.write(self._requests[self._turn])


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with one request out at a time, and bodies of known length, which is what the service sends."""

    transport: asyncio.Transport

    def __init__(self, load: _Load) -> None:
        self._load, self._received = load, bytearray()
        self.due_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        while (head := self._received.find(b"\r\n\r\n")) >= 0:
            lines = bytes(self._received[:head]).lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            end = head + 4 + length
            if len(self._received) < end:
                return
            del self._received[:end]
            due_s, self.due_s = self.due_s, None
            status = int(lines[0].split()[1])
            if due_s is None:  # 408: a connection that was opened and never needed is hung up on, which answers nothing
                self._load.result.unasked += status != http.client.REQUEST_TIMEOUT
                continue
            self._load.answered(self, status, due_s, b"connection: close" not in lines)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._load.gone(self, self.due_s is not None)


def _arrivals_s(qps: float, duration_s: float, seed: int) -> Iterator[float]:
    rng, at_s = np.random.default_rng(seed), 0.0
    while True:
        for gap in rng.standard_exponential(1000).tolist():
            at_s += gap / qps
            if at_s >= duration_s:
                return
            yield at_s


def _model(host: str, port: int, token: str | None) -> dict[str, Any]:
    """What the service says of its model."""
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/model", headers=dict(_authorization(token)))
        answer = connection.getresponse()
        told = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise InputError("url", f"http://{host}:{port}", f"must be a service that answers: {error}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise InputError("url", f"http://{host}:{port}", f"must be a service that lets us in; it said {answer.status}")
    found: dict[str, Any] = json.loads(told)
    return found


def _requests(model: dict[str, Any], host: str, options: LoadOptions) -> list[bytes]:
    """Whole HTTP requests with drawn inputs."""
    items = int(model["most_items"]) if options.items is None else whole("items", options.items, 1, model["most_items"])
    rng, made = np.random.default_rng((options.seed, 1)), []
    path = "/rank" if options.best is None else f"/rank?best={whole('best', options.best, 1)}"
    for _ in range(_BODIES):
        inputs = {
            name: rng.integers(0, told["rows"], (items, *told["shape"][1:]))
            if told["rows"] is not None
            else rng.random((items, *told["shape"][1:]), dtype=np.float32)
            for name, told in model["inputs"].items()
        }
        body = save(inputs) if options.binary else to_json({"inputs": {k: v.tolist() for k, v in inputs.items()}})
        headers = [
            ("host", host),
            ("content-type", BINARY if options.binary else JSON),
            ("content-length", str(len(body))),
            *_authorization(options.token),
        ]
        if options.deadline_ms is not None:
            headers.append((DEADLINE, repr(float(options.deadline_ms))))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        made.append(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
    return made


def _authorization(token: str | None) -> Iterable[tuple[str, str]]:
    return () if token is None else (("authorization", f"Bearer {token}"),)


def _spread_ms(values_s: list[float]) -> dict[str, float]:
    if not values_s:
        return {"mean": np.nan, "p50": np.nan, "p95": np.nan, "p99": np.nan}
    values: Floats = np.array(values_s) * 1e3
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    return {"mean": float(values.mean()), "p50": p50, "p95": p95, "p99": p99}
