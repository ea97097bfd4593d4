"""Cycles and utilisation of fully connected layers on a weight-stationary systolic array, fold by fold.

The rules are those that SCALE-Sim's published figures for RecPipe follow: a layer's weights are cut into folds of the
array's size, and each fold is filled row by row before all items stream through it. Where all inputs of a layer fit
into a part of the rows, several folds of its outputs share the array. RPAccel's own model (`latency.rpaccel.mlp`) is
coarser: one filling of rows plus columns a tile, and no sharing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deeprec_env.errors import InputError
from deeprec_env.latency.rpaccel import NETWORKS, mlp


@dataclass(frozen=True)
class Use:
    """Cycles, and the share of them in which a multiplier holds a weight, times the multipliers: utilisation.

    `work` is the share of the multipliers' cycles that multiply something for an item.
    """

    cycles: int
    utilisation: float
    work: float


def layer_use(inputs: int, outputs: int, items: int, side: int) -> Use:
    """One layer of `inputs` x `outputs` weights on an array of `side` x `side`, for `items` items (all at least 1)."""
    for field, value in (("inputs", inputs), ("outputs", outputs), ("items", items), ("side", side)):
        if value < 1:
            raise InputError(field, value, "must be at least 1")
    cycles = held = 0
    for rows, columns in _fillings(inputs, outputs, side):
        filling = items + (len(columns) + 1) * rows + max(columns)
        cycles += filling
        held += filling * rows * sum(columns)
    multipliers = side * side
    return Use(cycles, held / (multipliers * cycles), inputs * outputs * items / (multipliers * cycles))


def _fillings(inputs: int, outputs: int, side: int) -> Iterator[tuple[int, list[int]]]:
    """What the array holds at a time: the rows, and the columns of every fold that shares it."""
    columns = _cut(outputs, side)
    together = max(1, side // inputs)
    for rows in _cut(inputs, side):
        for begin in range(0, len(columns), together):
            yield rows, columns[begin : begin + together]


def _cut(length: int, side: int) -> list[int]:
    whole, rest = divmod(length, side)
    return [side] * whole + ([rest] if rest else [])


def model_use(model: str, side: int, items: int = 4096) -> Use:
    """All layers of a model, one after another; utilisations are weighted by cycles."""
    if model not in NETWORKS:
        raise InputError("model", model, f"must be one of {', '.join(NETWORKS)}")
    layers = [layer_use(inputs, outputs, items, side) for inputs, outputs in NETWORKS[model].layers]
    cycles = sum(layer.cycles for layer in layers)
    return Use(
        cycles,
        sum(layer.cycles * layer.utilisation for layer in layers) / cycles,
        sum(layer.cycles * layer.work for layer in layers) / cycles,
    )


def analytic_cycles(model: str, side: int, items: int = 4096) -> int:
    """What RPAccel's own model counts for the same layers, without loading weights."""
    if model not in NETWORKS:
        raise InputError("model", model, f"must be one of {', '.join(NETWORKS)}")
    counted = mlp(NETWORKS[model].layers, side)
    return round(counted.fixed + counted.per_item * items)
