"""The complete description of an experiment: frozen, validated types, one for each mapping of a scenario file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from deeprec_env.errors import InputError
from deeprec_env.scenario.bounds import MOST_ITEMS, MOST_SUB_BATCHES, Count, Positive, Threshold
from deeprec_env.scenario.component import Sparse, Strict
from deeprec_env.scenario.control import FURTHER, THRESHOLDS, Control
from deeprec_env.scenario.fleet import Fleet
from deeprec_env.scenario.invalid import input_error
from deeprec_env.scenario.parts import AnyArrivals, AnySizes, LatencyModel
from deeprec_env.scenario.plans import Plan, check_plan, rated, with_latencies
from deeprec_env.scenario.pools import Node, Stage
from deeprec_env.scenario.quality import quality_path
from deeprec_env.scenario.setting import PREDICTED, Setting
from deeprec_env.scenario.threshold import AnyThreshold


class Workload(Strict):
    """The stream of queries: when they arrive and how many items they have."""

    arrivals: AnyArrivals
    sizes: AnySizes


class Capacity(Strict):
    """The stationary capacity found for this scenario, the settings that carry it and the command that found them."""

    qps: Positive
    batch_size: Count
    threshold: AnyThreshold = None
    found_by: str


class Scenario(Sparse):
    """An experiment: workload, node, pipeline or fleet, target on p95 and control ladders.

    A pipeline may have `plans`. The quality of those that don't say it is that in `quality_table`, the name of a
    shipped table or the path of a CSV (see `scenario.quality`).

    With `sub_batches` above 1 a query goes through a pipeline in that many parts of its items, as equal as can be, the
    larger ones first, each entering a stage as soon as it has left the one before: a stage passes on the best of every
    part instead of the best of the query. A query has no more parts than the fewest items that it has at any stage, so
    that none is ever empty.

    Of a fleet each group is a scenario of its own (`group_scenarios`): what concerns one node is asked of these.
    """

    later: ClassVar[tuple[str, ...]] = ("fleet", "plans", "quality_table", "sub_batches")

    schema_version: Literal[1] = 1
    sla_ms: Positive
    p99_factor: Annotated[float, Field(ge=1)] | None = 2.0
    workload: Workload
    node: Node | None = None
    pipeline: tuple[Stage, ...] | None = None
    fleet: Fleet | None = None
    plans: tuple[Plan, ...] | None = None
    quality_table: str | None = None
    sub_batches: Annotated[int, Field(ge=1, le=MOST_SUB_BATCHES)] = 1
    control: Control = Control()
    capacity: Capacity | None = None

    @field_validator("quality_table")
    @classmethod
    def _beside_the_scenario(cls, table: str | None, info: ValidationInfo) -> str | None:
        return None if table is None else quality_path(table, (info.context or {}).get("base_dir", "."))

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if [self.node, self.pipeline, self.fleet].count(None) != 2:
            raise ValueError("needs exactly one of node, pipeline and fleet")
        if self.fleet is not None:
            return self._fleet_fits(self.fleet)
        if self.pipeline is not None:
            names = [stage.name for stage in self.pipeline]
            if not names or len(set(names)) < len(names):
                raise ValueError("pipeline must hold at least one stage, each with its own name")
            most = MOST_ITEMS
            for number, stage in enumerate(self.pipeline):
                if stage.keep is not None and stage.keep > most:
                    raise InputError(f"pipeline.{number}.keep", stage.keep, f"must be at most the {most} it gets")
                most = stage.keep or most
        if not self.has_accelerator:
            thresholds = (self.control.threshold, *(self.control.thresholds or ()))
            given = next((threshold for threshold in thresholds if threshold is not None), None)
            if given is not None:
                raise ValueError(f"control.threshold {given} needs an accelerator; without one only null is allowed")
        return self

    def _fleet_fits(self, fleet: Fleet) -> Self:
        if self.capacity is not None or self.control != Control(interval_s=self.control.interval_s):
            field = "capacity" if self.capacity is not None else "control"
            raise InputError(field, list(getattr(self, field).model_fields_set), "must be left to the fleet's groups")
        fleet.check_day(getattr(self.workload.arrivals, "day_s", math.inf))
        assert self.group_scenarios  # they are valid
        return self

    @cached_property
    def group_scenarios(self) -> tuple[Scenario, ...]:
        """By group of a fleet, one of its nodes under the whole workload; without a fleet the scenario itself."""
        if self.fleet is None:
            return (self,)
        shared = {name: getattr(self, name) for name in ("sla_ms", "p99_factor", "workload")}
        found = []
        for position, group in enumerate(self.fleet.groups):
            try:
                found.append(Scenario.model_validate({**shared, **group.described()}))
            except ValidationError as error:
                wrong = input_error(error, "node")
                raise InputError(f"fleet.groups.{position}.{wrong.field}", wrong.value, wrong.allowed) from None
        return tuple(found)

    @model_validator(mode="after")
    def _plans_fit(self) -> Self:
        if self.sub_batches > 1 and self.pipeline is None:
            raise InputError("sub_batches", self.sub_batches, "needs a pipeline")
        if self.plans is not None:
            if self.pipeline is None:
                raise InputError("plans", self.plan_names, "need a pipeline")
            if not self.plans or len(set(self.plan_names)) < len(self.plans):
                raise InputError("plans", self.plan_names, "must hold at least one plan, each with its own name")
            for stage in self.pipeline:
                if stage.keep is not None:
                    raise InputError(f"pipeline.{stage.name}.keep", stage.keep, "must not stand beside plans' items")
            for plan in self.plans:
                check_plan(plan, self.pipeline)
            if self.quality_table is not None:
                with_quality = tuple(rated(plan, self.quality_table) for plan in self.plans)
                object.__setattr__(self, "plans", with_quality)  # frozen for everyone else
        elif self.quality_table is not None:
            raise InputError("quality_table", self.quality_table, "needs plans")
        self.plan_index(self.control.plan, "control.plan")
        return self

    @model_validator(mode="after")
    def _further_controls_fit(self) -> Self:
        if self.fleet is not None:
            return self  # those of its groups do
        control, batching = self.control, [stage for stage in self.stages if stage.batching is not None]
        if control.uses("offload"):
            if not self.has_accelerator:
                raise InputError("control.offload", PREDICTED, "needs an accelerator; without one must be threshold")
            self.check_whole(PREDICTED, "control.offload")
        limits = [limit for limit in control.further_values("admit_ms") if limit is not None]
        if limits:
            self.check_whole(min(limits), "control.admit_ms")
            self.check_limit(min(limits), "control.admit_ms")
        for stage in batching:
            self._check_batching(stage)
        return self

    def check_whole(self, value: object, field: str) -> None:
        """Raise `InputError` for what predicts, or takes requests together, beside `sub_batches` above 1."""
        if self.sub_batches > 1:
            allowed = f"must be left out beside sub_batches {self.sub_batches}: predictions are of whole queries"
            raise InputError(field, value, allowed)

    def check_limit(self, admit_ms: float, field: str = "admit_ms") -> None:
        """Raise `InputError` for an admission limit that not even the fastest query on an idle node keeps."""
        if admit_ms * 1e-3 < self._fastest_s:
            fastest_ms = self._fastest_s * 1e3
            raise InputError(field, admit_ms, f"must be at least {fastest_ms:.6g}, the mean of the fastest query alone")

    @cached_property
    def _fastest_s(self) -> float:
        """Mean seconds that the smallest query takes at the least, on an idle node, under any setting."""
        sizes, probability = self.workload.sizes.probabilities()
        smallest, ways = int(sizes[probability > 0.0].min()), []
        for stages, most in zip(self.planned_stages, self.planned_items, strict=True):
            entering = [(stage, min(smallest, items)) for stage, items in zip(stages, most, strict=True) if items > 0]
            ways.append(sum(stage.transfer_s + stage.fastest_s(items) for stage, items in entering))
        return min(ways)

    def _check_batching(self, stage: Stage) -> None:
        """Every query has to fit into a batch."""
        assert stage.batching is not None
        name = "node" if self.node is not None else f"pipeline.{stage.name}"
        field, given = f"{name}.accelerator.batching.max_items", stage.batching.max_items
        self.check_whole(given, field)
        most = max(items[self.stages.index(stage)] for items in self.planned_items)
        largest = min(int(self.workload.sizes.probabilities()[0].max()), most)
        if given < largest:
            allowed = f"must be at least {largest}, the items of the largest query, which is not cut for a batch"
            raise InputError(field, given, allowed)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in series; a node is one stage."""
        if self.pipeline is not None:
            return self.pipeline
        if self.fleet is not None:
            names = list(self.fleet.members.names)
            raise InputError("fleet", names, "is for simulate alone; here must be a node or pipeline")
        assert self.node is not None
        return (Stage(name="node", cpu=self.node.cpu, accelerator=self.node.accelerator),)

    @cached_property
    def planned_stages(self) -> tuple[tuple[Stage, ...], ...]:
        """By plan: the stages with its latencies. Without plans there is one way, index 0."""
        if self.plans is None:
            return (self.stages,)
        return tuple(tuple(with_latencies(stage, plan) for stage in self.stages) for plan in self.plans)

    @cached_property
    def planned_items(self) -> tuple[tuple[int, ...], ...]:
        """By plan and stage: the most items of a query that enter it, 0 where it is skipped."""
        if self.plans is None:
            kept = [stage.keep or MOST_ITEMS for stage in self.stages]
            return (tuple(accumulate([MOST_ITEMS, *kept[:-1]], min)),)
        return tuple(plan.items for plan in self.plans)

    @cached_property
    def fewest_items(self) -> tuple[int, ...]:
        """By plan: the fewest items that a large query has at any stage it visits."""
        return tuple(min(n for n in items if n > 0) for items in self.planned_items)

    @property
    def latencies(self) -> list[LatencyModel]:
        """Every latency, stage by stage, and those of plans after them; of a fleet group by group."""
        if self.fleet is not None:
            return [latency for group in self.group_scenarios for latency in group.latencies]
        found = [pool.latency for stage in self.stages for pool in stage.pools().values()]
        for plan in self.plans or ():
            found += [latency for of_stage in plan.latency.values() for latency in of_stage.values()]
        return found

    @property
    def plan_names(self) -> list[str]:
        """Names of the plans; none without plans."""
        return [plan.name for plan in self.plans or ()]

    @cached_property
    def setting(self) -> Setting:
        """The setting in force at the start."""
        control = self.control
        further = {name: getattr(control, name) for name in FURTHER}
        return Setting(control.batch_size, control.threshold, self.plan_index(control.plan), **further)

    @cached_property
    def ladders(self) -> dict[str, tuple[Any, ...]]:
        """What a controller chooses from, by the name of the control."""
        return {
            "batch_size": self.control.batch_sizes,
            "threshold": self.thresholds,
            "plan": tuple(range(len(self.planned_stages))),
            **{name: self.control.further_ladder(name) for name in FURTHER},
        }

    def action(self, setting: Setting, controls: Sequence[str] = ("batch_size", "threshold")) -> tuple[int, ...]:
        """A setting as indices on the ladders of some controls; `ValueError` for one that is on none."""
        return tuple(self.ladders[control].index(setting.level(control)) for control in controls)

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that the scenario uses, which its records show."""
        further = filter(self.control.uses, FURTHER)
        return ("batch_size", "threshold", *(("plan",) if self.plans else ()), *further)

    def settings(self) -> list[Setting]:
        """Every batch size of its ladder with every threshold of its, under the plan in force at the start."""
        return [
            self.setting.replace(batch_size=batch_size, threshold=threshold)
            for batch_size in self.control.batch_sizes
            for threshold in self.thresholds
        ]

    def plan_index(self, plan: int | str, field: str = "plan") -> int:
        """The index of a plan, given by its name or index; `InputError` if there is none."""
        names = self.plan_names
        if isinstance(plan, str) and plan in names:
            return names.index(plan)
        number = int(plan) if len(str(plan)) < 10 and str(plan).isdecimal() else -1
        if not 0 <= number < max(1, len(names)):
            allowed = f"must be an index from 0 to {len(names) - 1}, or one of {', '.join(names)}"
            raise InputError(field, plan, allowed if names else "must be 0: the scenario has no plans")
        return number

    @cached_property
    def has_accelerator(self) -> bool:
        """Whether any stage has an accelerator pool."""
        return any(stage.accelerator is not None for stage in self.stages)

    @property
    def sla_s(self) -> float:
        """The target in seconds."""
        return self.sla_ms * 1e-3

    @property
    def thresholds(self) -> tuple[Threshold, ...]:
        """The ladder of thresholds: the file's, else the default one, else (no stage has both pools) None alone."""
        if self.control.thresholds is not None:
            return self.control.thresholds
        return THRESHOLDS if any(len(stage.pools()) == 2 for stage in self.stages) else (None,)

    def replace(self, **changes: Any) -> Scenario:
        """A copy with some fields changed, validated again."""
        return Scenario.model_validate({name: getattr(self, name) for name in type(self).model_fields} | changes)

    def with_arrivals(self, arrivals: Any) -> Scenario:
        """A copy with another arrival process (a component or a mapping with its kind)."""
        return self.replace(workload=Workload(arrivals=arrivals, sizes=self.workload.sizes))

    def with_setting(self, setting: Setting) -> Scenario:
        """A copy with another setting at the start."""
        named = self.control.plan if setting.plan == self.setting.plan else setting.plan
        changes = {"batch_size": setting.batch_size, "threshold": setting.threshold, "plan": named}
        changes |= {name: getattr(setting, name) for name in FURTHER}
        return self.replace(control=self.control.model_dump() | changes)
