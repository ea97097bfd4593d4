"""Policies compared in `DeepRec/Capacity-v0`: on the same test episodes, in which they may search as they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeprec_env import console
from deeprec_env.envs import CAPACITY, CapacityEnv
from deeprec_env.errors import InputError
from deeprec_env.policies.adaptive.live_search import SEARCHES, LiveSearch
from deeprec_env.policies.base import Policy, Prepared, Progress
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.paired import Estimate
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import REFERENCES, check_name, policy_names, prepare
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions

SPLIT = "test"

POLICIES = ("static", "deeprecsched", "deeprecsched-repository", "grid-capacity", "random")
"""Policies compared by default."""

BASE = "grid-capacity"
"""The policy that the table compares with."""

WINDOWS = 1536
"""Windows of an episode: enough for either scheduler to end its search and show what it has found."""

FINAL = 0.125
"""Share of an episode, at its end, that the final figures are of: some ten swings of the load about capacity."""


@dataclass(frozen=True)
class CapacityEpisode:
    """One episode under one policy. Rates are in the reference.

    `reward` is the mean over all windows: queries carried within the target; `final_carried` the same over the last
    windows, `final_load` the median load of these. `setting` is what a search settled on (None if it has not).
    """

    reward: float
    final_carried: float
    final_load: float
    violation_rate: float
    setting: Setting | None


@dataclass(frozen=True)
class CapacityResult:
    """A policy over the episodes, one a seed."""

    prepared: Prepared
    episodes: tuple[CapacityEpisode, ...]

    def values(self, field: str) -> list[float]:
        """A field of all episodes."""
        return [getattr(episode, field) for episode in self.episodes]

    def estimate(self, field: str) -> Estimate:
        """Mean over the episodes of a field, with its interval."""
        return paired.mean(self.values(field))

    @property
    def settings(self) -> list[Setting | None]:
        """What the policy ended with, episode by episode."""
        return [episode.setting for episode in self.episodes]


@dataclass(frozen=True)
class CapacityComparison:
    """Policies on the same episodes."""

    scenario: Scenario
    reference_qps: float
    windows: int
    seeds: tuple[int, ...]
    policies: dict[str, CapacityResult]

    def versus(self, name: str, other: str, field: str = "final_carried") -> Estimate | None:
        """Ratio of a figure (above 1: `name` carries more) with its paired interval; None where one is 0."""
        return paired.ratio(self.policies[name].values(field), self.policies[other].values(field))

    def to_json(self) -> dict[str, Any]:
        """The comparison as `deeprec evaluate --env capacity --json` prints it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "environment": "capacity",
            "seeds": list(self.seeds),
            "split": SPLIT,
            "windows": self.windows,
            "sla_ms": self.scenario.sla_ms,
            "reference_qps": self.reference_qps,
            "devices": devices(self.scenario),
            "policies": {name: self._entry(name, result) for name, result in self.policies.items()},
            "versions": versions(),
        }

    def _entry(self, name: str, result: CapacityResult) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        for field in ("reward", "final_carried", "final_load", "violation_rate"):
            found = result.estimate(field)
            entry |= {field: found.value, f"{field}_ci": found.ci}
        ratios = {other: self.versus(name, other) for other in self.policies if other != name}
        return entry | {
            "tuning_queries": result.prepared.tuning_queries,
            "settings": [each and [each.batch_size, each.threshold] for each in result.settings],
            "vs": {other: found and found.as_ratio() for other, found in ratios.items()},
        }


def compare(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    seed: int = 0,
    seeds: int = 5,
    windows: int = WINDOWS,
    options: TuneOptions = TuneOptions(),
    progress: Progress = lambda what: None,
) -> CapacityComparison:
    """Run policies (names, or paths of trained agents) on the test episodes of `seed` .. `seed + seeds - 1`.

    The two DeepRecScheds search as they go (`LiveSearch`); other methods are tuned beforehand, off-line, as in
    `deeprec_env.policies.evaluation.days`. Raises `InputError` for bad input.
    """
    for field, value, least in (("seeds", seeds, 1), ("windows", windows, 1), ("seed", seed, 0)):
        if value < least:
            raise InputError(field, value, f"must be at least {least}")
    names = [name for name in policy_names() if name not in REFERENCES]
    if not policies or len(set(policies)) < len(policies):
        raise InputError("policies", ",".join(policies), f"must name at least one of {', '.join(names)}, each once")
    for name in policies:
        if name in REFERENCES:
            raise InputError("policy", name, f"needs traffic that is known ahead; allowed: {', '.join(names)}")
        check_name(name, options.engine)
    chosen, results = tuple(range(seed, seed + seeds)), {}
    for name in policies:
        progress(f"{name}: preparing")
        if name in SEARCHES:
            prepared = Prepared(LiveSearch(scenario, name), scenario, 0)
        else:
            prepared = prepare(name, scenario, options, progress, CAPACITY)
        env = CapacityEnv(prepared.scenario, engine=options.engine)
        env.windows = windows
        episodes = []
        for each in chosen:
            progress(f"{name}: episode {each}")
            episodes.append(run_episode(env, prepared, each))
        env.close()
        results[name] = CapacityResult(prepared, tuple(episodes))
    reference = CapacityEnv(scenario).reset(seed=0)[1]["reference_qps"]
    return CapacityComparison(scenario, reference, windows, chosen, results)


def run_episode(env: CapacityEnv, prepared: Prepared, seed: int, split: str = SPLIT) -> CapacityEpisode:
    """An episode of the split's stream of `seed` under a policy."""
    policy: Policy = prepared.policy
    observation, info = env.reset(seed=seed, options={"split": split})
    state, over = None, False
    rows: list[tuple[float, float, float]] = []
    while not over:
        action, state = policy.predict(observation, state, np.array([not rows]), deterministic=True)
        load = info["load_qps"]
        observation, _, _, over, info = env.step(action)
        rows.append((info["carried_qps"] / info["reference_qps"], load / info["reference_qps"], info["violation_rate"]))
    carried, loads, violations = np.array(rows).T
    last = slice(len(rows) - max(1, round(FINAL * len(rows))), None)
    return CapacityEpisode(
        reward=float(carried.mean()),
        final_carried=float(carried[last].mean()),
        final_load=float(np.median(loads[last])),
        violation_rate=float(violations.mean()),
        setting=policy.found(state[0]) if isinstance(policy, LiveSearch) and state else prepared.setting,
    )


COLUMNS = ("policy", "settings", "reward", "final carried", "final load", "violations %", f"vs {BASE}")


def print_comparison(comparison: CapacityComparison, name: str) -> None:
    """Print the table; rates are in the reference, ratios of the final carried ones paired, at 95 %."""
    rows = []
    for policy, result in comparison.policies.items():
        figures = [result.estimate(field).with_half(".3f") for field in ("reward", "final_carried", "final_load")]
        violations = f"{100 * float(np.mean(result.values('violation_rate'))):.1f}"
        rows.append([policy, _in_words(result.settings), *figures, violations, _versus_base(comparison, policy)])
    seeds = f"{len(comparison.seeds)} test episodes of {comparison.windows} windows"
    console.print_table(f"{name}, {seeds}, in {comparison.reference_qps:.0f} queries/s", COLUMNS, rows)


def _versus_base(comparison: CapacityComparison, policy: str) -> str:
    if policy == BASE or BASE not in comparison.policies:
        return "-"
    ratio = comparison.versus(policy, BASE)
    return "-" if ratio is None else ratio.with_interval(".3f")


def _in_words(settings: Sequence[Setting | None]) -> str:
    """Every setting once, with the number of episodes that ended with it."""
    names = ["-" if each is None else f"B {each.batch_size}, T {each.threshold or 'never'}" for each in settings]
    counted = {name: names.count(name) for name in names}
    return names[0] if len(counted) == 1 else "; ".join(f"{count}x {name}" for name, count in counted.items())
