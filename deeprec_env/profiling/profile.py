"""Profiling models into one CSV file, a model at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from deeprec_env.errors import InputError
from deeprec_env.files import check_writable
from deeprec_env.latency.table import FURTHER, LEVELS, ProfileRow, ProfileTable, read_profile, write_profile
from deeprec_env.models import MODELS, RecommendationModel, build_model, check_model
from deeprec_env.models.inputs import describe_distribution, index_distribution
from deeprec_env.profiling.machine import describe_machine
from deeprec_env.profiling.measure import Effort, Timings, measure

BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


MOST_THREADS = 1024
"""Bound of torch's threads: it starts them all."""

MOST_BATCH = 10**6

STANDARD = Effort()


@dataclass(frozen=True)
class ProfileSettings:
    """What is measured and how; all of it goes into the file's header.

    `models` are names as `build_model` takes them; `name` is what the file calls the model, where there is but one.
    """

    models: tuple[str, ...]
    device: str = "cpu"
    batches: tuple[int, ...] = BATCHES
    threads: tuple[int, ...] = (1,)
    index_distribution: str = "uniform"
    rows_scale: float = 1.0
    seed: int = 0
    effort: Effort = STANDARD
    name: str | None = None

    def __post_init__(self) -> None:
        for model in self.models:
            check_model(model)
        if self.name is not None and len(self.models) > 1:
            raise InputError("name", self.name, "is for one model alone")
        if self.name is not None and (
            not self.name.isprintable() or self.name.strip(" #") != self.name or not self.name
        ):
            raise InputError("name", self.name, "must be printable, without # or spaces at its ends")
        if self.device not in ("cpu", "cuda"):
            raise InputError("device", self.device, "must be cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device", self.device, "no CUDA device is available to torch here; use cpu")
        if not self.batches or min(self.batches) < 1 or len(set(self.batches)) < len(self.batches):
            raise InputError("batches", self.batches, "must be distinct whole numbers of at least 1")
        if max(self.batches) > MOST_BATCH:
            raise InputError("batches", max(self.batches), f"must be at most {MOST_BATCH}")
        if not self.threads or min(self.threads) < 1 or len(set(self.threads)) < len(self.threads):
            raise InputError("threads", self.threads, "must be distinct whole numbers of at least 1")
        if max(self.threads) > MOST_THREADS:
            raise InputError("threads", max(self.threads), f"must be at most {MOST_THREADS}")
        index_distribution(self.index_distribution)
        if not 0.0 < self.rows_scale <= 1.0:
            raise InputError("rows_scale", self.rows_scale, "must be above 0 and at most 1")
        if self.seed < 0:
            raise InputError("seed", self.seed, "must be a whole number of at least 0")

    def header(self) -> dict[str, str]:
        """The lines that open the file, before any per-model note."""
        return {
            "deeprec profile": "latencies in ms",
            **describe_machine(self.device),
            "threads": ",".join(map(str, self.threads)),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "index_distribution": describe_distribution(self.index_distribution),
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
    for model in settings.models:
        name = settings.name or model
        missing = _missing(name, settings, rows)
        built = _build(model, settings) if missing else None
        for threads, batches in missing.items():
            assert built is not None
            timings = _measure(model, built, threads, batches, settings, functools.partial(progress, name))
            rows += _rows(name, settings.device, threads, timings)
            order = list(dict.fromkeys([*MODELS, *(row.model for row in rows)]))
            rows.sort(key=lambda row: (order.index(row.model), row.threads, row.part, row.batch))
            write_profile(output, header, rows)
    return ProfileTable(header, tuple(rows))


def _missing(name: str, settings: ProfileSettings, rows: list[ProfileRow]) -> dict[int, tuple[int, ...]]:
    """The batches that are still to be measured, by thread count, where there are any."""
    measured = {(row.threads, row.batch) for row in rows if row.model == name}
    missing = {
        threads: tuple(batch for batch in settings.batches if (threads, batch) not in measured)
        for threads in settings.threads
    }
    return {threads: batches for threads, batches in missing.items() if batches}


def model_seed(model: str) -> int:
    """A seed of the model's own, so that a resumed run draws what an uninterrupted one would have."""
    return list(MODELS).index(model) if model in MODELS else len(MODELS) + zlib.crc32(model.encode())


def _build(model: str, settings: ProfileSettings) -> RecommendationModel:
    torch.manual_seed(settings.seed * len(MODELS) + model_seed(model))
    return build_model(model, settings.rows_scale).to(settings.device)


def _measure(
    model: str,
    built: RecommendationModel,
    threads: int,
    batches: tuple[int, ...],
    settings: ProfileSettings,
    progress: Callable[[], None],
) -> Timings:
    torch.set_num_threads(threads)
    rng = np.random.default_rng([settings.seed, model_seed(model)])
    indices = index_distribution(settings.index_distribution)
    return measure(built, batches, settings.device, indices, rng, settings.effort, progress)


def _rows(name: str, device: str, threads: int, timings: Timings) -> list[ProfileRow]:
    rows = []
    for (batch, part), seconds in sorted(timings.items(), key=lambda entry: (entry[0][1], entry[0][0])):
        milliseconds = seconds * 1e3
        quantiles = tuple(np.quantile(milliseconds, (*LEVELS, FURTHER)).tolist())
        rows.append(ProfileRow(name, device, batch, part, len(seconds), float(milliseconds.mean()), quantiles, threads))
    return rows


def _refuse_mixture(path: Path, before: dict[str, str], now: dict[str, str]) -> None:
    for key in (before | now).keys() - {"date"}:
        if before.get(key) != now.get(key):
            raise InputError(
                "output",
                str(path),
                f"holds a profile with {key} {before.get(key)!r}, not {now.get(key)!r}; name another",
            )
