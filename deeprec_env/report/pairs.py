"""Results side by side: whether they met the same traffic, and what pairs of episodes say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deeprec_env.provenance import KEY

Paired = dict[str, dict[str, dict[str, Any]]]
"""By policy and figure of an episode: means of A and B, `difference` and `ratio` with their intervals (`_ci`)."""


def question_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, without how it was typed."""
    return {key: value for key, value in result[KEY].items() if key != "line"}


def same_traffic(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether digests say so; results that have none say nothing."""
    streams = first.get("streams_sha256")
    return streams is not None and streams == second.get("streams_sha256")


def common_seeds(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[int]:
    """The seeds whose episodes brought the same traffic in both."""
    asked = [result[KEY] for result in (first, second)]
    kinds = [(one.get("command"), one.get("split"), one.get("arguments", {}).get("environment")) for one in asked]
    if kinds[0] != kinds[1] or not all("episodes" in result for result in (first, second)):
        return []
    streams = [_streams(result) for result in (first, second)]
    return [seed for seed in streams[0] if seed in streams[1] and streams[0][seed] == streams[1][seed]]


def _streams(result: Mapping[str, Any]) -> dict[int, Any]:
    """By seed: the digest of its traffic or, without digests, the workload and what else decides it."""
    digests = result.get("streams_sha256")
    asked = result[KEY]
    decided = [asked.get("scenario", {}).get("workload"), asked.get("arguments", {}).get("choices")]
    return dict(zip(result["seeds"], digests or [decided] * len(result["seeds"]), strict=False))


def pairs_of(first: Mapping[str, Any], second: Mapping[str, Any], seeds: list[int]) -> Paired:
    """By policy and figure of an episode: means, B - A and B / A over the seeds that both have, with intervals."""
    if not seeds:
        return {}
    from deeprec_env.policies.evaluation import paired

    found: Paired = {}
    for name in (name for name in first["episodes"] if name in second["episodes"]):
        for figure in (figure for figure in first["episodes"][name] if figure in second["episodes"][name]):
            one, other = (
                [dict(zip(result["seeds"], result["episodes"][name][figure], strict=True))[seed] for seed in seeds]
                for result in (first, second)
            )
            if one == other or None in one or None in other:
                continue
            difference = paired.mean([theirs - mine for mine, theirs in zip(one, other, strict=True)])
            ratio = paired.ratio(other, one)
            found.setdefault(name, {})[figure] = {
                "a": paired.mean(one).value,
                "b": paired.mean(other).value,
                "difference": difference.value,
                "difference_ci": difference.ci,
                "ratio": ratio and ratio.value,
                "ratio_ci": ratio and ratio.ci,
            }
    return found


def other_actions(first: Mapping[str, Any], second: Mapping[str, Any], seeds: list[int]) -> list[str]:
    """The policies in both that did not do the same on the days that both have."""
    by_policy = [result.get("actions", {}) for result in (first, second)]
    found = []
    for name in (name for name in by_policy[0] if name in by_policy[1]):
        done = [[by_seed["episodes"].get(str(seed)) for seed in seeds] for by_seed in (of[name] for of in by_policy)]
        if done[0] != done[1]:
            found.append(name)
    return found
