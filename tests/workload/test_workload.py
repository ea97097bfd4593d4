from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError, load_scenario
from deeprec_env.scenario.parts import ARRIVALS, SIZES
from deeprec_env.workload import Diurnal, QueryStream, episode_seed
from deeprec_env.workload.diurnal import STEPS
from deeprec_env.workload.noise import query_keys, uniforms
from tests.conftest import day_scenario


def arrivals(**parameters: Any) -> Any:
    return ARRIVALS._kinds[parameters["kind"]].model_validate(parameters)


def sizes(**parameters: Any) -> Any:
    return SIZES._kinds[parameters["kind"]].model_validate(parameters)


def times(process: Any, blocks: list[int], seed: int = 0) -> np.ndarray:
    draw = process.open(np.random.default_rng(seed), np.random.default_rng(seed + 1))
    return np.concatenate([draw(count) for count in blocks])


KINDS = [
    arrivals(kind="poisson", qps=50.0),
    arrivals(kind="gamma", qps=50.0, cv=3.0),
    arrivals(kind="diurnal", qps=50.0, day_s=10.0),
    arrivals(kind="flash", qps=50.0, day_s=10.0),
    arrivals(kind="mmpp", qps=50.0, burst_s=0.2, calm_s=0.8),
    arrivals(kind="poisson-ms", qps=50.0),
]


@pytest.mark.parametrize("process", KINDS, ids=lambda process: process.kind)
@given(blocks=st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_arrivals_do_not_depend_on_the_blocks_they_are_drawn_in(process: Any, blocks: list[int]) -> None:
    drawn = times(process, blocks)
    assert drawn.tobytes() == times(process, [sum(blocks)]).tobytes()
    assert (np.diff(drawn) >= 0).all()


@pytest.mark.parametrize("process", KINDS, ids=lambda process: process.kind)
def test_the_mean_rate_is_qps(process: Any) -> None:
    count = 400_000
    rate = count / times(process, [count])[-1]
    cv = getattr(process, "cv", 1.0)
    assert rate == pytest.approx(process.mean_qps, rel=4 * cv / math.sqrt(count) + 0.002)


def test_poisson_gaps_are_exponential_and_gamma_gaps_have_their_cv() -> None:
    gaps = np.diff(times(KINDS[0], [200_000]))
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.01)
    assert np.quantile(gaps * 50.0, 0.95) == pytest.approx(math.log(20), rel=0.02)
    gaps = np.diff(times(KINDS[1], [200_000]))
    assert gaps.std() / gaps.mean() == pytest.approx(3.0, rel=0.05)


def test_one_seed_at_two_rates_is_the_same_traffic_stretched() -> None:
    slow, fast = (times(arrivals(kind="poisson", qps=qps), [1000]) for qps in (8.0, 32.0))
    assert (slow == 4.0 * fast).all()


def test_a_day_keeps_to_its_shape() -> None:
    day = Diurnal(kind="diurnal", qps=1000.0, day_s=96.0)
    assert day.shape().min() == pytest.approx(0.2, abs=1e-4)
    assert day.shape().max() == pytest.approx(0.9, abs=1e-4)
    unit = day.qps / 0.55  # queries a second at shape 1
    for seed in range(50):
        rates = day.day(np.random.default_rng(seed))
        assert rates.mean() == pytest.approx(day.qps)
        assert rates.max() <= 0.95 * unit * (1 + 1e-12)
        assert rates.min() > 0.17 * unit


def test_bursts_lift_the_rate_and_come_from_their_own_stream() -> None:
    with_bursts = Diurnal(kind="diurnal", qps=1000.0, day_s=96.0, bursts=6.0)
    calm = with_bursts.model_copy(update={"bursts": 0.0})
    assert (calm.day(np.random.default_rng(0)) == calm.day(np.random.default_rng(1))).all()
    lifted = sum(
        (with_bursts.day(np.random.default_rng(seed)) > 1.2 * calm.shape() * 1000 / 0.55).any() for seed in range(20)
    )
    assert lifted >= 15
    assert times(with_bursts, [500], seed=3)[-1] != times(calm, [500], seed=3)[-1]


def test_the_day_inverts_its_cumulative_rate_exactly() -> None:
    process = Diurnal(kind="diurnal", qps=200.0, day_s=10.0, bursts=0.0)
    drawn = times(process, [4000], seed=5)
    work = np.cumsum(np.random.default_rng(5).standard_exponential(4000))
    rates = np.tile(process.day(np.random.default_rng(6)), 3)
    knots = np.concatenate([[0.0], np.cumsum(rates * 10.0 / STEPS)])
    expected = np.interp(work, knots, np.arange(len(knots)) * 10.0 / STEPS)
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)


SIZE_KINDS = [
    sizes(kind="production"),
    sizes(kind="lognormal", mu=5.1, sigma=0.2, high=1024),
    sizes(kind="normal", mean=165, std=16),
    sizes(kind="fixed", items=7),
]


@pytest.mark.parametrize("distribution", SIZE_KINDS, ids=lambda distribution: distribution.kind)
def test_sizes_follow_their_probabilities(distribution: Any) -> None:
    items, probability = distribution.probabilities()
    assert probability.sum() == pytest.approx(1.0)
    drawn = distribution.draw(np.random.default_rng(0), 200_000)
    assert drawn.dtype == np.int64
    assert items.min() <= drawn.min() <= drawn.max() <= items.max()
    spread = math.sqrt(float(probability @ (items - distribution.mean_items) ** 2))
    assert drawn.mean() == pytest.approx(distribution.mean_items, abs=4 * spread / math.sqrt(200_000) + 1e-9)


def test_production_sizes_are_the_published_stand_in() -> None:
    drawn = np.sort(SIZE_KINDS[0].draw(np.random.default_rng(1), 400_000))
    assert drawn.mean() == pytest.approx(208, rel=0.01)
    assert np.median(drawn) == pytest.approx(164, rel=0.01)
    assert np.quantile(drawn, 0.95) == pytest.approx(518, rel=0.02)
    assert drawn[300_000:].sum() / drawn.sum() == pytest.approx(0.51, abs=0.01)


def test_splits_episodes_and_seeds_differ_and_repeat() -> None:
    workload = load_scenario(day_scenario()).workload
    prints = {
        (seed, split, episode): QueryStream(workload, episode_seed(seed, split, episode)).draw(50).sha256()
        for seed in (0, 1)
        for split in ("train", "validation", "test")
        for episode in (0, 1)
    }
    assert len(set(prints.values())) == len(prints)
    sequence = episode_seed(1, "test", 1)
    for _ in range(2):  # drawing leaves the seed sequence as it was
        assert QueryStream(workload, sequence).draw(50).sha256() == prints[1, "test", 1]


def test_traffic_of_a_day_is_what_arrives_before_its_end() -> None:
    workload, seed = load_scenario(day_scenario()).workload, episode_seed(0)
    day = QueryStream(workload, seed).draw_until(1.2)
    longer = QueryStream(workload, seed).draw(len(day.arrival_s) + 1)
    assert day.arrival_s[-1] < 1.2 <= longer.arrival_s[-1]
    assert (longer.arrival_s[:-1] == day.arrival_s).all()


@pytest.mark.parametrize(("seed", "split"), [(-1, "train"), (0, "tset")])
def test_bad_seeds_and_splits_are_refused(seed: int, split: str) -> None:
    with pytest.raises(InputError):
        episode_seed(seed, split)


def test_noise_is_uniform_and_a_function_of_its_place() -> None:
    queries, parts = np.divmod(np.arange(200_000), 8)
    u = uniforms(query_keys(42, 0, queries), parts)
    assert 0.0 < u.min() < u.max() < 1.0
    counts, _ = np.histogram(u, bins=100, range=(0, 1))
    assert ((counts - 2000) ** 2 / 2000).sum() < 149  # chi-square, 99 degrees of freedom, 99.9 %
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / math.sqrt(len(u))
    alone = uniforms(query_keys(42, 0, queries[777:778]), parts[777:778])
    assert alone[0] == u[777]
    for other in (query_keys(43, 0, queries), query_keys(42, 1, queries)):
        assert abs(np.corrcoef(u, uniforms(other, parts))[0, 1]) < 4 / math.sqrt(len(u))


def test_noise_is_the_counter_hash_written_out_in_whole_numbers() -> None:
    golden, word = 0x9E3779B97F4A7C15, 2**64 - 1

    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & word
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & word
        return z ^ (z >> 31)

    for key, stage, query, part in ((0, 0, 0, 0), (42, 2, 12345, 7), (word, 1, 10**9, 999)):
        stage_key = mix((key + (stage + 1) * golden) & word)
        query_key = mix((stage_key + (query + 1) * golden) & word)
        bits = mix((query_key + (part + 1) * golden) & word) >> 11
        keys = query_keys(key, stage, np.array([query]))
        assert keys.tolist() == [query_key]
        assert uniforms(keys, np.array([part])).tolist() == [(bits + 0.5) * 2.0**-53]


def test_the_rate_is_that_of_the_bursts_drawn_for_the_stream() -> None:
    workload = load_scenario(day_scenario()).workload
    day = workload.arrivals.model_copy(update={"qps": 40_000.0, "bursts": 6.0})
    busy = workload.model_copy(update={"arrivals": day})
    stream = QueryStream(busy, episode_seed(3))
    middles_s = (np.arange(2 * STEPS) + 0.5) * (day.day_s / STEPS)
    rates = stream.rate_qps(middles_s)
    arrival_s = stream.draw_until(2 * day.day_s).arrival_s
    counts, _ = np.histogram(arrival_s, bins=2 * STEPS, range=(0.0, 2 * day.day_s))
    expected = rates * (day.day_s / STEPS)
    assert (rates[:STEPS] != rates[STEPS:]).any()  # each day has its own bursts
    assert np.mean((counts - expected) ** 2 / expected) == pytest.approx(1.0, abs=0.2)
    assert QueryStream(busy, episode_seed(3)).rate_qps(middles_s[:5]).tolist() == rates[:5].tolist()
    untouched = QueryStream(busy, episode_seed(3)).draw(len(arrival_s)).arrival_s
    assert untouched.tobytes() == arrival_s.tobytes()  # asking does not draw


@pytest.mark.parametrize("process", KINDS[:2], ids=lambda process: process.kind)
def test_a_stationary_rate_is_constant(process: Any) -> None:
    workload = load_scenario(day_scenario()).workload.model_copy(update={"arrivals": process})
    assert QueryStream(workload, episode_seed(0)).rate_qps(np.array([0.0, 1.0, 99.0])).tolist() == [50.0] * 3
