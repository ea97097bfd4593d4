"""Pipeline configurations as RecPipe has them, and the scenarios that they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from deeprec_env.errors import InputError
from deeprec_env.latency.rpaccel import UNITS
from deeprec_env.recpipe.replay.service_times import CONTENTION, CPU_ENGINES, SERVICE_S, SIGMA, SORT_S
from deeprec_env.scenario.bounds import MOST_SUB_BATCHES, Count, Positive
from deeprec_env.scenario.component import Strict
from deeprec_env.scenario.load import input_error, validated
from deeprec_env.scenario.quality import METRIC, pipeline_name, read_quality
from deeprec_env.scenario.schema import Scenario
from deeprec_env.yaml_text import parse_yaml

ModelName = Literal["dim_4", "dim_16", "dim_32"]
Device = Literal["cpu", "gpu", "accelerator"]

CANDIDATES = 4096
"""Items of a query on Criteo Kaggle."""

QUALITY = "recpipe-criteo"
"""The quality table that pipelines are looked up in."""


class StageConfig(Strict):
    """A model that ranks `items` on the engines of a device.

    `engines`: CPU cores (default: an even share of 32), GPUs (1) or units of the accelerator, each a `unit`-th of the
    chip (1, 4, 16 or 64). `fidelity` is the accelerator's.
    """

    model: ModelName
    items: Count
    device: Device
    engines: Count | None = None
    unit: int | None = None
    fidelity: str = "artifact"

    @model_validator(mode="after")
    def _fits_the_device(self) -> Self:
        if self.device == "accelerator":
            if self.unit not in UNITS:
                raise InputError("unit", self.unit, f"must be one of {', '.join(map(str, UNITS))}")
            if self.engines is None:
                raise InputError("engines", None, "must say how many units the stage has")
        elif self.unit is not None:
            raise InputError("unit", self.unit, "is the accelerator's alone")
        return self


class Alternative(Strict):
    """Another way through the same engines: models and items of every stage, 0 items where it is skipped."""

    models: tuple[ModelName, ...]
    items: tuple[Annotated[int, Field(ge=0)], ...]


class PipelineConfig(Strict):
    """Stages in series, the alternatives to them (each a plan), the load and the target.

    `sort`: whether a sort process follows every CPU and GPU stage. `contention`: whether CPU engines slow each other
    down. `candidates` is the size of a query; `sub_batches` as in a scenario. A query is never split over engines.
    """

    sla_ms: Positive
    qps: Positive
    stages: Annotated[tuple[StageConfig, ...], Field(min_length=1)]
    alternatives: tuple[Alternative, ...] = ()
    candidates: Count = CANDIDATES
    sort: bool = True
    contention: bool = True
    sub_batches: Annotated[int, Field(ge=1, le=MOST_SUB_BATCHES)] = 1

    @model_validator(mode="after")
    def _engines_are_there(self) -> Self:
        for alternative in self.alternatives:
            if not len(alternative.models) == len(alternative.items) == len(self.stages):
                given = f"{len(alternative.models)} models, {len(alternative.items)} items"
                raise InputError("alternatives", given, f"must hold {len(self.stages)} of each, one a stage")
        cores = sum(self.engines(stage) for stage in self.stages if stage.device == "cpu")
        if cores > CPU_ENGINES:
            raise InputError("engines", cores, f"CPU stages share {CPU_ENGINES}")
        chip = sum(self.engines(stage) / (stage.unit or 1) for stage in self.stages if stage.device == "accelerator")
        if chip > 1.0:
            raise InputError("engines", f"{chip:g} of the accelerator", "its stages' units must fit on one chip")
        return self

    def engines(self, stage: StageConfig) -> int:
        """The engines of one of the stages; CPU cores are split evenly."""
        if stage.engines is not None:
            return stage.engines
        return CPU_ENGINES // sum(each.device == "cpu" for each in self.stages) if stage.device == "cpu" else 1

    def mapping(self) -> dict[str, Any]:
        """The scenario, as a scenario file has it. A plan's quality is the published one, if there is any."""
        pipeline: list[dict[str, Any]] = []
        for number, stage in enumerate(self.stages, start=1):
            pipeline.append(self._stage(f"stage{number}", stage))
            if self._is_sorted(stage):
                pipeline.append({"name": f"sort{number}", "cpu": _sort_pool(), "whole": True})
        stages = Alternative(
            models=tuple(stage.model for stage in self.stages), items=tuple(stage.items for stage in self.stages)
        )
        data: dict[str, Any] = {
            "sla_ms": self.sla_ms,
            "workload": {
                "arrivals": {"kind": "poisson", "qps": self.qps},
                "sizes": {"kind": "fixed", "items": self.candidates},
            },
            "pipeline": pipeline,
            "plans": [self._plan(each) for each in (stages, *self.alternatives)],
            "control": {"batch_size": self.candidates, "batch_sizes": [self.candidates]},
        }
        return data | ({"sub_batches": self.sub_batches} if self.sub_batches > 1 else {})

    def scenario(self) -> Scenario:
        """The scenario, validated."""
        return validated(self.mapping(), "pipeline", Path())

    def _is_sorted(self, stage: StageConfig) -> bool:
        return self.sort and stage.device != "accelerator"

    def _stage(self, name: str, stage: StageConfig) -> dict[str, Any]:
        pool: dict[str, Any] = {"servers": self.engines(stage), "latency": self._latency(stage, stage.model)}
        if stage.device != "cpu":
            return {"name": name, "accelerator": pool}
        if self.contention:
            pool["contention"] = {"c": list(CONTENTION), "servers": CPU_ENGINES}
        return {"name": name, "cpu": pool, "whole": True}

    def _latency(self, stage: StageConfig, model: ModelName) -> dict[str, Any]:
        """How long a model takes on a stage's engines; the sort that is part of the figures is the sort process's."""
        if stage.device == "accelerator":
            return {"kind": "rpaccel", "model": model, "unit": stage.unit, "fidelity": stage.fidelity}
        figures = SERVICE_S[stage.device][model]
        if self.sort:
            figures = (figures[0] - SORT_S[0], figures[1] - SORT_S[1])
        return _affine(figures, SIGMA[stage.device])

    def _plan(self, alternative: Alternative) -> dict[str, Any]:
        items: list[int] = []
        latency: dict[str, Any] = {}
        for number, (stage, model, count) in enumerate(
            zip(self.stages, alternative.models, alternative.items, strict=True), start=1
        ):
            items += [count] * (2 if self._is_sorted(stage) else 1)
            if count and model != stage.model:
                kind = "cpu" if stage.device == "cpu" else "accelerator"
                latency[f"stage{number}"] = {kind: self._latency(stage, model)}
        visited = [(model, n) for model, n in zip(alternative.models, alternative.items, strict=True) if n]
        name = pipeline_name(tuple(model for model, _ in visited), tuple(n for _, n in visited))
        plan: dict[str, Any] = {"name": name, "items": items}
        if latency:
            plan["latency"] = latency
        rated = read_quality(QUALITY).get(name)
        return plan | ({"quality": rated.metrics[METRIC]} if rated else {})


def load_pipeline(source: str | Path | Mapping[str, Any]) -> PipelineConfig:
    """The configuration in a mapping or a YAML file; `InputError` with the field, its value and what is allowed."""
    data: Any = source
    if not isinstance(source, Mapping):
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("pipeline", str(source), f"must be a readable YAML file ({error})") from None
        data = parse_yaml(text, "pipeline", str(source))
    if not isinstance(data, Mapping):
        raise InputError("pipeline", str(source), "must hold a mapping with sla_ms, qps and stages")
    try:
        return PipelineConfig.model_validate(dict(data))
    except ValidationError as error:
        raise input_error(error, "pipeline") from None


def _sort_pool() -> dict[str, Any]:
    return {"servers": 1, "latency": _affine(SORT_S, 0.0)}


def _affine(figures_s: tuple[float, float], sigma: float) -> dict[str, Any]:
    """An affine latency from seconds, its spread lognormal."""
    base_ms, per_item_ms = (float(f"{seconds * 1e3:.9g}") for seconds in figures_s)
    spread = {"cv": float(f"{math.sqrt(math.expm1(sigma * sigma)):.9g}")} if sigma else {}
    return {"kind": "affine", "base_ms": base_ms, "per_item_ms": per_item_ms, **spread}
