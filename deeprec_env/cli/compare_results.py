"""`deeprec compare`: what two results differ in, in what was asked and in what came of it."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from deeprec_env import console
from deeprec_env.cli.figures import Differences, differences, figures, read_known
from deeprec_env.cli.options import Json
from deeprec_env.provenance import KEY
from deeprec_env.simulation.header import SCHEMA_VERSION

BY_EPISODE = ("actions", "episodes")
"""Keys of an evaluation that hold what the others are means of."""

WIDEST = 40
"""Characters of a value in a table; the JSON has it whole."""

Paired = dict[str, dict[str, dict[str, Any]]]


def compare_results(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="What a command printed with --json.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another.")],
    json: Json = False,
) -> None:
    """Say what two results differ in, question and answer. Paired where traffic is the same; exit status 1 if any."""
    first, second = read_known(a), read_known(b)
    question = differences(_question(first), _question(second))
    answer = differences(figures(first), figures(second))
    told = {key: pair for key, pair in answer.items() if key.partition(".")[0] not in BY_EPISODE}
    seeds = _common_seeds(first, second)
    pairs, others = _paired(first, second, seeds), _other_actions(first, second, seeds)
    if json:
        console.print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "same": not question and not answer,
                "same_traffic": _same_traffic(first, second),
                "question": {key: {"a": one, "b": other} for key, (one, other) in question.items()},
                "answer": {
                    key: {"a": one, "b": other, "ratio": _ratio(one, other)} for key, (one, other) in told.items()
                },
                "other_actions": others,
                "paired_seeds": seeds if pairs else [],
                "paired": pairs,
            }
        )
    else:
        _tell(question, told, pairs, seeds)
        if others:
            typer.echo(f"other actions: {', '.join(others)}")
        if _same_traffic(first, second) and told:
            typer.echo("both met the same traffic")
    if question or answer:
        raise typer.Exit(1)


def _question(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result[KEY].items() if key != "line"}


def _same_traffic(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether digests say so; results that have none say nothing."""
    streams = first.get("streams_sha256")
    return streams is not None and streams == second.get("streams_sha256")


def _common_seeds(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[int]:
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


def _paired(first: Mapping[str, Any], second: Mapping[str, Any], seeds: list[int]) -> Paired:
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


def _other_actions(first: Mapping[str, Any], second: Mapping[str, Any], seeds: list[int]) -> list[str]:
    """The policies in both that did not do the same on the days that both have."""
    by_policy = [result.get("actions", {}) for result in (first, second)]
    found = []
    for name in (name for name in by_policy[0] if name in by_policy[1]):
        done = [[by_seed["episodes"].get(str(seed)) for seed in seeds] for by_seed in (of[name] for of in by_policy)]
        if done[0] != done[1]:
            found.append(name)
    return found


def _ratio(one: Any, other: Any) -> float | None:
    """B in A, of two numbers."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return None
    return other / one if one else None


def _tell(question: Differences, answer: Differences, pairs: Paired, seeds: list[int]) -> None:
    for what, found in ((KEY, question), ("answer", answer)):
        if not found:
            typer.echo(f"{what}: the same")
            continue
        rows = []
        for key, (one, other) in found.items():
            ratio = _ratio(one, other)
            rows.append([key, _text(one), _text(other), "" if ratio is None else f"{ratio:.4g}"])
        console.print_table(what, ("", "A", "B", "B/A"), rows)
    rows = [
        [
            name,
            figure,
            f"{entry['a']:.5g}",
            f"{entry['b']:.5g}",
            _with_ci(entry, "difference"),
            _with_ci(entry, "ratio"),
        ]
        for name, by_figure in pairs.items()
        for figure, entry in by_figure.items()
    ]
    if rows:
        title = f"paired, on the same days (seeds {', '.join(map(str, seeds))}), with intervals of 95 %"
        console.print_table(title, ("policy", "figure", "A", "B", "B - A", "B/A"), rows)


def _with_ci(entry: Mapping[str, Any], name: str) -> str:
    if entry[name] is None:
        return "-"
    ci = entry[f"{name}_ci"]
    return f"{entry[name]:.4g}" + (f" [{ci[0]:.4g}, {ci[1]:.4g}]" if ci else "")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        text = "[" + ", ".join(map(_text, value)) + "]"
    else:
        text = value if isinstance(value, str) else json_format.dumps(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."
