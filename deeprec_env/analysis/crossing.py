"""Where a rising function crosses zero, in few evaluations."""

from __future__ import annotations

from collections.abc import Callable


def crossing(function: Callable[[float], float], low: float, high: float, tolerance: float) -> tuple[float, float]:
    """A bracket at most `tolerance` wide: a point where `function` is at most 0 and one where it is above.

    `low` and `high` are such points to begin with. Regula falsi with the Illinois modification (Dowell and Jarratt,
    BIT 1971): it keeps the bracket, so that steps and dips of the function cost time and nothing else.
    """
    below, above = function(low), function(high)
    moved_up = None
    while high - low > tolerance:
        middle = low + (high - low) * below / (below - above)
        middle = min(max(middle, low + 0.5 * tolerance), high - 0.5 * tolerance)
        value = function(middle)
        if value <= 0.0:
            low, below = middle, value
            above *= 0.5 if moved_up is True else 1.0
            moved_up = True
        else:
            high, above = middle, value
            below *= 0.5 if moved_up is False else 1.0
            moved_up = False
    return low, high
