"""Connections: requests to rank, which no ASGI application sees, beside others; in any pieces, one after the other."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import pytest

from tests.live.service.running import Running, running
from tests.live.service.test_service import children


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The empty model, one worker."""
    with running(tmp_path_factory.mktemp("service"), "--model", "empty") as found:
        yield found


def ranking(items: int, *headers: str, target: str = "/rank", version: str = "1.1") -> bytes:
    """A request for as many scores as items."""
    body = json.dumps({"inputs": {"item": list(range(items))}}).encode()
    lines = [f"POST {target} HTTP/{version}", "host: x", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def answer(reader: BufferedReader) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection."""
    status = int(reader.readline().split()[1])
    headers = dict(http.client.parse_headers(reader).items())
    return status, headers, reader.read(int(headers.get("content-length", "0")))


def scores(body: bytes) -> int:
    return len(json.loads(body)["scores"])


def test_many_at_once_on_one_connection_are_answered_in_turn(service: Running) -> None:
    asked: list[int | str] = [1, "/healthz", 2, 3, "/nothing", 4, 101, 5, *range(1, 60)]
    sent = [
        ranking(each) if isinstance(each, int) else f"GET {each} HTTP/1.1\r\nhost: x\r\n\r\n".encode() for each in asked
    ]
    with service.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(b"".join(sent))
        for each in asked:
            status, _, body = answer(reader)
            if each in {"/nothing", 101}:
                assert status == {"/nothing": 404, 101: 400}[each]
            else:
                assert status == 200
                assert each == "/healthz" or scores(body) == each


def test_requests_come_in_any_pieces(service: Running) -> None:
    whole = ranking(7)
    head, _, body = whole.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    chunked = b"\r\n".join([*lines, b"transfer-encoding: chunked", b"", b""])
    chunked += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with service.connect() as connection, connection.makefile("rb") as reader:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for sent in (whole, chunked):
            for begin in range(0, len(sent), 3):
                connection.sendall(sent[begin : begin + 3])
                time.sleep(0.0005)
            status, _, told = answer(reader)
            assert (status, scores(told)) == (200, 7)
        connection.sendall(chunked + whole)
        assert [scores(answer(reader)[2]) for _ in range(2)] == [7, 7]


def test_a_body_that_is_too_long_is_refused_once(service: Running) -> None:
    name = 'deeprec_refused_total{reason="invalid"}'
    before = service.metrics()[name]
    head = ranking(1).partition(b"\r\n\r\n")[0].replace(b"content-length: ", b"transfer-encoding: chunked\r\nx: ")
    with service.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(head + b"\r\n\r\n" + b"1000\r\n%s\r\n" % bytes(0x1000) * 24)
        status, headers, _ = answer(reader)
        assert (status, headers["connection"]) == (413, "close")
    assert service.metrics()[name] == before + 1


def test_a_client_that_waits_for_leave_is_told_to_go_on(service: Running) -> None:
    head, _, body = ranking(5, "expect: 100-continue").partition(b"\r\n\r\n")
    with service.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(head + b"\r\n\r\n")
        assert answer(reader) == (100, {}, b"")
        connection.sendall(body)
        status, _, told = answer(reader)
        assert (status, scores(told)) == (200, 5)
        connection.sendall(
            b"POST /rank HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10000000\r\n\r\n"
        )
        assert answer(reader)[0] == 413
        assert reader.read() == b""


@pytest.mark.parametrize(("version", "header"), [("1.0", "x: y"), ("1.1", "connection: close")])
def test_a_connection_ends_where_its_client_says_so(service: Running, version: str, header: str) -> None:
    with service.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(ranking(3, header, version=version))
        status, headers, body = answer(reader)
        assert (status, headers["connection"], scores(body)) == (200, "close", 3)
        assert reader.read() == b""


def test_the_target_is_understood_as_http_says(service: Running) -> None:
    for target, expected in (("/rank?best=2", 2), ("/%72ank?best=2", 2), ("http://x/rank?x=1&best=2", 2)):
        with service.connect() as connection, connection.makefile("rb") as reader:
            connection.sendall(ranking(3, target=target))
            status, headers, body = answer(reader)
            assert (status, scores(body)) == (200, expected)
            assert {"date", "content-type", "content-length"} <= headers.keys()
    assert service.ask("/ranks", b"")[0] == 404
    assert service.ask("/rank", b"")[0] == 415


def test_from_whoever_does_not_read_nothing_more_is_read(service: Running) -> None:
    request, sent = ranking(100), 0
    with socket.socket() as connection:
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            connection.setsockopt(socket.SOL_SOCKET, buffer, 8192)
        connection.connect((service.host, service.port))
        connection.setblocking(False)
        while select.select([], [connection], [], 1.0)[1]:
            try:
                sent += connection.send((request * 100)[sent % len(request) :])
            except BlockingIOError:
                continue
            assert sent < 50_000_000
        whole = sent // len(request)
        connection.settimeout(30.0)
        with connection.makefile("rb") as reader:
            for _ in range(whole):
                status, _, body = answer(reader)
                assert (status, scores(body)) == (200, 100)
            connection.sendall(request[sent % len(request) :] if sent % len(request) else request)
            assert answer(reader)[0] == 200


def test_an_idle_connection_ends(service: Running) -> None:
    with service.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(ranking(3))
        assert answer(reader)[0] == 200
        assert reader.read() == b""  # some seconds later


def test_queries_whose_clients_have_gone_are_served_before_it_ends(tmp_path: Path) -> None:
    with running(tmp_path, "--model", "empty", "--spares", "0") as service:
        (worker,) = children(service.process.pid)
        os.kill(worker, signal.SIGSTOP)
        for _ in range(3):
            with service.connect() as connection:
                before = service.metrics()["deeprec_in_flight"]
                connection.sendall(ranking(100))
                while service.metrics()["deeprec_in_flight"] == before:
                    time.sleep(0.01)
        service.process.send_signal(signal.SIGTERM)
        while True:  # until it listens no more
            try:
                service.connect().close()
            except OSError:
                break
            time.sleep(0.02)
        os.kill(worker, signal.SIGCONT)
        said, _ = service.process.communicate(timeout=60)
    assert service.process.returncode == 0
    summary = json.loads(said)
    assert (summary["accepted"], summary["answered"], summary["failed"]) == (3, 3, 0)
