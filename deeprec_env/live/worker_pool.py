"""Worker processes that run one model: requests in, answers out, each once, also where a worker dies."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeprec_env.arguments import choice, whole
from deeprec_env.errors import InputError, WorkLost
from deeprec_env.live.core_pinning import pin
from deeprec_env.live.messages import ANSWER, IN_SLOT, OK, READY, REQUEST
from deeprec_env.live.plan import DEVICES, EMPTY, EMPTY_FIELDS, LARGEST_REQUEST, ModelPlan
from deeprec_env.live.shared_memory import SharedBlock
from deeprec_env.live.worker import LENGTH

_MOST_TRIES = 3
"""Workers that a request may take with it before it is given up as failed."""

_MOST_FALSE_STARTS = 3
"""Workers in a row that may end before they are ready."""

_PATIENCE_S = 2.0
"""How long a worker that was told to end may take."""


class WorkersFailed(WorkLost):
    """Workers end before they are ready, again and again: their own words are on stderr."""


class Answer(NamedTuple):
    """What became of a request. Times are readings of `time.perf_counter`, which all processes share.

    `sent_s` and `received_s` are the dispatcher's, `begun_s` and `ended_s` the worker's own. Where not `ok` the model
    refused the request, or it took several workers with it. `scores`, float32 (items, outputs), are a view that the
    worker's next request overwrites: copy them.
    """

    ticket: int
    ok: bool
    worker: int
    sent_s: float
    received_s: float
    begun_s: float
    ended_s: float
    scores: NDArray[np.float32]


@dataclass(slots=True)
class _Request:
    ticket: int
    items: int
    place: int
    inputs: Mapping[str, NDArray[Any]] | None
    tries: int = 0


@dataclass(slots=True)
class _Worker:
    number: int
    slot: Mapping[str, NDArray[Any]]
    scores: NDArray[np.float32]
    process: subprocess.Popen[bytes] = None  # type: ignore[assignment]  # given by _spawn
    channel: socket.socket = None  # type: ignore[assignment]
    ready: bool = False
    request: _Request | None = None
    sent_s: float = 0.0
    received: bytes = b""  # the beginning of a message


class WorkerPool:
    """`workers` processes that each serve one request at a time.

    `model` is one of ours, another package's or `package.module:factory`, or `empty`; requests have at most
    `most_items` items. `on_answer` is called once for each request, with an `Answer`, on the loop that the pool is
    attached to. A worker that dies is replaced, and its request goes to another; `spares` are processes that have
    started and wait to take the place of one that dies, at once. All of them look at one copy of the weights, and of
    the inputs drawn before the run. Raises `InputError` for a model that is not there or does not fit
    in memory, and where CUDA is asked for and absent.
    """

    def __init__(
        self,
        model: str,
        workers: int,
        on_answer: Callable[[Answer], None],
        *,
        most_items: int = 1000,
        rows_scale: float = 1.0,
        device: str = "cpu",
        seed: int = 0,
        cores: Sequence[int] = (),
        spares: int = 0,
    ) -> None:
        """`cores`: where each worker is kept; empty: wherever the system puts it."""
        whole("workers", workers, 1, 1024)
        whole("spares", spares, 0, 1024)
        whole("most_items", most_items, 1, LARGEST_REQUEST)
        choice("device", device, DEVICES)
        self.plan, self._block = _prepared(model, rows_scale, device, workers + spares, most_items, seed)
        self.workers, self._drawn_items = workers, self.plan.drawn_items
        self.deaths = 0  # workers that have died and were not told to end
        self._on_answer, self._cores = on_answer, tuple(cores)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Request] = deque()  # for a worker: more are out than there are workers alive
        self._false_starts = 0
        self._closed = False
        self._workers = [
            _Worker(
                number,
                {name: self._block.array(place) for name, place in self.plan.slots[number].items()},
                self._block.array(self.plan.scores[number]),
            )
            for number in range(workers + spares)
        ]
        self._idle: list[_Worker] = []
        self._reserve: list[_Worker] = []  # spares that are ready
        self._serving = 0  # workers that are ready and not in reserve
        try:
            for worker in self._workers:
                self._spawn(worker)
            for worker in self._workers:
                self._await_ready(worker)
        except BaseException:
            self.close()
            raise

    # What a dispatcher does

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a loop call back when answers come."""
        self._loop = loop
        for worker in self._workers:
            loop.add_reader(worker.channel, self._readable, worker)

    def submit(
        self, ticket: int, items: int, place: int = IN_SLOT, inputs: Mapping[str, NDArray[Any]] | None = None
    ) -> float:
        """Hand a request to an idle worker, or keep it for the next; the time of the hand-over.

        `ticket` is the caller's number for it, at least 0. Of `inputs`, arrays that `plan.check_inputs` has passed, or
        without them the drawn inputs from `place` on (see `place_of`).
        """
        request = _Request(ticket, items, place, inputs)
        if not self._idle:
            self._waiting.append(request)
            return time.perf_counter()
        return self._send(self._idle.pop(), request)

    def place_of(self, identity: int, items: int) -> int:
        """Where the drawn inputs of a request of that number begin: its own, whichever worker serves it."""
        return identity * 7919 % (self._drawn_items - items + 1)

    @property
    def busy(self) -> int:
        """Requests that are with a worker or wait for one."""
        return sum(worker.request is not None for worker in self._workers) + len(self._waiting)

    @property
    def alive(self) -> int:
        """Workers that can serve now."""
        return self._serving

    def pids(self) -> list[int]:
        """Process numbers of the workers, and of the spares."""
        return [worker.process.pid for worker in self._workers]

    def kill(self, worker: int) -> None:
        """Kill a worker as the system may: another takes its place, and its request goes on."""
        self._workers[worker].process.kill()

    def close(self) -> None:
        """End the workers and give their memory back; a second call does nothing. Requests with them are dropped."""
        if self._closed:
            return
        self._closed = True
        spawned = [worker for worker in self._workers if worker.process is not None]
        for worker in spawned:
            self._hang_up(worker)
        for worker in spawned:
            _end(worker.process)
        self._idle.clear()
        self._waiting.clear()
        self._block.close()

    # What happens to workers

    def _spawn(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        paths = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        with theirs:
            fds = theirs.fileno(), self._block.fd
            worker.process = subprocess.Popen(
                [sys.executable, "-m", "deeprec_env.live.worker", *map(str, fds)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths} | one_thread,
                pass_fds=fds,
            )
        if self._cores:  # a spare is on any of them: it may come to stand for any worker
            own = self._cores[worker.number : worker.number + 1]
            pin(worker.process.pid, own or self._cores)
        worker.channel, worker.ready = ours, False
        worker.received = b""
        told = json.dumps(self.plan.to_json(worker.number)).encode()
        with suppress(OSError):  # where it is gone already its channel will say so
            ours.sendall(LENGTH.pack(len(told)) + told)
        ours.setblocking(False)
        if self._loop is not None:
            self._loop.add_reader(ours, self._readable, worker)

    def _await_ready(self, worker: _Worker) -> None:
        """Before any loop: wait until a worker has loaded."""
        while not worker.ready:
            select.select([worker.channel], [], [])
            self._readable(worker)

    def _readable(self, worker: _Worker) -> None:
        received_s = time.perf_counter()
        try:
            received = worker.channel.recv(ANSWER.size - len(worker.received))
        except BlockingIOError:
            return
        except ConnectionResetError:  # it died before it had read all that it was sent
            received = b""
        if not received:
            self._died(worker)
            return
        if len(received) < ANSWER.size:
            received = worker.received + received
        worker.received = received if len(received) < ANSWER.size else b""
        if not worker.received:
            self._answered(worker, received, received_s)

    def _answered(self, worker: _Worker, message: bytes, received_s: float) -> None:
        ticket, begun_s, ended_s, outcome = ANSWER.unpack(message)
        if ticket == READY:
            worker.ready, self._false_starts = True, 0
            self._reserve.append(worker)
            self._call_up()
            return
        request, worker.request = worker.request, None
        assert request is not None
        assert request.ticket == ticket
        answer = Answer(
            ticket,
            outcome == OK,
            worker.number,
            worker.sent_s,
            received_s,
            begun_s,
            ended_s,
            worker.scores[: request.items],
        )
        if self._waiting:
            self._on_answer(answer)  # before the scores are overwritten
            self._next(worker)
            return
        self._idle.append(worker)
        self._on_answer(answer)

    def _call_up(self) -> None:
        """Let one in reserve serve, if there is one, and a place."""
        if self._reserve and self._serving < self.workers:
            self._serving += 1
            self._next(self._reserve.pop())

    def _next(self, worker: _Worker) -> None:
        """Give a worker what waits for one."""
        if self._waiting:
            self._send(worker, self._waiting.popleft())
        else:
            self._idle.append(worker)

    def _send(self, worker: _Worker, request: _Request) -> float:
        if request.inputs is not None:
            for name, values in request.inputs.items():
                worker.slot[name][: request.items] = values
        worker.request = request
        worker.sent_s = sent_s = time.perf_counter()
        with suppress(OSError):  # where it is dead its channel is readable, and says so
            worker.channel.send(REQUEST.pack(request.ticket, request.place, request.items))
        return sent_s

    def _died(self, worker: _Worker) -> None:
        """Replace a worker; what it had goes to another."""
        self.deaths += 1
        self._hang_up(worker)
        _end(worker.process, patience_s=0.0)
        if not worker.ready:
            self._false_starts += 1
            if self._false_starts >= _MOST_FALSE_STARTS:
                raise WorkersFailed(f"{self.plan.model}: {self._false_starts} workers ended before they were ready")
        if worker in self._reserve:
            self._reserve.remove(worker)
        elif worker.ready:
            self._serving -= 1
        if worker in self._idle:
            self._idle.remove(worker)
        worker.ready = False
        request, worker.request = worker.request, None
        if request is not None:
            self._try_again(request, worker)
        self._call_up()
        self._spawn(worker)

    def _try_again(self, request: _Request, worker: _Worker) -> None:
        """Let another have what a worker had that died."""
        request.tries += 1
        if request.tries == _MOST_TRIES:
            now = time.perf_counter()
            nothing = np.zeros((request.items, self.plan.outputs), dtype=np.float32)
            self._on_answer(Answer(request.ticket, False, worker.number, worker.sent_s, now, now, now, nothing))
        elif self._idle:
            self._send(self._idle.pop(), request)
        else:
            self._waiting.appendleft(request)

    def _hang_up(self, worker: _Worker) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(worker.channel)
        worker.channel.close()


def _prepared(
    model: str, rows_scale: float, device: str, workers: int, most_items: int, seed: int
) -> tuple[ModelPlan, SharedBlock]:
    if model == EMPTY:
        if device != "cpu":
            raise InputError("device", device, f"must be cpu: the model {EMPTY} runs on nothing else")
        plan = ModelPlan.of(model, rows_scale, device, EMPTY_FIELDS, 1, {}, workers, most_items)
        return plan, SharedBlock.create(plan.size_bytes)
    from deeprec_env.live import model_memory  # torch is loaded for models alone

    model_memory.check_device(device)
    plan = model_memory.plan_model(model, rows_scale, device, workers, most_items)
    block = SharedBlock.create(plan.size_bytes)
    model_memory.fill(plan, block, seed)
    return plan, block


def _end(process: subprocess.Popen[bytes], patience_s: float = _PATIENCE_S) -> None:
    """Wait for a process whose channel is closed, and end it where it does not end by itself."""
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
