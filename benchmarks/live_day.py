"""A day on the real node: an agent trained in simulation, the load table and DeepRecSched's setting, interleaved.

    python -m benchmarks.live_day FOLDER [--model wnd] [--workers 2] [--minutes 10] [--peak 0.75] [--json]

The node is profiled and calibrated first (`live_node`); tables, setting and agent (`deeprec train --recipe specialist`)
come from the simulation of that alone. Then the same arrivals are served under each, an hour of the day under one after
an hour under the other in a random order, each policy going on with what it saw last. Beside each p95 stands what the
simulator predicts of the same arrivals under the same policy. The table so far is in FOLDER/day.json after every hour.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.live_node import Json, Model, Seed, SlaMs, Workers, find_node, with_capacity
from deeprec_env import console
from deeprec_env.agents.specialist.recipe import Recipe
from deeprec_env.agents.specialist.training import train_specialist
from deeprec_env.envs import SERVING
from deeprec_env.files import make_folder, replacing
from deeprec_env.live.engine import LiveEngine
from deeprec_env.policies.controller import PolicyController
from deeprec_env.policies.fixed.tune import TuneOptions
from deeprec_env.policies.registry import prepare
from deeprec_env.progress import Progress, Step, part
from deeprec_env.scenario.parts import Floats
from deeprec_env.scenario.schema import Scenario
from deeprec_env.simulation.asyncio_engine import AsyncioEngine
from deeprec_env.simulation.header import versions
from deeprec_env.simulation.windows import Window
from deeprec_env.workload.diurnal import Diurnal
from deeprec_env.workload.stream import QueryStream, Traffic, episode_seed

HOURS, TRAINING_WINDOWS, QUERIES_PER_WINDOW, TROUGH = 24, 96, 200, 0.2

Engine = Callable[[Scenario, Traffic], AsyncioEngine]


@dataclass
class Day:
    """A policy's day on one engine, hour by hour as far as it is: latencies from the intended arrivals."""

    controller: PolicyController
    window: Window | None = None
    hours_s: list[Floats] = field(default_factory=list)
    late: int = 0
    wall_s: float = 0.0

    def serve_hour(self, engine: Engine, scenario: Scenario, traffic: Traffic, hour_s: float) -> None:
        """Serve an hour's traffic, whose arrivals begin at 0, on a fresh engine."""
        node = engine(scenario, traffic)
        interval_s, began = scenario.control.interval_s, time.perf_counter()
        try:
            for index in range(round(hour_s / interval_s)):
                setting = self.controller(self.window)
                self.window = node.run_window(setting, index * interval_s, (index + 1) * interval_s)
            node.drain()
            self.wall_s += time.perf_counter() - began
            self.hours_s.append(node.records().latency_s)
            if isinstance(node, LiveEngine):
                self.late += int((node.entry_s - traffic.arrival_s > 1e-4).sum())
        finally:
            node.close()

    def to_json(self, sla_s: float) -> dict[str, Any]:
        """Its figures, in milliseconds."""
        latency_s = np.concatenate(self.hours_s)
        hourly_ms = [float(np.percentile(hour, 95)) * 1e3 for hour in self.hours_s]
        return {
            "hourly_p95_ms": hourly_ms,
            "mean_hourly_p95_ms": float(np.mean(hourly_ms)),
            "p95_ms": float(np.percentile(latency_s, 95)) * 1e3,
            "p99_ms": float(np.percentile(latency_s, 99)) * 1e3,
            "violation_rate": float((latency_s > sla_s).mean()),
            "queries": len(latency_s),
            "late_sends": self.late,
        }


def with_compressed_day(scenario: Scenario, peak: float, day_s: float) -> tuple[Scenario, Scenario]:
    """The scenario with a day of that length, and with the short one that agents are trained on: the same windows."""
    assert scenario.capacity is not None
    mean_qps = 0.5 * (TROUGH + peak) * scenario.capacity.qps
    hour_s = day_s / HOURS
    interval_s = hour_s / max(1, round(hour_s * mean_qps / QUERIES_PER_WINDOW))
    control = scenario.control.model_copy(update={"interval_s": interval_s})

    def day(length_s: float) -> Scenario:
        arrivals = Diurnal(
            kind="diurnal", qps=mean_qps, day_s=length_s, trough=TROUGH, peak=peak, ceiling=min(peak + 0.05, 1.0)
        )
        return scenario.with_arrivals(arrivals).replace(control=control)

    return day(day_s), day(TRAINING_WINDOWS * interval_s)


def train_agent(scenario: Scenario, folder: Path, progress: Progress) -> Path:
    """The folder of a specialist, trained if it is not there."""
    if not (folder / "training.json").exists():
        train_specialist(Recipe(scenario.model_dump(mode="json"), "the live node"), folder, progress)
    return folder


def hours_of(traffic: Traffic, hour_s: float) -> list[Traffic]:
    """A day's traffic by hour, each beginning at 0."""
    ends = np.searchsorted(traffic.arrival_s, hour_s * np.arange(HOURS + 1))
    parts = (traffic.part(int(begin), int(end)) for begin, end in pairwise(ends))
    return [each.at(each.arrival_s - place * hour_s) for place, each in enumerate(parts)]


def main(
    folder: Annotated[Path, typer.Argument(help="For profile, pilot runs, agent and table.")],
    model: Model = "wnd",
    workers: Workers = 2,
    minutes: Annotated[float, typer.Option(help="Length of the day, for each policy.")] = 10.0,
    peak: Annotated[float, typer.Option(help="Of capacity, by simulation.")] = 0.75,
    sla_ms: SlaMs = 25.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Serve a compressed day under three policies, interleaved."""
    make_folder("folder", folder)
    with console.telling("live day", quiet=json) as tell:
        node = find_node(model, workers, sla_ms, folder, part(tell, 0.0, 0.05))
        capable = with_capacity(node.calibrated, part(tell, 0.05, 0.06))
        day, short = with_compressed_day(capable, peak, minutes * 60.0)
        agent = train_agent(short, folder / "specialist", part(tell, 0.06, 0.1))
        names = {"deeprecsched": "deeprecsched", "load-table": "load-table", "specialist": str(agent)}
        controllers = {
            name: PolicyController(prepare(named, day, TuneOptions(seed=0), part(tell, 0.1, 0.11), SERVING))
            for name, named in names.items()
        }
        days = {name: Day(controller) for name, controller in controllers.items()}
        predicted = {name: Day(copy.deepcopy(controller)) for name, controller in controllers.items()}
        hour_s = minutes * 60.0 / HOURS
        traffic = QueryStream(day.workload, episode_seed(seed, "test")).draw_until(minutes * 60.0)
        rng = np.random.default_rng(seed)
        payload: dict[str, Any] = {}
        for place, hour in enumerate(hours_of(traffic, hour_s)):
            for name in rng.permutation(list(days)).tolist():
                tell(Step(f"hour {place + 1} of {HOURS}: {name}", 0.11 + 0.89 * place / HOURS))
                days[name].serve_hour(LiveEngine, controllers[name].scenario, hour, hour_s)
                predicted[name].serve_hour(AsyncioEngine, controllers[name].scenario, hour, hour_s)
            payload = _payload(day, days, predicted)
            with replacing(folder / "day.json") as file:
                file.write(console.json_text(payload) + "\n")
    if json:
        console.print_json(payload)
        return
    figures = ("mean_hourly_p95_ms", "p95_ms", "p99_ms", "violation_rate")
    console.print_table(
        f"a day of {minutes:g} minutes on {workers} workers of {model}: live, and predicted",
        ["policy", *(f"{which} {name}" for name in figures for which in ("live", "simulated"))],
        [
            [name, *(f"{each[which][figure]:.4g}" for figure in figures for which in ("live", "simulated"))]
            for name, each in payload["policies"].items()
        ],
    )
    console.print_facts({"simulated seconds per wall second": f"{payload['simulated_s_per_wall_s']:.0f}"})


def _payload(day: Scenario, days: dict[str, Day], predicted: dict[str, Day]) -> dict[str, Any]:
    hours = len(next(iter(days.values())).hours_s)
    assert isinstance(day.workload.arrivals, Diurnal)
    simulated_s = len(days) * hours * day.workload.arrivals.day_s / HOURS
    return {
        "capacity_qps": day.capacity.qps if day.capacity else None,
        "mean_qps": day.workload.arrivals.qps,
        "interval_s": day.control.interval_s,
        "hours": hours,
        "policies": {
            name: {"live": each.to_json(day.sla_s), "simulated": predicted[name].to_json(day.sla_s)}
            for name, each in days.items()
        },
        "simulated_s_per_wall_s": simulated_s / sum(each.wall_s for each in predicted.values()),
        "versions": versions(),
    }


app = console.application("A day on the real node.")
app.command()(main)

if __name__ == "__main__":
    console.run(app, "benchmarks.live_day")
