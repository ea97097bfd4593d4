"""A space of pipelines: grids over models, items, devices, engines and sub-batches, and the pipelines in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from deeprec_env.errors import InputError
from deeprec_env.latency.rpaccel import FIDELITIES, UNITS
from deeprec_env.recpipe.design_space.config import CANDIDATES, QUALITY, Device, ModelName, PipelineConfig, StageConfig
from deeprec_env.recpipe.replay.harness import LONE_ACCELERATOR, PROCESSES
from deeprec_env.scenario.bounds import Count, Positive
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.load import input_error, validated
from deeprec_env.scenario.quality import METRIC, METRICS, pipeline_name, quality_path, read_quality
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.summary import warmup_queries
from deeprec_env.yaml_text import parse_yaml

QUERIES = 10_000
"""Queries of a cell: as many as RecPipe's accelerator runs have."""

SEPARATOR = "|"
"""Between the stages' values in a table, as in the logged runs of RecPipe."""

Value = TypeVar("Value")
Several = Annotated[
    tuple[Value, ...], Field(min_length=1), BeforeValidator(lambda value: value if _is_list(value) else (value,))
]
"""One value, or a list of at least one."""


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


class StageGrid(Strict):
    """One stage's models, items, devices, engines and units, each a value or a list: see `StageConfig`."""

    model: Several[ModelName]
    items: Several[Count]
    device: Several[Device]
    engines: Several[Count | None] = (None,)
    unit: Several[int | None] = (None,)
    fidelity: Several[str] = ("artifact",)

    @field_validator("unit", "fidelity")
    @classmethod
    def _exist(cls, values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        known: tuple[Any, ...] = (None, *UNITS) if info.field_name == "unit" else tuple(FIDELITIES)
        for value in values:
            if value not in known:
                raise ValueError(f"must be of {', '.join('null' if each is None else str(each) for each in known)}")
        return values

    def stages(self) -> Iterator[dict[str, Any]]:
        """Every combination, as the mapping of a `StageConfig`."""
        names = list(type(self).model_fields)
        for values in product(*(getattr(self, name) for name in names)):
            yield dict(zip(names, values, strict=True))


class Grid(Strict):
    """Pipelines of the same number of stages."""

    stages: Annotated[tuple[StageGrid, ...], Field(min_length=1)]
    sub_batches: Several[int] = (1,)


class QualitySource(Strict):
    """Where the quality of a pipeline comes from: a shipped table's name or the path of a CSV, and its column."""

    table: str = QUALITY
    metric: str = METRIC

    @model_validator(mode="after")
    def _metric_exists(self) -> Self:
        if self.metric not in METRICS:
            raise InputError("metric", self.metric, f"must be one of {', '.join(METRICS)}")
        return self


class SpaceConfig(Strict):
    """Grids of pipelines, the rates each is run at, and the target.

    `queries`: of every cell, a pipeline at a rate. `gpus`: of the machine; each GPU stage takes its own. `processes`:
    whether what the Python processes of RecPipe's artifact add to each engine is in. `sort`, `contention` and
    `candidates` are those of a `PipelineConfig`, `p99_factor` that of a scenario. With `quality` null no pipeline has
    a quality; else those that the table lacks are left out.
    """

    sla_ms: Positive
    qps: Annotated[tuple[Positive, ...], Field(min_length=1)]
    grids: Annotated[tuple[Grid, ...], Field(min_length=1)]
    p99_factor: Annotated[float, Field(ge=1)] | None = 2.0
    quality: QualitySource | None = QualitySource()
    queries: Count = QUERIES
    candidates: Count = CANDIDATES
    gpus: Annotated[int, Field(ge=0)] = 1
    sort: bool = True
    contention: bool = True
    processes: bool = False

    @field_validator("qps", "queries")
    @classmethod
    def _makes_sense(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            if list(value) != sorted(set(value)):
                raise ValueError("must ascend, each rate once")
        elif value < warmup_queries(value) + 100:
            raise ValueError("must be at least 1100: the first 1000 are warm-up")
        return value

    @cached_property
    def qualities(self) -> dict[str, float]:
        """The quality of every pipeline of the table, by its name there."""
        if self.quality is None:
            return {}
        rows = read_quality(self.quality.table).values()
        return {row.pipeline: row.metrics[self.quality.metric] for row in rows}


@dataclass(frozen=True)
class Candidate:
    """A pipeline of a space, at one query a second."""

    config: PipelineConfig
    quality: float | None

    @cached_property
    def key(self) -> tuple[str, ...]:
        """What tells it from all others: models, items, mapping, engines and sub-batches."""
        stages = self.config.stages
        columns = (
            [stage.model for stage in stages],
            [str(stage.items) for stage in stages],
            [_device(stage) for stage in stages],
            [str(self.config.engines(stage)) for stage in stages],
        )
        return (*(SEPARATOR.join(column) for column in columns), str(self.config.sub_batches))

    @property
    def mapping(self) -> str:
        """The devices, stage by stage."""
        return self.key[2]

    def __str__(self) -> str:
        stages = [
            f"{stage.model}@{stage.items} on {self.config.engines(stage)} {_device(stage)}"
            for stage in self.config.stages
        ]
        parts = f", {self.config.sub_batches} sub-batches" if self.config.sub_batches > 1 else ""
        return " -> ".join(stages) + parts


def _device(stage: StageConfig) -> str:
    if stage.device != "accelerator":
        return stage.device
    mended = "" if stage.fidelity == "artifact" else f" {stage.fidelity}"
    return f"accelerator/{stage.unit}{mended}"


@dataclass(frozen=True)
class Space:
    """The pipelines of a configuration, and how many combinations were left out for which reason."""

    config: SpaceConfig
    candidates: tuple[Candidate, ...]
    left_out: dict[str, int]


def load_space(source: str | Path | Mapping[str, Any] | SpaceConfig) -> SpaceConfig:
    """The configuration in a mapping or a YAML file; `InputError` with the field, its value and what is allowed."""
    if isinstance(source, SpaceConfig):
        return source
    data: Any = source
    folder = Path()
    if not isinstance(source, Mapping):
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("config", str(source), f"must be a readable YAML file ({error})") from None
        data, folder = parse_yaml(text, "config", str(source)), Path(source).parent
    if not isinstance(data, Mapping):
        raise InputError("config", str(source), "must hold a mapping with sla_ms, qps and grids")
    try:
        config = SpaceConfig.model_validate(dict(data))
    except ValidationError as error:
        raise input_error(error, "config") from None
    if config.quality is not None:
        table = quality_path(config.quality.table, folder)
        config = config.model_copy(update={"quality": config.quality.model_copy(update={"table": table})})
    return config


def space_of(config: SpaceConfig) -> Space:
    """All pipelines of the grids, each once, in their order; what can't be built is counted by its reason.

    Reasons: items (more than the stage gets), engines (none, or more than there are), unit, gpus, sub_batches, quality
    (not in the table), twice. Raises `InputError` where nothing is left.
    """
    found: dict[tuple[str, ...], Candidate] = {}
    left_out: Counter[str] = Counter()
    for grid in config.grids:
        combinations = product(*(list(stage.stages()) for stage in grid.stages))
        for stages, sub_batches in product(combinations, grid.sub_batches):
            candidate = candidate_of(config, list(stages), sub_batches)
            if isinstance(candidate, str):
                left_out[candidate] += 1
            elif candidate.key in found:
                left_out["twice"] += 1
            else:
                found[candidate.key] = candidate
    if not found:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(left_out.items()))
        raise InputError("grids", reasons, "must hold a pipeline that can be built; those were left out, by reason")
    return Space(config, tuple(found.values()), dict(sorted(left_out.items())))


def candidate_of(config: SpaceConfig, stages: list[dict[str, Any]], sub_batches: int) -> Candidate | str:
    """The pipeline of some stages, or the reason why there is none."""
    items = [config.candidates, *(stage["items"] for stage in stages)]
    if any(after > before for before, after in pairwise(items)):
        return "items"
    if sum((stage["engines"] or 1) for stage in stages if stage["device"] == "gpu") > config.gpus:
        return "gpus"
    name = pipeline_name(tuple(stage["model"] for stage in stages), tuple(stage["items"] for stage in stages))
    if config.quality is not None and name not in config.qualities:
        return "quality"
    data = {
        "sla_ms": config.sla_ms,
        "qps": 1.0,
        "stages": stages,
        "candidates": config.candidates,
        "sort": config.sort,
        "contention": config.contention,
        "sub_batches": sub_batches,
    }
    try:
        return Candidate(PipelineConfig.model_validate(data), config.qualities.get(name))
    except ValidationError as error:
        return input_error(error, "pipeline").field.rpartition(".")[2]


def scenario_of(config: SpaceConfig, candidate: Candidate) -> Scenario:
    """A pipeline's scenario at one query a second, with what the artifact's processes add, if that is asked for."""
    data = candidate.config.mapping() | {"p99_factor": config.p99_factor}
    if config.processes:
        stages = candidate.config.stages
        engines = [stage for stage in data["pipeline"] if stage["name"].startswith("stage")]
        for entry, stage in zip(engines, stages, strict=True):
            around = PROCESSES[stage.device]
            if stage.device == "accelerator" and len(stages) == 1:
                around = LONE_ACCELERATOR
            entry["overhead_s"] = around.occupancy_s
            entry["transfer_s"] = around.transfer_s + around.per_item_s * stage.items
    return validated(data, "pipeline", Path())
