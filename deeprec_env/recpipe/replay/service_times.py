"""Published service times of RecPipe's stages (Gupta et al., MICRO 2021), fitted to the logs of its public artifact.

A Cascade Lake server of 32 engines (cores, one thread each) and one NVIDIA T4, at low load. Seconds for n items are
base + per item x n, a stage's sort included; the fits are off by at most 3 % (cpu) and 4 % (gpu).
"""

from __future__ import annotations

SERVICE_S: dict[str, dict[str, tuple[float, float]]] = {
    "cpu": {"dim_4": (2.24e-3, 6.89e-6), "dim_16": (2.50e-3, 7.34e-6), "dim_32": (2.58e-3, 12.49e-6)},
    "gpu": {"dim_4": (3.11e-3, 1.81e-6), "dim_16": (3.03e-3, 1.90e-6), "dim_32": (3.32e-3, 2.13e-6)},
}
"""By device and model: seconds of a query, and of each of its items."""

MODELS = ("dim_4", "dim_16", "dim_32")
"""RM-small, RM-med and RM-large: embeddings of 4, 16 and 32 numbers."""

SORT_S = (0.077e-3, 0.290e-6)
"""The sort process behind a stage, one for all its engines: seconds of a query, and of each of its items."""

SIGMA = {"cpu": 0.124, "gpu": 0.014}
"""Of the lognormal spread of service times."""

CONTENTION = (0.982, 0.635, 0.077)
"""Slow-down c0 + c1 u + c2 u^2 of a CPU stage, u = busy engines of the stage / `CPU_ENGINES`; a GPU has none.

The denominator is 32 for stages of 16 and 10 engines too: logged stage times are then met to 3 to 8 %, with the stage's
own number to 11 to 27 %.
"""

CPU_ENGINES = 32
"""Engines of the server, split evenly between the CPU stages."""
