"""The node of the live experiments: a model profiled here, in a few pilot runs calibrated, and its capacity by grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deeprec_env.live.calibration import calibrate, calibrated_header
from deeprec_env.live.recording import Recording, read_recording
from deeprec_env.live.run import LEAST_QUERIES, run_live
from deeprec_env.policies.fixed.tune import TuneOptions, tune
from deeprec_env.profiling.measure import Effort
from deeprec_env.profiling.profile import ProfileSettings, profile_models
from deeprec_env.progress import Progress, Step, part
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Capacity, Scenario
from deeprec_env.simulation.offered_load import service_demands

BATCH_SIZES = (16, 32, 64, 96, 128, 256, 512, 1024)
"""The ladder of both experiments."""

Model = Annotated[str, typer.Option(help="Of the worker processes.")]
Workers = Annotated[int, typer.Option(help="Worker processes.")]
SlaMs = Annotated[float, typer.Option(help="Target.")]
Seed = Annotated[int, typer.Option(help="Of traffic and order.")]
Json = Annotated[bool, typer.Option("--json")]

_PILOTS = ((0.3, 16), (0.3, 1024), (0.5, 64), (0.6, 256))  # loads by the profile, and batch sizes
_PILOT_S, _PILOT_SEED = 12.0, 1000


@dataclass(frozen=True)
class Node:
    """A node as it was profiled, and as it is in operation: without a day, at a rate that says nothing."""

    profiled: Scenario
    calibrated: Scenario


def find_node(model: str, workers: int, sla_ms: float, folder: Path, progress: Progress) -> Node:
    """Profile the model and calibrate it on pilot runs; what the folder holds is not measured again."""
    raw, in_operation = folder / "profile.csv", folder / "calibrated.csv"
    settings = ProfileSettings((model,), rows_scale=0.1, effort=Effort.of_passes(4))
    profile_models(settings, raw, lambda name: progress(Step(f"profile {name}", 0.0)))
    profiled = _scenario(raw, model, workers, sla_ms)
    pilots = [
        _pilot(profiled, load, batch_size, folder, part(progress, 0.1 + 0.1 * place, 0.2 + 0.1 * place))
        for place, (load, batch_size) in enumerate(_PILOTS)
    ]
    found = calibrate(pilots, progress=part(progress, 0.5, 1.0))
    found.write(in_operation, calibrated_header(found, ["pilot runs"]), profiled)
    (stage,) = found.scenario(profiled, str(in_operation.resolve())).stages
    pools = {kind: pool.model_dump(mode="json") for kind, pool in stage.pools().items()}
    return Node(profiled, profiled.replace(node=pools))


def with_capacity(scenario: Scenario, progress: Progress) -> Scenario:
    """The scenario with the capacity of its best setting, by simulation."""
    found = tune(scenario, "grid-capacity", TuneOptions(seed=0), progress)
    setting = found.tuned.setting
    capacity = Capacity(
        qps=float(f"{found.capacity.qps:.4g}"),
        batch_size=setting.batch_size,
        threshold=setting.threshold,
        found_by="deeprec tune --method grid-capacity",
    )
    return scenario.replace(capacity=capacity)


def _scenario(profile: Path, model: str, workers: int, sla_ms: float) -> Scenario:
    latency = {"kind": "profile", "profile": str(profile.resolve()), "model": model}
    return load_scenario(
        {
            "sla_ms": sla_ms,
            "p99_factor": 2,
            "workload": {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "production"}},
            "node": {"cpu": {"servers": workers, "latency": latency}},
            "control": {"batch_size": 64, "batch_sizes": list(BATCH_SIZES)},
        }
    )


def _pilot(scenario: Scenario, load: float, batch_size: int, folder: Path, progress: Progress) -> Recording:
    path = folder / f"pilot-{load:g}-{batch_size}.parquet"
    if path.exists():
        return read_recording(path)
    batched = scenario.replace(control=scenario.control.model_copy(update={"batch_size": batch_size}))
    (demand,) = service_demands(batched, batched.setting)
    qps = load / demand.load(1.0)
    progress(f"pilot run: load {load:g}, batches of {batch_size}")
    duration_s = max(_PILOT_S, 1.2 * LEAST_QUERIES / qps)
    return run_live(batched, duration_s=duration_s, qps=qps, seed=_PILOT_SEED, record_to=path).recording
