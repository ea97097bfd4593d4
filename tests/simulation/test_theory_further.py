"""Orders, batches and admission against closed forms of queueing theory, for both engines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeprec_env import Scenario, load_scenario
from deeprec_env.simulation.engines import ENGINES
from tests.conftest import queue
from tests.simulation.closed_forms import (
    cobham,
    md1_wait_within,
    mdb1_mean_wait,
    pollaczek_khinchine,
    shed_beyond,
)
from tests.simulation.replications import Law, Sample, assert_laws, mean_wait, share_of_waits_over

both_engines = pytest.mark.parametrize("engine", ENGINES)


def wait_of(items: int, theory: Callable[[float], float]) -> Law:
    """The mean wait of the queries of one size."""

    def observed(sample: Sample) -> float:
        return float(sample.wait_s[sample.items == items].mean())

    return Law(observed, theory)


@both_engines
@pytest.mark.parametrize("order", ["small-first", "fcfs"])
def test_two_classes_of_sizes_small_first_are_cobhams_priorities(engine: str, order: str, tmp_path: Path) -> None:
    """M/G/1 with two classes of deterministic services; first come, first served they wait alike."""
    rate, share, sizes = 0.16, 0.8, (1, 10)  # services of 2 and 11 s, loads 0.256 and 0.352
    path = tmp_path / "sizes.csv"
    path.write_text("1\n" * 8 + "10\n" * 2, encoding="utf-8")
    scenario = queue(
        1,
        {"kind": "affine", "base_ms": 1000, "per_item_ms": 1000},
        rate,
        workload={"arrivals": {"kind": "poisson", "qps": rate}, "sizes": {"kind": "file", "path": str(path)}},
        control={"batch_size": 10, "order": order},
    )
    rates = rate * share, rate * (1.0 - share)

    def waits(slower: float) -> list[float]:
        services = [slower * (1.0 + n) for n in sizes]
        if order == "small-first":
            return cobham(rates, services, [service**2 for service in services])
        first_s, second_s2 = (sum(r * s**k for r, s in zip(rates, services, strict=True)) / rate for k in (1, 2))
        return [pollaczek_khinchine(rate, first_s, second_s2)] * 2

    laws = [wait_of(sizes[0], lambda slower: waits(slower)[0]), wait_of(sizes[1], lambda slower: waits(slower)[1])]
    assert_laws(scenario, engine, laws)


def batching_queue(most: int, rate: float) -> Scenario:
    """One accelerator, 1 s for a batch of any size, that takes up to `most` queries of one item."""
    pool = {"servers": 1, "latency": {"kind": "constant", "ms": 1000}, "batching": {"max_items": most}}
    return load_scenario(
        {
            "sla_ms": 1e9,
            "workload": {"arrivals": {"kind": "poisson", "qps": rate}, "sizes": {"kind": "fixed", "items": 1}},
            "pipeline": [{"name": "only", "accelerator": pool}],
        }
    )


@both_engines
def test_batches_of_one_item_are_md1(engine: str) -> None:
    load = 0.7

    def over(time_s: float) -> Law:
        return share_of_waits_over(time_s, lambda s: 1.0 - md1_wait_within(time_s, load, s))

    mean = mean_wait(lambda s: pollaczek_khinchine(load, s, s * s))
    assert_laws(batching_queue(1, load), engine, [mean, over(0.0), over(1.5)])


@both_engines
@pytest.mark.parametrize(("most", "load"), [(2, 0.8), (4, 0.9), (16, 0.7)])
def test_bulk_service_is_mdb1(engine: str, most: int, load: float) -> None:
    """A free server takes up to b of those that wait, at least one: M/D^[1,b]/1."""
    rate = load * most
    assert_laws(batching_queue(most, rate), engine, [mean_wait(lambda s: mdb1_mean_wait(rate, s, most))])


@both_engines
@pytest.mark.parametrize(("load", "limit_s"), [(0.7, 1.5), (0.95, 2.5)])
def test_admission_by_predicted_wait_is_md1_with_impatience(engine: str, load: float, limit_s: float) -> None:
    """Who would wait longer than tau is refused: P(loss) = (1 - r) q / (1 - r q), q = P(W > tau) of the unlimited.

    On one server with a constant service the prediction is exact: the wait and the service.
    """
    scenario = queue(1, {"kind": "constant", "ms": 1000}, load, control={"admit_ms": 1000.0 * (1.0 + limit_s)})

    def loss(slower: float) -> float:
        # Servers that are slower by a factor, with a limit on the wait that stays.
        return shed_beyond(load * slower, 1.0 - md1_wait_within(limit_s, load, slower))

    def within(slower: float) -> float:
        """P(W <= tau / 2) of the admitted: below the limit their waits have the shape of the unlimited queue's."""
        return md1_wait_within(0.5 * limit_s, load, slower) / md1_wait_within(limit_s, load, slower)

    def observed(sample: Sample) -> float:
        waits = sample.wait_s[~np.isnan(sample.wait_s)]
        assert waits.max() <= limit_s + 1e-6
        return float((waits <= 0.5 * limit_s).mean())

    laws = [Law(lambda sample: float(np.isnan(sample.latency_s).mean()), loss), Law(observed, within)]
    assert_laws(scenario, engine, laws)
