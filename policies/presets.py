"""Writing the presets: the capacity of every model's node, and the day built from it.

Two families: the models measured here (TARGETS_MS), and Kairos's published latencies (KAIROS_TARGETS).

python -m deeprec_env.policies.presets FOLDER [NAME ...]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deeprec_env import console
from deeprec_env.analysis.day import day_of
from deeprec_env.errors import InputError
from deeprec_env.files import make_folder, replacing
from deeprec_env.latency.kairos import FITS
from deeprec_env.policies.fixed.tune import TuneOptions, tune
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Capacity

CPU_PROFILE = "amd-epyc-milan"
ACCELERATOR_PROFILE = "gtx-1080-ti-estimated"

TARGETS_MS = {
    "dlrm-rmc1": 100, "dlrm-rmc2": 400, "dlrm-rmc3": 100, "ncf": 5, "wnd": 25, "mt-wnd": 25, "din": 100, "dien": 35,
}  # fmt: skip
"""p95 targets of the medium tier, digitised from the DeepRecSys paper's figures."""

SERVERS = 40  # Skylake cores of DeepRecSys's node; powers below are its processor's and GPU's
CPU_IDLE_W, CPU_BUSY_W = 60, 125
ACCELERATOR_IDLE_W, ACCELERATOR_BUSY_W = 50, 250

KAIROS_TARGETS = {"ncf": "ncf", "wnd": "wnd", "mt-wnd": "mt-wnd", "rm2": "dlrm-rmc2", "din43": "din"}
"""Kairos's models, and the model here that is nearest, whose target they have."""

KAIROS_NODES = {"skylake": ("skylake", None), "cascade-lake": ("cascade-lake", None), "skylake-t4": ("skylake", "t4")}
"""Nodes of Kairos's devices: the 40 cores, and the accelerator."""

T4_IDLE_W, T4_BUSY_W = 10, 70  # busy: the T4's board power (NVIDIA's data sheet); idle: assumed, a seventh of it


@dataclass(frozen=True)
class Preset:
    """A preset before its capacity is found: its name, its file's first line, its target and its node."""

    name: str
    title: str
    sla_ms: int
    node: dict[str, Any]

    def scenario(self) -> dict[str, Any]:
        """The preset without capacity and day, at its static setting."""
        return {
            "schema_version": 1,
            "sla_ms": self.sla_ms,
            "p99_factor": 2,
            "workload": {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "production"}},
            "node": self.node,
            "control": {"batch_size": 25, "threshold": None},
        }


def presets() -> list[Preset]:
    """All presets, in the order in which they are written."""
    measured = [_measured(model, accelerator) for model in TARGETS_MS for accelerator in (True, False)]
    return measured + [_kairos(model, node) for model in KAIROS_TARGETS for node in KAIROS_NODES]


def _measured(model: str, accelerator: bool) -> Preset:
    latency = {"kind": "profile", "profile": CPU_PROFILE, "model": model}
    node = {"cpu": _pool(SERVERS, latency, CPU_IDLE_W, CPU_BUSY_W)}
    title = f"{model} on {SERVERS} measured cores"
    if accelerator:
        estimated = latency | {"profile": ACCELERATOR_PROFILE}
        node["accelerator"] = _pool(1, estimated, ACCELERATOR_IDLE_W, ACCELERATOR_BUSY_W)
        title += f" and one accelerator ({ACCELERATOR_PROFILE}: estimated, not measured)"
    return Preset(model if accelerator else f"{model}-cpu", title, TARGETS_MS[model], node)


def _kairos(model: str, kind: str) -> Preset:
    cores, accelerator = KAIROS_NODES[kind]
    node = {"cpu": _pool(SERVERS, FITS[cores, model].latency(), CPU_IDLE_W, CPU_BUSY_W)}
    title = f"{model} on {SERVERS} {cores} cores"
    if accelerator:
        node["accelerator"] = _pool(1, FITS[accelerator, model].latency(), T4_IDLE_W, T4_BUSY_W)
        title += " and one T4"
    nearest = KAIROS_TARGETS[model]
    title += f", fits of latencies that Kairos (HPDC 2023) published; target of {nearest}"
    return Preset(f"kairos-{model}-{kind}", title, TARGETS_MS[nearest], node)


def _pool(servers: int, latency: dict[str, Any], idle_w: int, busy_w: int) -> dict[str, Any]:
    return {"servers": servers, "latency": latency, "idle_w": idle_w, "busy_w": busy_w}


def write_preset(folder: Path, preset: Preset) -> None:
    """Find a preset's capacity and write it with its day."""
    name, data = preset.name, preset.scenario()
    base = load_scenario(data)
    found = tune(base, "grid-capacity", TuneOptions(seed=0), lambda what: print(f"{name}: {what}", flush=True))
    batch_size, threshold = found.tuned.setting.batch_size, found.tuned.setting.threshold
    command = f"deeprec tune {name} --method grid-capacity"
    qps = float(f"{found.capacity.qps:.6g}")
    capacity = Capacity(qps=qps, batch_size=batch_size, threshold=threshold, found_by=command)
    day = day_of(base, capacity)
    data["workload"]["arrivals"] = day.workload.arrivals.model_dump(exclude_none=True)
    data["control"]["interval_s"] = day.control.interval_s
    data["capacity"] = capacity.model_dump()
    with replacing(folder / f"{name}.yaml") as file:
        file.write(f"# {preset.title}; written by python -m deeprec_env.policies.presets\n")
        yaml.safe_dump(data, file, sort_keys=False)


def write(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is not there.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Presets (default: all).")] = None,
) -> None:
    """Find the capacities of all presets, or of those named, and write them into a folder."""
    known = {preset.name: preset for preset in presets()}
    for name in names or ():
        if name not in known:
            raise InputError("name", name, f"must be one of {', '.join(known)}")
    make_folder("folder", folder)
    for name in names or known:
        write_preset(folder, known[name])


app = console.application("The presets.")
app.command()(write)


def main(arguments: list[str] | None = None) -> None:
    """`python -m deeprec_env.policies.presets`."""
    console.run(app, "deeprec_env.policies.presets", arguments)


if __name__ == "__main__":
    main()
