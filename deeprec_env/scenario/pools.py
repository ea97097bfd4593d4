"""Where requests are served: pools of servers, and the stages and nodes that they make up."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from deeprec_env.scenario.bounds import HIGHEST, SHORTEST_PHASE_S, Count, NonNegative, Positive, Servers
from deeprec_env.scenario.component import Sparse, Strict
from deeprec_env.scenario.parts import AnyLatency, LatencyModel

PoolKind = Literal["cpu", "accelerator"]
KINDS: tuple[PoolKind, ...] = ("cpu", "accelerator")


class Contention(Strict):
    """Slow-down by busy neighbours: service = base * (c0 + c1 u + c2 u^2), u = busy servers of the pool / `servers`."""

    c: tuple[NonNegative, NonNegative, NonNegative] = (1.0, 0.0, 0.0)
    servers: Servers | None = None

    @model_validator(mode="after")
    def _slows_to_something(self) -> Self:
        if sum(self.c) <= 0:
            raise ValueError("contention.c must not be all zero")
        return self


class Batching(Strict):
    """How an accelerator takes requests of several queries together (rule 17).

    A batch has at most `max_items` items; one that is not full waits for others until a request has waited for
    `max_wait_ms`.
    """

    max_items: Count
    max_wait_ms: NonNegative = 0.0


PhaseLength = Annotated[float, Field(ge=SHORTEST_PHASE_S, le=HIGHEST)]


class Slowness(Strict):
    """Phases in which the machine is slow (rule 19): a request that starts in one takes `factor` times as long.

    Slow phases and normal ones alternate, their lengths are exponential with these means; a run begins somewhere in
    the middle, as if they had always been going on. No prediction sees them.
    """

    factor: Positive
    mean_slow_s: PhaseLength
    mean_normal_s: PhaseLength

    @property
    def share(self) -> float:
        """Share of the time that is slow."""
        return self.mean_slow_s / (self.mean_slow_s + self.mean_normal_s)

    @property
    def mean_factor(self) -> float:
        """Mean over time; at the starts of a pool that never idles it is between `least_factor` and this.

        Where servers come to wait for work, a request starts when it arrives, and Poisson arrivals see the mean over
        time (so they do where phases are short against a service). A pool that never idles starts fewer requests in a
        second that is slower: of the starts of one server, the share that is slow is the more below (above, if `factor`
        is less than 1) that of the time the longer the phases are, and the mean over them is never above this one.
        """
        return 1.0 + self.share * (self.factor - 1.0)

    @property
    def least_factor(self) -> float:
        """Mean over the starts of a pool that never idles where phases are long: the harmonic mean over time."""
        return 1.0 / (1.0 - self.share + self.share / self.factor)


class PoolSpec(Strict):
    """Identical servers behind one queue. Powers are of the whole pool, in watts.

    In place of `servers`, `cores` may be given: there are cores // threads servers then, and each takes the latency
    measured at that many `threads` (default 1). `batching` is for accelerators alone.
    """

    cores: Servers | None = None
    threads: Count | None = None
    servers: Servers = Field(default=None, validate_default=True)
    latency: AnyLatency
    contention: Contention = Contention()
    idle_w: NonNegative = 0.0
    busy_w: NonNegative = 0.0
    batching: Batching | None = None
    slowness: Slowness | None = None

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
            raise ValueError(f"threads {threads} needs at least that many cores, got {cores}")
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
        for key in ("batching", "slowness"):  # they came later: the text of a scenario without them stays as it was
            if getattr(self, key) is None:
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


class Stage(Sparse):
    """A model on its pools, a CPU or an accelerator or both. `keep` items go on to the next stage (None: all).

    With an accelerator alone every query goes whole to it, whatever the threshold. Queries of a `whole` stage are never
    split. `overhead_s` occupies the server with every request; `transfer_s` delays a query's entry into the stage.
    """

    later: ClassVar[tuple[str, ...]] = ("whole",)

    name: str
    cpu: PoolSpec | None = None
    accelerator: PoolSpec | None = None
    keep: Count | None = None
    overhead_s: NonNegative = 0.0
    transfer_s: NonNegative = 0.0
    whole: bool = False

    @model_validator(mode="after")
    def _has_servers(self) -> Self:
        if self.cpu is None and self.accelerator is None:
            raise ValueError("needs cpu, accelerator or both")
        _check_no_batching(self.cpu)
        return self

    @property
    def batching(self) -> Batching | None:
        """That of its accelerator."""
        return None if self.accelerator is None else self.accelerator.batching

    def fastest_s(self, items: int) -> float:
        """Mean seconds that a query of `items` items takes at least, alone on idle pools, however it is split."""
        found = []
        for kind, pool in self.pools().items():
            sizes = np.arange(1 if kind == "cpu" and not self.whole else items, items + 1)
            found.append(float(np.min(pool.latency.mean_s(sizes))) * pool.slowdown(1) + self.overhead_s)
        return min(found)

    def pools(self) -> dict[PoolKind, PoolSpec]:
        """The stage's pools by name: "cpu", "accelerator" or both, in this order."""
        return {kind: pool for kind, pool in zip(KINDS, (self.cpu, self.accelerator), strict=True) if pool is not None}


class Node(Strict):
    """One machine with one stage."""

    cpu: PoolSpec
    accelerator: PoolSpec | None = None

    @model_validator(mode="after")
    def _batches_where_it_may(self) -> Self:
        _check_no_batching(self.cpu)
        return self


def _check_no_batching(cpu: PoolSpec | None) -> None:
    if cpu is not None and cpu.batching is not None:
        raise ValueError("cpu.batching must be left out: only an accelerator takes requests together")
