from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads, executor_of
from deeprec_env.executors.processes import MOST_DEATHS, Processes, WorkersDied

LOCAL = (Threads(1), Threads(3), Processes(1), Processes(2))


def times(shared: int, task: int) -> int:
    """A piece of work; the first tasks take longest, so that several at once end in another order."""
    time.sleep(0.02 * (5 - task))
    return shared * task


def refused(shared: int, task: int) -> int:
    if task == 3:
        raise InputError("task", task, "must not be 3")
    return task


def squared_slowly(folder: Path, task: int) -> int:
    """A piece of work that leaves a note of which process did it."""
    (folder / f"{task}-{os.getpid()}").touch()
    time.sleep(0.3)
    return task * task


def dies_once(folder: Path, task: int) -> int:
    """Task 2 kills its worker the first time it is done."""
    marker = folder / "died"
    if task == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task * task


def always_dies(shared: None, task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


@pytest.mark.parametrize("executor", LOCAL, ids=str)
def test_each_task_is_done_once_and_told_by_its_number(executor: Executor) -> None:
    assert sorted(executor.results(times, 10, list(range(5)))) == [(task, 10 * task) for task in range(5)]
    assert list(executor.results(times, 10, [])) == []


@pytest.mark.parametrize("executor", LOCAL, ids=str)
def test_what_a_piece_raises_is_raised_here(executor: Executor) -> None:
    with pytest.raises(InputError, match="task: got 3; must not be 3"):
        list(executor.results(refused, 0, list(range(5))))


def test_a_worker_that_dies_costs_what_it_was_doing(tmp_path: Path) -> None:
    assert sorted(Processes(2).results(dies_once, tmp_path, list(range(6)))) == [(task, task**2) for task in range(6)]
    assert (tmp_path / "died").exists()


def test_work_that_always_kills_its_worker_ends() -> None:
    with pytest.raises(WorkersDied, match=f"workers died {MOST_DEATHS} times"):
        list(Processes(2).results(always_dies, None, [1, 2]))


def test_no_cluster_is_the_local_one() -> None:
    assert executor_of(None, Threads(2)) == Threads(2)
