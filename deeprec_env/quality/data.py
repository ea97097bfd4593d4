"""The one form in which all click data comes, and how queries are drawn from what was held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.memory import check_memory

Progress = Callable[[str, int], None]
"""Called with what is being done, and the steps done since."""

Floats32 = NDArray[np.float32]
Indices = NDArray[np.int64]


def check_queries(count: int, items: int) -> None:
    """Raise `InputError` for numbers of queries that are none, or whose candidates need more memory than there is."""
    whole("queries", count, 1)
    check_memory("queries", f"{count} of {items} items", 32.0 * count * items)


@dataclass(frozen=True)
class Clicks:
    """Candidates that were or were not clicked.

    `labels` float32 (n,), 1 for a click; `dense` float32 (n, inputs); `categories` int32 (n, tables), each an
    index into its table.
    """

    labels: Floats32
    dense: Floats32
    categories: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice) -> Clicks:
        return Clicks(self.labels[chosen], self.dense[chosen], self.categories[chosen])


@dataclass(frozen=True)
class Dataset:
    """Click data: what models learn from, what they are tested on, and the `rows` of each embedding table.

    A query is any set of held-out candidates: users are not told apart.
    """

    rows: tuple[int, ...]
    train: Clicks
    test: Clicks

    @property
    def ideal_clicks(self) -> int | None:
        """Clicks that an ideal list of a query holds; None: as many as it is long (RecPipe's rule on Criteo)."""
        return None

    def training(self, epoch: int) -> Clicks:
        """What to learn from in this epoch, from 0."""
        return self.train

    def queries(self, count: int, items: int, rng: np.random.Generator) -> Indices:
        """Candidates of `count` queries as indices into `test`, (count, items); no candidate twice in a query.

        Queries share no candidates as long as the held-out data lasts; then it is shuffled and dealt again. The first n
        columns are queries of n items, whatever n.
        """
        if not 1 <= items <= len(self.test):
            raise InputError("items", items, f"must be from 1 to the {len(self.test)} held-out candidates")
        check_queries(count, items)
        each = len(self.test) // items
        deals = [rng.permutation(len(self.test))[: each * items].reshape(each, items) for _ in range(-(-count // each))]
        return np.concatenate(deals)[:count]
