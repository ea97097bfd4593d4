"""Workers: every request is answered once, whoever dies, and all of them look at one copy of the weights."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeprec_env.errors import InputError
from deeprec_env.live import plan as planning
from deeprec_env.live.worker_pool import Answer, WorkerPool, WorkersFailed
from tests.docs import blocks


def answers(pool: WorkerPool, got: list[Answer], count: int, do: Callable[[], None]) -> None:
    """Do something on a loop that the pool is attached to, and wait for so many answers."""

    async def served() -> None:
        pool.attach(asyncio.get_running_loop())
        do()
        async with asyncio.timeout(90):
            while len(got) < count:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # for answers that should not come

    asyncio.run(served())


def test_nothing_is_lost_or_answered_twice_when_a_worker_is_killed_with_a_request() -> None:
    got: list[Answer] = []
    pool = WorkerPool("empty", 1, got.append, most_items=100)

    def killed() -> None:
        os.kill(pool.pids()[0], signal.SIGSTOP)  # so that it has the request when it is killed
        for ticket in range(20):
            pool.submit(ticket, 100, pool.place_of(ticket, 100))
        os.kill(pool.pids()[0], signal.SIGKILL)

    try:
        answers(pool, got, 20, killed)
        assert sorted(answer.ticket for answer in got) == list(range(20))
        assert all(answer.ok and answer.scores.shape == (100, 1) for answer in got)
        assert (pool.deaths, pool.alive, pool.busy) == (1, 1, 0)
        assert all(answer.sent_s <= answer.begun_s <= answer.ended_s <= answer.received_s for answer in got)
    finally:
        pool.close()


def test_a_spare_takes_the_place_of_a_worker_that_dies_at_once() -> None:
    got: list[Answer] = []
    pool = WorkerPool("empty", 1, got.append, most_items=100, spares=1)

    def killed() -> None:
        assert (pool.workers, pool.alive, len(pool.pids())) == (1, 1, 2)
        os.kill(pool.pids()[0], signal.SIGSTOP)
        for ticket in range(20):
            pool.submit(ticket, 100, pool.place_of(ticket, 100))
        os.kill(pool.pids()[0], signal.SIGKILL)

    try:
        answers(pool, got, 20, killed)
        assert sorted(answer.ticket for answer in got) == list(range(20))
        assert {answer.worker for answer in got} == {1}  # nobody waited until another had started
        assert (pool.deaths, pool.alive, pool.busy, len(pool.pids())) == (1, 1, 0, 2)
    finally:
        pool.close()


def test_workers_share_one_copy_of_the_weights_and_score_as_the_model_does() -> None:
    torch = pytest.importorskip("torch")
    from deeprec_env.live.model_memory import attach_model

    got: list[tuple[int, float]] = []
    pool = WorkerPool("ncf", 2, lambda a: got.append((a.worker, float(a.scores[1, 0]))), most_items=4, rows_scale=1e-3)
    inputs = pool.plan.check_inputs({"user": [[1], [2]], "item": [[3], [4]]})
    one_more = dict(inputs)

    def on_both() -> None:
        pool.submit(0, 2, inputs=inputs)
        pool.submit(1, 2, inputs=one_more)

    try:
        answers(pool, got, 2, on_both)  # type: ignore[arg-type]
        model = attach_model("ncf", 1e-3, pool.plan.weights, pool._block)
        with torch.inference_mode():
            expected = float(model(**{name: torch.from_numpy(value) for name, value in inputs.items()})[1, 0])
        assert {worker for worker, _ in got} == {0, 1}
        assert [score for _, score in got] == pytest.approx([expected] * 2)
        pool._block.array(pool.plan.weights["output.bias"])[:] += 1.0
        answers(pool, got, 4, on_both)  # type: ignore[arg-type]
        assert all(score > expected + 0.05 for _, score in got[2:])
    finally:
        del model
        pool.close()


def test_a_model_that_does_not_fit_is_refused_with_needed_and_available_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_BYTES_PER_EMPTY_WORKER", 1 << 50)
    with pytest.raises(InputError, match=r"rows_scale: got 1.0; needs about .* GiB of memory; .* are available"):
        WorkerPool("empty", 1, lambda answer: None)


def test_inputs_that_no_model_takes_are_refused() -> None:
    fields = {"item": planning.InputField((2,), 10), "dense": planning.InputField((3,), None)}
    plan = planning.ModelPlan.of("empty", 1.0, "cpu", fields, 1, {}, 1, 5)
    good = {"item": [[0, 9]], "dense": [[0.5, 1, 2]]}
    assert plan.check_inputs(good)["dense"].shape == (1, 3)
    for wrong, said in (
        ({"item": [[0, 9]]}, "inputs.dense"),
        (good | {"other": [1]}, "inputs.other"),
        (good | {"item": [[0, 10]]}, "below 10"),
        (good | {"item": [[-1, 1]]}, "got -1"),
        (good | {"item": [[0.5, 1.0]]}, "int64"),
        (good | {"item": [[0, 1, 2]]}, "shape"),
        (good | {"item": [[0], [1, 2]]}, "inputs.item"),
        (good | {"item": [[0, 1]] * 2}, "equally many"),
        (good | {"item": [[0, 1]] * 6}, "at most 5"),
        (good | {"dense": [[np.nan, 1, 2]]}, "finite"),
        (good | {"dense": [["a", "b", "c"]]}, "float32"),
        (good | {"dense": None}, "shape"),
    ):
        with pytest.raises(InputError, match=said):
            plan.check_inputs(wrong)


def test_what_is_not_there_is_refused() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError, match="model"):
        WorkerPool("no-model", 1, lambda answer: None)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            WorkerPool("ncf", 1, lambda answer: None, device="cuda")


def test_workers_that_never_get_ready_are_not_started_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorkersFailed, match="3 workers ended before they were ready"):
        WorkerPool("empty", 1, lambda answer: None)


def test_the_example_of_the_documentation_runs() -> None:
    exec(blocks(Path(__file__).parents[2] / "docs" / "live.md", "python")[0], {"__name__": "example"})
