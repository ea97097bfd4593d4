"""Index traces have the locality that was asked for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deeprec_env import InputError
from deeprec_env.models import draw_inputs
from deeprec_env.models.index_traces import LruStack, StackProfile, read_stack_profile, stack_distances, zipf_ranks
from deeprec_env.models.inputs import DenseInput, IndexInput, index_distribution, zipf_indices


def slow_stack_distances(trace: list[int]) -> list[int]:
    """By the definition: the place in a list that every use moves to the front."""
    stack: list[int] = []
    out = []
    for row in trace:
        out.append(stack.index(row) if row in stack else -1)
        if row in stack:
            stack.remove(row)
        stack.insert(0, row)
    return out


@given(st.lists(st.integers(0, 12), max_size=60))
def test_stack_distances_are_those_of_the_definition(trace: list[int]) -> None:
    assert stack_distances(np.array(trace, dtype=np.int64)).tolist() == slow_stack_distances(trace)


@given(
    st.lists(st.lists(st.integers(-1, 9), max_size=40), min_size=1, max_size=4), st.integers(10, 15), st.integers(0, 99)
)
def test_a_trace_has_the_stack_distances_that_it_follows(parts: list[list[int]], warm: int, more: int) -> None:
    """Use by use, over several requests, the rows of the warm start put before it."""
    stack = LruStack(rows=warm + more, warm=warm)
    before = stack.content()[::-1]
    assert len(set(before.tolist())) == warm
    trace = [stack.follow(np.array(part, dtype=np.int64)) for part in parts]
    measured = stack_distances(np.concatenate([before, *trace]))[warm:].tolist()
    wanted = [distance for part in parts for distance in part]
    new = 0
    for have, want in zip(measured, wanted, strict=True):
        if want >= 0:
            assert have == want
        else:  # a new row while there is one, then the one not used for longest
            assert have == (-1 if new < more else warm + more - 1)
            new += 1
    assert len(set(stack.content().tolist())) == len(stack.content()) == stack.size


def test_the_share_of_each_stack_distance_is_the_profiles(tmp_path: Path) -> None:
    (tmp_path / "stack.csv").write_text("distance,probability\n0,0.25\n7,0.125\n300,0.5\ninf,0.125\n", encoding="utf-8")
    profile = read_stack_profile(tmp_path / "stack.csv")
    assert profile == StackProfile((0.0, 7.0, 300.0, math.inf), (0.25, 0.125, 0.5, 0.125))
    stack, uses = LruStack(rows=10**6, warm=profile.deepest + 1), 80_000
    before = stack.content()[::-1]
    trace = stack.follow(profile.draw(np.random.default_rng(0), uses))
    distances = stack_distances(np.concatenate([before, trace]))[len(before) :]
    values, counts = np.unique(distances, return_counts=True)
    assert values.tolist() == [-1, 0, 7, 300]
    assert stats.chisquare(counts, uses * np.array([0.125, 0.25, 0.125, 0.5])).pvalue > 1e-3


def test_inputs_follow_a_stack_profile_in_every_table_from_request_to_request(tmp_path: Path) -> None:
    (tmp_path / "stack.csv").write_text("distance,probability\n3,1\n", encoding="utf-8")
    distribution = index_distribution(f"stack:{tmp_path / 'stack.csv'}")
    spec = {"indices": IndexInput((3, 4), 50), "steps": IndexInput((6,), 50), "dense": DenseInput(2)}
    rng = np.random.default_rng(0)
    batches = [draw_inputs(spec, 5, rng, distribution) for _ in range(2)]
    assert batches[0]["indices"].shape == (5, 3, 4)
    assert batches[0]["steps"].shape == (5, 6)
    for table in range(3):
        trace = np.concatenate([batch["indices"][:, table].reshape(-1).numpy() for batch in batches])
        assert stack_distances(trace).tolist() == [-1] * 4 + [3] * 36
    trace = np.concatenate([batch["steps"].reshape(-1).numpy() for batch in batches])
    assert stack_distances(trace).tolist() == [-1] * 4 + [3] * 56


@pytest.mark.parametrize("exponent", [0.4, 1.0, 1.3, 2.5])
def test_zipf_ranks_have_the_laws_frequencies(exponent: float) -> None:
    rows, count = 400, 100_000
    ranks = zipf_ranks(np.random.default_rng(1), rows, count, exponent)
    assert (len(ranks), ranks.min() >= 0, ranks.max() < rows) == (count, True, True)
    weights = np.arange(1.0, rows + 1) ** -exponent
    expected = count * weights / weights.sum()
    tail = int(np.argmax(np.append(expected < 5, True)))  # cells of fewer than five go together
    observed = np.bincount(ranks, minlength=rows)
    pooled = [np.append(values[:tail], values[tail:].sum()) for values in (observed, expected)]
    used = pooled[1] > 0
    assert stats.chisquare(pooled[0][used], pooled[1][used]).pvalue > 1e-3


def test_zipf_with_an_exponent_scatters_popular_rows_and_zipf_alone_keeps_its_meaning() -> None:
    spec = {"indices": IndexInput((2, 30), 1000)}
    drawn = draw_inputs(spec, 500, np.random.default_rng(2), "zipf:1.05")["indices"].numpy()
    assert drawn.shape == (500, 2, 30)
    popular = np.argsort(np.bincount(drawn.ravel(), minlength=1000))[::-1][:3]
    assert popular.tolist() == [0, 2_654_435_761 % 1000, 2 * 2_654_435_761 % 1000]
    plain = draw_inputs(spec, 500, np.random.default_rng(2), "zipf")["indices"].numpy()
    assert (plain == zipf_indices(np.random.default_rng(2), 1000, (500, 2, 30))).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normal", "must be uniform, zipf, zipf:EXPONENT or stack:FILE"),
        ("zipf:", "its exponent must be above 0"),
        ("zipf:-1", "its exponent must be above 0"),
        ("zipf:steep", "its exponent must be above 0"),
        ("stack:", "must be uniform"),
        ("stack:nowhere.csv", "must be a readable CSV"),
    ],
)
def test_bad_distributions_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        index_distribution(text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a,b\n1,2\n", "must hold the columns distance, probability"),
        ("distance,probability\n", "must hold the columns"),
        ("distance,probability\n1,0.5\n1,0.5\n", r"line 3, distance: got '1'; must be whole or inf, each once"),
        ("distance,probability\n1.5,1\n", r"line 2, distance: got '1.5'"),
        ("distance,probability\n1,-1\n", r"line 2, probability: got '-1'"),
        ("distance,probability\n1\n", "line 2, probability: got None"),
        ("distance,probability\n1,0\n", "of sum 1, not 0"),
        ("distance,probability\n1,0.3\n7,0.1\n", "of sum 1, not 0.4"),
        ("distance,probability\n1,inf\n", "of sum 1, not inf"),
    ],
)
def test_bad_stack_profiles_are_refused_with_their_line(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "stack.csv").write_text(body, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        index_distribution(f"stack:{tmp_path / 'stack.csv'}")


def test_distances_need_so_many_rows(tmp_path: Path) -> None:
    (tmp_path / "stack.csv").write_text("distance,probability\n50,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="distances must be below the 50 rows of indices"):
        draw_inputs({"indices": IndexInput((2,), 50)}, 1, np.random.default_rng(0), f"stack:{tmp_path / 'stack.csv'}")
