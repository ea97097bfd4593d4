"""Off-line tuning: every method that finds one setting for a scenario, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from deeprec_env.analysis.capacity import TUNING_QUERIES, CapacityEstimate, find_capacity
from deeprec_env.arguments import whole
from deeprec_env.errors import InputError
from deeprec_env.policies.base import Progress
from deeprec_env.policies.evaluation.day_metrics import DayRuns, day_metrics
from deeprec_env.policies.fixed.best_day import with_best_day
from deeprec_env.policies.fixed.capacity_meter import CapacityMeter
from deeprec_env.policies.fixed.deeprecsched import ClimbOptions, deeprecsched
from deeprec_env.policies.fixed.deeprecsched_repository import LiveTuner, RepositoryOptions, deeprecsched_repository
from deeprec_env.policies.fixed.grid_capacity import MOST_EFFORT, grid_capacity
from deeprec_env.policies.fixed.grid_day import grid_day
from deeprec_env.policies.fixed.static import static_setting
from deeprec_env.progress import part
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.load import input_error
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting
from deeprec_env.simulation.checks import check_queries, check_setting
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import RESULTS


@dataclass(frozen=True)
class TuneOptions:
    """How a setting is searched for: queries a probe, days of the day metric, and validation seeds from `seed` on.

    `arrivals` are those of a capacity, "poisson" or "scenario" (see `find_capacity`).
    `parameters` are the method's own (`ClimbOptions`, `RepositoryOptions`), by name.
    """

    arrivals: str = "poisson"
    queries: int = TUNING_QUERIES
    days: int = 16
    seed: int = 0
    engine: str = "compiled"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_queries(self.queries)
        whole("days", self.days, 1)
        whole("seed", self.seed, 0)

    def to_json(self) -> dict[str, Any]:
        """The options by name, without the engine, which results name elsewhere."""
        return {
            "arrivals": self.arrivals,
            "queries": self.queries,
            "days": self.days,
            "seed": self.seed,
            "parameters": dict(self.parameters),
        }


@dataclass(frozen=True)
class Tuned:
    """The setting a method found and the simulated queries it took."""

    setting: Setting
    queries_used: int


Method = Callable[[Scenario, TuneOptions, Progress], Tuned]


def _static(scenario: Scenario, options: TuneOptions, progress: Progress) -> Tuned:
    return Tuned(static_setting(scenario), 0)


def _paper(scenario: Scenario, options: TuneOptions, progress: Progress) -> Tuned:
    parameters, meter = _parameters(ClimbOptions, options), _meter(scenario, options)
    return Tuned(deeprecsched(scenario, meter, progress, parameters), meter.queries_used)


def _capacity(scenario: Scenario, options: TuneOptions, progress: Progress) -> Tuned:
    meter = _meter(scenario, options)
    return Tuned(grid_capacity(scenario, meter, progress), meter.queries_used)


def _meter(scenario: Scenario, options: TuneOptions) -> CapacityMeter:
    return CapacityMeter(
        scenario, queries=options.queries, seed=options.seed, engine=options.engine, arrivals=options.arrivals
    )


P = TypeVar("P", bound=Strict)


def _parameters(kind: type[P], options: TuneOptions) -> P:
    try:
        return kind.model_validate(dict(options.parameters))
    except ValidationError as error:
        raise input_error(error, "param") from None


def _repository(scenario: Scenario, options: TuneOptions, progress: Progress) -> Tuned:
    if options.arrivals != "poisson":
        raise InputError(
            "arrivals", options.arrivals, "must be poisson: deeprecsched-repository stretches gaps as it runs"
        )
    parameters = _parameters(RepositoryOptions, options)
    tuner = LiveTuner(scenario, parameters, seed=options.seed)
    return Tuned(deeprecsched_repository(scenario, tuner, progress, parameters), tuner.queries_used)


def _day(scenario: Scenario, options: TuneOptions, progress: Progress) -> Tuned:
    scenario = with_best_day(scenario, engine=options.engine)
    seeds = range(options.seed, options.seed + options.days)
    days = DayRuns(scenario, day_metrics, seeds=seeds, split="validation", engine=options.engine)
    return Tuned(grid_day(scenario, days, progress), days.queries_used)


ALIASES = {"grid": "grid-capacity"}
"""Other names of methods."""

METHODS: dict[str, Method] = {
    "static": _static,
    "deeprecsched": _paper,
    "deeprecsched-repository": _repository,
    "grid-capacity": _capacity,
    "grid-day": _day,
}
"""Tuning methods by name: (scenario, options, progress) -> setting and cost."""

WITH_PARAMETERS = ("deeprecsched", "deeprecsched-repository")
"""Methods that have parameters of their own."""


METHODS_OF_DAYS = ("grid-day",)
"""Methods that search on whole days."""


def find_setting(scenario: Scenario, method: str, options: TuneOptions, progress: Progress) -> Tuned:
    """The setting that a method finds; `InputError` for an unknown method."""
    method = ALIASES.get(method, method)
    if method not in METHODS:
        raise InputError("method", method, f"must be one of {', '.join(METHODS)}")
    if options.parameters and method not in WITH_PARAMETERS:
        raise InputError(
            "param", ", ".join(options.parameters), f"{method} has none; {', '.join(WITH_PARAMETERS)} have"
        )
    return METHODS[method](scenario, options, part(progress, 0.0, 1.0, f"{method}: "))


@dataclass(frozen=True)
class TuneResult:
    """A method's setting, and its capacity by the scenario's rule (measured anew, alike for all methods)."""

    method: str
    tuned: Tuned
    capacity: CapacityEstimate
    question: Question | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The contract's keys."""
        return {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "arrivals": self.capacity.arrivals,
            "batch_size": self.tuned.setting.batch_size,
            "threshold": self.tuned.setting.threshold,
            "qps": self.capacity.qps,
            "qps_ci": self.capacity.to_json()["qps_ci"],
            "limited_by": self.capacity.limited_by,
            "p95_only_qps": self.capacity.p95_only_qps,
            "offered_load": self.capacity.offered_load,
            "queries_used": self.tuned.queries_used + self.capacity.queries_used,
            "devices": self.capacity.devices,
            "streams_sha256": self.capacity.streams_sha256,
            **asked(self.question),
            "versions": versions(),
        }


def tune(scenario: Scenario, method: str, options: TuneOptions, progress: Progress = lambda what: None) -> TuneResult:
    """Tune a scenario by a method, then measure what the setting carries."""
    arguments = options.to_json() | {"method": ALIASES.get(method, method)}
    seed = arguments.pop("seed")
    question = ask(
        "tune",
        scenario,
        seed=seed,
        split="validation",
        engine=options.engine,
        sources=(*RESULTS, "envs", "policies"),
        **arguments,
    )
    tuned = find_setting(scenario, method, options, part(progress, 0.0, 0.8))
    check_setting(scenario, tuned.setting)
    queries = MOST_EFFORT * options.queries
    capacity = find_capacity(
        scenario.with_setting(tuned.setting),
        arrivals=options.arrivals,
        queries=queries,
        seed=options.seed,
        engine=options.engine,
        progress=part(progress, 0.8, 1.0, "capacity: "),
    )
    return TuneResult(ALIASES.get(method, method), tuned, capacity, question)
