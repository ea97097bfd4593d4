"""A service answers what it lets in, once, and says why it does not let in the rest."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as of_binary
from safetensors.numpy import save as to_binary

from deeprec_env.errors import InputError
from deeprec_env.live.service.access import read_token
from deeprec_env.live.service.client import LoadOptions, load
from deeprec_env.live.service.server import ServiceOptions, listen
from tests.live.service.running import SMALL, Running, command, running
from tests.test_cli import call

GOOD = {"inputs": {"item": [[7], [8], [9]]}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The empty model, one worker."""
    with running(tmp_path_factory.mktemp("service"), "--model", "empty") as found:
        yield found


def children(process: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(told[1]) == process:
            found.append(int(path.parent.name))
    return sorted(found)


def test_json_and_binary_get_scores_or_the_best(service: Running) -> None:
    assert service.rank(GOOD) == (200, {"scores": [0.0] * 3})
    assert service.rank({"inputs": {"item": [7, 8, 9]}, "best": 2}) == (200, {"best": [0, 1], "scores": [0.0] * 2})
    binary = to_binary({"item": np.arange(100).reshape(100, 1)})
    status, headers, body = service.ask("/rank", binary, {"content-type": "application/octet-stream"})
    assert (status, headers["content-type"]) == (200, "application/vnd.safetensors")
    assert of_binary(body)["scores"].shape == (100, 1)
    status, _, body = service.ask("/rank?best=5", binary, {"content-type": "application/vnd.safetensors"})
    answer = of_binary(body)
    assert (status, answer["best"].tolist(), answer["scores"].shape) == (200, list(range(5)), (5, 1))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (b'{"inputs": {"item": [[1]', "must be JSON"),
        (b'{"inputs": {"item": [[NaN]]}}', "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        (b'{"inputs": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", "must be JSON"),
        (b"[1, 2]", "must be a JSON object"),
        ({"inputs": {}}, "items: got 0"),
        ({"inputs": {"item": []}}, "items: got 0"),
        ({"inputs": {"item": [[-1]]}}, "got -1"),
        ({"inputs": {"item": [[2**31]]}}, "below 2147483648"),
        ({"inputs": {"item": [[2**70]]}}, "type int64"),
        ({"inputs": {"item": [[0.5]]}}, "type int64"),
        ({"inputs": {"item": [["a"]]}}, "type int64"),
        ({"inputs": {"item": [[None]]}}, "type int64"),
        ({"inputs": {"item": [[True]]}}, "type int64"),
        ({"inputs": {"item": 7}}, "shape"),
        ({"inputs": {"item": [[1, 2]]}}, "shape"),
        ({"inputs": {"item": [[1], [1, 2]]}}, "several lengths"),
        ({"inputs": {"item": [[1]] * 101}}, "at most 100"),
        ({"inputs": {"item": [[1]], "user": [[1]]}}, "must be one of item"),
        ({**GOOD, "best": 0}, "at least 1"),
        ({**GOOD, "best": True}, "at least 1"),
        ({**GOOD, "k": 1}, "must be left out"),
    ],
)
def test_what_no_model_takes_is_refused_with_a_reason(service: Running, told: object, said: str) -> None:
    status, answer = service.rank(told)
    assert (status, answer["error"]) == (400, "invalid")
    assert said in answer["message"]
    assert service.rank(GOOD)[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"x", {"content-type": "application/octet-stream"}, 400),
        (to_binary({"item": np.zeros((2, 1), dtype=np.int64)})[:-4], {"content-type": "application/octet-stream"}, 400),
        (b"\xff" * 64, {"content-type": "application/octet-stream"}, 400),
        (json.dumps(GOOD).encode(), {"content-type": "text/plain"}, 415),
        (json.dumps(GOOD).encode(), {}, 415),
        (json.dumps(GOOD).encode(), {"content-type": "application/json", "deadline-ms": "soon"}, 400),
        (json.dumps(GOOD).encode(), {"content-type": "application/json", "deadline-ms": "nan"}, 400),
        (b" " * 100_000, {"content-type": "application/json"}, 413),
        (b" " * 100_000, {"content-type": "application/json", "transfer-encoding": "chunked"}, 413),
    ],
)
def test_bad_bodies_and_headers_are_refused(
    service: Running, body: bytes, headers: dict[str, str], expected: int
) -> None:
    if "transfer-encoding" in headers:
        sent = (b"%x\r\n%s\r\n" % (len(body) // 2, body[: len(body) // 2])) * 2 + b"0\r\n\r\n"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with service.connect() as connection:
            connection.sendall(f"POST /rank HTTP/1.1\r\nhost: x\r\n{head}\r\n".encode() + sent)
            status = int(connection.recv(4096).split()[1])
    else:
        status = service.ask("/rank", body, headers)[0]
    assert status == expected
    assert service.rank(GOOD)[0] == 200


def test_other_paths_and_methods_are_refused(service: Running) -> None:
    assert service.ask("/rank")[0] == 405
    assert service.ask("/nothing")[0] == 404
    assert service.ask("/metrics", b"")[0] == 405
    with service.connect() as connection:
        connection.sendall(b"no request at all\r\n\r\n")
        assert b" 400 " in connection.recv(4096)


def test_a_client_that_can_not_wait_is_told_at_once(service: Running) -> None:
    status, answer = service.rank(GOOD, deadline_ms="0.001")
    assert (status, answer["error"]) == (504, "deadline")
    assert service.rank(GOOD, deadline_ms="60000")[0] == 200
    assert service.metrics()['deeprec_refused_total{reason="deadline"}'] >= 1


def test_health_metrics_and_history(service: Running) -> None:
    before = service.metrics()
    assert service.rank(GOOD)[0] == 200
    after = service.metrics()
    for name in ("deeprec_accepted_total", "deeprec_answered_total", "deeprec_latency_seconds_count"):
        assert after[name] == before[name] + 1
    assert after['deeprec_latency_seconds_bucket{le="+Inf"}'] == after["deeprec_latency_seconds_count"]
    assert (after["deeprec_batch_size"], after["deeprec_threshold"], after["deeprec_target_seconds"]) == (
        50,
        np.inf,
        0.05,
    )
    assert (service.ask("/healthz")[0], service.ask("/readyz")[0]) == (200, 200)
    seconds = json.loads(service.ask("/history")[2])["seconds"]
    assert 1 <= len(seconds) <= 300
    assert {"offered_qps", "p95_s", "queue", "busy_workers", "batch_size", "threshold"} <= seconds[-1].keys()


def test_a_worker_that_is_killed_under_load_costs_no_answer(service: Running) -> None:
    before = service.metrics()

    def kill() -> None:
        for _ in range(3):
            time.sleep(0.8)
            os.kill(children(service.process.pid)[0], signal.SIGKILL)  # the oldest serves, the other is spare

    killer = threading.Thread(target=kill)
    killer.start()
    result = load(service.url, LoadOptions(qps=60.0, duration_s=3.0, binary=True, patience_s=120.0))
    killer.join()
    after = service.metrics()
    assert (result.lost, result.unasked, set(result.statuses)) == (0, 0, {200})
    assert result.sent == result.statuses[200] > 100
    grown = {
        name: after[f"deeprec_{name}_total"] - before[f"deeprec_{name}_total"] for name in ("accepted", "answered")
    }
    assert grown == {"accepted": result.sent, "answered": result.sent}
    assert after["deeprec_failed_total"] == 0
    assert after["deeprec_worker_deaths_total"] - before["deeprec_worker_deaths_total"] == 3


def test_a_full_queue_refuses_and_sigterm_drains(tmp_path: Path) -> None:
    with running(tmp_path, "--model", "empty", "--spares", "0", "--queue", "4") as service:
        (worker,) = children(service.process.pid)
        os.kill(worker, signal.SIGSTOP)
        answers: list[int] = []
        waiting = [threading.Thread(target=lambda: answers.append(service.rank(GOOD)[0])) for _ in range(4)]
        for thread in waiting:
            thread.start()
        while service.metrics()["deeprec_in_flight"] < 4:
            time.sleep(0.02)
        status, headers, body = service.ask("/rank", json.dumps(GOOD).encode(), {"content-type": "application/json"})
        assert (status, json.loads(body)["error"]) == (503, "full")
        assert int(headers["retry-after"]) >= 1
        assert service.ask("/readyz")[0] == 200
        service.process.send_signal(signal.SIGTERM)
        while True:  # until it listens no more
            try:
                service.connect().close()
            except OSError:
                break
            time.sleep(0.02)
        assert answers == []
        os.kill(worker, signal.SIGCONT)
        for thread in waiting:
            thread.join()
        said, _ = service.process.communicate(timeout=60)
    assert answers == [200] * 4
    summary = json.loads(said)
    assert (summary["accepted"], summary["answered"], summary["refused"]) == (4, 4, {"full": 1})
    assert service.process.returncode == 0


def test_sigterm_under_load_answers_all_that_was_let_in(tmp_path: Path) -> None:
    with running(tmp_path, "--model", "empty") as service:
        ending = threading.Timer(1.5, lambda: service.process.send_signal(signal.SIGTERM))
        ending.start()
        result = load(service.url, LoadOptions(qps=300.0, duration_s=3.0, binary=True, patience_s=5.0))
        said, _ = service.process.communicate(timeout=60)
    summary = json.loads(said)
    assert service.process.returncode == 0
    assert result.statuses[200] == summary["accepted"] == summary["answered"] > 100
    assert result.unasked == 0
    assert result.lost > 0  # those that came when it listened no more


def test_a_slow_client_is_dropped_and_others_are_served(service: Running) -> None:
    begun_s = time.monotonic()
    with service.connect() as headers, service.connect() as body:
        body.sendall(b"POST /rank HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
        ended: dict[str, bytes] = {}
        for connection in (headers, body):
            connection.settimeout(1.0)
        while len(ended) < 2 and time.monotonic() - begun_s < 30:
            for name, connection, sent in (("headers", headers, b"P"), ("body", body, b" ")):
                if name in ended:
                    continue
                try:
                    connection.sendall(sent)
                    ended[name] = connection.recv(4096)
                except TimeoutError:
                    continue
                except OSError:
                    ended[name] = b""
            assert service.rank(GOOD)[0] == 200
    assert set(ended) == {"headers", "body"}
    assert time.monotonic() - begun_s < 30


def test_endless_headers_are_cut_off(service: Running) -> None:
    with service.connect() as connection:
        connection.sendall(b"POST /rank HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(b"x: y\r\n" * 10_000_000)


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = command(str(path), "--model", "empty", "--port", str(port))
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: port: got {port}; must be a port that can be listened to at 127.0.0.1")


def test_workers_that_never_start_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    status, out, err = call(capsys, "serve", path, "--model", "empty", "--port", "0")
    assert (status, out, err) == (1, "", "error: empty: 3 workers ended before they were ready\n")


def test_only_this_machine_may_come_without_a_token(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret\n")
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match=r"host: got .*; must be 127\.0\.0\.1, or come with --token-file"):
            listen(ServiceOptions(host=host, port=0))
        listen(ServiceOptions(host=host, port=0, insecure=True)).close()
    listen(ServiceOptions(host="localhost", port=0)).close()
    with pytest.raises(InputError, match="at least 16 characters"):
        read_token(tmp_path / "short")
    with pytest.raises(InputError, match="must be a readable text file"):
        read_token(tmp_path / "none")


def test_a_token_opens_the_door(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a long enough token\n")
    with running(tmp_path, "--model", "empty", "--host", "0.0.0.0", "--token-file", str(token)) as there:
        service = Running(there.process, f"http://127.0.0.1:{there.port}")
        body, json_body = json.dumps(GOOD).encode(), {"content-type": "application/json"}
        for brought, expected in (
            ({}, 401),
            ({"authorization": "Bearer a long enough tokem"}, 401),
            ({"authorization": "Basic ???"}, 401),
            ({"authorization": "Bearer a long enough token"}, 200),
            ({"authorization": "Basic dXNlcjphIGxvbmcgZW5vdWdoIHRva2Vu"}, 200),
        ):
            assert service.ask("/rank", body, json_body | brought)[0] == expected
        assert (service.ask("/")[0], service.ask("/metrics")[0], service.ask("/healthz")[0]) == (401, 401, 200)
        service.stop()


def test_a_real_model_ranks_and_the_policy_sets_the_batch_size(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    arguments = ("--model", "ncf", "--rows-scale", "0.001", "--policy", "static")
    with running(
        tmp_path, *arguments, scenario=SMALL.replace("constant, ms: 0.2", "affine, base_ms: 0.2, per_item_ms: 0.01")
    ) as service:
        model = json.loads(service.ask("/model")[2])
        rows = {name: told["rows"] for name, told in model["inputs"].items()}
        assert set(rows) == {"user", "item"}
        told = {"inputs": {"user": [[1]], "item": [[item % rows["item"]] for item in range(100)]}}
        status, whole = service.rank(told)
        assert (status, len(whole["scores"])) == (200, 100)
        assert len(set(whole["scores"])) > 10
        status, best = service.rank({**told, "best": 3})
        order = np.argsort(-np.array(whole["scores"]), kind="stable")[:3]
        assert best["best"] == order.tolist()
        few = service.rank({"inputs": {"user": [[1]] * 2, "item": told["inputs"]["item"][5:7]}})[1]["scores"]
        assert few == pytest.approx(whole["scores"][5:7], rel=1e-4)  # the same user for all, sent twice
        assert service.rank({"inputs": {"user": [[rows["user"]]], "item": [[1]]}})[0] == 400
        assert service.stop()["answered"] == 3
