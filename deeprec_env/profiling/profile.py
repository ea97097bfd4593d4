"""Profiling models into one CSV file, a model at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deeprec_env.errors import InputError
from deeprec_env.files import check_writable
from deeprec_env.latency.table import LEVELS, ProfileRow, ProfileTable, read_profile, write_profile
from deeprec_env.models import MODELS, build_model
from deeprec_env.models.inputs import IndexDistribution
from deeprec_env.profiling.machine import describe_machine
from deeprec_env.profiling.measure import Effort, Timings, measure

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


STANDARD = Effort()


@dataclass(frozen=True)
class ProfileSettings:
    """What is measured and how; all of it goes into the file's header."""

    models: tuple[str, ...]
    device: str = "cpu"
    batches: tuple[int, ...] = BATCHES
    threads: int = 1
    index_distribution: IndexDistribution = "uniform"
    rows_scale: float = 1.0
    seed: int = 0
    effort: Effort = STANDARD

    def __post_init__(self) -> None:
        for name in self.models:
            if name not in MODELS:
                raise InputError("model", name, f"must be 'all' or one of {', '.join(MODELS)}")
        if self.device not in ("cpu", "cuda"):
            raise InputError("device", self.device, "must be cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device", self.device, "no CUDA device is available to torch here; use cpu")
        if not self.batches or min(self.batches) < 1 or len(set(self.batches)) < len(self.batches):
            raise InputError("batches", self.batches, "must be distinct whole numbers of at least 1")
        if self.threads < 1:
            raise InputError("threads", self.threads, "must be at least 1")
        if self.index_distribution not in ("uniform", "zipf"):
            raise InputError("index_distribution", self.index_distribution, "must be uniform or zipf")
        if not 0.0 < self.rows_scale <= 1.0:
            raise InputError("rows_scale", self.rows_scale, "must be above 0 and at most 1")
        if self.seed < 0:
            raise InputError("seed", self.seed, "must be a whole number of at least 0")

    def header(self) -> dict[str, str]:
        """The lines that open the file, before any per-model note."""
        return {
            "deeprec profile": "latencies in ms",
            **describe_machine(self.device, self.threads),
            "index_distribution": self.index_distribution,
            "rows_scale": f"{self.rows_scale:g}",
            "passes": f"quietest {self.effort.kept} of {self.effort.passes}, {self.effort.repeats} repeats each",
            "seed": str(self.seed),
        }


Progress = Callable[[str], None]


def profile_models(settings: ProfileSettings, output: Path, progress: Progress) -> ProfileTable:
    """Measure the models one after another (one in memory at a time) and write `output` after each.

    Batches that `output` holds already, measured with the same header (its date aside), are not measured again; a file
    with another header is refused. `progress` is called with the model's name for each batch size of each pass.
    """
    check_writable("output", output)
    header, rows = settings.header(), []
    if output.exists():
        before = read_profile(output)
        _refuse_mixture(output, before.header, header)
        other = next((row.device for row in before.rows if row.device != settings.device), None)
        if other is not None:
            raise InputError("output", str(output), f"holds a profile of {other}, not {settings.device}; name another")
        header, rows = before.header, list(before.rows)
    torch.set_num_threads(settings.threads)
    for name in settings.models:
        measured = {row.batch for row in rows if row.model == name}
        missing = tuple(batch for batch in settings.batches if batch not in measured)
        if missing:
            timings = _measure_model(name, missing, settings, functools.partial(progress, name))
            rows += _rows(name, settings.device, timings)
            rows.sort(key=lambda row: (list(MODELS).index(row.model), row.part, row.batch))
            write_profile(output, header, rows)
    return ProfileTable(header, tuple(rows))


def _measure_model(
    name: str, batches: tuple[int, ...], settings: ProfileSettings, progress: Callable[[], None]
) -> Timings:
    # Seeds depend on the model alone, so that a resumed run draws what an uninterrupted one would have.
    model_seed = list(MODELS).index(name)
    torch.manual_seed(settings.seed * len(MODELS) + model_seed)
    rng = np.random.default_rng([settings.seed, model_seed])
    model = build_model(name, settings.rows_scale).to(settings.device)
    return measure(model, batches, settings.device, settings.index_distribution, rng, settings.effort, progress)


def _rows(name: str, device: str, timings: Timings) -> list[ProfileRow]:
    rows = []
    for (batch, part), seconds in sorted(timings.items(), key=lambda entry: (entry[0][1], entry[0][0])):
        milliseconds = seconds * 1e3
        quantiles = tuple(np.quantile(milliseconds, LEVELS).tolist())
        rows.append(ProfileRow(name, device, batch, part, len(seconds), float(milliseconds.mean()), quantiles))
    return rows


def _refuse_mixture(path: Path, before: dict[str, str], now: dict[str, str]) -> None:
    for key in (before | now).keys() - {"date"}:
        if before.get(key) != now.get(key):
            raise InputError(
                "output",
                str(path),
                f"holds a profile with {key} {before.get(key)!r}, not {now.get(key)!r}; name another",
            )
