"""A worker process: waits for a request, runs the model, answers. `python -m deeprec_env.live.worker SOCKET BLOCK`.

It ends when the dispatcher closes the socket, or is gone.
"""

from __future__ import annotations

import gc
import json
import signal
import socket
import struct
import sys
import time

from deeprec_env.live.messages import ANSWER, FAILED, OK, READY, REQUEST
from deeprec_env.live.runners import open_runner
from deeprec_env.live.shared_memory import SharedBlock

LENGTH = struct.Struct("<I")
"""Of the text that a worker is told before anything else."""


def main(arguments: list[str]) -> None:
    """Serve until the dispatcher has gone; the arguments are two open file descriptors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the dispatcher's, who ends its workers
    with socket.socket(fileno=int(arguments[0])) as channel:
        block = SharedBlock.opened(int(arguments[1]))
        told = _received(channel, LENGTH.unpack(_received(channel, LENGTH.size))[0])
        runner = open_runner(json.loads(told), block)
        gc.collect()
        gc.freeze()
        gc.disable()
        channel.sendall(ANSWER.pack(READY, 0.0, 0.0, OK))
        message, now, run = bytearray(REQUEST.size), time.perf_counter, runner.run
        while channel.recv_into(message, REQUEST.size, socket.MSG_WAITALL) == REQUEST.size:
            begun_s = now()
            ticket, place, items = REQUEST.unpack(message)
            outcome = OK
            try:
                run(place, items)
            except Exception as error:  # whatever a model raises is the request's fault, and harms no other
                print(f"deeprec worker: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                outcome = FAILED
            channel.sendall(ANSWER.pack(ticket, begun_s, now(), outcome))


def _received(channel: socket.socket, count: int) -> bytes:
    """So many bytes; the process ends where the dispatcher is gone."""
    received = channel.recv(count, socket.MSG_WAITALL)
    if len(received) < count:
        sys.exit(0)
    return received


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
