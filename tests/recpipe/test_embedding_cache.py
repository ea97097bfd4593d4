"""The split embedding cache against brute force, stack distances, closed forms and the published points."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeprec_env import InputError
from deeprec_env.recpipe.chip.cache_sweep import (
    COPIES,
    EXPONENT,
    RATIOS,
    ROWS,
    SHARES,
    SHIFT,
    SIZES_MIB,
    TABLES,
    agreement,
    best_shares,
    read_points,
    sweep,
)
from deeprec_env.recpipe.chip.embedding_cache import (
    che_hit_rate,
    filtered,
    hit_rate,
    split_cache,
    zipf_trace,
    zipf_weights,
)
from deeprec_env.scenario.parts import Ints

traces = st.lists(st.integers(0, 9), min_size=1, max_size=60).map(lambda rows: np.array(rows, dtype=np.int64))


def stack_distance_hits(rows: list[int], entries: int) -> int:
    """Mattson: an access hits an LRU cache if fewer than `entries` other rows came since the last of its kind."""
    hits = 0
    for now, row in enumerate(rows):
        before = [place for place in range(now) if rows[place] == row]
        hits += bool(before) and len(set(rows[before[-1] + 1 : now])) < entries
    return hits


def fifo_hits(rows: list[int], entries: int) -> int:
    queue: deque[int] = deque(maxlen=entries)
    hits = 0
    for row in rows:
        if row in queue:
            hits += 1
        else:
            queue.append(row)
    return hits


@given(rows=traces, entries=st.integers(1, 11))
def test_lru_is_its_stack_distances(rows: Ints, entries: int) -> None:
    hits = hit_rate(rows, entries, "lru", warm=False) * len(rows)
    assert hits == pytest.approx(stack_distance_hits(rows.tolist(), entries))


@given(rows=traces, entries=st.integers(1, 11))
def test_fifo_is_its_queue(rows: Ints, entries: int) -> None:
    assert hit_rate(rows, entries, "fifo", warm=False) * len(rows) == pytest.approx(fifo_hits(rows.tolist(), entries))


@given(rows=traces, entries=st.integers(1, 11))
def test_a_warm_cache_goes_on_from_a_first_pass(rows: Ints, entries: int) -> None:
    twice = [*rows.tolist(), *rows.tolist()]
    warm = hit_rate(rows, entries, "lru") * len(rows)
    assert warm == pytest.approx(stack_distance_hits(twice, entries) - stack_distance_hits(rows.tolist(), entries))


@pytest.mark.parametrize("policy", ["lru", "fifo"])
def test_zipf_hit_rates_are_ches_and_exact_for_one_line(policy: str) -> None:
    rows = zipf_trace(400_000, 1, 3000, 1.0, 0.0, np.random.default_rng(1))
    popularity = zipf_weights(3000, 1.0, 0.0)
    assert hit_rate(rows, 1, policy) == pytest.approx(float((popularity**2).sum()), rel=0.03)
    for entries in (30, 300, 1500):
        assert hit_rate(rows, entries, policy) == pytest.approx(che_hit_rate(popularity, entries, policy), rel=0.01)
    assert che_hit_rate(popularity, 3000, policy) == 1.0


def test_the_parts_of_a_split_cache_add_up() -> None:
    rows = zipf_trace(20_000, 2, 5000, 1.0, 1.0, np.random.default_rng(0))
    second = filtered(rows, 0.25)
    cache = split_cache(rows, second, 64 * 1024, 0.75, "lru")
    assert cache.entries == (384, 128)
    assert cache.hit_rates == (hit_rate(rows, 384, "lru"), hit_rate(second, 128, "lru"))
    assert cache.of_accesses == pytest.approx((cache.hit_rates[0] + cache.hit_rates[1] / 4) / 1.25)
    assert cache.of_bytes == pytest.approx((cache.hit_rates[0] * 16 + cache.hit_rates[1] * 128 / 4) / 48)
    assert cache.cycles == pytest.approx(1 * cache.of_bytes + 100 * (1 - cache.of_bytes))
    assert split_cache(rows, second, 64 * 1024, 0.0).hit_rates[0] == 0.0


@pytest.fixture(scope="module")
def synthetic() -> Ints:
    """A fifth of a million look-ups by the law fitted to the published hit rates."""
    return zipf_trace(40_000, TABLES, ROWS, EXPONENT, SHIFT, np.random.default_rng(0))


def test_the_best_share_shrinks_as_the_filter_lets_more_through(synthetic: Ints) -> None:
    """Published, by bytes: 0.7 at a filter of 1/16, 0.5 at 1/8, 0.3 at 1/4. 1 MiB, for one of four copies."""
    best = []
    for ratio in (1 / 16, 1 / 8, 1 / 4):
        second = filtered(synthetic, ratio)
        shares = [tenth / 10 for tenth in range(11)]
        best.append(max(shares, key=lambda share: split_cache(synthetic, second, 2**20 // COPIES, share).of_bytes))
    assert best == pytest.approx([0.7, 0.5, 0.3], abs=0.1)
    assert best[0] > best[1] > best[2]


def test_the_synthetic_trace_has_the_published_hit_rates(shared: Path, synthetic: Ints) -> None:
    published = read_points(shared / "recpipe" / "embedding_cache.csv")
    assert len(published) == 735
    known = {point.cache.entries[0]: point.cache.hit_rates[0] for point in published}
    for entries in (2048 * 4, 4096 * 4, 8192 * 4):
        assert hit_rate(synthetic, entries // COPIES) == pytest.approx(known[entries], abs=0.01)
    best = best_shares(published)
    assert {best[0.0625, mib] for mib in SIZES_MIB} == {0.7}
    assert {best[0.125, mib] for mib in SIZES_MIB} == {0.5}


def test_a_sweep_holds_every_point_and_agrees_with_itself() -> None:
    points = sweep(1000)
    assert len(points) == len(RATIOS) * len(SIZES_MIB) * len(SHARES) == 735
    agreed = agreement(points, points)
    assert agreed["bytes"]["rank_correlation"] == pytest.approx(1.0)
    assert agreed["stage 2"]["largest_difference"] == 0.0


def test_bad_caches_are_refused(tmp_path: Path) -> None:
    rows = np.array([1, 2])
    for arguments, message in (
        ((rows, 2, "random"), "policy: got 'random'"),
        ((rows, -1), "entries: got -1"),
        ((rows[:0], 2), "rows: got 0"),
        ((-rows, 2), "rows: got 2"),
    ):
        with pytest.raises(InputError, match=message):
            hit_rate(*arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="share"):
        split_cache(rows, rows, 1024, 1.5)
    with pytest.raises(InputError, match="ratio"):
        filtered(rows, 0.0)
    with pytest.raises(InputError, match="samples"):
        sweep(5)
    path = tmp_path / "points.csv"
    path.write_text("filter_ratio,entries_stage1\n0.1,none\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2, entries_stage1"):
        read_points(path)
    path.write_text("filter_ratio,entries_stage1\n", encoding="utf-8")
    with pytest.raises(InputError, match="must hold at least one point"):
        read_points(path)
