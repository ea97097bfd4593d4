"""Requests a second of the service against a bare Starlette echo behind the same kind of pipe.

    python -m benchmarks.service [--seconds 5] [--rounds 3] [--json]

Both are uvicorn with uvloop and httptools in one process, in front of one worker process on a socket pair. The service
runs the empty model: 100 items in, 100 scores out, as safetensors (`binary`) or JSON. The echo reads the same bodies,
sends its worker a message of 20 bytes, waits for 28 back and answers with 400 bytes; `echo in turn` sends a message
when it has the answer to the one before, as the node does, whose server takes one request at a time. wrk loads them
where it is installed, else our own client, in a closed loop of 32 connections; rounds alternate, the median counts, of
ratios the median of the rounds' own. Beside the requests a second of the clock there are those a second of the server's
own processor time (`per_core_second`), which other programs on the machine change less. At the end our own client sends
half as many requests a second as the service has answered, in an open loop.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from deeprec_env import console
from deeprec_env.live.service.client import LoadOptions, load, whole_requests

CONNECTIONS, ITEMS = 32, 100

SCENARIO = f"""
sla_ms: 50
workload: {{arrivals: {{kind: poisson, qps: 1000}}, sizes: {{kind: fixed, items: {ITEMS}}}}}
node: {{cpu: {{servers: 1, latency: {{kind: constant, ms: 0.1}}}}}}
control: {{batch_size: {ITEMS}}}
"""

ECHO = '''
import asyncio, collections, json, socket, subprocess, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

WORKER = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as channel:
    message = bytearray(20)
    while channel.recv_into(message, 20, socket.MSG_WAITALL) == 20:
        channel.sendall(bytes(28))
"""
ours, theirs = socket.socketpair()
subprocess.Popen([sys.executable, "-c", WORKER, str(theirs.fileno())], pass_fds=[theirs.fileno()])
theirs.close()
ours.setblocking(False)
waiting = collections.deque()

in_turn = sys.argv[1] == "in turn"

def readable():
    for _ in range(len(ours.recv(28 * 1024)) // 28):
        waiting.popleft().set_result(None)
    if in_turn and waiting:
        ours.send(bytes(20))

async def rank(request):
    await request.body()
    future = asyncio.get_running_loop().create_future()
    waiting.append(future)
    if not in_turn or len(waiting) == 1:
        ours.send(bytes(20))
    await future
    return Response(bytes(400), media_type="application/octet-stream")

async def model(request):
    asyncio.get_running_loop().add_reader(ours, readable)
    told = {"model": "echo", "most_items": 100, "outputs": 1}
    told["inputs"] = {"item": {"shape": ["items", 1], "type": "int64", "rows": 2147483648}}
    return Response(json.dumps(told), media_type="application/json")

app = Starlette(routes=[Route("/rank", rank, methods=["POST"]), Route("/model", model)])
listening = socket.create_server(("127.0.0.1", 0))
listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(f"serving at http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False, ws="none", lifespan="off")
uvicorn.Server(config).run([listening])
'''


class Speed(NamedTuple):
    """Requests a second: of the clock, and of the server's processor time."""

    per_second: float
    per_core_second: float


class Server(NamedTuple):
    """A server that runs, and what is sent to it."""

    url: str
    pid: int
    options: LoadOptions


def main(
    seconds: Annotated[float, typer.Option(help="Length of a round.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Rounds of each.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare the service with a bare echo."""
    binary = LoadOptions(None, seconds, CONNECTIONS, ITEMS, binary=True)
    speeds: dict[str, list[Speed]] = {"echo": [], "echo in turn": [], "binary": [], "JSON": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        _echo("at once") as at_once,
        _echo("in turn") as in_turn,
        _service(Path(folder)) as service,
    ):
        servers = {
            "echo": Server(*at_once, binary),
            "echo in turn": Server(*in_turn, binary),
            "binary": Server(*service, binary),
            "JSON": Server(*service, replace(binary, binary=False)),
        }
        with console.progress("rounds", rounds * len(servers), quiet=json) as done:
            for server in servers.values():
                measured(replace_seconds(server, 1.0), Path(folder))
            for _ in range(rounds):
                for name, server in servers.items():
                    speeds[name].append(measured(server, Path(folder)))
                    done(name, 1)
        median = {name: _median(of) for name, of in speeds.items()}
        half = replace(binary, qps=0.5 * median["binary"].per_second)
        latency = load(service[0], half).to_json()
    payload: dict[str, Any] = {
        "load": "wrk" if shutil.which("wrk") else "deeprec load",
        "requests": {name: speed._asdict() for name, speed in median.items()},
        "to_echo": {name: _to(speeds[name], speeds["echo"]) for name in ("binary", "JSON")},
        "to_echo_in_turn": {name: _to(speeds[name], speeds["echo in turn"]) for name in ("binary", "JSON")},
        "at_half": {"qps": half.qps} | {name: latency[name] for name in ("latency_ms", "late_ms", "statuses", "lost")},
    }
    (console.print_json if json else console.print_facts)(payload)


def replace_seconds(server: Server, seconds: float) -> Server:
    """The same server, loaded for another time."""
    return server._replace(options=replace(server.options, duration_s=seconds))


def measured(server: Server, folder: Path) -> Speed:
    """Load a server as much as it can take."""
    before_s = _processor_s(server.pid)
    if shutil.which("wrk"):
        answered, seconds = _wrk(server, folder)
    else:
        result = load(server.url, server.options)
        answered, seconds = len(result.latency_s), result.duration_s
    return Speed(answered / seconds, answered / (_processor_s(server.pid) - before_s))


def _wrk(server: Server, folder: Path) -> tuple[int, float]:
    request = whole_requests(server.url, server.options)[0]
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    (folder / "body").write_bytes(body)
    lines = [
        'wrk.method = "POST"',
        f'local file = io.open("{folder / "body"}", "rb")',
        'wrk.body = file:read("*a")',
        *(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items() if name != "content-length"),
    ]
    (folder / "request.lua").write_text("\n".join(lines))
    duration = max(1, round(server.options.duration_s))
    line = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration}", "-s", str(folder / "request.lua"), f"{server.url}/rank"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    assert found is not None, said
    return int(found[1]), float(found[2])


def _processor_s(pid: int) -> float:
    """Processor time of a process, in seconds."""
    told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _to(speeds: list[Speed], others: list[Speed]) -> dict[str, float]:
    """Median ratio, over rounds."""
    ratios = [Speed(*(a / b for a, b in zip(of, to, strict=True))) for of, to in zip(speeds, others, strict=True)]
    return _median(ratios)._asdict()


def _median(speeds: list[Speed]) -> Speed:
    return Speed(*(statistics.median(of) for of in zip(*speeds, strict=True)))


def _echo(how: str) -> Any:
    return _running([sys.executable, "-c", ECHO, how])


def _service(folder: Path) -> Any:
    (folder / "scenario.yaml").write_text(SCENARIO)
    line = [sys.executable, "-m", "deeprec_env", "serve", str(folder / "scenario.yaml")]
    return _running([*line, "--model", "empty", "--port", "0", "--json"])


@contextmanager
def _running(line: list[str]) -> Iterator[tuple[str, int]]:
    """Address and number of a server's process, which is ended afterwards."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = next(said.split()[-1] for said in process.stderr if said.startswith("serving at "))
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


app = console.application("The service against a bare echo.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.service")
