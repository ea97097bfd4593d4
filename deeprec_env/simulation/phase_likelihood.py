"""How likely measured service times are under slow phases (rule 19), for calibration: the compiled recursions.

A hidden Markov chain of two states, seen at the starts of requests. `log_ratio` are logarithms of measured over
expected service, `gap_s` the times since the request before (infinite for the first of a run), both (requests,).
"""

from __future__ import annotations

import math

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats

FACTOR, SLOW, NORMAL, PLACE, LEFT, RIGHT, DEGREES = range(7)
"""Entries of the parameters: factor, mean phases, and a Student t with a scale for each side. All but its place are
logarithms."""


@compiled
def filter_phases(log_ratio: Floats, gap_s: Floats, parameters: Floats, log_scale: float, filtered: Floats) -> float:
    """The logarithm of the likelihood; writes how likely each request met a slow phase, from those up to it.

    `filtered` may be empty: nothing is written then. `log_scale` makes the density integrate to 1, in logarithms.
    """
    shift, place = parameters[FACTOR], parameters[PLACE]
    slow_s, normal_s = math.exp(parameters[SLOW]), math.exp(parameters[NORMAL])
    left, right, degrees = math.exp(parameters[LEFT]), math.exp(parameters[RIGHT]), math.exp(parameters[DEGREES])
    share, rate, power = slow_s / (slow_s + normal_s), 1.0 / slow_s + 1.0 / normal_s, 0.5 * (degrees + 1.0)
    slow, total = share, 0.0
    for i in range(len(log_ratio)):
        slow = share + (slow - share) * math.exp(-rate * gap_s[i])
        at = log_ratio[i] - place
        away = at / (left if at < 0.0 else right)
        normal_density = (1.0 + away * away / degrees) ** -power
        away = (at - shift) / (left if at < shift else right)
        slow_density = (1.0 + away * away / degrees) ** -power
        likelihood = slow * slow_density + (1.0 - slow) * normal_density
        slow = slow * slow_density / likelihood
        total += math.log(likelihood)
        if len(filtered) > 0:
            filtered[i] = slow
    return total + len(log_ratio) * log_scale


@compiled
def smooth_phases(gap_s: Floats, parameters: Floats, filtered: Floats) -> Floats:
    """How likely each request met a slow phase, from all of them (Kim 1994)."""
    slow_s, normal_s = math.exp(parameters[SLOW]), math.exp(parameters[NORMAL])
    share, rate = slow_s / (slow_s + normal_s), 1.0 / slow_s + 1.0 / normal_s
    smoothed = filtered.copy()
    for i in range(len(filtered) - 2, -1, -1):
        fades = math.exp(-rate * gap_s[i + 1])
        ahead = share + (filtered[i] - share) * fades  # how likely the next was to be slow, from those up to this one
        stays = share + (1.0 - share) * fades
        slow_next = smoothed[i + 1]
        before_slow = filtered[i] * stays / ahead if ahead > 0.0 else 0.0
        before_normal = filtered[i] * (1.0 - stays) / (1.0 - ahead) if ahead < 1.0 else 0.0
        smoothed[i] = slow_next * before_slow + (1.0 - slow_next) * before_normal
    return smoothed
