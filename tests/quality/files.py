"""Files in the real formats, written by the tests."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

CRITEO_LINES = 4200


def criteo_lines(count: int = CRITEO_LINES) -> list[str]:
    """Lines as in train.txt: clicks depend on the first integer and the first category; some columns are empty."""
    return _criteo_lines()[:count]


@functools.cache
def _criteo_lines(seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(CRITEO_LINES):
        integers = [int(value) for value in rng.integers(-2, 400, 13)]
        categories = [int(value) for value in rng.zipf(1.5, 26).clip(max=300)]
        odds = 1.5 * np.log1p(max(integers[0], 0)) - 8.0 + 2.0 * (categories[0] % 3)
        label = int(rng.random() < 1.0 / (1.0 + np.exp(-odds)))
        shown = [str(value) if rng.random() > 0.1 else "" for value in integers[1:]]
        hexes = [f"{value * 2654435761 % 2**32:08x}" if rng.random() > 0.05 else "" for value in categories[1:]]
        first = f"{categories[0] * 2654435761 % 2**32:08x}"
        lines.append("\t".join([str(label), str(integers[0]), *shown, first, *hexes]))
    return lines


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ratings(users: int = 60, movies: int = 1200, seed: int = 0) -> list[tuple[int, int, int, int]]:
    """(user, movie, rating, time), with gaps in the ids; users like movies of their own remainder by 4."""
    rng = np.random.default_rng(seed)
    lines = []
    for user in range(users):
        liked = rng.permutation(np.arange(user % 4, movies, 4))[:30]
        for movie in liked.tolist():
            lines.append((10 * user + 1, 3 * movie + 2, int(rng.integers(1, 6)), int(rng.integers(10**9, 10**9 + 500))))
    # Every movie is rated by somebody, so that all are in the catalogue.
    lines += [(10 * users + 1, 3 * movie + 2, 3, 10**9 + movie) for movie in range(0, movies, 9)]
    lines += [(10 * (users + 1) + 1, 3 * movie + 2, 3, 10**9 + movie) for movie in range(movies) if movie % 9]
    return lines
