"""The inverse of a cumulative rate that is linear in steps, compiled."""

from __future__ import annotations

import numpy as np

from deeprec_env.jit import compiled
from deeprec_env.scenario.parts import Floats


@compiled
def inverse_s(work: Floats, knots: Floats, rates: Floats, width_s: float) -> Floats:
    """When ascending `work` is done, in seconds: step j, of `width_s`, goes from `knots[j]` on at `rates[j]`.

    The last knot, where the last step ends, lies above all of it.
    """
    done_s = np.empty(len(work))
    step = np.searchsorted(knots, work[0], side="right") - 1 if len(work) else 0
    for i in range(len(work)):
        while knots[step + 1] <= work[i]:
            step += 1
        done_s[i] = step * width_s + (work[i] - knots[step]) / rates[step]
    return done_s
