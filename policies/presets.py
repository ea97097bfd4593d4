"""Writing the presets: the capacity of every model's node, and the day built from it.

python -m policies.presets FOLDER [NAME ...]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from deeprec_env.analysis.day import day_of
from deeprec_env.files import replacing
from deeprec_env.scenario.load import load_scenario
from deeprec_env.scenario.schema import Capacity
from policies.tune import TuneOptions, tune

CPU_PROFILE = "amd-epyc-milan"
ACCELERATOR_PROFILE = "gtx-1080-ti-estimated"

TARGETS_MS = {
    "dlrm-rmc1": 100, "dlrm-rmc2": 400, "dlrm-rmc3": 100, "ncf": 5, "wnd": 25, "mt-wnd": 25, "din": 100, "dien": 35,
}  # fmt: skip
"""p95 targets of the medium tier, digitised from the DeepRecSys paper's figures."""

SERVERS = 40  # Skylake cores of DeepRecSys's node; powers below are its processor's and GPU's
CPU_IDLE_W, CPU_BUSY_W = 60, 125
ACCELERATOR_IDLE_W, ACCELERATOR_BUSY_W = 50, 250


def base_scenario(model: str, accelerator: bool) -> dict[str, Any]:
    """A preset without capacity and day: its node, target and static setting."""
    node: dict[str, Any] = {"cpu": _pool(SERVERS, CPU_PROFILE, model, CPU_IDLE_W, CPU_BUSY_W)}
    if accelerator:
        node["accelerator"] = _pool(1, ACCELERATOR_PROFILE, model, ACCELERATOR_IDLE_W, ACCELERATOR_BUSY_W)
    return {
        "schema_version": 1,
        "sla_ms": TARGETS_MS[model],
        "p99_factor": 2,
        "workload": {"arrivals": {"kind": "poisson", "qps": 1}, "sizes": {"kind": "production"}},
        "node": node,
        "control": {"batch_size": 25, "threshold": None},
    }


def _pool(servers: int, profile: str, model: str, idle_w: int, busy_w: int) -> dict[str, Any]:
    latency = {"kind": "profile", "profile": profile, "model": model}
    return {"servers": servers, "latency": latency, "idle_w": idle_w, "busy_w": busy_w}


def write_preset(folder: Path, model: str, accelerator: bool) -> None:
    """Find a preset's capacity and write it with its day."""
    name, data = model if accelerator else f"{model}-cpu", base_scenario(model, accelerator)
    base = load_scenario(data)
    found = tune(base, "grid-capacity", TuneOptions(seed=0), lambda what: print(f"{name}: {what}", flush=True))
    batch_size, threshold = found.tuned.setting
    command = f"deeprec tune {name} --method grid-capacity"
    qps = float(f"{found.capacity.qps:.6g}")
    capacity = Capacity(qps=qps, batch_size=batch_size, threshold=threshold, found_by=command)
    day = day_of(base, capacity)
    data["workload"]["arrivals"] = day.workload.arrivals.model_dump(exclude_none=True)
    data["control"]["interval_s"] = day.control.interval_s
    data["capacity"] = capacity.model_dump()
    accelerated = f" and one accelerator ({ACCELERATOR_PROFILE}: estimated, not measured)" if accelerator else ""
    with replacing(folder / f"{name}.yaml") as file:
        file.write(f"# {model} on {SERVERS} measured cores{accelerated}; written by python -m policies.presets\n")
        yaml.safe_dump(data, file, sort_keys=False)


def main(arguments: list[str]) -> None:
    """Write all presets, or those named, into a folder."""
    folder, names = Path(arguments[0]), arguments[1:]
    for model in TARGETS_MS:
        for accelerator in (True, False):
            if not names or (model if accelerator else f"{model}-cpu") in names:
                write_preset(folder, model, accelerator)


if __name__ == "__main__":
    main(sys.argv[1:])
