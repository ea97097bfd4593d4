"""The runs of a comparison: every policy's episodes and capacities, as independent pieces of work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from deeprec_env.envs.spec import EnvSpec
from deeprec_env.executors.executor import Executor
from deeprec_env.policies.base import PrivilegedPolicy, TunedPolicy
from deeprec_env.policies.evaluation.episodes import run_episode
from deeprec_env.policies.evaluation.evaluation import SPLIT, Choices, evaluation_of
from deeprec_env.policies.evaluation.recorded import RecordedPolicy, Runs, runs_of
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.progress import Progress, Step

WINDOWS = "windows"
"""The choice that sets the length of an episode, where an evaluation has it."""

Episode = tuple[Any, Runs]
"""What was measured in an episode, and what the policy did."""

Found = tuple[tuple[Any, ...], dict[int, Runs], tuple[float, ...] | None]
"""Of a policy: its episodes' figures, by seed what it did, and its capacities by seed."""


@dataclass(frozen=True)
class Judged:
    """What all pieces share: the policies, prepared, and how they are judged."""

    spec: EnvSpec
    options: TuneOptions
    choices: Choices
    seeds: tuple[int, ...]
    policies: Mapping[str, TunedPolicy]


@dataclass(frozen=True)
class _Piece:
    """Some episodes of a policy, or its capacities: those of one seed begin where that of the first was found."""

    policy: str
    seeds: tuple[int, ...]
    capacities: bool = False

    @property
    def in_words(self) -> str:
        days = f"test episode {self.seeds[0]}" if len(self.seeds) == 1 else f"{len(self.seeds)} test episodes"
        return f"{self.policy}: {'capacity' if self.capacities else days}"


def judge_all(judged: Judged, ours: Collection[str], executor: Executor, progress: Progress) -> dict[str, Found]:
    """By policy what came of it. Of the policies `ours` every episode is a piece of its own.

    Others may remember what they have met: all their episodes are one piece, in the order of the seeds.
    """
    pieces = []
    for name, prepared in judged.policies.items():
        pieces += [_Piece(name, (seed,)) for seed in judged.seeds] if name in ours else [_Piece(name, judged.seeds)]
        measured = evaluation_of(judged.spec).capacities is not None
        if measured and not isinstance(prepared.policy, PrivilegedPolicy | RecordedPolicy):
            pieces.append(_Piece(name, judged.seeds, capacities=True))
    episodes: dict[str, dict[int, Episode]] = {name: {} for name in judged.policies}
    capacities: dict[str, tuple[float, ...]] = {}
    progress(pieces[0].in_words)
    for done, (number, found) in enumerate(executor.results(_judge, judged, pieces)):
        piece = pieces[number]
        if piece.capacities:
            capacities[piece.policy] = found
        else:
            episodes[piece.policy] |= found
        following = pieces[min(done + 1, len(pieces) - 1)]  # of several at once, one of those that are at work
        progress(Step(following.in_words, (done + 1) / len(pieces)))
    return {name: _in_order(judged, episodes[name], capacities.get(name)) for name in judged.policies}


def _in_order(judged: Judged, episodes: dict[int, Episode], capacities: tuple[float, ...] | None) -> Found:
    figures = tuple(episodes[seed][0] for seed in judged.seeds)
    return figures, {seed: episodes[seed][1] for seed in judged.seeds}, capacities


def _judge(judged: Judged, piece: _Piece) -> Any:
    """A piece's capacities, or by seed its episodes."""
    evaluation, prepared = evaluation_of(judged.spec), judged.policies[piece.policy]
    if piece.capacities:
        assert evaluation.capacities is not None
        return evaluation.capacities(prepared, piece.seeds, judged.options)
    env = judged.spec.make(prepared.scenario, engine=judged.options.engine)
    env.windows = judged.choices.get(WINDOWS, env.windows)
    found = {}
    for seed in piece.seeds:
        run = run_episode(env, prepared.policy, seed, SPLIT)
        found[seed] = evaluation.measure(run, prepared), runs_of(run.actions)
    env.close()
    return found
