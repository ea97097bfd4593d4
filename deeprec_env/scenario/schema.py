"""The complete description of an experiment: frozen, validated types, one for each mapping of a scenario file."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.parts import AnyArrivals, AnyLatency, AnySizes, LatencyModel

MOST_ITEMS = 10**9
"""Bound of batch sizes, thresholds and server counts: what is above is a slip."""

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS)]
Threshold = Count | None
"""Offload threshold in items; None: never offload."""

LOWEST_QPS, HIGHEST_QPS = 1e-9, 1e12

BATCH_SIZES = (8, 16, 25, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1000)
THRESHOLDS = (1, 64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 900, None)


class Workload(Strict):
    """The stream of queries: when they arrive and how many items they have."""

    arrivals: AnyArrivals
    sizes: AnySizes


class Contention(Strict):
    """Slow-down by busy neighbours: service = base * (c0 + c1 u + c2 u^2), u = busy servers of the pool / `servers`."""

    c: tuple[NonNegative, NonNegative, NonNegative] = (1.0, 0.0, 0.0)
    servers: Count | None = None

    @model_validator(mode="after")
    def _slows_to_something(self) -> Self:
        if sum(self.c) <= 0:
            raise ValueError("contention.c must not be all zero")
        return self


class Pool(Strict):
    """Identical servers behind one FCFS queue. Powers are of the whole pool, in watts.

    In place of `servers`, `cores` may be given: there are cores // threads servers then, and each takes the latency
    measured at so many `threads` (default 1).
    """

    cores: Count | None = None
    threads: Count | None = None
    servers: Count = Field(default=None, validate_default=True)
    latency: AnyLatency
    contention: Contention = Contention()
    idle_w: NonNegative = 0.0
    busy_w: NonNegative = 0.0

    @field_validator("servers", mode="before")
    @classmethod
    def _of_cores(cls, given: Any, info: ValidationInfo) -> Any:
        if not {"cores", "threads"} <= info.data.keys():
            return 1  # what is wrong with them is said
        cores, threads = info.data["cores"], info.data["threads"]
        if cores is None and threads is None:
            if given is None:
                raise ValueError("is needed, or cores in its place")
            return given
        if given is not None:
            raise ValueError("follows from cores and threads: give either servers, or cores in their place")
        if cores is None or cores < (threads or 1):
            raise ValueError(f"threads {threads} needs at least so many cores, got {cores}")
        return cores // (threads or 1)

    @field_validator("latency")
    @classmethod
    def _at_threads(cls, latency: LatencyModel, info: ValidationInfo) -> LatencyModel:
        given = info.data.get("cores") is not None
        return latency.at_threads(info.data.get("threads") or 1) if given else latency

    @model_serializer(mode="wrap")
    def _as_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Cores and threads, or servers: what the other says is left out, so that one of them can be changed."""
        dumped: dict[str, Any] = dump(self)
        for key in ("cores", "threads") if self.cores is None else ("servers",):
            dumped.pop(key, None)
        if self.cores is not None and isinstance(dumped.get("latency"), dict):
            dumped["latency"].pop("threads", None)
        return dumped

    @model_validator(mode="after")
    def _busy_draws_more(self) -> Self:
        if self.busy_w < self.idle_w:
            raise ValueError(f"busy_w {self.busy_w} must be at least idle_w {self.idle_w}")
        return self

    def slowdown(self, busy: int) -> float:
        """Factor on the base service time when `busy` servers of this pool are busy."""
        c0, c1, c2 = self.contention.c
        u = busy / (self.contention.servers or self.servers)
        return c0 + c1 * u + c2 * u * u


class Stage(Strict):
    """A model on its pools. `keep` items go on to the next stage (None: all).

    `overhead_s` occupies the server with every request; `transfer_s` delays a query's entry into the stage.
    """

    name: str
    cpu: Pool
    accelerator: Pool | None = None
    keep: Count | None = None
    overhead_s: NonNegative = 0.0
    transfer_s: NonNegative = 0.0

    def pools(self) -> dict[str, Pool]:
        """The stage's pools by name: "cpu" and, if it has one, "accelerator"."""
        return {"cpu": self.cpu} | ({"accelerator": self.accelerator} if self.accelerator else {})


class Node(Strict):
    """One machine with one stage."""

    cpu: Pool
    accelerator: Pool | None = None


class Control(Strict):
    """The settings in force at the start, and the ladders from which an agent chooses, once every `interval_s`."""

    batch_size: Count = 25
    threshold: Threshold = None
    batch_sizes: tuple[Count, ...] = BATCH_SIZES
    thresholds: tuple[Threshold, ...] | None = Field(default=None, validate_default=False)
    interval_s: Positive = 0.1

    @model_validator(mode="after")
    def _ladders_hold_something(self) -> Self:
        for name, ladder in (("batch_sizes", self.batch_sizes), ("thresholds", self.thresholds)):
            if ladder is not None and (not ladder or len(set(ladder)) < len(ladder)):
                raise ValueError(f"{name} must hold at least one value, each once")
        return self


class Capacity(Strict):
    """The stationary capacity found for this scenario, the settings that carry it and the command that found them."""

    qps: Positive
    batch_size: Count
    threshold: Threshold = None
    found_by: str


class Scenario(Strict):
    """An experiment: workload, node or pipeline, target on p95 and control ladders."""

    schema_version: Literal[1] = 1
    sla_ms: Positive
    p99_factor: Annotated[float, Field(ge=1)] | None = 2.0
    workload: Workload
    node: Node | None = None
    pipeline: tuple[Stage, ...] | None = None
    control: Control = Control()
    capacity: Capacity | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.node is None) == (self.pipeline is None):
            raise ValueError("needs exactly one of node and pipeline")
        if self.pipeline is not None:
            names = [stage.name for stage in self.pipeline]
            if not names or len(set(names)) < len(names):
                raise ValueError("pipeline must hold at least one stage, each with its own name")
        if not self.has_accelerator:
            thresholds = (self.control.threshold, *(self.control.thresholds or ()))
            given = next((threshold for threshold in thresholds if threshold is not None), None)
            if given is not None:
                raise ValueError(f"control.threshold {given} needs an accelerator; without one only null is allowed")
        return self

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in series; a node is one stage."""
        if self.pipeline is not None:
            return self.pipeline
        assert self.node is not None
        return (Stage(name="node", cpu=self.node.cpu, accelerator=self.node.accelerator),)

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
        """The ladder of thresholds: the file's, else the default one, else (without an accelerator) None alone."""
        if self.control.thresholds is not None:
            return self.control.thresholds
        return THRESHOLDS if self.has_accelerator else (None,)

    def replace(self, **changes: Any) -> Scenario:
        """A copy with some fields changed, validated again."""
        return Scenario.model_validate({name: getattr(self, name) for name in type(self).model_fields} | changes)

    def with_arrivals(self, arrivals: Any) -> Scenario:
        """A copy with another arrival process (a component or a mapping with its kind)."""
        return self.replace(workload=Workload(arrivals=arrivals, sizes=self.workload.sizes))

    def with_settings(self, batch_size: int, threshold: Threshold) -> Scenario:
        """A copy with other settings at the start."""
        control = self.control.model_dump() | {"batch_size": batch_size, "threshold": threshold}
        return self.replace(control=control)
