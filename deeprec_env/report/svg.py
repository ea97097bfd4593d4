"""Plots as SVG: axes, lines with intervals, and marks that a script can ask for their values."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

from deeprec_env.report.page import Line, Plot

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 84, 16, 14, 58

COLOURS = ("#005a9c", "#b34700", "#00704f", "#8a2d8a", "#6b5b00", "#a3003c", "#3d4f5c", "#5a3fc0")
"""At least 4.5 : 1 on white, and told apart by those who see no red or green; dashes and marks differ, too."""

DASHES = ("", "7 3", "2 3", "9 3 2 3")
MARKS = ("circle", "square", "diamond", "triangle")

Scale = Callable[[float], float]


def svg_of(plot: Plot, name: str) -> str:
    """A plot; `name` is that of its elements, unique in the page."""
    x_values, y_values = _values(plot)
    x_low, x_high = _range(x_values, plot.log_x, bool(plot.places))
    y_low, y_high = _range(y_values, plot.log_y, False)
    x = _scale(x_low, x_high, LEFT, WIDTH - RIGHT, plot.log_x)
    y = _scale(y_low, y_high, HEIGHT - BOTTOM, TOP, plot.log_y)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{name}-title {name}-desc" tabindex="0">',
        f'<title id="{name}-title">{escape(plot.title)}</title>',
        f'<desc id="{name}-desc">{escape(described(plot))}</desc>',
        *_axes(plot, x, y, (x_low, x_high), (y_low, y_high)),
    ]
    if plot.target is not None and y_low <= plot.target[0] <= y_high:
        at = y(plot.target[0])
        parts.append(f'<line class="target" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT - 4}" y="{at - 5:.1f}" class="end">{escape(plot.target[1])}</text>')
    for number, line in enumerate(plot.lines):
        parts += _line(plot, line, number, x, y, (y_low, y_high))
    return "".join([*parts, "</svg>"])


def described(plot: Plot) -> str:
    """A plot in words, for who can't see it."""
    found = [f"{plot.y_label} by {plot.x_label}."]
    for line in plot.lines:
        known = [value for value in line.y if math.isfinite(value)]
        if known:
            several = f"{len(known)} points from {min(known):.4g} to {max(known):.4g}"
            found.append(f"{line.name}: {several if known[1:] else f'{known[0]:.4g}'}.")
    return " ".join(found)


def told(plot: Plot, line: Line, point: int) -> str:
    """What a mark says: the values as they stand in the JSON."""
    text = f"{named(plot, line, point)}: {json.dumps(line.y[point])}"
    low, high = ends(line, point)
    return text if low is None and high is None else f"{text} [{json.dumps(low)}, {json.dumps(high)}]"


def named(plot: Plot, line: Line, point: int) -> str:
    """Whose mark it is, and where; once, where these are the same."""
    at = place_of(plot, line, point)
    return at if at == line.name else f"{line.name}, {at}"


def place_of(plot: Plot, line: Line, point: int) -> str:
    """Where a mark stands on the x axis."""
    if plot.places:
        return plot.places[round(line.x[point])]
    x = line.x[point]
    return f"{plot.x_label} {int(x) if float(x).is_integer() else json.dumps(x)}"


def mark(number: int, x: float, y: float, more: str = "") -> str:
    """A line's mark."""
    colour, kind = COLOURS[number % len(COLOURS)], MARKS[number % len(MARKS)]
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" {more}/>'
    corners = {
        "square": ((-3.6, -3.6), (3.6, -3.6), (3.6, 3.6), (-3.6, 3.6)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
        "triangle": ((0, -5), (4.6, 3.8), (-4.6, 3.8)),
    }[kind]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}" {more}/>'


def _line(plot: Plot, line: Line, number: int, x: Scale, y: Scale, limits: tuple[float, float]) -> Iterator[str]:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    shift = _shift(plot, number)
    seen = [place for place in range(len(line.x)) if _shown(line.y[place], plot.log_y)]
    yield f'<g data-series="{number}">'
    if plot.joined and len(seen) > 1:
        path = " ".join(f"{x(line.x[place]):.1f},{y(line.y[place]):.1f}" for place in seen)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
    for place in seen:
        at = x(line.x[place]) + shift
        low, high = ends(line, place)
        if low is not None or high is not None:
            bottom = y(max(limits[0], low if low is not None else limits[0]))
            top = y(min(limits[1], high if high is not None else limits[1]))
            yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{bottom:.1f}" y2="{top:.1f}" stroke="{colour}"/>'
        yield mark(number, at, y(line.y[place]), f'class="mark" data-told="{escape(told(plot, line, place))}"')
    yield "</g>"


def _shift(plot: Plot, number: int) -> float:
    """Points of several lines at one place stand side by side."""
    taken = [value for line in plot.lines for value in line.x]
    apart = plot.places and not plot.joined and len(set(taken)) < len(taken)
    return 9.0 * (number - (len(plot.lines) - 1) / 2) if apart else 0.0


def _axes(plot: Plot, x: Scale, y: Scale, x_range: tuple[float, float], y_range: tuple[float, float]) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for value in ticks(*y_range, plot.log_y):
        at = y(value)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield f'<text x="{LEFT - 7}" y="{at + 4:.1f}" class="end">{value:g}</text>'
    named: list[tuple[float, str]] = [(float(place), text) for place, text in enumerate(plot.places)]
    for value, text in named or [(value, f"{value:g}") for value in _x_ticks(plot, *x_range)]:
        at = x(value)
        yield f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 19}" class="mid">{escape(_short(text, len(named)))}</text>'
    yield f'<path class="axis" d="M{LEFT},{TOP}V{bottom}H{WIDTH - RIGHT}"/>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" class="mid">{escape(plot.x_label)}</text>'
    middle = (TOP + bottom) / 2
    yield f'<text transform="translate(17,{middle}) rotate(-90)" class="mid">{escape(plot.y_label)}</text>'


def _x_ticks(plot: Plot, low: float, high: float) -> list[float]:
    """Ticks of x; no fractions between few whole numbers, such as seeds."""
    found = ticks(low, high, plot.log_x)
    whole = all(float(value).is_integer() for line in plot.lines for value in line.x)
    return [value for value in found if value.is_integer()] if whole and not plot.log_x else found


def _short(text: str, count: int) -> str:
    most = max(6, int(90 / max(count, 1)))
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def ends(line: Line, point: int) -> tuple[float | None, float | None]:
    """The ends of a point's interval, None where it has none."""
    low = line.low[point] if line.low else None
    high = line.high[point] if line.high else None
    return low, high


def _shown(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0.0 or not log)


def _values(plot: Plot) -> tuple[list[float], list[float]]:
    places = range(len(plot.places))
    x = [*(float(place) for place in places), *(value for line in plot.lines for value in line.x)]
    y = [value for line in plot.lines for value in line.y]
    bound = max((abs(value) for value in y if math.isfinite(value)), default=1.0)
    ends = [value for line in plot.lines for value in (*line.low, *line.high) if value is not None]
    y += [value for value in ends if abs(value) <= 4 * bound]  # an interval without end leaves the picture
    if plot.target is not None and plot.target[0] <= 3 * bound:
        y.append(plot.target[0])
    return [v for v in x if _shown(v, plot.log_x)], [v for v in y if _shown(v, plot.log_y)]


def _range(values: Sequence[float], log: bool, named: bool) -> tuple[float, float]:
    low, high = min(values, default=0.1 if log else 0.0), max(values, default=1.0)
    if named:
        return low - 0.5, high + 0.5
    if log:
        return low / 1.1, high * 1.1
    if low >= 0.0 and low < 0.6 * high:
        low = 0.0
    room = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return (low if low == 0.0 else low - room), high + room


def _scale(low: float, high: float, begin: float, end: float, log: bool) -> Scale:
    if log:
        first, last = math.log10(low), math.log10(high)
        return lambda value: begin + (end - begin) * (math.log10(value) - first) / (last - first)
    return lambda value: begin + (end - begin) * (value - low) / (high - low)


def ticks(low: float, high: float, log: bool) -> list[float]:
    """About five round numbers in a range; of a logarithmic one 1, 2 and 5 of the decades, or their powers."""
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        factors = (1, 2, 5) if high < 1e3 * low else (1,)
        return [
            factor * 10.0**decade for decade in decades for factor in factors if low <= factor * 10.0**decade <= high
        ]
    raw = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    return [round(step * number, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
