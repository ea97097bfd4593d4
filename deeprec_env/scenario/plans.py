"""Plans: alternative ways through a pipeline, chosen at run time."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import MOST_ITEMS
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.parts import AnyLatency
from deeprec_env.scenario.pools import PoolKind, Stage
from deeprec_env.scenario.quality import quality_of


class Plan(Strict):
    """A way through a pipeline, chosen at run time: at most `items` of a query enter each stage, 0 skip it.

    `latency`: by the names of stage and pool, another latency (another model on the same servers). `quality`: how good
    the ranking is (NDCG, say), for reports and for whoever weighs it against latency; the node takes no notice of it.
    """

    name: Annotated[str, Field(min_length=1)]
    items: tuple[Annotated[int, Field(ge=0, le=MOST_ITEMS)], ...]
    latency: dict[str, dict[PoolKind, AnyLatency]] = {}  # noqa: RUF012  (pydantic copies it)
    quality: float | None = None

    @model_validator(mode="after")
    def _narrows(self) -> Self:
        visited = [n for n in self.items if n > 0]
        if not visited:
            raise ValueError("items must hold at least one stage's items above 0")
        grown = next((after for before, after in pairwise(visited) if after > before), None)
        if grown is not None:
            raise ValueError(
                f"items {list(self.items)} must not grow from stage to stage: {grown} can't be kept of less"
            )
        return self


def check_plan(plan: Plan, pipeline: tuple[Stage, ...]) -> None:
    """Raise `InputError` for a plan that is none of the pipeline's."""
    if len(plan.items) != len(pipeline):
        raise InputError(f"plans.{plan.name}.items", list(plan.items), f"must hold {len(pipeline)}, one a stage")
    stages = {stage.name: stage for stage in pipeline}
    for name, latencies in plan.latency.items():
        if name not in stages:
            raise InputError(f"plans.{plan.name}.latency", name, f"must be one of {', '.join(stages)}")
        for kind in latencies:
            if kind not in stages[name].pools():
                allowed = ", ".join(stages[name].pools())
                raise InputError(f"plans.{plan.name}.latency.{name}", kind, f"must be one of {allowed}")


def with_latencies(stage: Stage, plan: Plan) -> Stage:
    """The stage with a plan's latencies."""
    latencies = plan.latency.get(stage.name, {})
    changed: dict[str, Any] = {
        kind: pool.model_copy(update={"latency": latencies[kind]})
        for kind, pool in stage.pools().items()
        if kind in latencies
    }
    return stage.model_copy(update=changed)


def rated(plan: Plan, table: str) -> Plan:
    """The plan with its quality, from the table where it has none of its own."""
    return plan if plan.quality is not None else plan.model_copy(update={"quality": quality_of(table, plan.name)})
