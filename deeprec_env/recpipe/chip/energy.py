"""Area, power and energy of RPAccel and of the monolithic chip that it is compared with.

From the synthesis of RecPipe's artifact (12 nm): reports of the logic blocks, and constants of a memory compiler for
the SRAM, of which no report was published. The artifact's own accounting of energy is always 0, so that nothing here
can be compared with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deeprec_env.errors import InputError
from deeprec_env.latency.rpaccel import UNITS


@dataclass(frozen=True)
class Block:
    """One synthesised block: area in square micrometres, power in milliwatts, and the leakage within it."""

    area_um2: float
    total_mw: float
    leakage_mw: float = 0.0


BLOCKS = {
    "array 32x32": Block(506891.581305, 166.4236, 1.8294),
    "reconfigurable array 32x32": Block(527807.82188, 171.0079, 1.9011),
    "accumulator": Block(106.178689, 0.1404, 0.00036048),
    "crossbar 4x4": Block(287.659001, 0.3195, 0.00092385),
    "filter": Block(453.333886, 0.1983, 0.001646),
    "SRAM 4K": Block(4684.0, 0.8),
    "SRAM 32K": Block(29142.0, 2.4),
    "SRAM 256K": Block(183290.0, 8.4),
}
"""Synthesis reports MMU, DYN_MMU, simd, crossbar4x4 and sortvals, and the three SRAM macros; the leakage of these is
not known apart."""

DESIGNS = {
    "monolithic": {
        "arrays": {"array 32x32": 16, "accumulator": 128},
        "filtering": {},
        "activation SRAM, 4 MB": {"SRAM 32K": 128},
        "weight SRAM, 4 MB": {"SRAM 256K": 16},
        "embedding SRAM, 16 MB": {"SRAM 256K": 64},
    },
    "reconfigurable": {
        "arrays": {"reconfigurable array 32x32": 16, "accumulator": 1024, "crossbar 4x4": 256},
        "filtering": {"filter": 1024},
        "activation SRAM, 4 MB": {"SRAM 4K": 1024},
        "weight SRAM, 4 MB": {"SRAM 256K": 16},
        "embedding SRAM, 16 MB": {"SRAM 256K": 64},
    },
}
"""How many of which block each component holds: 16,384 multipliers in both."""


@dataclass(frozen=True)
class Cost:
    """Area in square millimetres; power in watts at work, and of what leaks when idle."""

    area_mm2: float
    busy_w: float
    idle_w: float


def components(design: str) -> dict[str, Cost]:
    """The cost of each component of "monolithic" or "reconfigurable"; `InputError` for another design."""
    if design not in DESIGNS:
        raise InputError("design", design, f"must be one of {', '.join(DESIGNS)}")
    return {name: _cost(blocks) for name, blocks in DESIGNS[design].items()}


def chip(design: str) -> Cost:
    """The cost of the whole chip."""
    return _sum(components(design).values())


def pool_power_w(unit: int, count: int, design: str = "reconfigurable") -> tuple[float, float]:
    """`idle_w` and `busy_w` of a pool of `count` units of size `unit`: that many equal parts of the chip.

    Idle is leakage of the logic alone. Raises `InputError` for a unit size that does not exist, or more units than one
    chip has.
    """
    _check(unit)
    if not 1 <= count <= unit:
        raise InputError("count", count, f"must be from 1 to {unit}, the units of one chip")
    whole = chip(design)
    return whole.idle_w * count / unit, whole.busy_w * count / unit


def energy_j(stages: Iterable[tuple[float, int]], design: str = "reconfigurable") -> float:
    """Joules of a query that is busy for these seconds on one unit of that size, stage by stage."""
    busy_w, joules = chip(design).busy_w, 0.0
    for busy_s, unit in stages:
        _check(unit)
        joules += busy_s * busy_w / unit
    return joules


def _check(unit: int) -> None:
    if unit not in UNITS:
        raise InputError("unit", unit, f"must be one of {', '.join(str(size) for size in UNITS)}")


def _cost(blocks: dict[str, int]) -> Cost:
    return _sum(
        Cost(
            count * BLOCKS[name].area_um2 * 1e-6,
            count * BLOCKS[name].total_mw * 1e-3,
            count * BLOCKS[name].leakage_mw * 1e-3,
        )
        for name, count in blocks.items()
    )


def _sum(costs: Iterable[Cost]) -> Cost:
    listed = list(costs)
    return Cost(
        sum(cost.area_mm2 for cost in listed),
        sum(cost.busy_w for cost in listed),
        sum(cost.idle_w for cost in listed),
    )
