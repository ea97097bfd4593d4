"""Bodies of requests and responses: JSON, and safetensors, a compact binary format that every language has."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json
from safetensors import SafetensorError
from safetensors.numpy import load, save

from deeprec_env.errors import InputError
from deeprec_env.live.plan import ModelPlan, unsigned
from deeprec_env.live.service.media import JSON

_BYTES_PER_NUMBER = 24
"""Of JSON text, at most; a number in binary has 8."""

_MOST_BYTES, _FEWEST_BYTES = 64 << 20, 64 << 10

_LONGEST_HEAD = 2048
"""Of a binary body, that is remembered."""


class Ranking(NamedTuple):
    """What a request asks: inputs by name, (items, ...), and how many of the best items (None: all scores)."""

    inputs: Mapping[str, NDArray[Any]]
    items: int
    best: int | None


def most_bytes(plan: ModelPlan) -> int:
    """The longest body that may be meant."""
    numbers = plan.most_items * sum(int(np.prod(field.shape)) for field in plan.fields.values())
    return min(_MOST_BYTES, _FEWEST_BYTES + _BYTES_PER_NUMBER * numbers)


class BodyReader:
    """Reads what bodies ask of a model. What the head of a binary body says is checked once, then its values alone."""

    def __init__(self, plan: ModelPlan) -> None:
        self._plan = plan
        self._known = functools.lru_cache(maxsize=4096)(self._known_of)

    def read(self, content_type: str, body: bytes, best: str | None) -> Ranking:
        """`best` is as the address says it; a JSON body may say it too. `InputError` says what is wrong.

        An input with one row is the same for all items; where items are single numbers a flat list will do.
        """
        if content_type == JSON:
            given, told = _of_json(body)
            return self._checked(given, told if best is None else best)
        length = 8 + int.from_bytes(body[:8], "little")
        known = self._known(body[:length], len(body)) if length <= _LONGEST_HEAD else None
        inputs = None if known is None else known.inputs(body)
        if known is None or inputs is None:
            return self._checked(_of_binary(body), best)
        return Ranking(inputs, known.items, _best(best, known.items))

    def _checked(self, given: Mapping[str, Any], best: object) -> Ranking:
        plan = self._plan
        arrays = {name: _array(plan, name, values) for name, values in given.items()}
        items = max((len(array) for array in arrays.values()), default=0)
        if not 1 <= items <= plan.most_items:
            raise InputError("items", items, f"must be at least 1 and at most {plan.most_items}")
        for name, array in arrays.items():
            if len(array) == 1 < items:
                arrays[name] = np.broadcast_to(array, (items, *array.shape[1:]))
        return Ranking(_as_floats(plan, plan.check_inputs(arrays)), items, _best(best, items))

    def _known_of(self, head: bytes, size: int) -> _Known | None:
        """A head that fits the model, as any body of zeros would show; None where values have to be converted."""
        body = head + bytes(size - len(head))
        try:
            ranking = self._checked(_of_binary(body), None)
        except InputError:
            return None
        columns = []
        for place in _places(head, size):
            rows, shape = self._plan.fields[place.name].rows, ranking.inputs[place.name].shape[1:]
            dtype = place.dtype if rows is None else unsigned(place.dtype, rows)
            if dtype is None or (rows is None and dtype != np.float32):
                return None
            columns.append(_Column(place.name, dtype, (place.shape[0], *shape), place.offset, rows))
        return _Known(columns, ranking.items)


class _Column(NamedTuple):
    """An input in a body: of float32 (`rows` None), or whole numbers below `rows`, looked at as unsigned."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    rows: int | None


class _Known(NamedTuple):
    """A head of a binary body."""

    columns: list[_Column]
    items: int

    def inputs(self, body: bytes) -> dict[str, NDArray[Any]] | None:
        """The inputs in a body that begins so, or None if one has a value that no model takes."""
        found = {}
        for name, dtype, shape, offset, rows in self.columns:
            array: NDArray[Any] = np.ndarray(shape, dtype, body, offset)
            if not (np.isfinite(array).all() if rows is None else np.maximum.reduce(array, None) < rows):
                return None
            found[name] = array if shape[0] == self.items else np.broadcast_to(array, (self.items, *shape[1:]))
        return found


def written(ranking: Ranking, scores: NDArray[np.float32], content_type: str) -> bytes:
    """The body of an answer, in the format of the request.

    `scores`, (items, outputs), or of the best items by their first output, best first, `best` (their places among the
    items) and `scores`; in JSON a list for each item where the model has several outputs.
    """
    chosen = None
    if ranking.best is not None:
        chosen = np.argsort(-scores[:, 0], kind="stable")[: ranking.best]
        scores = scores[chosen]
    if content_type == JSON:
        flat = scores[:, 0] if scores.shape[1] == 1 else scores
        payload: dict[str, Any] = {"scores": flat.tolist()}
        if chosen is not None:
            payload = {"best": chosen.tolist()} | payload
        return to_json(payload, inf_nan_mode="null")
    if chosen is None:
        return _scores_head(scores.shape) + scores.tobytes()
    return save({"scores": np.ascontiguousarray(scores), "best": chosen.astype(np.int64)})


@functools.lru_cache
def _scores_head(shape: tuple[int, ...]) -> bytes:
    """What precedes scores of a shape in safetensors."""
    scores = np.zeros(shape, dtype=np.float32)
    return save({"scores": scores})[: -scores.nbytes]


def _of_json(body: bytes) -> tuple[Mapping[str, Any], object]:
    try:
        told = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise InputError("body", f"{len(body)} bytes", f"must be JSON: {error}") from None
    if not isinstance(told, dict) or not isinstance(told.get("inputs"), dict):
        raise InputError("body", type(told).__name__, 'must be a JSON object with "inputs", an object')
    for name in told.keys() - {"inputs", "best"}:
        raise InputError(name, told[name], 'must be left out; there is "inputs", and "best"')
    return told["inputs"], told.get("best")


def _of_binary(body: bytes) -> dict[str, NDArray[Any]]:
    length = 8 + int.from_bytes(body[:8], "little")
    if length > _LONGEST_HEAD:
        return _loaded(body)
    return {
        place.name: np.frombuffer(body, place.dtype, place.numbers, place.offset).reshape(place.shape)
        for place in _places(body[:length], len(body))
    }


class _Place(NamedTuple):
    """Of a tensor in a body."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    numbers: int
    offset: int


@functools.lru_cache(maxsize=4096)
def _places(head: bytes, size: int) -> list[_Place]:
    """Where the tensors are in a body of `size` bytes that begins so: requests of a client are laid out alike."""
    arrays, found = _loaded(head + bytes(size - len(head))), []
    for name, told in from_json(head[8:]).items():
        if name in arrays:  # and not what is said about the whole
            array, offset = arrays[name], len(head) + told["data_offsets"][0]
            found.append(_Place(name, array.dtype, array.shape, array.size, offset))
    return found


def _loaded(body: bytes) -> dict[str, NDArray[Any]]:
    """As the library reads it, which looks at everything."""
    try:
        return load(body)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError("body", f"{len(body)} bytes", f"must be safetensors: {error}") from None


def _array(plan: ModelPlan, name: str, values: Any) -> NDArray[Any]:
    field = plan.fields.get(name)
    if field is None:
        raise InputError("inputs", name, f"must be one of {', '.join(plan.fields)}")
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        raise InputError(f"inputs.{name}", "lists of several lengths", "must be an array") from None
    if array.ndim == 1 and field.shape == (1,):
        array = array.reshape(-1, 1)
    if array.ndim == 0:
        raise InputError(f"inputs.{name}", values, f"must have the shape (items, {', '.join(map(str, field.shape))})")
    return array


def _as_floats(plan: ModelPlan, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
    """Floats that a float32 can hold."""
    found = dict(arrays)
    for name, array in arrays.items():
        if plan.fields[name].rows is None and array.dtype != np.float32:
            with np.errstate(over="ignore"):
                found[name] = array.astype(np.float32)
            if not np.isfinite(found[name]).all():
                raise InputError(f"inputs.{name}", "too large", "must hold finite numbers of type float32")
    return found


def _best(value: object, items: int) -> int | None:
    if value is None:
        return None
    try:
        best = int(value) if isinstance(value, str) else value
    except ValueError:
        best = value
    if not isinstance(best, int) or isinstance(best, bool) or best < 1:
        raise InputError("best", value, "must be a whole number of at least 1")
    return min(best, items)
