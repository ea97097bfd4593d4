"""Connections: ranking is answered on them without a detour, all else by the ASGI application; none may take its time.

A request, headers and body, has to be here in so many seconds, an answer to be read in as many, and a connection where
nothing happens ends after some.
"""

from __future__ import annotations

import asyncio
import logging
import select
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import Server

from deeprec_env.live.service.ranking import FAILED, Asked, Ranker, Reply, asked

PATIENCE_S = 10.0
"""Seconds that a client has for a request, to read answers, and on a new connection for the first request."""

MOST_HEADER_BYTES = 32 << 10


class Connection(HttpToolsProtocol):
    """uvicorn's, with `ranker` for POST /rank, and a look at what its client takes its time with.

    No timer a request: `drop_idle` looks at all connections now and then.
    """

    coming_since_s: float | None = None  # a request
    unread_since_s: float | None = None  # answers, so many that no further request is read
    idle_since_s: float | None = None
    _in_headers = True  # nothing else has come with the last data
    _header_bytes = 0

    def __init__(self, ranker: Ranker, **given: Any) -> None:
        super().__init__(**given)
        self.ranker = ranker

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        self.coming_since_s = self.loop.time()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]  # which refers to the connection: the collector would have to come

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.idle_since_s = None
        if self.coming_since_s is None:
            self.coming_since_s = self.loop.time()
        self._in_headers = True
        super().data_received(data)
        self._header_bytes = self._header_bytes + len(data) if self._in_headers else 0
        if self._header_bytes > MOST_HEADER_BYTES:
            self.refuse(b"431 Request Header Fields Too Large")

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self.unread_since_s = self.loop.time()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self.unread_since_s = None
        if self.idle_since_s is not None:
            self.idle_since_s = self.loop.time()
        if not self.pipeline:
            self.flow.resume_reading()

    # What has been read

    def on_message_begin(self) -> None:
        """See httptools."""
        if self.coming_since_s is None:  # it came with the end of the one before
            self.coming_since_s = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_headers = False
        asks = asked(self.url) if self.parser.get_method() == b"POST" else None
        if asks is None:
            super().on_headers_complete()
            return
        before, cycle = self.cycle, RankCycle(self, asks)
        self.cycle = cycle  # type: ignore[assignment]
        if before is None or before.response_complete:
            cycle.begin()
        else:  # as uvicorn does: one answer after the other
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))  # type: ignore[arg-type]

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._in_headers = False
        if isinstance(self.cycle, RankCycle):
            self.cycle.come(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self.coming_since_s, self._in_headers = None, False
        if isinstance(self.cycle, RankCycle):
            self.cycle.come_whole()
        else:
            super().on_message_complete()

    # What is answered

    def on_response_complete(self) -> None:
        """See uvicorn, which sets a timer for each, and reads on whatever waits."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            self.idle_since_s = self.loop.time()
        if self.pipeline or self.flow.write_paused:  # until these, and the client with its answers, have come further
            self.flow.pause_reading()

    def drop_if_idle(self) -> None:
        """Hang up if the client has taken too long with what it was to do."""
        now = self.loop.time()
        if self.unread_since_s is not None:
            if now - self.unread_since_s > PATIENCE_S:
                self.transport.abort()
        elif self.coming_since_s is not None:
            if self.flow.read_paused:
                self.coming_since_s = now  # it is kept waiting
            elif now - self.coming_since_s > PATIENCE_S:
                self.refuse(b"408 Request Timeout")
        elif self.idle_since_s is not None and now - self.idle_since_s > self.timeout_keep_alive:
            looking = select.poll()  # a busy server may be behind: what was sent is not lost
            looking.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
            if not looking.poll(0):
                self.timeout_keep_alive_handler()

    def refuse(self, status: bytes) -> None:
        """Say so, unless an answer is on its way, and hang up."""
        transport: Any = self.transport
        if not transport.is_closing():
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            transport.close()


class RankCycle:
    """A request to rank and its answer, as uvicorn's `RequestResponseCycle` to the connection, but without a task."""

    message_event = asyncio.Event()  # uvicorn sets it; nobody waits for it

    def __init__(self, connection: Connection, asks: Asked) -> None:
        parser = connection.parser
        self._connection, self._asks, self._headers = connection, asks, dict(connection.headers)
        self._begun_s = time.perf_counter()
        self._parts: list[bytes] = []
        self._length = 0
        self._has_begun, self._expects_leave = False, connection.expect_100_continue
        self.keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False

    def begin(self) -> None:
        """Those before it on the connection are answered."""
        self._has_begun = True
        ranker = self._connection.ranker
        refused = ranker.refusal(self._headers) or ranker.too_long(self._length)
        if refused is not None:
            self._reply(refused)
        elif not self.more_body:
            self._rank()
        elif self._expects_leave:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def run_asgi(self, app: object) -> None:
        """What uvicorn does for a request that had to wait for others."""
        self.begin()

    def come(self, part: bytes) -> None:
        """A part of the body is here."""
        if self.response_complete:
            return
        self._length += len(part)
        refused = self._connection.ranker.too_long(self._length) if self._has_begun else None
        if refused is not None:
            self._reply(refused)
        else:
            self._parts.append(part)

    def come_whole(self) -> None:
        """And that was all."""
        self.more_body = False
        if self._has_begun:
            self._rank()

    def _rank(self) -> None:
        if self.response_complete or self._connection.transport.is_closing():
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        try:
            self._connection.ranker.rank(self._headers, self._asks, body, self._begun_s, self._reply)
        except Exception:
            logging.getLogger("uvicorn.error").exception("ranking failed")
            self._reply(FAILED)

    def _reply(self, reply: Reply) -> None:
        """Send the answer, if it is the first one, and there still is somebody to have it."""
        transport = self._connection.transport
        if self.response_complete:
            return
        self.response_started = self.response_complete = True
        if transport.is_closing():
            return
        self.keep_alive &= not reply.last
        sent = [STATUS_LINE[reply.status]]
        for name, value in self._connection.server_state.default_headers:  # the date
            sent += (name, b": ", value, b"\r\n")
        sent += (reply.head, b"content-length: %d\r\n" % len(reply.body))
        sent += (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", reply.body)
        transport.write(b"".join(sent))
        if not self.keep_alive:
            transport.close()
        self._connection.on_response_complete()


async def drop_idle(server: Server) -> None:
    """Hang up on those who take too long, now and then."""
    while True:
        await asyncio.sleep(PATIENCE_S / 10.0)
        for connection in list(server.server_state.connections):
            if isinstance(connection, Connection):
                connection.drop_if_idle()
