"""What a report's page is made of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """Points of a plot that belong together, with the ends of their intervals where these are known."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Plot:
    """Lines over a common axis. `places` names the whole numbers of x, where these are no quantity.

    `joined`: the points of a line are joined. `target`: a value of y, with its name. `log_x`, `log_y`: decades.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    places: Sequence[str] = ()
    joined: bool = True
    log_x: bool = False
    log_y: bool = False
    target: tuple[float, str] | None = None


@dataclass(frozen=True)
class Table:
    """Rows of text under columns; the first names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Commands:
    """What to type."""

    lines: Sequence[str]


Block = str | Plot | Table | Commands
"""A paragraph is text."""


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    heading: str
    blocks: Sequence[Block] = field(default_factory=tuple)


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    sections: Sequence[Section]
