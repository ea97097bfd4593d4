"""The capacity of every setting of a scenario's ladders: a CSV that survives an interruption, and a heat map."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deeprec_env.analysis.capacity import CapacityEstimate, find_capacity
from deeprec_env.analysis.heatmap import Spot, write_heatmap
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.extras import can_plot
from deeprec_env.files import check_writable, make_folder, replacing
from deeprec_env.pictures import picture_paths
from deeprec_env.provenance import ask, asked
from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.control import FURTHER
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED
from deeprec_env.scenario.threshold import read_threshold
from deeprec_env.simulation.header import SCHEMA_VERSION, devices, versions
from deeprec_env.simulation.simulate import with_options
from deeprec_env.sources import check_header, with_sources

COLUMNS = (
    "batch_size", "threshold", "qps", "qps_low", "qps_high", "limited_by", "busiest_pool", "busiest_load",
    "variance_inflation", "replications", "queries_used",
)  # fmt: skip
"""Columns of capacity.csv: threshold "null" is never; rates in queries a second; an interval of 95 %.

Where queries can be shed `shed_rate`, their share at the capacity, stands behind them.
"""

_NUMBERS = {"batch_size": int, "replications": int, "queries_used": int} | dict.fromkeys(
    ("qps", "qps_low", "qps_high", "busiest_load", "variance_inflation", "shed_rate"), float
)

Row = dict[str, Any]


class Sweep:
    """Capacities of all batch sizes and thresholds of a scenario, written to `folder`/capacity.csv and `pictures`.

    Its further settings are in force in all. Where offloading is predicted there is no threshold to choose.

    The CSV is written anew after each setting; a sweep that finds it there, from the same scenario, options and code,
    goes on where it ended. Raises `InputError` for a CSV of another sweep.
    """

    def __init__(
        self,
        scenario: Scenario,
        name: str,
        folder: Path,
        *,
        arrivals: str = "poisson",
        percentile: float,
        queries: int,
        precision: float,
        seed: int,
        engine: str,
        pictures: Sequence[str] = ("png",),
    ) -> None:
        self._scenario, self._name, self._percentile = scenario, name, percentile
        self._options: dict[str, Any] = {
            "percentile": percentile, "queries": queries, "precision": precision, "seed": seed, "engine": engine,
            "arrivals": arrivals,
        }  # fmt: skip
        self.csv, self.pictures = folder / "capacity.csv", picture_paths(folder, "capacity", pictures)
        predicted = scenario.setting.offload == PREDICTED
        self._thresholds = (None,) if predicted else scenario.thresholds
        self._ladder = [(size, limit) for size in scenario.control.batch_sizes for limit in self._thresholds]
        self._columns = (*COLUMNS, *(("shed_rate",) if scenario.control.uses("admit_ms") else ()))
        self._rows: dict[tuple[int, Threshold], Row] = {}
        # The engines give the same bytes, so that either may go on where the other ended; the arrivals are part of the
        # scenario's fingerprint.
        options = {key: value for key, value in self._options.items() if key not in ("engine", "arrivals")}
        self._header = with_sources(f"# capacity of {name}, {options}, scenario {_fingerprint(scenario, arrivals)}")
        self._question = ask(
            "capacity --sweep", scenario, split="validation", name=name,
            **self._options,
        )  # fmt: skip
        find_capacity(
            scenario, at_least=1e12, p95_only=False, confirm=False, **self._options
        )  # bad input, before files
        make_folder("output", folder)
        check_writable("output", self.csv)
        if self.csv.exists():
            self._read()

    @property
    def settings(self) -> int:
        """Settings of the ladders."""
        return len(self._ladder)

    def run(
        self, progress: Callable[[str, int], None] = lambda what, done: None, *, executor: Executor = Threads(1)
    ) -> None:
        """Find what is missing, then draw; `progress` is told of the settings done since.

        One setting after another by default: the replications of each have the cores.
        """
        progress(f"{self._name}: {len(self._rows)} settings are there", len(self._rows))
        missing = [setting for setting in self._ladder if setting not in self._rows]
        for number, found in executor.results(_work, (self._scenario, self._options), missing):
            size, limit = missing[number]
            self._rows[size, limit] = _row(found)
            self._write()
            progress(f"{self._name}: batch size {size}, threshold {_text(limit)}", 1)
        if self.pictures and can_plot():
            write_heatmap(
                self.pictures,
                {setting: _spot(row) for setting, row in self._rows.items()},
                self._scenario.control.batch_sizes,
                self._thresholds,
                predicted=self._scenario.setting.offload == PREDICTED,
                title=f"Capacity of {self._name} ({self._target()})",
                footnote="; ".join(f"{kind}: {', '.join(names)}" for kind, names in devices(self._scenario).items()),
            )

    def _target(self) -> str:
        scenario = self._scenario
        p99 = "" if scenario.p99_factor is None else f", p99 within {scenario.p99_factor * scenario.sla_ms:g} ms"
        return f"p{self._percentile:g} within {scenario.sla_ms:g} ms{p99}"

    def to_json(self) -> dict[str, Any]:
        """The best setting, and where the map is."""
        best = max(self._ladder, key=lambda setting: self._rows[setting]["qps"])
        row = self._rows[best]
        drawn = [str(path) for path in self.pictures] if can_plot() else []
        return {
            "schema_version": SCHEMA_VERSION,
            "settings": self.settings,
            "best": {
                "batch_size": best[0],
                "threshold": best[1],
                "qps": row["qps"],
                "qps_ci": [row["qps_low"], row["qps_high"]],
                "limited_by": row["limited_by"],
                **({"shed_rate": row["shed_rate"]} if "shed_rate" in self._columns else {}),
            },
            **{name: getattr(self._scenario.setting, name) for name in self._scenario.controls if name in FURTHER},
            "queries_used": sum(row["queries_used"] for row in self._rows.values()),
            "csv": str(self.csv),
            "png": next((path for path in drawn if path.endswith(".png")), None),
            "pictures": drawn,
            "devices": devices(self._scenario),
            **asked(self._question),
            "versions": versions(),
        }

    def _read(self) -> None:
        with self.csv.open(encoding="utf-8", newline="") as file:
            header = file.readline().rstrip("\n")
            rows = list(csv.DictReader(file))
        check_header(self.csv, header, self._header, "holds a sweep of another scenario or other options")
        try:
            for row in rows:
                limit = read_threshold(row["threshold"])
                values = {key: _NUMBERS.get(key, str)(row[key]) if row[key] else None for key in self._columns}
                self._rows[int(row["batch_size"]), limit] = values
        except (KeyError, TypeError, ValueError):
            raise InputError("output", str(self.csv), "is damaged; remove it to begin anew") from None

    def _write(self) -> None:
        with replacing(self.csv) as file:
            file.write(self._header + "\n")
            writer = csv.DictWriter(file, self._columns, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._rows[setting] for setting in self._ladder if setting in self._rows)


def _work(shared: tuple[Scenario, dict[str, Any]], setting: tuple[int, Threshold]) -> CapacityEstimate:
    (scenario, options), (size, limit) = shared, setting
    return find_capacity(scenario, batch_size=size, threshold=limit, p95_only=False, confirm=False, **options)


def _row(found: CapacityEstimate) -> Row:
    low, high = found.qps_ci or (None, None)
    busiest = max(found.offered_load, key=lambda label: found.offered_load[label])
    return {
        "batch_size": found.batch_size,
        "threshold": _text(found.threshold),
        "qps": found.qps,
        "qps_low": low,
        "qps_high": high,
        "limited_by": found.limited_by,
        "busiest_pool": busiest,
        "busiest_load": found.offered_load[busiest],
        "variance_inflation": found.variance_inflation,
        "replications": found.replications,
        "queries_used": found.queries_used,
        "shed_rate": found.shed_rate,
    }


def _spot(row: Row) -> Spot:
    low, high = row["qps_low"], row["qps_high"]
    return Spot(row["qps"], None if low is None or high is None else (low, high), row["limited_by"])


def _text(threshold: Threshold) -> str:
    return "null" if threshold is None else str(threshold)


def _fingerprint(scenario: Scenario, arrivals: str) -> str:
    """Of all that a capacity depends on: not the rate, the settings at the start or a capacity in the file."""
    latencies = [latency.fingerprint for latency in scenario.latencies]
    plain = with_options(scenario, qps=1.0, arrivals=arrivals, batch_size=1, threshold=None)
    described = plain.model_dump_json(exclude={"capacity"})
    return hashlib.sha256(" ".join([described, scenario.workload.sizes.fingerprint, *latencies]).encode()).hexdigest()[
        :16
    ]
