"""Published latencies as affine models: Kairos's measurements of the Caffe2 models on cloud machines.

    python -m deeprec_env.latency.kairos kairos_latency_ms.csv

prints the coefficients below, fitted anew. Source of the measurements: Kairos (Li et al., HPDC 2023), repository
boringlee24/hpdc23-kairos, MIT licence; batches 10 to 1000, 100 repeats each, one core of an EC2 c5n.2xlarge (Skylake)
or r5n.large (Cascade Lake), or the NVIDIA T4 of a g4dn.xlarge. A request takes their compute part and their data-load
part. Its "dien" has no attention and no recurrent layer: it is a DIN of 43 tables, and has that name here.
"""

from __future__ import annotations

import csv
import math
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from deeprec_env.scenario.parts import Floats

DEVICES = {"skylake": "c5n.2xlarge", "cascade-lake": "r5n.large", "t4": "g4dn.xlarge"}
"""Our name of a device -> the EC2 type that it was measured on."""

MODELS = {"ncf": "ncf", "wnd": "wnd", "mt-wnd": "mtwnd", "rm2": "rm2", "din43": "dien"}
"""Our name of a model -> Kairos's."""


@dataclass(frozen=True)
class Fit:
    """Median milliseconds of both parts, a + b items, and the coefficient of variation of their sum."""

    compute_base_ms: float
    compute_per_item_ms: float
    load_base_ms: float
    load_per_item_ms: float
    cv: float

    def latency(self) -> dict[str, float | str]:
        """The affine latency of a scenario whose median is that of compute + load.

        The affine model's mean is its median times sqrt(1 + cv^2), since its noise is log-normal.
        """
        mean = math.sqrt(1.0 + self.cv**2)
        base, per_item = self.compute_base_ms + self.load_base_ms, self.compute_per_item_ms + self.load_per_item_ms
        return {
            "kind": "affine",
            "base_ms": float(f"{mean * base:.5g}"),
            "per_item_ms": float(f"{mean * per_item:.5g}"),
            "cv": self.cv,
        }


FITS: dict[tuple[str, str], Fit] = {
    ("skylake", "ncf"): Fit(0.08326, 0.004904, 0.07234, 0.0008028, 0.03571),
    ("skylake", "wnd"): Fit(0.3973, 0.02779, 0.428, 0.003903, 0.01954),
    ("skylake", "mt-wnd"): Fit(0.2146, 0.03745, 0.6687, 0.005975, 0.01528),
    ("skylake", "rm2"): Fit(1.823, 0.1599, 0.731, 0.2267, 0.002144),
    ("skylake", "din43"): Fit(0.0, 0.07034, 0.7543, 0.005589, 0.005696),
    ("cascade-lake", "ncf"): Fit(0.3899, 0.005493, 0.1605, 0.0008124, 0.0472),
    ("cascade-lake", "wnd"): Fit(1.121, 0.03275, 0.5278, 0.004179, 0.03001),
    ("cascade-lake", "mt-wnd"): Fit(0.9569, 0.04378, 0.805, 0.006352, 0.02696),
    ("cascade-lake", "rm2"): Fit(2.681, 0.1608, 1.223, 0.24, 0.002705),
    ("cascade-lake", "din43"): Fit(0.0, 0.07568, 0.8774, 0.005947, 0.01575),
    ("t4", "ncf"): Fit(0.3152, 0.0006321, 0.3924, 0.001167, 0.03907),
    ("t4", "wnd"): Fit(0.7796, 0.002666, 1.561, 0.00437, 0.01427),
    ("t4", "mt-wnd"): Fit(1.111, 0.003657, 2.39, 0.006557, 0.01098),
    ("t4", "rm2"): Fit(0.93, 0.009562, 2.761, 0.2479, 0.001984),
    ("t4", "din43"): Fit(4.217, 0.006401, 2.343, 0.005977, 0.009305),
}


def fit(path: Path) -> dict[tuple[str, str], Fit]:
    """The fits of a file of Kairos's quantiles (columns instance, model, batch, part, p50, p95, ...)."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def column(device: str, model: str, part: str, name: str) -> Floats:
        wanted = (DEVICES[device], MODELS[model], part)
        chosen = [row for row in rows if (row["instance"], row["model"], row["part"]) == wanted]
        chosen.sort(key=lambda row: int(row["batch"]))
        return np.array([float(row[name]) for row in chosen])

    fits = {}
    for device in DEVICES:
        for model in MODELS:
            medians: list[Floats] = []
            tails: list[Floats] = []
            lines: list[float] = []
            for part in ("compute", "load"):
                medians.append(column(device, model, part, "p50"))
                tails.append(column(device, model, part, "p95"))
                lines += _line(column(device, model, part, "batch"), medians[-1])
            # Both parts at the same noise, as a profile takes them: their quantiles add up. 1.645: z of p95.
            sigma = float(np.median(np.log(sum(tails) / sum(medians)))) / 1.6448536
            cv = math.sqrt(math.expm1(sigma**2))
            fits[device, model] = Fit(*(float(f"{value:.4g}") for value in (*lines, cv)))
    return fits


def _line(items: Floats, median_ms: Floats) -> tuple[float, float]:
    """Least squares a + b items with a at least 0."""
    b, a = np.polyfit(items, median_ms, 1)
    return (float(a), float(b)) if a >= 0.0 else (0.0, float(items @ median_ms / (items @ items)))


if __name__ == "__main__":
    for key, fitted in fit(Path(sys.argv[1])).items():
        print(f"    {key}: Fit{astuple(fitted)},".replace("'", '"'))
