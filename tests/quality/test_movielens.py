from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeprec_env import InputError
from deeprec_env.quality.movielens import HEADER, MovieLens
from deeprec_env.quality.sources import Source
from tests.quality.files import ratings, write


def load(path: Path, name: str = "movielens-1m", seed: int = 0, max_malformed: int = 0) -> MovieLens:
    data, _ = Source(name, str(path), seed=seed, max_malformed=max_malformed).load(lambda what, steps: None)
    assert isinstance(data, MovieLens)
    return data


@pytest.fixture
def ratings_dat(tmp_path: Path) -> Path:
    return write(tmp_path / "ratings.dat", ["::".join(map(str, row)) for row in ratings()])


def test_the_last_rating_of_each_user_is_held_out(ratings_dat: Path) -> None:
    data = load(ratings_dat)
    rows = ratings()
    users, movies = sorted({row[0] for row in rows}), sorted({row[1] for row in rows})
    assert data.rows == (len(users), len(movies))
    positives = data.test.categories[data.test.labels > 0]
    for user, movie in positives.tolist():
        own = [(time, place, other) for place, (who, other, _, time) in enumerate(rows) if who == users[user]]
        assert movies[movie] == max(own)[2]
    # The two that rated most of the catalogue have too few movies left for 999 negatives, or one has.
    assert len(data.train) + len(positives) == len(rows)
    assert 60 <= len(positives) <= 61


def test_negatives_were_never_rated_and_none_comes_twice(ratings_dat: Path) -> None:
    data = load(ratings_dat)
    rated = {(row[0], row[1]) for row in ratings()}
    users, movies = sorted({row[0] for row in rated}), sorted({row[1] for row in rated})
    candidates = data.test.categories.reshape(-1, 1000, 2)
    for block in candidates:
        assert len({movie for _, movie in block.tolist()}) == 1000
        assert not any((users[user], movies[movie]) in rated for user, movie in block[1:].tolist())
    first, again, other = data.training(0), data.training(0), data.training(1)
    assert len(first) == 5 * len(data.train)
    np.testing.assert_array_equal(first.categories, again.categories)
    assert (first.categories != other.categories).any()
    drawn = first.categories[first.labels == 0].tolist()
    assert not any((users[user], movies[movie]) in rated for user, movie in drawn)


def test_queries_are_users_with_the_movie_held_out_first(ratings_dat: Path) -> None:
    data = load(ratings_dat)
    queries = data.queries(10, 500, np.random.default_rng(0))
    assert queries.shape == (10, 500)
    labels = data.test.labels[queries]
    assert labels[:, 0].all()
    assert not labels[:, 1:].any()
    assert len(data.queries(10**6, 5, np.random.default_rng(0))) == len(data.test) // 1000
    with pytest.raises(InputError, match="1000"):
        data.queries(1, 1001, np.random.default_rng(0))


def test_seeds_draw_other_negatives(ratings_dat: Path) -> None:
    assert (load(ratings_dat, seed=1).test.categories != load(ratings_dat).test.categories).any()


def test_the_larger_set_has_a_header_and_half_stars(tmp_path: Path) -> None:
    rows = [f"{user},{movie},{rating}.5,{time}" for user, movie, rating, time in ratings(movies=8000)]
    path = write(tmp_path / "ratings.csv", [HEADER.decode(), *rows])
    data = load(path, "movielens-20m")
    assert data.items == 4000
    with pytest.raises(InputError, match=r"line 1: .*must be userId,movieId,rating,timestamp"):
        load(write(path, rows), "movielens-20m")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("1::2::3", "column count 3"),
        ("1::x::3::4", "column MovieID: x"),
        ("1::2::9.55::4", "column rating: 9.55"),
        ("1,2,3,4", "column count 1"),
    ],
)
def test_broken_lines_are_named_or_skipped(line: str, named: str, ratings_dat: Path) -> None:
    written = ratings_dat.read_text(encoding="utf-8").splitlines()
    written.insert(100, line)
    write(ratings_dat, written)
    with pytest.raises(InputError) as raised:
        load(ratings_dat)
    assert f"{ratings_dat}, line 101, {named}" in str(raised.value)
    assert len(load(ratings_dat, max_malformed=1).train) > 0


def test_a_catalogue_that_is_too_small_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "ratings.dat", ["1::2::3::4", "1::3::3::5"])
    with pytest.raises(InputError, match="999 movies not rated"):
        load(path)
