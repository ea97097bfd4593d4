"""What a model takes, returns and occupies, as its workers are told it: plain data, made without torch for `empty`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.live.shared_memory import ArrayPlace, laid_out
from deeprec_env.memory import check_memory
from deeprec_env.scenario.bounds import MOST_ITEMS

EMPTY = "empty"
"""The model that does nothing and scores every item 0: what remains is the cost of serving itself."""

DEVICES = ("cpu", "cuda")

_MOST_DRAWN, _MOST_DRAWN_BYTES = 16_384, 256 << 20
"""Items whose inputs are drawn before a run, and most memory for them."""

_BYTES_PER_WORKER, _BYTES_PER_EMPTY_WORKER = 450 << 20, 120 << 20
"""About what a worker takes besides: the interpreter, the package and torch."""


@dataclass(frozen=True)
class InputField:
    """An input of a model: an array (items, *shape); of int64 in [0, rows), or of float32 (`rows` is None)."""

    shape: tuple[int, ...]
    rows: int | None

    @property
    def dtype(self) -> str:
        """NumPy's name of its type."""
        return "float32" if self.rows is None else "int64"


@dataclass(frozen=True)
class ModelPlan:
    """A model and where its arrays are in the shared block.

    `weights` by name, one copy for all workers; `drawn`: inputs by name, (drawn items, ...); `slots`: of each worker,
    its own inputs by name, (most items, ...); `scores`: of each, float32 (most items, outputs).
    """

    model: str
    rows_scale: float
    device: str
    fields: Mapping[str, InputField]
    outputs: int
    most_items: int
    weights: Mapping[str, ArrayPlace]
    drawn: Mapping[str, ArrayPlace]
    slots: Sequence[Mapping[str, ArrayPlace]]
    scores: Sequence[ArrayPlace]
    size_bytes: int

    @classmethod
    def of(
        cls,
        model: str,
        rows_scale: float,
        device: str,
        fields: Mapping[str, InputField],
        outputs: int,
        weights: Mapping[str, tuple[str, tuple[int, ...]]],
        workers: int,
        most_items: int,
    ) -> ModelPlan:
        """The plan for some workers and requests of at most so many items; `weights` by name: type and shape.

        Raises `InputError` where there is not enough memory.
        """
        item_bytes = sum(ArrayPlace(field.dtype, field.shape).size_bytes for field in fields.values())
        drawn_items = max(most_items, min(_MOST_DRAWN, _MOST_DRAWN_BYTES // item_bytes))
        arrays = [ArrayPlace(*weight) for weight in weights.values()]
        arrays += [ArrayPlace(field.dtype, (drawn_items, *field.shape)) for field in fields.values()]
        for _ in range(workers):
            arrays += [ArrayPlace(field.dtype, (most_items, *field.shape)) for field in fields.values()]
            arrays.append(ArrayPlace("float32", (most_items, outputs)))
        found, size_bytes = laid_out(arrays)
        per_worker = _BYTES_PER_EMPTY_WORKER if model == EMPTY else _BYTES_PER_WORKER
        check_memory("rows_scale", rows_scale, size_bytes + per_worker * workers)
        places = iter(found)

        def named(names: Iterable[str]) -> dict[str, ArrayPlace]:
            return {name: next(places) for name in names}

        shared, drawn = named(weights), named(fields)
        by_worker = [(named(fields), next(places)) for _ in range(workers)]
        slots, scores = [slot for slot, _ in by_worker], [each for _, each in by_worker]
        return cls(
            model, rows_scale, device, dict(fields), outputs, most_items, shared, drawn, slots, scores, size_bytes
        )

    @property
    def drawn_items(self) -> int:
        """Items whose inputs are drawn before the run."""
        return min(place.shape[0] for place in self.drawn.values())

    def to_json(self, worker: int) -> dict[str, Any]:
        """What one worker is told."""
        return {
            "model": self.model,
            "rows_scale": self.rows_scale,
            "device": self.device,
            "weights": {name: place.to_json() for name, place in self.weights.items()},
            "drawn": {name: place.to_json() for name, place in self.drawn.items()},
            "slot": {name: place.to_json() for name, place in self.slots[worker].items()},
            "scores": self.scores[worker].to_json(),
        }

    def check_inputs(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs by name as arrays that fit a slot, all of as many items; `InputError` for any that no model takes."""
        for name in inputs.keys() - self.fields.keys():
            raise InputError(f"inputs.{name}", "an input", f"must be left out; inputs are {', '.join(self.fields)}")
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        for name, field in self.fields.items():
            if name not in inputs:
                raise InputError(f"inputs.{name}", None, "is needed")
            try:
                array = np.asarray(inputs[name])
            except ValueError:
                raise InputError(f"inputs.{name}", "lists of several lengths", "must be an array") from None
            items = array.shape[0] if array.ndim else 0
            if array.shape[1:] != field.shape or not 1 <= items <= self.most_items:
                allowed = f"must have the shape (items, {', '.join(map(str, field.shape))}), at most {self.most_items}"
                raise InputError(f"inputs.{name}", array.shape, f"{allowed} items")
            kinds = "iuf" if field.rows is None else "iu"
            if array.dtype.kind not in kinds:
                raise InputError(f"inputs.{name}", array.dtype.name, f"must hold numbers of type {field.dtype}")
            if field.rows is None and not np.isfinite(array).all():
                raise InputError(f"inputs.{name}", "not finite", "must hold finite numbers")
            if field.rows is not None:
                dtype = unsigned(array.dtype, field.rows)
                if dtype is None:
                    array, dtype = array.astype(np.int64), np.dtype(np.uint64)
                if array.view(dtype).max() >= field.rows:  # negative: large
                    found = int(array.min()) if int(array.min()) < 0 else int(array.max())
                    raise InputError(f"inputs.{name}", found, f"must be at least 0 and below {field.rows}")
            arrays[name] = array
        if len({len(array) for array in arrays.values()}) != 1:
            raise InputError("inputs", [len(array) for array in arrays.values()], "must have equally many items")
        return arrays


@lru_cache
def unsigned(dtype: np.dtype[Any], rows: int) -> np.dtype[Any] | None:
    """Whole numbers of the same bytes, in which negative ones are at least `rows`; None where they need not be."""
    if dtype.kind == "i" and rows > np.iinfo(dtype).max + 1:
        return None
    return np.dtype(dtype.str.replace("i", "u"))


EMPTY_FIELDS = {"item": InputField((1,), 2**31)}
"""What the empty model is sent, and does not look at."""

LARGEST_REQUEST = MOST_ITEMS
