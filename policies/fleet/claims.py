"""DeepRecSys's two claims about production, on a simulated fleet: rows of days, kept as they are done.

Gupta et al., DeepRecSys (ISCA 2020), section on production: p95 1.39 and p99 1.31 times lower than with the fixed batch
size on hundreds of machines; a handful of machines follows the distribution of the whole within about 10 %.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.files import check_writable, make_folder, replacing
from deeprec_env.fleet.simulate import run_fleet
from deeprec_env.policies.evaluation.paired import Estimate, mean, ratio
from deeprec_env.policies.fleet.machines import KINDS, STATIC, day_of, fleet
from deeprec_env.policies.fleet.settings import ByKind, Settings, find_settings, load_table_latencies
from deeprec_env.provenance import Question, ask, asked
from deeprec_env.scenario.parts import Floats
from deeprec_env.simulation.header import SCHEMA_VERSION, versions
from deeprec_env.sources import RESULTS, check_header, with_sources

SOURCES = (*RESULTS, "policies")
"""What of the code the rows follow from."""

METHODS = ("static", "one batch size", "one setting", "a batch size a kind", "a setting a kind", "load table")
"""Ways to set all machines. Those with a batch size alone offload nothing."""

ALONE = {f"{kind} alone": kind for kind in KINDS}
"""Ways to set the machines of one kind as `a setting a kind` does, and all others by the static rule."""

PUBLISHED = {"p95_s": 1.39, "p99_s": 1.31}
LEVELS = (50, 95, 99)
SUBSETS = (1, 2, 5, 10, 20, 50)
"""Machines of a sample of the fleet."""

SAMPLES = 200
WITHIN = 0.1
"""How far the percentiles of a sample may be from the fleet's."""


@dataclass(frozen=True)
class Row:
    """A day of the fleet under a method; `close_K`: the share of samples of K machines that are within 10 %."""

    method: str
    seed: int
    p50_s: float
    p95_s: float
    p99_s: float
    violation_rate: float
    close_1: float
    close_2: float
    close_5: float
    close_10: float
    close_20: float
    close_50: float


class FleetPaper:
    """The rows, kept in `folder`/fleet.csv: a run that finds the file there computes what is missing."""

    def __init__(self, folder: Path, machines: int, seed: int, seeds: int) -> None:
        if machines < len(KINDS) or machines % len(KINDS):
            raise InputError("machines", machines, f"must be a multiple of {len(KINDS)}, the kinds of machines")
        if seeds < 1:
            raise InputError("seeds", seeds, "must be at least 1")
        self.machines, self.seed, self.seeds = machines, seed, range(seed, seed + seeds)
        self.settings: Settings | None = None
        make_folder("output", folder)
        self.csv = folder / "fleet.csv"
        check_writable("output", self.csv)
        self._header = with_sources(f"# deeprec fleet paper, {machines} machines, seed {seed}", SOURCES)
        self.rows: list[Row] = []
        if self.csv.exists():
            self._read()

    @property
    def question(self) -> Question:
        """What the rows answer."""
        asked_with: dict[str, Any] = {"machines": self.machines, "seeds": len(self.seeds)}
        return ask("fleet paper", None, seed=self.seed, split="test", engine="compiled", sources=SOURCES, **asked_with)

    @property
    def steps(self) -> int:
        """What `run` tells of."""
        return len(KINDS) * 2 + len(self._days)

    @property
    def _days(self) -> list[tuple[str, int]]:
        """Every method and seed, in the order of the table."""
        return [(method, seed) for method in (*METHODS, *ALONE) for seed in self.seeds]

    def run(self, progress: Callable[[str, int], None], *, executor: Executor = Threads(1)) -> None:
        """Compute what is missing."""
        self.settings = find_settings(self.seed, progress, executor=executor)
        known = {(row.method, row.seed) for row in self.rows}
        missing = [day for day in self._days if day not in known]
        progress("fleet paper", len(self._days) - len(missing))
        for _, row in executor.results(_day, (self.machines, self.settings), missing):
            self.rows.append(row)
            self._write()
            progress(f"fleet paper: {row.method}, day {row.seed}", 1)
        place = {day: number for number, day in enumerate(self._days)}
        self.rows = [row for row in self.rows if (row.method, row.seed) in place]
        self.rows.sort(key=lambda row: place[row.method, row.seed])
        self._write()

    def _read(self) -> None:
        with self.csv.open(encoding="utf-8", newline="") as file:
            header = file.readline().rstrip("\n")
            lines = list(csv.DictReader(file))
        check_header(self.csv, header, self._header, "holds days of other machines or another seed")
        try:
            self.rows = [_parsed(line) for line in lines]
        except (KeyError, TypeError, ValueError):
            raise InputError("output", str(self.csv), "is damaged; remove it to begin anew") from None

    def _write(self) -> None:
        with replacing(self.csv) as file:
            file.write(self._header + "\n")
            writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(asdict, self.rows))

    def of(self, method: str, figure: str) -> list[float]:
        """A figure of a method, day by day."""
        return [float(getattr(row, figure)) for row in self.rows if row.method == method]

    def gain(self, method: str, figure: str) -> Estimate | None:
        """How many times lower a figure is than under the static rule."""
        return ratio(self.of("static", figure), self.of(method, figure))

    def to_json(self) -> dict[str, Any]:
        """Both claims' tables, and what was asked."""
        assert self.settings is not None
        days: dict[str, Any] = {}
        for method in METHODS:
            figures = {f"{name}_ms": mean(self.of(method, f"{name}_s")).value * 1e3 for name in ("p50", "p95", "p99")}
            days[method] = {
                **figures,
                "violation_rate": mean(self.of(method, "violation_rate")).value,
                "gain": self._gains(method),
                "settings": {
                    kind: {"batch_size": setting.batch_size, "threshold": setting.threshold}
                    for kind, setting in (settings_of(method, self.settings) or {}).items()
                },
                "within_10_percent": {
                    str(count): mean(self.of(method, f"close_{count}")).value
                    for count in SUBSETS
                    if count <= self.machines
                },
            }
        return {
            "schema_version": SCHEMA_VERSION,
            "machines": self.machines,
            "kinds": list(KINDS),
            "seeds": list(self.seeds),
            "published": {name[:-2]: gain for name, gain in PUBLISHED.items()},
            "tuning_queries": self.settings.queries_used,
            "methods": days,
            "alone": {kind: {"gain": self._gains(method)} for method, kind in ALONE.items()},
            **asked(self.question),
            "versions": versions(),
        }

    def _gains(self, method: str) -> dict[str, Any]:
        found = {name[:-2]: self.gain(method, name) for name in PUBLISHED}
        return {name: gain and gain.as_ratio() for name, gain in found.items()}


def settings_of(method: str, found: Settings) -> ByKind | None:
    """By kind the fixed settings of a method; None of the load table."""
    static = dict.fromkeys(KINDS, STATIC)
    if method in ALONE:
        return static | {ALONE[method]: found.own[ALONE[method]]}
    return {
        "static": static,
        "one batch size": found.common_batch,
        "one setting": found.common,
        "a batch size a kind": found.own_batch,
        "a setting a kind": found.own,
    }.get(method)


def _day(shared: tuple[int, Settings], day: tuple[str, int]) -> Row:
    """A test day of so many machines under a method."""
    machines, found = shared
    method, seed = day
    chosen = settings_of(method, found)
    scenario = fleet(machines, chosen)
    traffic = day_of(scenario, seed, "test")
    if chosen is None:
        each = load_table_latencies(scenario, traffic, found.tables)
    else:
        records = run_fleet(scenario, traffic)
        each = np.split(np.concatenate([group.latency_s for group in records.groups]), records.bounds[1:-1])
    whole = np.concatenate(each)
    p50_s, p95_s, p99_s = np.percentile(whole, LEVELS).tolist()
    late, close = float((whole > scenario.sla_s).mean()), closeness(each, seed)
    return Row(method, seed, p50_s, p95_s, p99_s, late, *close)


def closeness(each: Sequence[Floats], seed: int) -> list[float]:
    """For each of `SUBSETS` the share of random samples of machines whose p50, p95 and p99 are within 10 % of all's."""
    target, rng = np.percentile(np.concatenate(each), LEVELS), np.random.default_rng([seed, len(each)])
    found = []
    for count in SUBSETS:
        close = 0
        for _ in range(SAMPLES if count < len(each) else 1):
            chosen = rng.choice(len(each), min(count, len(each)), replace=False)
            sample = np.percentile(np.concatenate([each[machine] for machine in chosen]), LEVELS)
            close += bool((np.abs(sample / target - 1.0) <= WITHIN).all())
        found.append(close / (SAMPLES if count < len(each) else 1))
    return found


def _parsed(line: dict[str, str]) -> Row:
    return Row(line["method"], int(line["seed"]), *(float(line[field.name]) for field in fields(Row)[2:]))
