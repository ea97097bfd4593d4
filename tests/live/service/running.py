"""A service in a process of its own, as it is started by hand."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SMALL = """
sla_ms: 50
workload: {arrivals: {kind: poisson, qps: 600}, sizes: {kind: fixed, items: 100}}
node: {cpu: {servers: 1, latency: {kind: constant, ms: 0.2}}}
control: {batch_size: 50, interval_s: 0.2}
"""


@dataclass
class Running:
    """A service that runs; `ended` once it was told to stop."""

    process: subprocess.Popen[str]
    url: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def ask(
        self, path: str = "/rank", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; POST where there is a body."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def rank(self, told: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of a JSON request."""
        named = {"content-type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        status, _, answer = self.ask("/rank", body, named)
        return status, json.loads(answer)

    def metrics(self) -> dict[str, float]:
        """What it says to Prometheus, by name and labels."""
        lines = self.ask("/metrics")[2].decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection((self.host, self.port), timeout=30)

    def stop(self) -> dict[str, Any]:
        """Tell it to end; what it says that it did."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        found: dict[str, Any] = json.loads(said)
        return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "deeprec_env", "serve", *arguments, "--json"]


@contextmanager
def running(folder: Path, *arguments: str, scenario: str = SMALL) -> Iterator[Running]:
    """Start a service on a free port."""
    path = folder / "scenario.yaml"
    path.write_text(scenario)
    process = subprocess.Popen(
        command(str(path), "--port", "0", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if line.startswith("serving at "):
                yield Running(process, line.split()[-1])
                break
        else:
            raise AssertionError("".join(said))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
