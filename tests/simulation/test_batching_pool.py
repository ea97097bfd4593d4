"""Accelerators that take requests of several queries together, computed by hand (rule 17)."""

from __future__ import annotations

from typing import Any

import pytest

from deeprec_env import Scenario
from tests.simulation.by_hand import ENGINES_BY_HAND, drained, engine_of, node, pool, served, windows

each_engine = pytest.mark.parametrize("name", ENGINES_BY_HAND)


def batching(max_items: int = 8, max_wait_ms: float = 500, servers: int = 1, **control: Any) -> Scenario:
    """Every query goes to the accelerator: 0.125 s for a batch, and as much for each of its items."""
    rule = {"max_items": max_items, "max_wait_ms": max_wait_ms}
    return node({"threshold": 1} | control, accelerator=pool(servers, base_ms=125, batching=rule))


@each_engine
def test_a_batch_starts_when_someone_waited_too_long_with_all_who_arrive_at_that_instant(name: str) -> None:
    records = served(name, batching(), (0.0, 3), (0.25, 2), (0.5, 2), (0.625, 1))
    log = records.stages[0]
    assert log.start_s.tolist() == [0.5, 0.5, 0.5, 1.5]
    assert records.completion_s.tolist() == [1.5, 1.5, 1.5, 1.75]
    assert log.carries is not None
    assert log.carries.tolist() == [True, False, False, True]


@each_engine
def test_a_batch_starts_when_it_is_full_or_the_next_one_does_not_fit(name: str) -> None:
    engine = engine_of(name, batching(), (0.0, 4), (0.25, 4), (2.0, 5), (2.125, 4), (2.25, 4))
    (window,) = windows(engine, [batching().setting], 0.0, 5.0)
    records = drained(engine)
    # Eight items at 0.25 s; five at 2.125 s, since four more do not fit; the other eight as soon as the server is free.
    assert records.stages[0].start_s.tolist() == [0.25, 0.25, 2.125, 2.875, 2.875]
    assert records.completion_s.tolist() == [1.375, 1.375, 2.875, 4.0, 4.0]
    assert window.accelerator_utilisation == (1.125 + 0.75 + 1.125) / 5.0


@each_engine
def test_who_waited_too_long_while_all_were_busy_goes_at_once(name: str) -> None:
    records = served(name, batching(), (0.0, 8), (0.25, 3), (1.0, 1))
    assert records.stages[0].start_s.tolist() == [0.0, 1.125, 1.125]
    assert records.completion_s.tolist() == [1.125, 1.75, 1.75]
    assert served(name, batching(), (0.0, 8), (1.0, 3)).stages[0].start_s.tolist() == [0.0, 1.5]


@each_engine
def test_the_next_free_server_takes_what_is_left(name: str) -> None:
    records = served(name, batching(servers=2), (0.0, 5), (0.0, 5), (0.0, 2))
    # The second batch, of seven items, is not full: it waits for its time.
    assert records.stages[0].start_s.tolist() == [0.0, 0.5, 0.5]


@each_engine
def test_without_a_wait_a_batch_is_what_is_there(name: str) -> None:
    records = served(name, batching(max_wait_ms=0), (0.0, 1), (0.0, 1), (0.125, 3), (0.25, 3), (0.375, 3))
    assert records.stages[0].start_s.tolist() == [0.0, 0.0, 0.375, 0.375, 1.25]
    assert records.completion_s.tolist() == [0.375, 0.375, 1.25, 1.25, 1.75]


@each_engine
def test_batches_are_taken_in_the_order_in_force(name: str) -> None:
    scenario = batching(order="small-first")
    records = served(name, scenario, (0.0, 8), (0.25, 6), (0.5, 4), (0.75, 3))
    # At 1.125 s the two small ones are a batch that the large one does not fit in.
    assert records.stages[0].start_s.tolist() == [0.0, 2.125, 1.125, 1.125]


@each_engine
def test_predictions_fill_whole_batches_and_the_rest(name: str) -> None:
    scenario = batching()
    engine = engine_of(name, scenario, (0.0, 8), (0.25, 4), (0.5, 4), (0.75, 1))
    (window,) = windows(engine, [scenario.setting], 0.0, 0.875)
    assert (window.waiting_cpu, window.waiting_accelerator) == (0.0, 3.0)
    # The server is busy for another 0.25 s; nine items wait: with two more they are a whole batch and one of three.
    assert window.predicted_s == 0.25 + 1.125 + 0.5
    assert drained(engine).completion_s.tolist() == [1.125, 2.25, 2.25, 2.5]


@each_engine
def test_predicted_offload_sees_the_batch_that_a_query_would_join(name: str) -> None:
    scenario = batching(threshold=None, offload="predicted")
    # Alone 0.125 s more than on the core; behind four items on the core it is as good, behind six better.
    records = served(name, scenario, (0.0, 4), (0.0, 1), (2.0, 2), (2.0, 4))
    assert records.offloaded.tolist() == [False, True, False, True]
    assert records.completion_s.tolist() == [0.5, 0.5 + 0.25, 2.25, 2.5 + 0.625]
