"""The latency model of a measured profile."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from deeprec_env.errors import InputError
from deeprec_env.latency.row_kinds import LEVELLED, PROFILE
from deeprec_env.latency.rows import RowModel
from deeprec_env.latency.table import LEVELS, ProfileRow, ProfileTable, read_profile
from deeprec_env.scenario.parts import LATENCIES, Floats, Ints

_SHIPPED = resources.files("deeprec_env.latency") / "profiles"


def shipped_profiles() -> list[str]:
    """Names of the profiles in the package."""
    return sorted(entry.name.removesuffix(".csv") for entry in _SHIPPED.iterdir() if entry.name.endswith(".csv"))


def load_profile(name_or_path: str) -> ProfileTable:
    """The shipped profile of that name, or the one in that file."""
    if name_or_path in shipped_profiles():
        with resources.as_file(_SHIPPED / f"{name_or_path}.csv") as path:
            return read_profile(path)
    if not Path(name_or_path).is_file():
        raise InputError("profile", name_or_path, f"must be a profile CSV or one of {', '.join(shipped_profiles())}")
    return read_profile(Path(name_or_path))


@LATENCIES.register("profile")
class Profile(RowModel):
    """Latency as measured: `profile` is a shipped profile's name or a CSV (relative to the scenario file).

    Each quantile level is linear in the batch between measured batches, goes on by the last slope after the last (a
    warning says so, once) and is constant before the first; between levels it is linear in the level. It is constant
    before the first level and, with `tail: cut`, beyond the last; with `exponential` it has there the exponential tail
    that the last two levels span. The default is exponential where all rows hold a p99.9, else cut. The whole, tail
    included, is rescaled at each batch so that its mean is the measured mean. Where a file holds a load part (host to
    device), the request takes both parts, at the same noise. `device` chooses where a file holds several, and
    `threads` (default: the fewest) where it was measured at several thread counts.
    """

    profile: str
    model: str
    device: str | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    tail: Literal["cut", "exponential"] | None = None

    _batches: Floats = PrivateAttr()
    _quantiles_s: Floats = PrivateAttr()  # (batches, levels), rescaled
    _means_s: Floats = PrivateAttr()
    _levels: tuple[float, ...] = PrivateAttr()
    _has_tail: bool = PrivateAttr()
    _said: bool = PrivateAttr(default=False)

    @field_validator("profile")
    @classmethod
    def _resolve(cls, name: str, info: ValidationInfo) -> str:
        if name in shipped_profiles():
            return name
        return str((Path((info.context or {}).get("base_dir", ".")) / name).resolve())

    @model_validator(mode="after")
    def _read(self) -> Self:
        table = load_profile(self.profile)
        rows = [row for row in table.rows if row.model == self.model]
        if not rows:
            raise InputError("model", self.model, f"profile {self.profile} holds {', '.join(table.models())}")
        devices = sorted({row.device for row in rows})
        device = self.device or devices[0]
        if device not in devices or (self.device is None and len(devices) > 1):
            raise InputError("device", self.device, f"profile {self.profile} needs one of {', '.join(devices)}")
        rows = [row for row in rows if row.device == device]
        counts = sorted({row.threads for row in rows})
        threads = self.threads or counts[0]
        if threads not in counts:
            held = ", ".join(map(str, counts))
            raise InputError("threads", self.threads, f"profile {self.profile} holds {held} for {self.model}")
        rows = [row for row in rows if row.threads == threads]
        self._levels = min((row.levels for row in rows), key=len)
        self._has_tail = self.tail == "exponential" or (self.tail is None and len(self._levels) > len(LEVELS))
        self._batches, self._quantiles_s, self._means_s = _tabulate(self.profile, rows, self._levels, self._has_tail)
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        return {key: value for key, value in dumped.items() if key not in ("threads", "tail") or value is not None}

    def at_threads(self, threads: int) -> Profile:
        if self.threads not in (None, threads):
            raise InputError("threads", self.threads, f"must be left out where the pool's is given ({threads})")
        return Profile(**self.model_dump() | {"threads": threads})

    @property
    def label(self) -> str:
        return Path(self.profile).stem if self.profile.endswith(".csv") else self.profile

    @property
    def files(self) -> Mapping[str, Path | Traversable]:
        return {self.profile: _SHIPPED / f"{self.profile}.csv" if self.is_shipped else Path(self.profile)}

    @property
    def knows_growth(self) -> bool:
        """Whether several batches were measured: one alone does not say how latency grows with the items."""
        return bool((self._quantiles_s[0] != self._quantiles_s[-1]).any())

    @property
    def is_shipped(self) -> bool:
        """Whether the profile is one of the package's, not a file."""
        return self.profile in shipped_profiles()

    @property
    def fingerprint(self) -> str:
        if self.row[0] == LEVELLED:
            return hashlib.sha256(self.row.tobytes() + self._means_s.tobytes()).hexdigest()
        return hashlib.sha256(
            self._quantiles_s.tobytes() + self._means_s.tobytes() + self._batches.tobytes()
        ).hexdigest()

    def __eq__(self, other: object) -> bool:
        """The same choice from a file of the same content: a file may have changed between two readings of it."""
        return isinstance(other, Profile) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, ...]:
        return self.profile, self.model, self.device, self.threads, self.tail, self.fingerprint

    @property
    def row(self) -> Floats:
        batches, quantiles_s = self._batches, self._quantiles_s.ravel()
        if self._levels == LEVELS and not self._has_tail:  # the levels are known when code is compiled: faster
            return np.concatenate([[PROFILE, len(batches)], batches, quantiles_s])
        levels = [self._has_tail, len(self._levels), *self._levels]
        return np.concatenate([[LEVELLED, len(batches)], batches, levels, quantiles_s])

    def mean_s(self, items: Ints) -> Floats:
        index, weight = self._between(items)
        return np.asarray(self._means_s[index] + weight * (self._means_s[index + 1] - self._means_s[index]))

    def _between(self, items: Ints) -> tuple[Ints, Floats]:
        """Index of the measured batch below, and how far on the way to the next (above 1 after the last)."""
        self.warn_beyond(int(items.max(initial=0)))
        index = np.clip(np.searchsorted(self._batches, items, side="right") - 1, 0, len(self._batches) - 2)
        weight = (items - self._batches[index]) / (self._batches[index + 1] - self._batches[index])
        return index, np.maximum(weight, 0.0)

    def warn_beyond(self, items: int) -> None:
        if not self._said and items > self._batches[-1]:
            self._said = True
            warnings.warn(
                f"profile {self.profile}, model {self.model}: requests of up to {items} items are larger than "
                f"the largest measured batch ({self._batches[-1]:g}); their latency goes on by the last slope",
                stacklevel=3,
            )


def _tabulate(
    profile: str, rows: list[ProfileRow], levels: tuple[float, ...], has_tail: bool
) -> tuple[Floats, Floats, Floats]:
    """Batches, rescaled quantiles in seconds (batches, levels) and means in seconds, summed over parts."""
    by_part: dict[str, dict[int, ProfileRow]] = {}
    for row in rows:
        if row.batch in by_part.setdefault(row.part, {}):
            raise InputError("batch", row.batch, f"profile {profile} holds it twice for {row.model}, {row.part}")
        by_part[row.part][row.batch] = row
    batches = sorted(by_part.get("compute", {}))
    if any(sorted(measured) != batches for measured in by_part.values()):
        raise InputError("batch", batches, f"profile {profile} must hold the same batches for every part")
    quantiles, means = np.zeros((len(batches), len(levels))), np.zeros(len(batches))
    for measured in by_part.values():
        for position, batch in enumerate(batches):
            row = measured[batch]
            values = np.array(row.quantiles_ms[: len(levels)])
            quantiles[position] += values * (row.mean_ms / _mean_of_quantiles(values, levels, has_tail)) * 1e-3
            means[position] += row.mean_ms * 1e-3
    if len(batches) == 1:  # one measured batch: constant in the batch
        batches = [batches[0], batches[0] + 1]
        quantiles, means = quantiles.repeat(2, axis=0), means.repeat(2)
    if (quantiles[-1] < quantiles[-2]).any():
        _check_slope(profile, rows[0].model, batches, quantiles)
    return np.array(batches, dtype=np.float64), quantiles, means


def _check_slope(profile: str, model: str, batches: list[int], quantiles: Floats) -> None:
    """A falling last slope would reach zero: allowed only where that is far after any query."""
    slope = (quantiles[-1] - quantiles[-2]) / (batches[-1] - batches[-2])
    if (quantiles[-1] + slope * 9 * batches[-1] <= 0).any():
        raise InputError(
            "profile", profile, f"latency of {model} falls from batch {batches[-2]} to {batches[-1]}; measure it again"
        )


def _mean_of_quantiles(values: Floats, levels: tuple[float, ...], has_tail: bool) -> float:
    """Mean of the distribution with these quantiles: linear between the levels, constant outside or with the tail."""
    padded = np.array([values[0], *values, values[-1]])
    mean = float(np.trapezoid(padded, np.array([0.0, *levels, 1.0])))
    if has_tail:  # an exponential of that scale begins at the last level
        scale = (values[-1] - values[-2]) / math.log((1.0 - levels[-2]) / (1.0 - levels[-1]))
        mean += (1.0 - levels[-1]) * float(scale)
    return mean
