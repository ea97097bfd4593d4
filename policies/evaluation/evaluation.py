"""How policies are judged in an environment: what is measured, and what a comparison of them shows."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from deeprec_env.envs.spec import EnvSpec
from deeprec_env.errors import InputError
from deeprec_env.policies.base import Progress, TunedPolicy
from deeprec_env.policies.evaluation import paired
from deeprec_env.policies.evaluation.episodes import EpisodeRun
from deeprec_env.policies.evaluation.paired import Estimate, Scale
from deeprec_env.policies.evaluation.recorded import Runs, recording
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.provenance import Question, asked
from deeprec_env.scenario.schema import Scenario
from deeprec_env.shown import Shown, flat
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions

SPLIT = "test"
"""The split of traffic that policies are compared on."""

Choices = Mapping[str, Any]
"""What a comparison may be asked beside seeds, by name ("traffic", "windows", ...)."""


@dataclass(frozen=True)
class Tuning:
    """What the policies of one comparison are prepared from: a scenario that has its day, and how to search."""

    spec: EnvSpec
    scenario: Scenario
    options: TuneOptions = field(default_factory=TuneOptions)
    choices: Choices = field(default_factory=dict)
    progress: Progress = lambda what: None


Baseline = Callable[[Any], TunedPolicy]
"""What prepares a policy from an evaluation's `Tuning`."""


@dataclass(frozen=True)
class Result:
    """A policy over the episodes of a comparison, one a seed; `results` holds those of all policies by name.

    Episodes say in `scales`, by figure, on which scale an interval is symmetric (default: `paired.PLAIN`).

    `capacities_qps`: its capacity by seed; None where that is not measured. `actions`: what it did, by seed.
    """

    name: str
    prepared: TunedPolicy
    episodes: tuple[Any, ...]
    capacities_qps: tuple[float, ...] | None
    results: Mapping[str, Result]
    actions: Mapping[int, Runs] = field(default_factory=dict, repr=False)

    @property
    def others(self) -> list[str]:
        """Names of the other policies."""
        return [name for name in self.results if name != self.name]

    @property
    def capacity_qps(self) -> float | None:
        """Mean over the seeds of the capacity."""
        return None if self.capacities_qps is None else float(np.mean(self.capacities_qps))

    def values(self, figure: str, unit: float = 1.0) -> list[float]:
        """A figure of all episodes, times `unit`."""
        return [unit * getattr(episode, figure) for episode in self.episodes]

    def by_episode(self) -> dict[str, list[float]]:
        """Every figure of an episode that is one number, in the order of the seeds."""
        figures = vars(self.episodes[0]) if self.episodes and hasattr(self.episodes[0], "__dict__") else {}
        return {name: self.values(name) for name, value in figures.items() if isinstance(value, int | float)}

    def estimate(self, figure: str, unit: float = 1.0) -> Estimate:
        """Mean over the episodes of a figure, with its interval."""
        values = self.values(figure)
        value = float(np.mean([unit * each for each in values]))
        ci = paired.mean(values, self._scale(figure)).ci
        return Estimate(value, None if ci is None else (ci[0] * unit, ci[1] * unit))

    def mean(self, figure: str) -> float:
        """The mean alone."""
        return self.estimate(figure).value

    def ratio(self, other: str, figure: str) -> Estimate | None:
        """Ratio of a figure to another policy's with its paired interval; None where one is not positive."""
        return paired.ratio(self.values(figure), self.results[other].values(figure))

    def difference(self, other: str, figure: str) -> Estimate:
        """Difference of a figure from another policy's with its paired interval."""
        pairs = zip(self.values(figure), self.results[other].values(figure), strict=True)
        scale = paired.SHARE_DIFFERENCE if self._scale(figure) is paired.SHARE else paired.PLAIN
        return paired.mean([mine - theirs for mine, theirs in pairs], scale)

    def _scale(self, figure: str) -> Scale:
        """What the measured episodes say of a figure in their `scales`; else it may be any number."""
        scales: Mapping[str, Scale] = getattr(self.episodes[0], "scales", {})
        return scales.get(figure, paired.PLAIN)


@dataclass(frozen=True)
class Comparison(Shown):
    """Policies on the same episodes."""

    spec: EnvSpec
    evaluation: Evaluation
    scenario: Scenario
    seeds: tuple[int, ...]
    choices: Choices
    policies: dict[str, Result]
    question: Question | None = field(default=None, compare=False, repr=False)

    @cached_property
    def seeds_in_words(self) -> str:
        """For a title: how many test days, and of which seeds."""
        return f"{len(self.seeds)} test days (seeds {self.seeds[0]} to {self.seeds[-1]})"

    def to_json(self) -> dict[str, Any]:
        """What `deeprec evaluate --json` prints; null where a figure has no meaning, or nothing to be measured by."""
        entries = {
            name: {key: cell(result) for key, cell in self.evaluation.entry.items()}
            for name, result in self.policies.items()
        }
        header = {key: cell(self) for key, cell in self.evaluation.header.items()}
        return {
            "schema_version": SCHEMA_VERSION,
            **header,
            "policies": entries,
            "episodes": {name: result.by_episode() for name, result in self.policies.items()},
            "actions": {name: recording(result.prepared, result.actions) for name, result in self.policies.items()},
            **asked(self.question),
            "versions": versions(),
        }

    def _rows(self) -> list[dict[str, Any]]:
        return [{"policy": name, **flat(entry)} for name, entry in self.to_json()["policies"].items()]

    def _table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        return ["policy", *self.evaluation.columns], self.rows()

    def rows(self) -> list[list[str]]:
        """The table: a row for each policy, its name first."""
        return [
            [name, *(cell(result) for cell in self.evaluation.columns.values())]
            for name, result in self.policies.items()
        ]


Header = Mapping[str, Callable[[Comparison], Any]]

HEADER: Header = {
    "environment": lambda compared: compared.spec.name,
    "seeds": lambda compared: list(compared.seeds),
    "split": lambda compared: SPLIT,
    "sla_ms": lambda compared: compared.scenario.sla_ms,
    "devices": lambda compared: devices(compared.scenario),
}
"""Keys that every comparison has before its policies."""


@dataclass(frozen=True)
class Evaluation:
    """How policies are judged in one environment.

    `measure`: the figures of an episode, an object with an attribute for each. `judge`: from the figures of several,
    and their scenario, those of a training's validation, on the validation episodes of `validation_seeds`; the best
    agent has the lowest of them that is called `objective`.

    `prepare`: (scenario, engine, choices) -> the scenario with its day. `baselines`: policies by name, prepared from
    `tuning` (a `Tuning`, or what is made like one); `compared` are those of them that are compared unless said, and
    `references` see ahead, which needs an engine that can be forked. `capacities`: a policy's capacities by seed.
    `choices`: what a comparison may be asked, with the default.

    `entry` and `header` are the keys of its JSON, of each policy and of all, `columns` the table's, each with what it
    holds; `title` stands above the table, what `notes` say of columns that are not plain below it.
    """

    measure: Callable[[EpisodeRun, TunedPolicy], Any]
    judge: Callable[[Sequence[Any], Scenario], dict[str, float]]
    objective: str
    entry: Mapping[str, Callable[[Result], Any]]
    columns: Mapping[str, Callable[[Result], str]]
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    compared: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    header: Header = field(default_factory=lambda: HEADER)
    title: Callable[[Comparison], str] = lambda compared: compared.seeds_in_words
    notes: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Scenario, str, Choices], Scenario] = lambda scenario, engine, choices: scenario
    tuning: Callable[[EnvSpec, Scenario, TuneOptions, Choices, Progress], Any] = Tuning
    capacities: Callable[[TunedPolicy, Sequence[int], TuneOptions], tuple[float, ...]] | None = None
    choices: Choices = field(default_factory=dict)
    validation_seeds: tuple[int, ...] = (1000, 1001)
    """Validation days lie beside those that tuners see."""


def evaluation_of(spec: EnvSpec) -> Evaluation:
    """How policies are judged in an environment; `InputError` where its spec does not name an `Evaluation`."""
    found = spec.evaluation
    if isinstance(found, str):
        try:
            found = pkgutil.resolve_name(found)
        except Exception as error:  # whatever a user's module raises when it is imported
            raise InputError(f"{spec.id}: evaluation", spec.evaluation, f"can't be imported ({error})") from error
    if not isinstance(found, Evaluation):
        raise InputError(f"{spec.id}: evaluation", spec.evaluation, "must be an Evaluation, or module:name of one")
    return found


def figure(key: str, name: str | None = None, unit: float = 1.0) -> dict[str, Callable[[Result], Any]]:
    """Two keys of an entry: the mean of a figure (default: of the key's name), and its interval."""
    of = name or key
    return {
        key: lambda result: result.estimate(of, unit).known,
        f"{key}_ci": lambda result: result.estimate(of, unit).ci,
    }
