"""MovieLens 1M and 20M as implicit feedback: who rated what, the last of each user held out among sampled negatives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeprec_env.errors import InputError
from deeprec_env.quality.data import Clicks, Dataset, Floats32, Indices, Progress
from deeprec_env.quality.lines import Format, Malformed, read_blocks

NEGATIVES = 4
"""Sampled negatives for every positive in training (He et al., WWW 2017)."""

TEST_USERS = 2000
"""Most users that are tested, drawn at random: each has its own candidates."""

_WHOLE = (rb"\d{1,15}", "must be a whole number")
_RATING = ("rating", rb"\d(?:\.\d)?", "must be a rating from 0 to 5")

FORMATS = {
    b"::": Format(b"::", [("UserID", *_WHOLE), ("MovieID", *_WHOLE), _RATING, ("Timestamp", *_WHOLE)]),
    b",": Format(b",", [("userId", *_WHOLE), ("movieId", *_WHOLE), _RATING, ("timestamp", *_WHOLE)]),
}

HEADER = b"userId,movieId,rating,timestamp"

Keys = NDArray[np.int64]


@dataclass(frozen=True)
class MovieLens(Dataset):
    """Implicit feedback. `test` is the candidates of each tested user one after another, the positive first.

    `items` is how many each user has. `seen` are all of (user x movies + movie), sorted.
    """

    seen: Keys
    items: int
    seed: int

    @property
    def ideal_clicks(self) -> int | None:
        """One: the movie held out."""
        return 1

    def training(self, epoch: int) -> Clicks:
        """The positives and fresh negatives, in no order that a model could use."""
        rng = np.random.default_rng([self.seed, 1, epoch])
        users = np.repeat(self.train.categories[:, 0], NEGATIVES).astype(np.int64)
        movies = rng.integers(self.rows[1], size=len(users))
        again = np.flatnonzero(_contains(self.seen, users * self.rows[1] + movies))
        while again.size:
            movies[again] = rng.integers(self.rows[1], size=again.size)
            again = again[_contains(self.seen, users[again] * self.rows[1] + movies[again])]
        negatives = np.stack([users, movies], axis=1).astype(np.int32)
        return _clicks(
            np.concatenate([self.train.labels, np.zeros(len(users), np.float32)]),
            np.concatenate([self.train.categories, negatives]),
        )

    def queries(self, count: int, items: int, rng: np.random.Generator) -> Indices:
        """Candidates of `count` users, (count, items): the movie held out in the first column, then negatives."""
        users = len(self.test) // self.items
        if not 1 <= items <= self.items:
            raise InputError("items", items, f"must be from 1 to the {self.items} candidates of a user")
        return rng.permutation(users)[:count, np.newaxis] * self.items + np.arange(items)


def load_movielens(
    path: Path, *, separator: bytes, items: int, seed: int, malformed: Malformed, progress: Progress
) -> MovieLens:
    """MovieLens from ratings.dat (`separator` "::", the 1M set) or ratings.csv (",", with a header, the 20M set).

    The last rating of each user by time is held out, of up to `TEST_USERS` users with at least two, each among
    `items` - 1 movies that it never rated. Every rating is a positive.
    """
    user_ids, movie_ids, times = _read(path, separator, malformed, progress)
    users, user = np.unique(user_ids, return_inverse=True)
    movies, movie = np.unique(movie_ids, return_inverse=True)
    order = np.lexsort((times, user))  # stable: ratings of one second stay in the file's order
    user, movie = user[order], movie[order]
    keys = user * len(movies) + movie
    seen, first_of_last = np.unique(keys[::-1], return_index=True)
    kept = np.sort(len(keys) - 1 - first_of_last)  # of a movie rated twice the later rating counts
    user, movie = user[kept], movie[kept]
    last = np.append(user[1:] != user[:-1], True)
    alone = last & np.insert(last[:-1], 0, True)
    held_out = np.flatnonzero(last & ~alone)
    unseen = len(movies) - np.bincount(user, minlength=len(users))
    held_out = held_out[unseen[user[held_out]] >= items - 1]
    if not held_out.size:
        raise InputError("path", str(path), f"must hold a user with two ratings and {items - 1} movies not rated")
    rng = np.random.default_rng([seed, 0])
    tested = np.sort(rng.permutation(held_out)[:TEST_USERS])
    training = np.setdiff1d(np.arange(len(user)), tested)
    candidates = np.empty((len(tested), items), dtype=np.int32)
    for row, rating in enumerate(tested.tolist()):
        begin, end = np.searchsorted(seen, [user[rating] * len(movies), (user[rating] + 1) * len(movies)])
        rated = seen[begin:end] - user[rating] * len(movies)
        others = np.delete(np.arange(len(movies)), rated)
        candidates[row] = np.append(movie[rating], rng.choice(others, items - 1, replace=False))
    labels = np.zeros(candidates.shape, dtype=np.float32)
    labels[:, 0] = 1.0
    pairs = np.stack([np.repeat(user[tested], items), candidates.ravel()], axis=1)
    return MovieLens(
        rows=(len(users), len(movies)),
        train=_clicks(np.ones(len(training), np.float32), np.stack([user[training], movie[training]], axis=1)),
        test=_clicks(labels.ravel(), pairs),
        seen=seen,
        items=items,
        seed=seed,
    )


def _read(path: Path, separator: bytes, malformed: Malformed, progress: Progress) -> tuple[Keys, Keys, Keys]:
    """Users, movies and times, line by line."""
    blocks = []
    for number, lines in enumerate(read_blocks(path)):
        if number == 0 and separator == b",":
            if lines[0][1] != HEADER:
                found = lines[0][1][:60].decode("utf-8", "replace")
                raise InputError("path", f"{path}, line 1: {found}", f"must be {HEADER.decode()}")
            lines = lines[1:]
        rows = FORMATS[separator].rows(path, lines, malformed)
        if rows:
            columns = np.array(rows, dtype=np.bytes_)
            blocks.append(columns[:, (0, 1, 3)].astype(np.int64))
        progress(f"read {path.name}", len(rows))
    if not blocks:
        raise InputError("path", str(path), "must hold at least one well-formed line")
    ratings = np.concatenate(blocks)
    return ratings[:, 0], ratings[:, 1], ratings[:, 2]


def _clicks(labels: Floats32, pairs: NDArray[np.integer]) -> Clicks:
    return Clicks(labels, np.empty((len(labels), 0), np.float32), pairs.astype(np.int32))


def _contains(ordered: Keys, wanted: Keys) -> NDArray[np.bool_]:
    place = np.searchsorted(ordered, wanted).clip(max=len(ordered) - 1)
    return np.asarray(ordered[place] == wanted, dtype=np.bool_)
