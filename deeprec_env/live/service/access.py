"""Who may come: on this machine everybody, elsewhere those who have the token, unless it is said otherwise."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import socket
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Whoever watches over the process needs no token for them."""

_SHORTEST_TOKEN = 16


UNAUTHORIZED = b'{"error":"unauthorized","message":"a token is needed: Authorization: Bearer TOKEN"}'
UNAUTHORIZED_HEADERS = [
    (b"content-type", b"application/json"),
    (b"www-authenticate", b'Basic realm="deeprec", charset="UTF-8"'),
]
"""What those are told who do not bring the token, with status 401, before the connection ends."""


class Gate:
    """Knows those who bring the token.

    As `Authorization: Bearer TOKEN`, or, for browsers, as the password of Basic. Compared in constant time.
    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def opens(self, authorization: bytes) -> bool:
        """Whether this header's value brings it."""
        return hmac.compare_digest(_token_in(authorization), self._token)


class Gated:
    """An ASGI application behind a gate."""

    def __init__(self, app: Any, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            brought = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not self._gate.opens(brought):
                length = str(len(UNAUTHORIZED)).encode()
                headers = [*UNAUTHORIZED_HEADERS, (b"content-length", length), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": UNAUTHORIZED})
                return
        await self._app(scope, receive, send)


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("token-file", str(path), f"must be a readable text file: {error}") from None
    if len(token) < _SHORTEST_TOKEN or not token.isprintable():
        raise InputError("token-file", str(path), f"must hold one line of at least {_SHORTEST_TOKEN} characters")
    return token


def check_access(host: str, token: str | None, insecure: bool) -> None:
    """Raise `InputError` where others than this machine could come without a token."""
    if token is None and not insecure and not is_local(host):
        raise InputError("host", host, "must be 127.0.0.1, or come with --token-file, or with --insecure")


def is_local(host: str) -> bool:
    """Whether an address, or all that a name stands for, is this machine alone."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputError("host", host, f"must be an address of this machine: {error}") from None
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _token_in(authorization: bytes) -> bytes:
    kind, _, rest = authorization.strip().partition(b" ")
    if kind.lower() == b"bearer":
        return rest.strip()
    if kind.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
