"""Connections that may not take their time: a request, headers and body, has to be here in so many seconds."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server

PATIENCE_S = 10.0
"""Seconds that a client has for a request, and a new connection for its first one."""

MOST_HEADER_BYTES = 32 << 10


class Connection(HttpToolsProtocol):
    """uvicorn's, with a look at how long a request has been coming, and at the length of its headers.

    No timer a request: `drop_slow` looks at all connections now and then.
    """

    coming_since_s: float | None = None
    _in_headers = True
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        self.coming_since_s = self.loop.time()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.coming_since_s is None:
            self.coming_since_s = self.loop.time()
        before = self._in_headers
        super().data_received(data)
        if before and self._in_headers and self.coming_since_s is not None:
            self._header_bytes += len(data)
            if self._header_bytes > MOST_HEADER_BYTES:
                self.refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """See httptools."""
        if self.coming_since_s is None:  # it came with the end of the one before
            self.coming_since_s = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        self.coming_since_s, self._in_headers, self._header_bytes = None, True, 0
        super().on_message_complete()

    def refuse(self, status: bytes) -> None:
        """Say so, unless an answer is on its way, and hang up."""
        transport: Any = self.transport
        if not transport.is_closing():
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            transport.close()


async def drop_slow(server: Server) -> None:
    """Hang up on those whose request has been coming for too long, now and then."""
    while True:
        await asyncio.sleep(PATIENCE_S / 10.0)
        latest_s = asyncio.get_running_loop().time() - PATIENCE_S
        for connection in list(server.server_state.connections):
            if isinstance(connection, Connection) and (connection.coming_since_s or latest_s) < latest_s:
                connection.refuse(b"408 Request Timeout")
