"""The generalist of `DeepRec/Serving-v2`: batch size and threshold as that of v1, further controls by its predictions.

Admission: whoever is predicted to miss the target is refused, but for rates near capacity that last: there 1 to 5 % are
late by the target itself, not by a crowd. Offload: by prediction where no threshold can be trusted:
none is stable, sizes are not the scenario's, or queries have been refused of late. Order: small queries first where
some wait and p99 is far from the target, for it pays for that.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from deeprec_env.envs.observation import V2_FIELDS
from deeprec_env.envs.serving_v2_task import V2_CONTROLS
from deeprec_env.latency import checked
from deeprec_env.policies.adaptive.generalist import MOST_LOAD, Belief, GeneralistPolicy
from deeprec_env.policies.adaptive.tail_network import TailNetwork
from deeprec_env.policies.adaptive.utilisation import Seen
from deeprec_env.policies.on_serving_v2 import without_further
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.pools import KINDS
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED, Setting
from deeprec_env.workload.checked import size_probabilities

SMALL_FIRST_BELOW = 0.2
"""Share of the target below which a predicted p99 lets small queries go first."""

SMALL_FIRST_LOAD = 0.5
"""Load of the busiest pool from which they may: below it few wait, and a crowd would find them first."""

REFUSED, REFUSED_MEMORY = 0.002, 0.5
"""Offload is predicted once a window has refused more than such a share, which is forgotten by so much a window."""

LONGEST_REQUEST = 0.8
"""Share of the target that a full batch may take on a busy CPU under predicted offload, which may send any query there,
and in the first window, when nothing is known of how wrong the profile is.

Longer ones would leave no room for a wait: they are refused while cores are idle.
"""

TOLERATED_P99 = (1.0, 1.5)
"""Predicted p99, in targets, between which nobody is refused, both now and at the mean rate of `SUSTAINED` windows.

More than one in a hundred would be, who are late for ever, while p95 still keeps the target. A crowd comes unannounced,
and finds everybody admitted: so not for the peak of a day, which does not last.
"""

SUSTAINED = 10
"""Windows that a mean rate is over, about; of an episode's first ones all that there are."""

_AT = {name: place for place, name in enumerate(V2_FIELDS)}


class ControlGeneralistPolicy(GeneralistPolicy):
    """v1's generalist with the further controls, each where the scenario's ladder has it; these are v2's.

    The admission limit is the highest up to the target. Raises `InputError` for a scenario whose service can't be
    described (see `Service`).
    """

    def __init__(self, scenario: Scenario, network: TailNetwork | None = None) -> None:
        super().__init__(_by_threshold(scenario), network)
        self._controlled, self._ladders = scenario, scenario.ladders
        pools = scenario.stages[0].pools()
        self._request_s = _request_s(scenario)
        self._servers = {kind: pools[kind].servers if kind in pools else 1 for kind in KINDS}
        orders, offloads = self._ladders["order"], self._ladders["offload"]
        self._fixed = scenario.setting.replace(admit_ms=_limit(self._ladders["admit_ms"], scenario.sla_ms))
        self._can_admit_all = None in self._ladders["admit_ms"]
        self._order = "fcfs" if "fcfs" in orders else orders[0]
        self._calm_order = "small-first" if "small-first" in orders else self._order
        self._can_predict, self._must_predict = PREDICTED in offloads, set(offloads) == {PREDICTED}

    def setting(self, belief: Belief | None) -> Setting:
        """The setting to take; None before the first window."""
        place, p99, busiest = (self.first(), 1.0, 0.0) if belief is None else self.best(belief)
        unsure = busiest >= MOST_LOAD or (
            belief is not None and (belief.factors.items != 1.0 or belief.refused > REFUSED)
        )
        predicted = self._must_predict or (self._can_predict and unsure)
        calm = not predicted and SMALL_FIRST_LOAD <= busiest < MOST_LOAD and p99 < SMALL_FIRST_BELOW
        plain, fixed = self._settings[place], self._fixed
        if belief is not None and self._can_admit_all and self._near_capacity(belief):
            fixed = fixed.replace(admit_ms=None)
        batch_size = plain.batch_size
        if predicted or belief is None:
            batch_size = min(batch_size, self._most_items(1.0 if belief is None else belief.factors.cpu))
        return fixed.at(
            batch_size=batch_size,
            offload=PREDICTED if predicted else plain.threshold,
            order=self._calm_order if calm else self._order,
        )

    def _action(self, belief: Belief | None) -> tuple[int, ...]:
        return self._controlled.action(self.setting(belief), V2_CONTROLS)

    def _place(self, row: Floats) -> int | None:
        if self._level(row, "offload") == PREDICTED:
            return None
        batch, threshold = (self._level(row, name) for name in ("batch_size", "offload"))
        return self._settings.index(self._settings[0].at(batch_size=batch, offload=threshold))

    def _seen(self, row: Floats, known: Belief | None) -> Seen:
        seen = super()._seen(row, known)
        cpu, accelerator = (
            servers * math.expm1(row[_AT[f"waiting_{kind}"]]) for kind, servers in self._servers.items()
        )
        return seen._replace(
            refused_qps=float(row[_AT["shed_rate"]]) * seen.offered_qps,
            waiting=(cpu, accelerator),
            strange=known is not None and known.strangers > 0.0,
        )

    def _updated(self, row: Floats, known: Belief | None) -> Belief:
        shed, before = float(row[_AT["shed_rate"]]), known.strangers if known else 0.0
        refused = max(shed, REFUSED_MEMORY * known.refused) if known else shed
        if self._level(row, "offload") == PREDICTED:
            strangers = self._unit_qps * self._sla_s * math.expm1(row[_AT["backlog"]])
        else:
            completed = float(row[_AT["completed"]]) * self._unit_qps * self._scenario.control.interval_s
            strangers = max(before - completed, 0.0)
        updated, qps = super()._updated(row, known), float(row[_AT["offered"]]) * self._unit_qps
        windows = min(known.windows + 1, SUSTAINED) if known else 1
        mean_qps = qps if known is None or known.sustained_qps is None else known.sustained_qps
        mean_qps += (qps - mean_qps) / windows
        return replace(updated, refused=refused, strangers=strangers, sustained_qps=mean_qps, windows=windows)

    def _near_capacity(self, belief: Belief) -> bool:
        """Whether now, and in the mean of the last windows, some are late though no pool is too busy."""
        if belief.sustained_qps is None:
            return False
        least, most = TOLERATED_P99
        rates = (belief, replace(belief, qps=belief.sustained_qps))
        return all(each.busiest < MOST_LOAD and least <= each.p99 <= most for each in map(self.best, rates))

    def _most_items(self, slower: float) -> int:
        """The largest batch that a core serves within `LONGEST_REQUEST`, or else the smallest."""
        fit = [size for size, seconds in self._request_s.items() if slower * seconds <= LONGEST_REQUEST * self._sla_s]
        return max(fit, default=min(self._request_s))

    def _level(self, row: Floats, control: str) -> Any:
        ladder = self._ladders[control]
        return ladder[round(float(row[_AT[control]]) * (len(ladder) - 1))]


def _by_threshold(scenario: Scenario) -> Scenario:
    """The scenario as v1 controls it, with the thresholds that v2's ladder of offloads has."""
    plain = without_further(scenario)
    thresholds = tuple(level for level in scenario.ladders["offload"] if level != PREDICTED) or plain.thresholds
    return plain.replace(control=plain.control.model_copy(update={"thresholds": thresholds}))


def _request_s(scenario: Scenario) -> dict[int, float]:
    """By batch size the mean seconds of a full batch, all cores busy."""
    assert scenario.node is not None
    cpu, batches = scenario.node.cpu, np.array(scenario.control.batch_sizes)
    items = np.minimum(batches, int(size_probabilities(scenario.workload.sizes)[0].max()))
    seconds = checked.mean_s(cpu.latency, items) * cpu.slowdown(cpu.servers)
    return dict(zip(batches.tolist(), seconds.tolist(), strict=True))


def _limit(limits: tuple[Any, ...], sla_ms: float) -> float | None:
    """The highest limit up to the target; of a ladder without one none at all, or else the highest."""
    below = [limit for limit in limits if limit is not None and limit <= sla_ms]
    return max(below) if below else None if None in limits else max(limits)
