"""Timing one model: interleaved batch sizes, several passes, slow phases of the machine left out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deeprec_env.arguments import whole
from deeprec_env.models import RecommendationModel, draw_inputs
from deeprec_env.models.inputs import IndexDistribution

MOST_PASSES = 10_000


@dataclass(frozen=True)
class Effort:
    """How much to measure: `passes` over all batch sizes, `repeats` timed runs of each batch size a pass.

    Of each batch size the `kept` quietest passes count, by their median: the others met a slow phase of the machine. A
    batch size that would take longer than `budget_s` in one pass is repeated less often there, but at least `least`
    times.
    """

    passes: int = 10
    kept: int = 5
    repeats: int = 25
    least: int = 20
    budget_s: float = 6.0
    warm_up: int = 3

    @classmethod
    def of_passes(cls, passes: int) -> Effort:
        """The standard effort, but with `passes` passes, of which the quieter half counts."""
        whole("passes", passes, 1, MOST_PASSES)
        return cls(passes=passes, kept=max(1, passes // 2))


Timings = dict[tuple[int, str], NDArray[np.float64]]
"""Seconds of every kept repeat, by batch size and part ("compute" or "load")."""


def measure(
    model: RecommendationModel,
    batches: Sequence[int],
    device: str,
    distribution: IndexDistribution,
    rng: np.random.Generator,
    effort: Effort,
    progress: Callable[[], None],
) -> Timings:
    """Time `model` at every batch size. Each repeat has fresh inputs, so that no lookup finds its rows in the cache.

    Batch sizes come in a new random order each pass, so that a drift of the machine meets all of them. `progress` is
    called after each batch size of each pass.
    """
    passes: list[Timings] = []
    for _ in range(effort.passes):
        timed: Timings = {}
        for batch in rng.permutation(np.asarray(batches)).tolist():
            for part, seconds in _time_batch(model, batch, device, distribution, rng, effort).items():
                timed[batch, part] = seconds
            progress()
        passes.append(timed)
    return {key: _quietest([timed[key] for timed in passes], effort.kept) for key in passes[0]}


def _quietest(passes: Sequence[NDArray[np.float64]], kept: int) -> NDArray[np.float64]:
    order = np.argsort([np.median(seconds) for seconds in passes], kind="stable")
    return np.concatenate([passes[index] for index in sorted(order[:kept].tolist())])


def _time_batch(
    model: RecommendationModel,
    batch: int,
    device: str,
    distribution: IndexDistribution,
    rng: np.random.Generator,
    effort: Effort,
) -> dict[str, NDArray[np.float64]]:
    """Seconds of each repeat, by part."""
    compute: list[float] = []
    load: list[float] = []
    synchronise = torch.cuda.synchronize if device == "cuda" else _nothing
    gc.collect()
    gc.disable()
    try:
        with torch.inference_mode():
            drawn = (
                draw_inputs(model.input_spec, batch, rng, distribution) for _ in range(effort.warm_up + effort.repeats)
            )
            for repeat, inputs in enumerate(list(drawn) if distribution.ahead else drawn):
                synchronise()
                begun = time.perf_counter()
                if device == "cuda":
                    inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
                    synchronise()
                loaded = time.perf_counter()
                model(**inputs)
                synchronise()
                ended = time.perf_counter()
                if repeat >= effort.warm_up:
                    load.append(loaded - begun)
                    compute.append(ended - loaded)
                if len(compute) >= effort.least and sum(compute) + sum(load) > effort.budget_s:
                    break
    finally:
        gc.enable()
    timed = {"compute": np.array(compute)}
    return timed | ({"load": np.array(load)} if device == "cuda" else {})


def _nothing() -> None:
    pass
