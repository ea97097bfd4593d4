"""The engines by name, and what each can do."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from deeprec_env.arguments import choice
from deeprec_env.errors import InputError
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.engine import Engine, StoppableEngine
from deeprec_env.workload.stream import Traffic

if TYPE_CHECKING:
    from deeprec_env.simulation.asyncio_engine import AsyncioEngine

Coroutines = Sequence[Callable[["AsyncioEngine"], Coroutine[Any, Any, object]]]
"""What a user runs beside the node: each is called with the engine."""

COROUTINES = "run coroutines beside the node"
FORK = "be copied in mid-run"
STOP = "stop after a completion"
BATCH = "run many nodes in one call"
WALL = "run on the wall clock"
ANY_CLOCK = "run on some clock"
"""What every engine can; who asks for it takes live ones, too."""


@dataclass(frozen=True)
class EngineKind:
    """An engine: what makes it, as `module:name`, imported when it is first used, and what it can do besides."""

    maker: str
    abilities: frozenset[str]

    def make(self, scenario: Scenario, traffic: Traffic, coroutines: Coroutines) -> Engine:
        """The engine, at time 0."""
        given = (coroutines,) if COROUTINES in self.abilities else ()
        return cast(Engine, pkgutil.resolve_name(self.maker)(scenario, traffic, *given))


ENGINES = {
    "asyncio": EngineKind("deeprec_env.simulation.asyncio_engine:AsyncioEngine", frozenset({COROUTINES, STOP})),
    "compiled": EngineKind("deeprec_env.simulation.compiled_engine:CompiledEngine", frozenset({FORK, BATCH})),
}
"""They give the same bytes."""

LIVE_ENGINES = {"live": EngineKind("deeprec_env.live.engine:LiveEngine", frozenset({COROUTINES, STOP, WALL}))}
"""The same node on the wall clock, with processes that run the models: no two runs of it are alike."""


def engine_kind(name: str, *needed: str, asker: str = "") -> EngineKind:
    """The engine of a name; `InputError` if there is none, or if it can't do what is needed: it says which can.

    `asker` names who needs it. Whoever has no use for virtual time says so by `ANY_CLOCK` among the `needed`.
    """
    known = ENGINES | LIVE_ENGINES if ANY_CLOCK in needed else ENGINES
    choice("engine", name, known)
    for ability in needed:
        if ability not in known[name].abilities | {ANY_CLOCK}:
            able = " or ".join(other for other, kind in known.items() if ability in kind.abilities)
            reason = f", as {asker} needs" if asker else ""
            raise InputError("engine", name, f"can't {ability}{reason}; use {able}")
    return known[name]


def make_engine(scenario: Scenario, traffic: Traffic, engine: str = "compiled", coroutines: Coroutines = ()) -> Engine:
    """An engine of that name, at time 0."""
    return engine_kind(engine, ANY_CLOCK, *([COROUTINES] if coroutines else [])).make(scenario, traffic, coroutines)


def stoppable_engine(scenario: Scenario, traffic: Traffic) -> StoppableEngine:
    """An engine that can stop after a completion, at time 0."""
    name = next(name for name, kind in ENGINES.items() if STOP in kind.abilities)
    return cast(StoppableEngine, make_engine(scenario, traffic, name))
