"""RPAccel, RecPipe's analytic accelerator: how long a stage takes on one unit of it, in cycles of 8 ns.

After the published model of RecPipe (MICRO 2021), written anew from its description. A query's components follow one
another: PCIe in, embedding lookups, bottom MLP, top MLP, sort, PCIe out. Each is affine in the items, apart from the
sort, which is rounded down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import PrivateAttr, model_validator

from deeprec_env.errors import InputError
from deeprec_env.latency.row_kinds import CLOCK_S, RPACCEL
from deeprec_env.latency.rows import RowModel
from deeprec_env.scenario.parts import LATENCIES, Floats, Ints

TABLES, ELEMENT_BYTES = 26, 4
"""Embedding tables, with one lookup each, and bytes of a number."""

_DRAM_CYCLES, _SRAM_BYTES, _LOAD_BYTES = 100.0, 64, 1e6
"""Latency of DRAM, bytes that SRAM gives in a cycle, most bytes of weights loaded at once."""

_MISSES = 0.5
"""Share of the embeddings that come from DRAM."""

_WEIGHT_SRAM_BYTES = 4 * 2**20
"""The whole chip's SRAM for weights; a unit of size k has a k-th part of it."""


@dataclass(frozen=True)
class Network:
    """A recommendation model: embedding dimension, and the widths of its bottom and top MLP, inputs included."""

    dim: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer."""
        return [pair for widths in (self.bottom, self.top) for pair in pairwise(widths)]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(ELEMENT_BYTES * inputs * outputs for inputs, outputs in self.layers)


def _network(dim: int, bottom: tuple[int, ...], top: tuple[int, ...]) -> Network:
    return Network(dim, bottom, ((TABLES + 1) * dim, *top))


NETWORKS = {
    "dim_4": _network(4, (13, 64, 4), (64, 1)),
    "dim_16": _network(16, (13, 64, 16), (64, 1)),
    "dim_32": _network(32, (13, 512, 256, 128, 64, 32), (96, 1)),
}


class Unit(NamedTuple):
    """One of k equal parts of the chip: side of its systolic array and its share of DRAM bandwidth in GiB/s."""

    side: int
    bandwidth_gib: float

    @property
    def cycles_per_byte(self) -> float:
        """Of DRAM."""
        return 1.0 / (self.bandwidth_gib * 2**30) / CLOCK_S


UNITS = {1: Unit(128, 32.0), 4: Unit(64, 8.0), 16: Unit(32, 2.0), 64: Unit(16, 0.125)}
"""By unit size k, as published."""


@dataclass(frozen=True)
class Fidelity:
    """Which errors of the published model are mended; none of them in the logged runs."""

    pcie_in_time: bool = False
    """PCIe's figures (5 + 12 items / 4096, times 1000) are nanoseconds, 8 to a cycle, and not cycles themselves.

    The original calls the figures before that milliseconds; so read, a transfer of 4096 items would take 17 ms, more
    than the whole stage takes on the GPU that they were measured on (10.5 ms), and as microseconds they fit its bus.
    """

    sort_in_cycles: bool = False
    """The sort takes 16 items a cycle; its cycles are not divided by the clock's 8 ns once more."""

    even_bandwidth: bool = False
    """A 64th of the chip has a 64th of the bandwidth, 0.5 GiB/s, and not a 256th."""

    weights_stay: bool = False
    """Weights that fit the unit's share of the 4 MiB weight SRAM are not loaded again for every query."""


FIDELITIES = {"artifact": Fidelity(), "corrected": Fidelity(True, True, True, True)}


class Cycles(NamedTuple):
    """What a component takes: `fixed` + `per_item` * items, in cycles."""

    fixed: float
    per_item: float


def pcie_in(fidelity: Fidelity) -> Cycles:
    """Sending a query's items from the host."""
    return Cycles(5000.0 / _pcie_units(fidelity), 12000.0 / 4096 / _pcie_units(fidelity))


def pcie_out(fidelity: Fidelity) -> Cycles:
    """Sending the result to the host; the logged runs return none of their items (top_n is 0 in all of them)."""
    return Cycles(5000.0 / _pcie_units(fidelity), 0.0)


def _pcie_units(fidelity: Fidelity) -> float:
    return CLOCK_S / 1e-9 if fidelity.pcie_in_time else 1.0


def embedding(network: Network, unit: Unit) -> Cycles:
    """Looking up every item's rows: the misses from DRAM, then the hits from SRAM."""
    item_bytes = ELEMENT_BYTES * network.dim * TABLES
    hits = (1.0 - _MISSES) * item_bytes / _SRAM_BYTES
    return Cycles(_DRAM_CYCLES, _MISSES * item_bytes * unit.cycles_per_byte + hits)


def weights(network: Network, unit: Unit) -> Cycles:
    """Loading the weights of every layer from DRAM."""
    cycles = 0.0
    for inputs, outputs in network.layers:
        layer_bytes = ELEMENT_BYTES * inputs * outputs
        once = _DRAM_CYCLES + min(layer_bytes, _LOAD_BYTES) * unit.cycles_per_byte
        cycles += math.ceil(layer_bytes / _LOAD_BYTES) * once
    return Cycles(cycles, 0.0)


def mlp(layers: Sequence[tuple[int, int]], side: int) -> Cycles:
    """Multiplying on a weight-stationary array of `side` x `side`: each tile is filled, then all items go through."""
    fixed = per_item = 0
    for inputs, outputs in layers:
        tiles = math.ceil(inputs / side) * math.ceil(outputs / side)
        fixed += tiles * (min(inputs, side) + min(outputs, side))
        per_item += tiles
    return Cycles(float(fixed), float(per_item))


def sorted_per_cycle(fidelity: Fidelity) -> int:
    """Items that the sort takes in a cycle."""
    return 16 if fidelity.sort_in_cycles else 16 * 8


@dataclass(frozen=True)
class UnitStage:
    """A model on a unit. Raises `InputError` for a model, unit or fidelity that does not exist."""

    network: Network
    unit: Unit
    size: int
    fidelity: Fidelity

    @classmethod
    def of(cls, model: str, unit: int, fidelity: str | Fidelity = "artifact") -> Self:
        """By the names of model and fidelity and the size of the unit."""
        mended = _known("fidelity", fidelity, FIDELITIES) if isinstance(fidelity, str) else fidelity
        part: Unit = _known("unit", unit, UNITS)
        if mended.even_bandwidth:
            part = Unit(part.side, UNITS[1].bandwidth_gib / unit)
        return cls(_known("model", model, NETWORKS), part, unit, mended)

    @property
    def weights_stay(self) -> bool:
        """Whether the weights are in the unit before the query comes."""
        return self.fidelity.weights_stay and self.network.weight_bytes <= _WEIGHT_SRAM_BYTES / self.size

    def components(self) -> dict[str, Cycles]:
        """What each component takes, by name; the sort is apart (`sorted_per_cycle`)."""
        return {
            "pcie_in": pcie_in(self.fidelity),
            "embedding": embedding(self.network, self.unit),
            "weights": Cycles(0.0, 0.0) if self.weights_stay else weights(self.network, self.unit),
            "mlp": mlp(self.network.layers, self.unit.side),
            "pcie_out": pcie_out(self.fidelity),
        }

    @property
    def row(self) -> Floats:
        """What compiled code evaluates (see `latency.rows`)."""
        parts = self.components().values()
        fixed, per_item = sum(part.fixed for part in parts), sum(part.per_item for part in parts)
        return np.array([RPACCEL, fixed, per_item, sorted_per_cycle(self.fidelity)])

    def latency_s(self, items: int) -> float:
        """Seconds for a query of `items` items, at least 1."""
        _, fixed, per_item, per_cycle = self.row.tolist()
        return float((fixed + per_item * items + math.floor(items / per_cycle)) * CLOCK_S)

    def split_s(self, items: int) -> dict[str, float]:
        """The same by component, in seconds."""
        split = {name: (part.fixed + part.per_item * items) * CLOCK_S for name, part in self.components().items()}
        return split | {"sort": math.floor(items / sorted_per_cycle(self.fidelity)) * CLOCK_S}


def rpaccel_latency_s(model: str, items: int, unit: int, fidelity: str = "artifact") -> float:
    """Seconds that one query of `items` items takes on one unit of size `unit` (1, 4, 16 or 64) of RPAccel.

    `model` is dim_4, dim_16 or dim_32. `fidelity` is "artifact", which reproduces the logged service times of
    RecPipe's artifact with their errors, or "corrected" (see `Fidelity`). Raises `InputError` for anything else.
    """
    whole = isinstance(items, int | np.integer) and not isinstance(items, bool)
    if not whole or items < 1:
        raise InputError("items", items, "must be a whole number of at least 1")
    return UnitStage.of(model, unit, fidelity).latency_s(int(items))


def mends_s(model: str, items: int, unit: int) -> dict[str, float]:
    """By how many seconds each mend alone changes the published latency."""
    published = UnitStage.of(model, unit)
    names = Fidelity.__dataclass_fields__
    return {
        name: UnitStage.of(model, unit, replace(published.fidelity, **{name: True})).latency_s(items)
        - published.latency_s(items)
        for name in names
    }


def _known(field: str, value: Any, known: dict[Any, Any]) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int) or value not in known:
        raise InputError(field, value, f"must be one of {', '.join(str(name) for name in known)}")
    return known[value]


@LATENCIES.register("rpaccel")
class RPAccel(RowModel):
    """One unit of RPAccel: `model` dim_4, dim_16 or dim_32, `unit` size 1, 4, 16 or 64, `fidelity` as published or not.

    Without noise: see `rpaccel_latency_s`.
    """

    model: str
    unit: int
    fidelity: str = "artifact"

    _row: Floats = PrivateAttr()

    @model_validator(mode="after")
    def _exists(self) -> Self:
        self._row = UnitStage.of(self.model, self.unit, self.fidelity).row
        return self

    @property
    def label(self) -> str:
        return f"rpaccel {self.model} 1/{self.unit} {self.fidelity}"

    @property
    def row(self) -> Floats:
        return self._row

    def mean_s(self, items: Ints) -> Floats:
        _, fixed, per_item, per_cycle = self._row.tolist()
        return np.asarray((fixed + per_item * items + np.floor(items / per_cycle)) * CLOCK_S, dtype=np.float64)
