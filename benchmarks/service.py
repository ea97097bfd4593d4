"""Requests a second of the service against a bare Starlette echo behind the same kind of pipe, and what it stands.

    python -m benchmarks.service [--seconds 5] [--rounds 3] [--overload 60] [--kills 10] [--model ncf] [--json]

Both are uvicorn with uvloop and httptools in one process, in front of one worker process on a socket pair. The service
runs the empty model: 100 items in, 100 scores out, as safetensors (`binary`) or JSON. The echo reads the same bodies,
sends its worker a message of 20 bytes, waits for 28 back and answers with 400 bytes; `echo in turn` sends a message
when it has the answer to the one before, as the node does, whose server takes one request at a time. wrk loads them
where it is installed, else our own client, in a closed loop of 32 connections; rounds alternate, the median counts, of
ratios the median of the rounds' own. Beside the requests a second of the clock there are those a second of the server's
own processor time (`per_core_second`), which other programs on the machine change less. At the end our own client sends
half as many requests a second as the service has answered, in an open loop, as long as all rounds (`at_half`); twice as
many for `--overload` seconds, with what the server's processes hold before and meanwhile (`overload`; its queue holds
100); and 200 a second while the worker that serves is killed every two seconds (`kills`: the time from each to the next
answer). With another model than the empty one (its tables `--rows-scale` as long) there is no echo to compare with.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from deeprec_env import console
from deeprec_env.live.plan import EMPTY
from deeprec_env.live.service.client import LoadOptions, load, whole_requests

CONNECTIONS, ITEMS, QUEUE = 32, 100, 100
ECHOES = {"echo": "at once", "echo in turn": "in turn"}
_KILL_EVERY_S = 2.0
_MEMORY_LOOKS = 12  # at how much the server's processes hold, before and while they are overloaded

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
    overload: Annotated[float, typer.Option(help="Seconds at twice the capacity; 0: none.")] = 60.0,
    kills: Annotated[int, typer.Option(help="Workers that are killed; 0: none.")] = 10,
    model: Annotated[str, typer.Option(help="The model that is served.")] = EMPTY,
    rows_scale: Annotated[float, typer.Option(help="Length of its tables, as a share of the published one.")] = 0.01,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare the service with a bare echo, overload it, and kill its workers."""
    binary = LoadOptions(None, seconds, CONNECTIONS, ITEMS, binary=True)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        echoes = ECHOES if model == EMPTY else {}
        servers = {name: Server(*stack.enter_context(_echo(how)), binary) for name, how in echoes.items()}
        service = stack.enter_context(_service(Path(folder), model, rows_scale))
        servers["binary"] = Server(*service, binary)
        servers["JSON"] = Server(*service, replace(binary, binary=False))
        speeds: dict[str, list[Speed]] = {name: [] for name in servers}
        with console.progress("rounds", rounds * len(servers), quiet=json) as done:
            for server in servers.values():
                measured(replace_seconds(server, 1.0), Path(folder))
            for _ in range(rounds):
                for name, server in servers.items():
                    speeds[name].append(measured(server, Path(folder)))
                    done(name, 1)
        median = {name: _median(of) for name, of in speeds.items()}
        half = replace(binary, qps=0.5 * median["binary"].per_second, duration_s=rounds * seconds)
        latency = load(service[0], half).to_json()
        twice = replace(binary, qps=2.0 * median["binary"].per_second, duration_s=overload, connections=4 * QUEUE)
        overloaded = _overloaded(servers["binary"]._replace(options=twice)) if overload > 0.0 else None
        each_s = replace(binary, qps=200.0, duration_s=_KILL_EVERY_S * kills + 2.0)
        killed = _killed(servers["binary"]._replace(options=each_s), kills) if kills > 0 else None
    to_echoes = {
        f"to_{echo.replace(' ', '_')}": {name: _to(speeds[name], speeds[echo]) for name in ("binary", "JSON")}
        for echo in echoes
    }
    payload: dict[str, Any] = {
        "load": "wrk" if shutil.which("wrk") else "deeprec load",
        "requests": {name: speed._asdict() for name, speed in median.items()},
        **to_echoes,
        "at_half": {"qps": half.qps} | {name: latency[name] for name in ("latency_ms", "late_ms", "statuses", "lost")},
        "overload": overloaded,
        "kills": killed,
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


def _overloaded(server: Server) -> dict[str, Any]:
    """What becomes of a server at a rate that it can't keep up with, and of its memory."""
    held: dict[str, list[float]] = {"server": [], "workers": []}
    ended = threading.Event()

    def look() -> None:
        held["server"].append(_memory_mib(server.pid))
        held["workers"].append(sum(map(_memory_mib, _children(server.pid))))

    def watch() -> None:
        while not ended.wait(server.options.duration_s / _MEMORY_LOOKS):
            look()

    look()
    watching = threading.Thread(target=watch)
    watching.start()
    told = load(server.url, server.options).to_json()
    ended.set()
    watching.join()
    names = ("sent", "statuses", "lost", "unasked", "qps_achieved", "latency_ms", "late_ms")
    return {"qps": server.options.qps, "memory_mib": held} | {name: told[name] for name in names}


def _killed(server: Server, kills: int) -> dict[str, Any]:
    """What becomes of requests while workers are killed, the oldest in turn: that one serves."""
    killed_s: list[float] = []

    def kill() -> None:
        for _ in range(kills):
            time.sleep(_KILL_EVERY_S)
            while not _is_ready(server.url):  # one that has not started yet serves nobody
                time.sleep(0.05)
            os.kill(_children(server.pid)[0], signal.SIGKILL)
            killed_s.append(time.perf_counter())

    killing = threading.Thread(target=kill)
    killing.start()
    result = load(server.url, server.options)
    killing.join()
    answered_s = [*result.answered_s, float("inf")]
    after_s = [min(at_s for at_s in answered_s if at_s > killed) - killed for killed in killed_s]
    told = result.to_json()
    names = ("sent", "answered", "lost", "unasked", "statuses", "latency_ms")
    return {"next_answer_ms": [each * 1e3 for each in after_s]} | {name: told[name] for name in names}


def _is_ready(url: str) -> bool:
    with suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{url}/readyz") as answer:
        return bool(answer.status == 200)
    return False


def _memory_mib(pid: int) -> float:
    """Of a process, what is its alone; 0 where it has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
    return 0.0


def _children(pid: int) -> list[int]:
    """Processes that a process has started, the oldest first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            told = path.read_text().rpartition(")")[2].split()
            if int(told[1]) == pid:
                found.append((int(told[19]), int(path.parent.name)))
    return [child for _, child in sorted(found)]


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


def _service(folder: Path, model: str, rows_scale: float) -> Any:
    (folder / "scenario.yaml").write_text(SCENARIO)
    line = [sys.executable, "-m", "deeprec_env", "serve", str(folder / "scenario.yaml")]
    line += ["--model", model, "--rows-scale", str(rows_scale), "--queue", str(QUEUE)]
    return _running([*line, "--port", "0", "--json"])


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
