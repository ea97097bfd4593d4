"""The estimated accelerator: measured CPU time divided by DeepRecSys's published speed-ups.

    python -m deeprec_env.latency.estimate CPU_PROFILE OUTPUT.csv

It stands in until a GPU has been measured, and says so in its name, its device and its header.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deeprec_env.latency.profile import load_profile
from deeprec_env.latency.table import ProfileRow, ProfileTable, write_profile

DEVICE = "gtx-1080-ti-estimated"

BATCHES = (1, 4, 16, 64, 256, 1024)

SPEED_UPS = {
    "dlrm-rmc1": (0.371, 0.514, 0.829, 1.03, 1.13, 1.11),
    "dlrm-rmc2": (0.436, 0.722, 1.02, 1.19, 1.18, 1.17),
    "dlrm-rmc3": (0.704, 1.37, 1.83, 2.45, 3.05, 3.13),
    "ncf": (0.249, 0.332, 0.374, 0.951, 1.71, 2.92),
    "wnd": (0.472, 0.617, 0.825, 1.63, 3.29, 4.62),
    "mt-wnd": (0.431, 0.601, 0.753, 1.38, 2.67, 3.97),
    "din": (0.254, 0.275, 0.416, 0.542, 0.970, 1.36),
    "dien": (0.371, 0.432, 0.516, 0.799, 1.45, 1.99),
}
"""Speed-up of a GTX 1080 Ti over one Skylake core, data loading included, by model and batch of `BATCHES`.

Source: figures of the DeepRecSys repository (ISCA 2020); its DIN has 4 tables.
"""


def estimate(cpu: ProfileTable) -> ProfileTable:
    """The accelerator's profile from a CPU profile: only the published batches, every figure divided alike."""
    rows = []
    for row in cpu.rows:
        if row.batch in BATCHES and row.model in SPEED_UPS and row.threads == 1:  # published over one core
            speed_up = SPEED_UPS[row.model][BATCHES.index(row.batch)]
            quantiles = tuple(value / speed_up for value in row.quantiles_ms)
            rows.append(
                ProfileRow(row.model, DEVICE, row.batch, "compute", row.repeats, row.mean_ms / speed_up, quantiles)
            )
    header = {
        "deeprec profile": "latencies in ms",
        "ESTIMATED": "not measured: the CPU profile below divided by the GTX 1080 Ti's published speed-up over one "
        "Skylake core, data loading included (DeepRecSys, ISCA 2020)",
    }
    return ProfileTable(header | {f"cpu profile's {key}": value for key, value in cpu.header.items()}, tuple(rows))


if __name__ == "__main__":
    table = estimate(load_profile(sys.argv[1]))
    write_profile(Path(sys.argv[2]), table.header, table.rows)
