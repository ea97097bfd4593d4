"""How policies are judged in `DeepRec/Capacity-v0`: by what they carry; they may search as they go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deeprec_env.envs.capacity_task import reference_qps
from deeprec_env.policies.adaptive.live_search import SEARCHES, LiveSearch
from deeprec_env.policies.base import TunedPolicy
from deeprec_env.policies.evaluation.episodes import EpisodeRun
from deeprec_env.policies.evaluation.evaluation import HEADER, Baseline, Comparison, Evaluation, Result, figure
from deeprec_env.policies.evaluation.paired import POSITIVE, SHARE, Scale
from deeprec_env.policies.registry import REFERENCES, baselines
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting

BASE = "grid-capacity"
"""The policy that the table compares with."""

WINDOWS = 1536
"""Windows of an episode: enough for either scheduler to end its search and show what it has found."""

FINAL = 0.125
"""Share of an episode, at its end, that the final figures are of: some ten swings of the load about capacity."""


@dataclass(frozen=True)
class CapacityEpisode:
    """One episode under one policy. Rates are relative to the reference.

    `reward` is the mean over all windows: queries carried within the target; `final_carried` the same over the last
    windows, `final_load` the median load of these; `violation_rate` the mean of the windows'. `setting` is what a
    search settled on (None if it has not). Over all its queries, drained: `served_qps` are those within the target, in
    queries a second up to the last arrival, `late` is the share of the others.
    """

    scales: ClassVar[Mapping[str, Scale]] = {
        "violation_rate": SHARE,
        **dict.fromkeys(("reward", "final_carried", "final_load"), POSITIVE),
    }

    reward: float
    final_carried: float
    final_load: float
    violation_rate: float
    setting: Setting | None
    served_qps: float
    late: float


def _measure(run: EpisodeRun, prepared: TunedPolicy) -> CapacityEpisode:
    before, infos = run.infos[:-1], run.infos[1:]
    carried = np.array([info["carried_qps"] / info["reference_qps"] for info in infos])
    loads = np.array([info["load_qps"] / info["reference_qps"] for info in before])
    last = slice(len(infos) - max(1, round(FINAL * len(infos))), None)
    policy, late = prepared.policy, run.records.latency_s > prepared.scenario.sla_s
    return CapacityEpisode(
        reward=float(carried.mean()),
        final_carried=float(carried[last].mean()),
        final_load=float(np.median(loads[last])),
        violation_rate=float(np.mean([info["violation_rate"] for info in infos])),
        setting=policy.found(run.state[0]) if isinstance(policy, LiveSearch) and run.state else prepared.setting,
        served_qps=float((~late).sum()) / float(run.records.arrival_s[-1]),
        late=float(late.mean()),
    )


def _judge(episodes: Sequence[CapacityEpisode], scenario: Scenario) -> dict[str, float]:
    carried = sum(episode.served_qps for episode in episodes) / len(episodes) / reference_qps(scenario)
    late = sum(episode.late for episode in episodes) / len(episodes)
    return {"not_carried": 1.0 - carried, "carried": carried, "violation_rate": late}


def _search(name: str) -> Baseline:
    """A scheduler that searches in the episode itself, and needs no tuning before it."""
    return lambda tuning: TunedPolicy(LiveSearch(tuning.scenario, name), tuning.scenario, 0)


def _settings(result: Result) -> list[Setting | None]:
    """What the policy ended with, episode by episode."""
    return [episode.setting for episode in result.episodes]


def _settings_in_words(result: Result) -> str:
    """Every setting once, with the number of episodes that ended with it."""
    settings = _settings(result)
    names = ["-" if each is None else f"B {each.batch_size}, T {each.threshold or 'never'}" for each in settings]
    counted = {name: names.count(name) for name in names}
    return names[0] if len(counted) == 1 else "; ".join(f"{count}x {name}" for name, count in counted.items())


def _versus(result: Result, other: str) -> dict[str, Any] | None:
    ratio = result.ratio(other, "final_carried")
    return None if ratio is None else ratio.as_ratio()


def _versus_base(result: Result) -> str:
    ratio = result.ratio(BASE, "final_carried") if BASE in result.others else None
    return "-" if ratio is None else ratio.with_interval(".3f")


def _title(compared: Comparison) -> str:
    episodes = f"{len(compared.seeds)} test episodes of {compared.choices['windows']} windows"
    return f", {episodes}, in {reference_qps(compared.scenario):.0f} queries/s"


CAPACITY = Evaluation(
    measure=_measure,
    judge=_judge,
    objective="not_carried",
    choices={"windows": WINDOWS},
    baselines={name: prepare for name, prepare in baselines().items() if name not in REFERENCES}
    | {name: _search(name) for name in SEARCHES},
    compared=("static", "deeprecsched", "deeprecsched-repository", BASE, "random"),
    header={
        **{key: HEADER[key] for key in ("environment", "seeds", "split")},
        "windows": lambda compared: compared.choices["windows"],
        "sla_ms": HEADER["sla_ms"],
        "reference_qps": lambda compared: reference_qps(compared.scenario),
        "devices": HEADER["devices"],
    },
    entry={
        **figure("reward"),
        **figure("final_carried"),
        **figure("final_load"),
        **figure("violation_rate"),
        "tuning_queries": lambda result: result.prepared.tuning_queries,
        "settings": lambda result: [each and [each.batch_size, each.threshold] for each in _settings(result)],
        "vs": lambda result: {other: _versus(result, other) for other in result.others},
    },
    columns={
        "settings": _settings_in_words,
        "reward": lambda result: result.estimate("reward").with_interval(".3f"),
        "final carried": lambda result: result.estimate("final_carried").with_interval(".3f"),
        "final load": lambda result: result.estimate("final_load").with_interval(".3f"),
        "violations %": lambda result: f"{100 * result.mean('violation_rate'):.1f}",
        f"vs {BASE}": _versus_base,
    },
    title=_title,
)
