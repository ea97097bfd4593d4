"""Ray's own process: connects, checks the machines of the cluster, hands tasks out, and tells what comes back."""

from __future__ import annotations

import logging
import os
import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.sources import PACKAGE, sources_digest
from deeprec_env.version import __version__

AUTO = "auto"

IN_FLIGHT = 4
"""Tasks that a core of the cluster has been given: enough that it never waits for the next."""

_CHECKED_WITHIN_S = 60.0
_RETRIES = 20


@dataclass(frozen=True)
class Began:
    """The cluster takes work; `head` is where it answers."""

    head: str


@dataclass(frozen=True)
class Failed:
    """What ended it."""

    error: Exception


@dataclass(frozen=True)
class Ended:
    """All is done."""


def drive(connection: Connection, address: str, work: Callable[[Any, Any], Any], shared: Any, tasks: list[Any]) -> None:
    """Do the tasks on a cluster; sends `Began`, then (number, result) as they come, then `Ended` or `Failed`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this one, which then ends it
    _silence()
    try:
        connection.send(Began(_connected(address)))
        _check_machines(address)
        _hand_out(connection, work, shared, tasks)
        connection.send(Ended())
    except Exception as error:
        connection.send(Failed(_plain(error)))


def _silence() -> None:
    """Ray writes what it thinks to both streams; what matters is sent."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _connected(address: str) -> str:
    """The head's address."""
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except ConnectionError:
        raise InputError("cluster", address, "must be a Ray cluster that runs: begin one by ray start --head") from None
    except RuntimeError as error:  # another version of Ray or Python, both of which it names
        raise InputError("cluster", address, " ".join(str(error).split())) from None
    return str(ray.get_runtime_context().gcs_address)


def facts() -> dict[str, str]:
    """What must be the same on all machines for the same bytes."""
    everything = tuple(sorted(path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()))
    return {
        "deeprec-env": __version__,
        "its sources": sources_digest(everything),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
    }


def _check_machines(address: str) -> None:
    """Raise `InputError` unless every machine has what this one has."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mine = facts()
    ask = ray.remote(num_cpus=0)(facts)
    asked = []
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked.append((node["NodeManagerHostname"], ask.options(scheduling_strategy=there).remote()))
    for name, reference in asked:
        try:
            theirs = ray.get(reference, timeout=_CHECKED_WITHIN_S)
        except ray.exceptions.GetTimeoutError:
            allowed = f"must have machines that answer: {name} did not within {_CHECKED_WITHIN_S:g} s"
            raise InputError("cluster", address, allowed) from None
        except ray.exceptions.RayTaskError as error:
            allowed = f"must have this package on every machine; {name}: {_last_line(error)}"
            raise InputError("cluster", address, allowed) from None
        for fact, value in mine.items():
            if theirs[fact] != value:
                allowed = f"must have what is here on every machine: {fact} is {theirs[fact]} on {name}, {value} here"
                raise InputError("cluster", address, allowed)


def _hand_out(connection: Connection, work: Callable[[Any, Any], Any], shared: Any, tasks: list[Any]) -> None:
    """Keep every core of the cluster supplied; tell results as they come."""
    import ray

    kept = ray.put((work, shared))  # once to each machine
    do = ray.remote(num_cpus=1, max_retries=_RETRIES)(_do)
    waiting, running = list(enumerate(tasks))[::-1], dict[Any, int]()
    while waiting or running:
        cores = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
        room = IN_FLIGHT * max(1, int(cores)) - len(running)
        for _ in range(min(room, len(waiting))):
            number, task = waiting.pop()
            running[do.remote(kept, task)] = number
        done, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
        for reference in done:
            connection.send((running.pop(reference), ray.get(reference)))


def _do(kept: tuple[Callable[[Any, Any], Any], Any], task: Any) -> Any:
    work, shared = kept
    return work(shared, task)


def _plain(error: Exception) -> Exception:
    """What the work itself raised, where it can be told; else what Ray says of it, in words."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, InputError):
        return error.cause
    if isinstance(error, InputError):
        return error
    return RuntimeError(str(error))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
