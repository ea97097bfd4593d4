"""What each further control is worth: a node at its capacity setting, one control added at a time, at several loads.

Every cell is a plain run, as `simulate` makes it (its warm-up cut off, the same arrivals, sizes and noise for all
controls of a seed), and no more: it starts empty, so that at a load near 1 it sees less waiting than a long past would
leave. Rows are kept in a CSV, from which a run that was interrupted goes on.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from deeprec_env.analysis.day import with_day
from deeprec_env.arguments import real, whole
from deeprec_env.errors import InputError
from deeprec_env.executors.executor import Executor, Threads
from deeprec_env.files import check_writable, make_folder, replacing
from deeprec_env.provenance import Question, ask, file_digests
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import PREDICTED, Setting
from deeprec_env.simulation.checks import check_queries, check_run_memory
from deeprec_env.simulation.simulate import MOST_KEPT, Result, simulate
from deeprec_env.sources import check_header, with_sources

SCENARIOS = (
    "dlrm-rmc1", "dlrm-rmc2", "dlrm-rmc3", "ncf", "wnd", "mt-wnd", "din", "dien",
    "kairos-rm2-skylake-t4", "kairos-ncf-skylake-t4", "kairos-wnd-skylake-t4", "kairos-mt-wnd-skylake-t4",
    "kairos-din43-skylake-t4",
)  # fmt: skip
"""The presets with an accelerator, where every control has something to do: one of each model of either source."""

LOADS = (0.5, 0.7, 0.85, 0.95, 1.0, 1.2, 1.5)
"""Offered rates, in capacities."""

QUERIES, SEEDS = 30_000, 6

LIMITS = (0.8, 0.9, 1.0)
"""Admission limits that are tried, in targets."""

PLAIN = "plain"
SPLIT = "test"
MOST_LOAD = 100.0
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Control:
    """What is added to the capacity setting. `admission`: each of `LIMITS` in turn."""

    setting: Mapping[str, Any] = field(default_factory=dict)
    batching: bool = False
    admission: bool = False

    def possible(self, scenario: Scenario) -> bool:
        """Whether the scenario has the accelerator that it may need."""
        return scenario.has_accelerator or not (self.batching or self.setting.get("offload") == PREDICTED)


_TOGETHER = {"split": "even", "order": "small-first"}
CONTROLS = {
    PLAIN: Control(),
    "even": Control({"split": "even"}),
    "small-first": Control({"order": "small-first"}),
    "even, small-first": Control(_TOGETHER),
    "least-slack": Control({"order": "least-slack"}),
    "predicted": Control({"offload": PREDICTED}),
    "batching": Control(batching=True),
    "admission": Control(admission=True),
    "all": Control({**_TOGETHER, "offload": PREDICTED}, batching=True, admission=True),
    "all, least-slack": Control(
        {"split": "even", "order": "least-slack", "offload": PREDICTED}, batching=True, admission=True
    ),
    "256, predicted, admission": Control({"batch_size": 256, "offload": PREDICTED}, admission=True),
}
"""By name: one control at a time, all of them (under either order), and batch size 256 with the two that act most."""


@dataclass(frozen=True)
class Row:
    """A run. `load`: its rate in capacities; `limit` of admission and the percentiles in targets; `goodput`: in time,
    in capacities. `overloaded` says why nothing is stationary, and is empty where all is; percentiles of the admitted,
    None where none was.
    """

    scenario: str
    fingerprint: str
    load: float
    control: str
    limit: float | None
    seed: int
    p95: float | None
    p99: float | None
    shed_rate: float
    goodput: float
    overloaded: str


Cell = tuple[str, str, float]
"""Of the table: a scenario's name and fingerprint, and a load. All its runs are one piece of work."""


def at_capacity(scenario: Scenario) -> Scenario:
    """A node under the setting of its capacity, without any further control; the capacity in it.

    Without one in the file it is that of the scenario's own batch size and threshold, found first.
    """
    if scenario.node is None:
        raise InputError("scenario", "a pipeline", "must be a node: capacities of pipelines are of their plans")
    pools: dict[str, Any] = {
        kind: pool.model_copy(update={"batching": None}) for kind, pool in scenario.stages[0].pools().items()
    }
    plain = scenario.replace(node=scenario.node.model_copy(update=pools))
    plain = plain.with_setting(Setting(plain.control.batch_size, plain.control.threshold))
    known = plain.capacity or with_day(plain.with_arrivals({"kind": "poisson", "qps": 1.0})).capacity
    assert known is not None
    return plain.replace(capacity=known).with_setting(Setting(known.batch_size, known.threshold))


def variants(scenario: Scenario) -> Iterator[tuple[str, float | None, Scenario]]:
    """A node under each control that it can have, and each limit of it: names, limits in targets, scenarios.

    Batches are what waits when the accelerator gets free (`max_wait_ms` 0), up to twice the largest query; where the
    file has a batching of its own it is that.
    """
    plain = at_capacity(scenario)
    largest = int(plain.workload.sizes.probabilities()[0].max())
    own = scenario.stages[0].batching
    batching = {"max_items": 2 * largest} if own is None else own.model_dump()
    for name, control in CONTROLS.items():
        if not control.possible(plain):
            continue
        changed = plain.with_setting(plain.setting.replace(**control.setting))
        if control.batching:
            changed = load_scenario(changed, {"node.accelerator.batching": batching})
        for limit in LIMITS if control.admission else (None,):
            admit_ms = None if limit is None else limit * plain.sla_ms
            yield name, limit, changed.with_setting(changed.setting.replace(admit_ms=admit_ms))


def measure(name: str, scenario: Scenario, load: float, queries: int, seeds: Sequence[int]) -> list[Row]:
    """The runs of a scenario at a load, under every control that it can have, with every seed."""
    plain = at_capacity(scenario)
    assert plain.capacity is not None
    capacity_qps, fingerprint = plain.capacity.qps, fingerprint_of(scenario)
    rows = []
    for control, limit, changed in variants(scenario):
        for seed in seeds:
            found = simulate(changed, qps=load * capacity_qps, queries=queries, seed=seed, split=SPLIT)
            p95, p99 = (None if math.isnan(s) else s / plain.sla_s for s in (found.tail.p95_s, found.tail.p99_s))
            good = found.goodput
            figures = p95, p99, good.shed_rate, good.goodput_qps / capacity_qps
            rows.append(Row(name, fingerprint, load, control, limit, seed, *figures, _overload(found)))
    return rows


def _work(shared: tuple[int, Sequence[int]], task: tuple[str, Scenario, float]) -> list[Row]:
    return measure(*task, *shared)


def _overload(found: Result) -> str:
    if not found.overloaded:
        return ""
    pools = [f"{work.label} load {work.load(found.qps_offered):.3g}" for work in found.overloaded_pools()]
    return " and ".join(pools) or "the backlog grows"


def fingerprint_of(scenario: Scenario) -> str:
    """Of all that its rows follow from."""
    described = [scenario.model_dump_json(), *file_digests(scenario).values()]
    described += [latency.fingerprint for latency in scenario.latencies]
    return hashlib.sha256(" ".join(described).encode()).hexdigest()[:16]


class ControlsRun:
    """The rows of some scenarios at some loads, kept in `folder`/controls.csv, which is written anew after each cell.

    A run that finds the file there, of the same queries, seeds and version, computes what is missing; rows of other
    cells stay. Raises `InputError` for a file of another run, and for bad input.
    """

    def __init__(
        self,
        folder: Path,
        scenarios: Mapping[str, Scenario],
        *,
        loads: Sequence[float] = LOADS,
        queries: int = QUERIES,
        seed: int = 0,
        seeds: int = SEEDS,
    ) -> None:
        for load in loads:
            if not 0.0 < real("loads", load) <= MOST_LOAD:
                raise InputError("loads", load, f"must be above 0 and at most {MOST_LOAD:g} capacities")
        if not loads or len(set(loads)) < len(loads):
            raise InputError("loads", list(loads), "must hold at least one load, each once")
        whole("seeds", seeds, 1, MOST_SEEDS)
        if check_queries(queries) > MOST_KEPT:
            raise InputError("queries", queries, f"must be at most {MOST_KEPT}: no percentile here is a sketch's")
        self.seeds, self._first = range(whole("seed", seed, 0), seed + seeds), seed
        self.loads, self.queries = list(loads), queries
        self.scenarios: dict[str, Scenario] = {}
        self._given = dict(scenarios)
        for name, scenario in scenarios.items():
            self.scenarios[name] = at_capacity(scenario)
            for _, _, changed in variants(scenario):  # bad input, before files
                check_run_memory(changed, queries)
        fingerprints = {name: fingerprint_of(scenario) for name, scenario in scenarios.items()}
        self.cells: list[Cell] = [(name, fingerprints[name], load) for name in scenarios for load in loads]
        self._header = with_sources(f"# deeprec controls, {queries} queries, seeds {seed} to {seed + seeds - 1}")
        self._known: dict[Cell, list[Row]] = {}
        make_folder("output", folder)
        self.csv = folder / "controls.csv"
        check_writable("output", self.csv)
        if self.csv.exists():
            self._read()

    @property
    def question(self) -> Question:
        """What was asked."""
        scenarios = {name: scenario.model_dump(mode="json") for name, scenario in self._given.items()}
        return ask(
            "controls", None, seed=self._first, split=SPLIT, engine="compiled",
            scenarios=scenarios, loads=self.loads, queries=self.queries, seeds=len(self.seeds),
        )  # fmt: skip

    @property
    def rows(self) -> list[Row]:
        """The rows there are of what was asked for, in the table's order."""
        return [row for cell in self.cells for row in self._known.get(cell, ())]

    def run(
        self, progress: Callable[[str, int], None] = lambda what, done: None, *, executor: Executor = Threads()
    ) -> None:
        """Compute what is missing, by default a cell a core; `progress` is told of what is done since."""
        missing = [cell for cell in self.cells if cell not in self._known]
        progress("controls", len(self.cells) - len(missing))
        tasks = [(cell[0], self._given[cell[0]], cell[2]) for cell in missing]
        for number, rows in executor.results(_work, (self.queries, self.seeds), tasks):
            self._known[missing[number]] = rows
            self._write()
            progress(f"controls: {missing[number][0]} at {missing[number][2]:g}", 1)

    def _read(self) -> None:
        with self.csv.open(encoding="utf-8", newline="") as file:
            header = file.readline().rstrip("\n")
            lines = list(csv.DictReader(file))
        check_header(self.csv, header, self._header, "holds a table of other seeds or another number of queries")
        try:
            for row in map(_parsed, lines):
                self._known.setdefault((row.scenario, row.fingerprint, row.load), []).append(row)
        except (KeyError, TypeError, ValueError):
            raise InputError("output", str(self.csv), "is damaged; remove it to begin anew") from None

    def _write(self) -> None:
        with replacing(self.csv) as file:
            file.write(self._header + "\n")
            writer = csv.DictWriter(file, [each.name for each in fields(Row)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(row) for rows in self._known.values() for row in rows)


def _parsed(line: Mapping[str, str]) -> Row:
    values: dict[str, Any] = {}
    for each in fields(Row):
        text, kind = line[each.name], str(each.type)
        if text == "" and "None" in kind:
            values[each.name] = None
        else:
            values[each.name] = (str if kind == "str" else float if "float" in kind else int)(text)
    return Row(**values)
