"""The data sets by name: where they come from, and how a model is trained on each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeprec_env.errors import InputError
from deeprec_env.quality.criteo import load_criteo
from deeprec_env.quality.data import Dataset, Progress
from deeprec_env.quality.lines import Malformed
from deeprec_env.quality.movielens import load_movielens
from deeprec_env.quality.synthetic import make_synthetic

DLRM_MODELS = ("dim_4", "dim_16", "dim_32")
NEUMF_MODELS = ("neumf_small", "neumf_medium", "neumf_large")


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a model learns; rates are of Adam's first step and fall linearly to 0."""

    epochs: int
    batch: int
    rate: float
    embedding_rate: float


@dataclass(frozen=True)
class Kind:
    """What can be done with a data set: the models that rank its candidates, their recipe, the items of a query."""

    models: tuple[str, ...]
    recipe: Recipe
    items: tuple[int, ...]


CLICK_ITEMS = (4096, 2048, 1024, 512)

KINDS = {
    "synthetic": Kind(DLRM_MODELS, Recipe(2, 2048, 4e-3, 1.6e-2), CLICK_ITEMS),
    "criteo-kaggle": Kind(DLRM_MODELS, Recipe(1, 2048, 1e-3, 1e-3), CLICK_ITEMS),
    "criteo-terabyte": Kind(DLRM_MODELS, Recipe(1, 2048, 1e-3, 1e-3), CLICK_ITEMS),
    "movielens-1m": Kind(NEUMF_MODELS, Recipe(10, 2048, 1e-3, 1e-3), (1000, 500)),
    "movielens-20m": Kind(NEUMF_MODELS, Recipe(3, 16384, 1e-3, 1e-3), (4000, 2000, 1000)),
}


@dataclass(frozen=True)
class Source:
    """Which data: a name of `KINDS`, its file where it has one, and how much of it is read.

    `lines`: most lines of a Criteo log (None: all). `max_rows`: most rows of an embedding table for it (None: as many
    as there are categories). `max_malformed`: lines that may be skipped. `seed`: of what is drawn.
    """

    name: str
    path: str | None = None
    lines: int | None = None
    max_rows: int | None = None
    max_malformed: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise InputError("data", self.name, f"must be one of {', '.join(KINDS)}")
        if self.name == "synthetic" and self.path is not None:
            raise InputError("path", self.path, "must not be given for synthetic data")
        if self.name != "synthetic" and self.path is None:
            raise InputError("path", None, f"must be given for {self.name}")
        for field in ("lines", "max_rows"):
            value = getattr(self, field)
            if value is not None and not self.name.startswith("criteo"):
                raise InputError(field, value, "is for Criteo's logs alone")
            if value is not None and value < 2:
                raise InputError(field, value, "must be at least 2")
        if self.seed < 0:
            raise InputError("seed", self.seed, "must be a whole number of at least 0")

    @property
    def kind(self) -> Kind:
        """What can be done with it."""
        return KINDS[self.name]

    def settings(self) -> dict[str, Any]:
        """All that the data depends on, for JSON; `Source(**settings)` is the same data."""
        return {key: getattr(self, key) for key in ("name", "path", "lines", "max_rows", "max_malformed", "seed")}

    def load(self, progress: Progress) -> tuple[Dataset, Malformed]:
        """The data, and the account of lines that were skipped."""
        malformed = Malformed(self.max_malformed)
        if self.path is None:
            return make_synthetic(self.seed, progress), malformed
        path = Path(self.path)
        if self.name.startswith("criteo"):
            data: Dataset = load_criteo(
                path, lines=self.lines, max_rows=self.max_rows, malformed=malformed, progress=progress
            )
        else:
            separator = b"::" if self.name == "movielens-1m" else b","
            most = max(self.kind.items)
            data = load_movielens(
                path, separator=separator, items=most, seed=self.seed, malformed=malformed, progress=progress
            )
        return data, malformed
