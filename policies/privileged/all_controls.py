"""The references that see ahead, choosing among all controls of `DeepRec/Serving-v2`.

Who may shed is compared by goodput first: an hour costs the p95 of the admitted queries and, dearly, its late ones. The
space has thousands of settings a window; those tried are the best of the table over further controls at the loads near
the present one, and the very best at every admission limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.policies.adaptive.rate_table import RateTable
from deeprec_env.policies.privileged.hindsight import Hindsight
from deeprec_env.policies.privileged.lookahead import Candidates, LookAhead, p95_s
from deeprec_env.policies.privileged.rate_oracle import RateOracle
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

LATE_WEIGHT = 20.0
"""What an hour whose queries are all late, or shed, costs, in targets: one late query in a hundred as much as a p95
that is a fifth of the target higher."""


@dataclass(frozen=True)
class ControlCandidates:
    """The settings of a table over further controls."""

    table: RateTable
    scenario: Scenario
    unit_qps: float

    @property
    def ranking(self) -> tuple[tuple[Setting, ...], ...]:
        """The table's."""
        return self.table.ranking

    def indices(self, loads: Floats) -> NDArray[np.int64]:
        """The table's."""
        return self.table.indices(loads)


class _AllControls(LookAhead):
    """What differs from the references that choose batch size and threshold."""

    controls = V2_CONTROLS
    _table: Candidates

    def value(self, latency_s: Floats) -> float:
        """p95 of those admitted, and `LATE_WEIGHT` targets times the share that was late or shed; in seconds."""
        sla_s = self._table.scenario.sla_s
        admitted_s = latency_s[~np.isnan(latency_s)]
        late = 1.0 - float((admitted_s <= sla_s).sum()) / len(latency_s)
        return (p95_s(admitted_s) if admitted_s.size else 0.0) + LATE_WEIGHT * sla_s * late

    def more_candidates(self, level: int) -> list[Setting]:
        """The level's best at every admission limit."""
        best = self._table.ranking[level][0]
        return [best.replace(admit_ms=limit) for limit in self._table.scenario.ladders["admit_ms"]]


class RateOracleOfAll(_AllControls, RateOracle):
    """Knows the true rate and the present state, not the draws."""


class HindsightOfAll(_AllControls, Hindsight):
    """Knows the draws."""
